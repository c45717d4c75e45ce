// SPDX-License-Identifier: Apache-2.0

// Package vspherenamespace keeps in step what a vSphere Namespace is in vCenter
// and in Kubernetes.
//
//	vSphere Namespace                  what the controller sees to
//	declared                           folder and pools are there; the Kubernetes Namespace has the
//	                                   annotations; each subject of spec.access has a RoleBinding
//	deletion asked for                 the Kubernetes Namespace is deleted, and with it the machines that
//	                                   Pacific made; then the folder and the pools that Pacific made go,
//	                                   where nothing lies in them; the rest is detached; then it ends
//	its Kubernetes Namespace deleted   its deletion is asked for
//
// What somebody changes by hand in what it keeps is put right at once, since the
// changes are watched. The Kubernetes Namespace itself is made by the controller
// of package namespace, as for every folder. A Kubernetes Namespace is deleted
// only when its annotation names the folder of the vSphere Namespace.
//
// It knows neither vCenter nor the store: it is given what it calls.
package vspherenamespace
