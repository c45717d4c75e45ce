// SPDX-License-Identifier: Apache-2.0

// Package vspherenamespace keeps in step what a vSphere Namespace is in vCenter
// and in Kubernetes.
//
//	vSphere Namespace                  what the controller sees to
//	declared                           folder and pools are there; the Kubernetes Namespace has the
//	                                   annotations; each subject of spec.access has a RoleBinding; a
//	                                   ResourceQuota holds back what may not be stored
//	deletion asked for                 a Kubernetes Namespace that Pacific made is deleted, and with it the
//	                                   machines that Pacific made; then the folder and the pools that Pacific
//	                                   made go, where nothing lies in them; the rest is detached; from a
//	                                   Kubernetes Namespace that claims the folder goes what Pacific put in;
//	                                   then it ends
//	its Kubernetes Namespace deleted   its deletion is asked for
//
// What somebody changes by hand in what it keeps is put right at once, since the
// changes are watched. The Kubernetes Namespace itself is made by the controller
// of package namespace, as for every folder. That one says which Kubernetes
// Namespace is the one of which folder, and whether Pacific made it; annotations
// are not asked, since whoever may update a Namespace can write them. Where a folder
// is served elsewhere by now, what Pacific put into the old Namespace goes.
//
// The quota <namespace>-storagequota has an entry for each StorageClass that
// Pacific keeps. For a storage policy that the namespace was given it is the limit
// without what its virtual machines take now, since the limit counts what they take;
// for all others it is nothing, since StorageClasses belong to no namespace. It is
// not written more than once a minute for less than 64 MiB or 1 % of a limit. A
// namespace gets it before anybody has a role there, and before a StorageClass is
// made.
//
// It knows neither vCenter nor the store: it is given what it calls.
package vspherenamespace
