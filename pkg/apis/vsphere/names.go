// SPDX-License-Identifier: Apache-2.0

package vsphere

const (
	// FolderAnnotation names the vCenter folder of a Kubernetes Namespace by its managed-object id, as the Supervisor's
	// own does.
	FolderAnnotation = "vmware-system-vm-folder"

	// ClaimAnnotation on a Kubernetes Namespace that Pacific did not make names the folder that may be served in it, by
	// vCenter's id, type and managed-object id. It counts for a folder that is called as the Namespace is.
	ClaimAnnotation = "vsphere.openpacific.io/claim"

	// MarkAnnotation on a Kubernetes Namespace tells the one that Pacific has made from one that somebody else was quicker
	// to make.
	MarkAnnotation = "vsphere.openpacific.io/mark"

	// FolderFinalizer on a Kubernetes Namespace that Pacific has made keeps it until it is written down that its folder is
	// detached, so that no deletion is lost that nobody saw.
	FolderFinalizer = "vsphere.openpacific.io/folder"

	// SubjectPrefix stands before the names of users and groups of single sign-on in Kubernetes, so that none can be taken
	// for one of Kubernetes' own.
	SubjectPrefix = "sso:"

	// FieldManager owns what Pacific sets in objects, its own and Kubernetes'.
	FieldManager = "pacific"

	// ManagedLabel with the value ManagedBy is on the objects of Kubernetes that Pacific makes and keeps.
	ManagedLabel = "app.kubernetes.io/managed-by"
	ManagedBy    = "pacific"

	// LibraryAnnotation on an image names the content library that it lies in.
	LibraryAnnotation = "vsphere.openpacific.io/content-library"

	// TakeOverAnnotation names the installation of Pacific in whose name a record in a virtual machine was written that
	// does not count, and that a write may replace: another one's, or this one's where it is not proven.
	TakeOverAnnotation = "vsphere.openpacific.io/take-over"

	// ReclaimPolicyAnnotation says what becomes of something in vCenter that Pacific did not make when its object is
	// deleted.
	ReclaimPolicyAnnotation = "vsphere.openpacific.io/reclaim-policy"
	// ReclaimDelete: it is destroyed.
	ReclaimDelete = "Delete"
	// ReclaimRetain: it is kept, and the deletion refused. As without the annotation.
	ReclaimRetain = "Retain"
)
