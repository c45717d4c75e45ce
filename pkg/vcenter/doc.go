// SPDX-License-Identifier: Apache-2.0

// Package vcenter owns the login at vCenter and what every call to it needs:
// verified TLS, a deadline, a metric, a task that is waited for, and a fault
// that became an error with a kind (pkg/failure) and a message that says what
// to do.
//
// A Session has one login at a time, which only Run makes:
//
//	┌────────────┐  logged in   ┌───────────┐
//	│ connecting │─────────────▶│ connected │
//	└────────────┘              └───────────┘
//	  │   ▲   ▲   lost: NotAuthenticated, │
//	  │   │   └───── keep-alive failed ───┘
//	  │   │ back-off over, or the credentials changed
//	  ▼   │
//	┌────────────┐
//	│   failed   │  Do fails at once, with the reason
//	└────────────┘
//
// Since only Run logs in, a refused password is tried rarely (30 s, doubling to
// 10 min) however many callers wait, so that no account is locked out.
//
// While tasks are waited for, Run follows all of them with one view and one wait for
// updates, over lost logins too: however many there are, none is asked for by itself,
// and nobody who waits notices others.
//
// A Session only reads: its connections refuse every method that is not known to
// change nothing. Who acts does so through a Writer, which lets acts pass while this
// process may write and knows what is there.
//
// A RESTSession keeps a login at vCenter's REST endpoints beside it, for what is
// not to be had over SOAP, and only with credentials that the Session's login
// stands on.
//
// The package knows nothing of the inventory. Packages below it do; it imports none
// of them. Neither knows our APIs nor Kubernetes' objects: things are named by the
// ids of package facts.
package vcenter
