// SPDX-License-Identifier: Apache-2.0

// Package kubeapi asks a Kubernetes API server the little that the plugin wants of
// it: whether it takes a token, which vSphere Namespaces there are, and to read and
// patch single objects.
//
// A Client is made of a cluster's entry in a kubeconfig and trusts what the entry
// says, as kubectl does: so what it has proved, kubectl can rely on. A token goes
// to the server of the entry, over https, and nowhere else; redirects are not
// followed.
//
// client-go could do all this and more; with it the plugin would take ten times as
// long to start, which it does before each request of kubectl's.
package kubeapi
