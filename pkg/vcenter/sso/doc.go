// SPDX-License-Identifier: Apache-2.0

// Package sso proves a password to vCenter's single sign-on and reads who its
// owner is and which groups they are in.
//
// It owns the order of what is asked, and what is believed:
//
//  1. The password is proved by a login of its owner's on a SOAP session of its
//     own, which is ended at once. vCenter's refusal is final: nothing else is
//     tried, since every try counts towards vCenter's lockout.
//  2. The name and the groups are taken from the assertion that the token
//     service issues for the same password, provided that its only subject is
//     the one who logged in and that it is valid now.
//  3. Where it is not, they are read from the directory with this server's own
//     account, nested groups included. The directory also says that the one who
//     logged in and the one who asked are one account, where that has several names:
//     a UPN need not hold the account's name.
//
// Account is the same question without a password, for whoever counts attempts.
// IdentityProviders knows the domains whose people have no password that vCenter
// could look at, so that a refusal can say so.
//
// Everything goes to the host that was configured, over TLS that is verified as
// the Session's; an address that vCenter names is never followed. No password
// is kept, logged or put into an error.
//
// The package does not know who asks: pkg/login declares what it needs.
package sso
