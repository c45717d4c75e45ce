// SPDX-License-Identifier: Apache-2.0

// Package namespace says under which names the folders of vCenter are served, keeps
// a Kubernetes Namespace for each, and detaches the folder of a Namespace that
// somebody deletes.
//
// A folder is served under a name only once it has been granted it. A Namespace
// that is there already may be somebody else's, with all that runs in it; so a name
// is granted
//
//	where there is no Namespace of it         ──▶ Pacific makes it, for this folder, and writes that down
//	where Pacific made it for this folder     ──▶ told by what is written down and by the Namespace's uid
//	where the Namespace claims the folder     ──▶ by the annotation with the folder's id; and the folder
//	                                              must be called as the Namespace is
//
// and else the next name is tried, which has a hash of the folder's id. A folder
// stays under the name that it has as long as that is one of those it may have; one
// that was renamed in vCenter goes over at once when its new name is granted.
//
//	Namespace of a folder terminating         ──▶ detach the folder: what Pacific did not make is no longer
//	                                              served, so that the deletion can finish; vCenter keeps it
//	detached folder, Namespace that claims it ──▶ attach it again
//	no folder, Namespace                      ──▶ nothing: what else lies in the Namespace is not ours to delete
//
// What Pacific made has a finalizer, so that it is not gone before the folder is
// detached, whether anybody watches or not; one in which no folder is served is let
// go at once.
//
// A name can be reserved for a folder that is yet to be made or to be moved: then
// its Namespace is made first.
//
// It knows folders by their ids only, and depends on neither govmomi nor the API of
// virtual machines.
package namespace
