// SPDX-License-Identifier: Apache-2.0

// Package vspherenamespace is the kind namespaces.vsphere.openpacific.io:
// what a client may ask of a vSphere Namespace, who may ask, and what is shown to
// whom.
//
// Everybody who is logged in may list, watch and get vSphere Namespaces, and is
// shown those in which they have a role: by spec.access, or because they may get
// virtual machines in the Kubernetes Namespace of that name. What they may not
// see does not exist for them: a get is answered with 404. For a get the authorizer
// is asked about that one, for lists and watches a Reviewer about all. Deleting one,
// and saying who may what in it, takes the verb within the Kubernetes Namespace of its name,
// which is where the library looks for a resource of this name, and which the role
// Owner gives; changing what it may take of vCenter takes the verb update in the
// whole cluster. Giving somebody a role takes what RBAC asks of whoever binds it:
// the verb bind on the role, in that Namespace.
//
// What is shown is made by package projection, and what is asked for is made in vCenter by package realisation, both by
// what package records has of it.
//
// It knows nothing of vSphere. Nothing here is allowed by default: with nobody to
// ask, everything is refused.
package vspherenamespace
