// SPDX-License-Identifier: Apache-2.0

// Package storageclass keeps a StorageClass for each storage policy that is given
// to at least one vSphere Namespace.
//
//	a policy is                         its StorageClass
//	given to a vSphere Namespace        is made, once the quota of every vSphere Namespace holds it back
//	given to none any more, or gone     is removed; volumes that were made with it stay
//	renamed in vCenter                  goes: spec.storagePolicies names what vCenter does not have
//	changed by hand in Kubernetes       is put right; what cannot be changed is made anew
//
// StorageClasses belong to no namespace: what keeps one out of a namespace that it
// was not given to is a quota of nothing. Quotas are package vspherenamespace's,
// which asks here what they are to hold back, before the class is there.
//
// A StorageClass of the same name without the label app.kubernetes.io/managed-by:
// pacific is somebody else's. It is never changed or removed, and no quota counts
// it; the log says so. Annotations are nobody's business here and stay, so that an
// administrator can make one of the classes the default.
//
// Nothing happens before vCenter's policies have been read. The package knows
// neither vCenter nor the store: it is given what it calls.
package storageclass
