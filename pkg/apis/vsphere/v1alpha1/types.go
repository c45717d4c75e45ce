// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Namespace is a vSphere Namespace: a VM folder and a resource pool in each zone, with the limits, the storage, the images and the people that belong to
// them. It has the name of the Kubernetes Namespace in which its virtual
// machines are served.
//
// +genclient
// +genclient:nonNamespaced
// +genclient:noStatus
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
type Namespace struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what was asked for. What lies in vCenter, such as the limits of
	// the resource pools, is read from there and shows what a VI admin set.
	//
	// +optional
	Spec NamespaceSpec `json:"spec,omitempty"`
	// Status is what is.
	//
	// +optional
	Status NamespaceStatus `json:"status,omitempty"`
}

// NamespaceList is a list of vSphere Namespaces.
//
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
type NamespaceList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Namespace `json:"items"`
}

// NamespaceSpec is what is asked of a vSphere Namespace.
type NamespaceSpec struct {
	// Description is for people.
	//
	// +optional
	Description string `json:"description,omitempty"`
	// Folder is the managed-object id of an existing VM folder of the same name
	// to take over: one whose Kubernetes Namespace was deleted, or any other of
	// the datacenter, which is moved into the namespaces folder with all that
	// lies in it. It stays when the namespace is deleted. Empty: a folder of that
	// name is made, and one that is there already is not taken. It cannot be
	// changed.
	//
	// +optional
	Folder string `json:"folder,omitempty"`
	// ResourcePools are the managed-object ids of existing resource pools to take
	// over, at most one in each zone, with all that runs in them: their limits
	// become the namespace's. They stay when the namespace is deleted. A zone in
	// which none is named gets a resource pool of the namespace's name; one of
	// that name which is there already is not taken. Ids may be added, and none
	// taken out.
	//
	// +optional
	// +listType=set
	ResourcePools []string `json:"resourcePools,omitempty"`
	// Zones are the names of the zones in which the namespace has a resource
	// pool. Empty at creation: all zones that there are. Later, empty is as it
	// was: a namespace keeps a zone.
	//
	// +optional
	// +listType=set
	Zones []string `json:"zones,omitempty"`
	// Resources are shared out evenly over the zones, as limits and
	// reservations of the resource pools. What is shown are the pools: also what
	// a VI admin sets in the vSphere Client.
	//
	// +optional
	Resources NamespaceResources `json:"resources,omitempty"`
	// StoragePolicies are the storage policies that may be used, each with a
	// limit.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	StoragePolicies []NamespaceStoragePolicy `json:"storagePolicies,omitempty"`
	// VirtualMachineClasses are the names of the classes that may be used.
	//
	// +optional
	// +listType=set
	VirtualMachineClasses []string `json:"virtualMachineClasses,omitempty"`
	// ContentLibraries are the names of the content libraries whose images may
	// be used.
	//
	// +optional
	// +listType=set
	ContentLibraries []string `json:"contentLibraries,omitempty"`
	// Networks are the names of the networks that may be used.
	//
	// +optional
	// +listType=set
	Networks []string `json:"networks,omitempty"`
	// Access says who may do what.
	//
	// +optional
	// +listType=atomic
	Access []NamespaceAccess `json:"access,omitempty"`
}

// NamespaceResources are limits and reservations. Empty: none.
type NamespaceResources struct {
	// CPULimitMHz limits what all machines together may take, in MHz.
	//
	// +optional
	CPULimitMHz *int64 `json:"cpuLimitMHz,omitempty"`
	// CPUReservationMHz is kept for them, in MHz.
	//
	// +optional
	CPUReservationMHz *int64 `json:"cpuReservationMHz,omitempty"`
	// MemoryLimit limits what all machines together may take; whole mebibytes.
	//
	// +optional
	MemoryLimit *resource.Quantity `json:"memoryLimit,omitempty"`
	// MemoryReservation is kept for them; whole mebibytes.
	//
	// +optional
	MemoryReservation *resource.Quantity `json:"memoryReservation,omitempty"`
}

// NamespaceStoragePolicy allows the use of a storage policy.
type NamespaceStoragePolicy struct {
	// Name of the storage policy in vCenter.
	Name string `json:"name"`
	// Limit is how much space may be taken with it. Empty: no limit.
	//
	// +optional
	Limit *resource.Quantity `json:"limit,omitempty"`
}

// SubjectKind is a kind of subject.
//
// +enum
type SubjectKind string

// The kinds of subject.
const (
	SubjectUser  SubjectKind = "User"
	SubjectGroup SubjectKind = "Group"
)

// Role is what somebody may do in a vSphere Namespace.
//
// +enum
type Role string

// The roles, each more than the one before: View reads, Edit writes, Owner may
// also delete the namespace and say who may what. What the namespace may take of
// vCenter is not theirs to say.
const (
	RoleView  Role = "View"
	RoleEdit  Role = "Edit"
	RoleOwner Role = "Owner"
)

// ClusterRoleName is the name of the ClusterRole that stands for the role; "" when
// there is none.
func (r Role) ClusterRoleName() string {
	switch r {
	case RoleView:
		return "pacific:view"
	case RoleEdit:
		return "pacific:edit"
	case RoleOwner:
		return "pacific:owner"
	}
	return ""
}

// NamespaceAccess gives a role to a user or a group.
type NamespaceAccess struct {
	Kind SubjectKind `json:"kind"`
	// Name of the user or group in vCenter single sign-on: name@domain.
	Name string `json:"name"`
	Role Role   `json:"role"`
}

// NamespacePhase is a summary.
//
// +enum
type NamespacePhase string

// The phases.
const (
	NamespacePending     NamespacePhase = "Pending"
	NamespaceRunning     NamespacePhase = "Running"
	NamespaceTerminating NamespacePhase = "Terminating"
)

// The types of condition.
const (
	// NamespaceConditionReady is true while folder and resource pools are there
	// as declared.
	NamespaceConditionReady = "Ready"
	// NamespaceConditionNamed is there only when false: the namespace does not
	// have the name of its folder, and the message says why and what helps.
	NamespaceConditionNamed = "Named"
	// NamespaceConditionLibraries is there only when false: a content library of
	// the spec does not count, and the message says which, why and what helps.
	NamespaceConditionLibraries = "ContentLibraries"
)

// NamespaceFinalizer is on every vSphere Namespace. It stands for what Pacific
// made for it, in vCenter and in Kubernetes.
const NamespaceFinalizer = "vsphere.openpacific.io/namespace"

// NamespaceStatus is what is.
type NamespaceStatus struct {
	// +optional
	Phase NamespacePhase `json:"phase,omitempty"`
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Folder is the managed-object id of the VM folder.
	//
	// +optional
	Folder string `json:"folder,omitempty"`
	// Zones are the resource pools.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	Zones []NamespaceZoneStatus `json:"zones,omitempty"`
	// ContentLibraries are those of spec.contentLibraries that count: for each
	// name the library that had it when the name was put into the spec. Another
	// one of the same name does not count.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	ContentLibraries []NamespaceContentLibrary `json:"contentLibraries,omitempty"`
	// Usage is what is taken now.
	//
	// +optional
	Usage NamespaceUsage `json:"usage,omitempty"`
}

// NamespaceContentLibrary is a content library that may be used.
type NamespaceContentLibrary struct {
	Name string `json:"name"`
	// ID is its identifier in vCenter.
	ID string `json:"id"`
}

// NamespaceZoneStatus is the part of a vSphere Namespace in one zone.
type NamespaceZoneStatus struct {
	Name string `json:"name"`
	// ResourcePool is the managed-object id of the resource pool.
	//
	// +optional
	ResourcePool string `json:"resourcePool,omitempty"`
	// Leaving: the zone is not asked for any more. It goes from here once none of
	// the namespace's virtual machines is in its resource pool, which keeps its
	// limits until then.
	//
	// +optional
	Leaving bool `json:"leaving,omitempty"`
}

// NamespaceUsage is what the virtual machines of a vSphere Namespace take now.
type NamespaceUsage struct {
	// CPUMHz is the CPU in use, in MHz, rounded. Like the memory and the storage
	// it is looked at every so often: not each change of a usage is an event.
	//
	// +optional
	CPUMHz int64 `json:"cpuMHz,omitempty"`
	// Memory in use by the machines on their hosts.
	//
	// +optional
	Memory *resource.Quantity `json:"memory,omitempty"`
	// Storage is the space taken, by storage policy; machines without one count
	// under the empty name.
	//
	// +optional
	// +listType=map
	// +listMapKey=policy
	Storage []NamespaceStorageUsage `json:"storage,omitempty"`
	// VirtualMachines in the namespace.
	//
	// +optional
	VirtualMachines int32 `json:"virtualMachines,omitempty"`
	// PoweredOn are those of them that are on.
	//
	// +optional
	PoweredOn int32 `json:"poweredOn,omitempty"`
}

// NamespaceStorageUsage is the space taken with one storage policy.
type NamespaceStorageUsage struct {
	Policy string            `json:"policy"`
	Used   resource.Quantity `json:"used"`
}
