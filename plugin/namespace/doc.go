// SPDX-License-Identifier: Apache-2.0

// Package namespace is `kubectl vsphere namespace`: it lists the vSphere
// Namespaces that the user has contexts for, and switches the current context.
//
// The kubeconfig answers nearly everything. The server is asked (live.go) for
// the completion of names, and for a name that there is no context for yet: a
// namespace that was made after the login. A stock Supervisor does not answer;
// then a new login brings it.
package namespace
