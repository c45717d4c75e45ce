// SPDX-License-Identifier: Apache-2.0

// Package vspherenamespace is the registry of namespaces.vsphere.openpacific.io:
// what a client may ask of a vSphere Namespace, who may ask, and what is shown to
// whom.
//
// Everybody who is logged in may list, watch and get vSphere Namespaces, and is
// shown those in which they have a role: by spec.access, or because they may get
// virtual machines in the Kubernetes Namespace of that name. What they may not
// see does not exist for them: a get is answered with 404. For a get the authorizer
// is asked about that one, for lists and watches a Reviewer about all. Deleting one,
// and saying
// who may what in it, takes the verb within the Kubernetes Namespace of its name,
// which is where the library looks for a resource of this name, and which the role
// Owner gives; changing what it may take of vCenter takes the verb update in the
// whole cluster. Giving somebody a role takes what RBAC asks of whoever binds it:
// the verb bind on the role, in that Namespace.
//
// A watch goes on from what its client has: the state at the version that it names, as
// far as the caller sees it now or was shown it by this process. So the end of what
// went in between is told, even where all that said that the caller may see it has
// gone too. A version out of reach is answered with 410, and the client lists anew.
//
// It knows nothing of vSphere and stands on genericregistry.Store over whatever
// storage the RESTOptionsGetter brings. Nothing here is allowed by default: with
// nobody to ask, everything is refused. Direct is for the controllers of this
// process alone, and asks nobody.
package vspherenamespace
