// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AvailabilityZone is a zone of the Supervisor: a cluster of vCenter, or several
// of one name. It is read only: it says what there is in vCenter now.
//
// +genclient
// +genclient:nonNamespaced
// +genclient:onlyVerbs=get,list,watch
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
type AvailabilityZone struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the zone is made of.
	//
	// +optional
	Spec AvailabilityZoneSpec `json:"spec,omitempty"`
	// Status is how the zone is doing.
	//
	// +optional
	Status AvailabilityZoneStatus `json:"status,omitempty"`
}

// AvailabilityZoneList is a list of availability zones.
//
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
type AvailabilityZoneList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []AvailabilityZone `json:"items"`
}

// AvailabilityZoneSpec is what a zone is made of.
type AvailabilityZoneSpec struct {
	// ClusterComputeResourceMoID is the managed-object id of the zone's cluster,
	// of the first one where there are several.
	//
	// +optional
	ClusterComputeResourceMoID string `json:"clusterComputeResourceMoId,omitempty"`
	// ClusterComputeResourceMoIDs are the managed-object ids of all clusters of
	// the zone, in order.
	//
	// +optional
	// +listType=set
	ClusterComputeResourceMoIDs []string `json:"clusterComputeResourceMoIDs,omitempty"`
	// Namespaces are the namespaces that have a resource pool in the zone, by
	// name. Everybody is shown those in which they have a role.
	//
	// +optional
	Namespaces map[string]NamespaceInfo `json:"namespaces,omitempty"`
}

// NamespaceInfo is where a namespace lies in vCenter, in one zone.
type NamespaceInfo struct {
	// PoolMoID is the managed-object id of the namespace's resource pool in the
	// zone, of the first one where there are several.
	//
	// +optional
	PoolMoID string `json:"poolMoId,omitempty"`
	// PoolMoIDs are the managed-object ids of all its resource pools in the zone.
	//
	// +optional
	// +listType=set
	PoolMoIDs []string `json:"poolMoIDs,omitempty"`
	// FolderMoID is the managed-object id of the namespace's VM folder, which is
	// the same in all zones.
	//
	// +optional
	FolderMoID string `json:"folderMoId,omitempty"`
}

// AvailabilityZoneConditionReady is true while vSphere Namespaces can have resource
// pools in the zone.
const AvailabilityZoneConditionReady = "Ready"

// AvailabilityZoneStatus is how a zone is doing.
type AvailabilityZoneStatus struct {
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Zone is a zone in which a namespace has a resource pool. It has the name of its
// AvailabilityZone and lies in the Kubernetes Namespace. It is read only: it says
// what there is in vCenter now.
//
// +genclient
// +genclient:onlyVerbs=get,list,watch
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
type Zone struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is where the namespace lies in the zone.
	//
	// +optional
	Spec ZoneSpec `json:"spec,omitempty"`
	// Status has no conditions: a Zone is there, or it is not.
	//
	// +optional
	Status ZoneStatus `json:"status,omitempty"`
}

// ZoneList is a list of zones.
//
// +k8s:deepcopy-gen:interfaces=k8s.io/apimachinery/pkg/runtime.Object
type ZoneList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Zone `json:"items"`
}

// ZoneSpec is where a namespace lies in a zone.
type ZoneSpec struct {
	// Namespace is where the namespace itself lies.
	//
	// +optional
	Namespace VSphereEntityInfo `json:"namespace,omitempty"`
	// VSpherePods is where its pods lie that are virtual machines. There are none
	// yet: it is empty.
	//
	// +optional
	VSpherePods VSphereEntityInfo `json:"vSpherePods,omitempty"`
	// ManagedVMs is where its virtual machines lie: the namespace's own folder and
	// resource pools.
	//
	// +optional
	ManagedVMs VSphereEntityInfo `json:"managedVMs,omitempty"`
	// AvailabilityZone is the zone of the Supervisor that this is a part of.
	AvailabilityZone AvailabilityZoneReference `json:"availabilityZoneReference"`
}

// VSphereEntityInfo is a place in vCenter.
type VSphereEntityInfo struct {
	// PoolMoIDs are the managed-object ids of resource pools.
	//
	// +optional
	// +listType=set
	PoolMoIDs []string `json:"poolMoIDs,omitempty"`
	// FolderMoID is the managed-object id of a VM folder.
	//
	// +optional
	FolderMoID string `json:"folderMoID,omitempty"`
}

// AvailabilityZoneReference names an AvailabilityZone.
type AvailabilityZoneReference struct {
	// APIVersion is the group and version of the AvailabilityZone.
	APIVersion string `json:"apiVersion"`
	// Name is its name.
	Name string `json:"name"`
}

// ZoneStatus is how a zone is doing.
type ZoneStatus struct {
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
