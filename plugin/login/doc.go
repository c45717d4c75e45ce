// SPDX-License-Identifier: Apache-2.0

// Package login is `kubectl vsphere login`.
//
// The order of the requests is that of VMware's plugin: login banner, then the
// question for the password, workloads, one login at the server and one at each
// other host that holds workloads, one for a Tanzu Kubernetes cluster that was
// named. Different from it:
//
//   - The first request carries no password and decides whether the server is
//     trusted (package trust). Hosts that the server names must be of the same
//     authority.
//   - The first refusal ends it: no password is tried twice, vCenter locks
//     accounts.
//   - A host that is the server under another name is not logged in to again, and
//     gets no second entry in the kubeconfig.
//
// authenticate.go asks the servers, entries.go turns the answers into kubeconfig
// entries, both without printing; login.go is the command around them.
package login
