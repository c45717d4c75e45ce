// SPDX-License-Identifier: Apache-2.0

// Package access tells in which Kubernetes Namespaces somebody may read virtual
// machines: what lists of vSphere Namespaces, of zones and of login contexts are
// cut down to.
//
// The cluster's own authorisation decides, and nothing else. It is asked once for
// the whole cluster, and then for the candidates only: the Namespaces with a
// RoleBinding that names the user or one of their groups, by an index over the
// informer of RoleBindings. So somebody with roles in 5 of 500 Namespaces costs 6
// reviews, not 501. The index narrows what is asked and allows nothing: while it is
// not filled, every Namespace is asked for; when a RoleBinding is taken away, its
// Namespace is not asked for any more; and when nobody can be asked, there is an
// error and no answer. A role that an authorizer other than RBAC gives for one
// Namespace alone is not found this way, unless a RoleBinding names the same
// subject there.
//
// Rights are not worked out here from Roles and RoleBindings, though both could be
// held in memory: that would be a second authorisation beside the cluster's, blind
// to its webhooks and to what it denies. Nor are answers kept here: the delegated
// authorizer that asks kube-apiserver keeps them, for 10 s by default, and a
// second cache on top would make a role that was taken away count for the sum.
//
// It knows nothing of vSphere, and depends on client-go and k8s.io/apiserver.
package access
