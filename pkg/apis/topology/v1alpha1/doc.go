// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds the API types that tell in which zones there is
// something: AvailabilityZone for the whole Supervisor, Zone for one namespace.
//
// The JSON is the one that clients of a Supervisor know, such as Cluster API
// Provider vSphere and vm-operator. The names of the fields are spelled as
// there, which is why one field ends in MoId and the next in MoIDs.
//
// +k8s:deepcopy-gen=package
// +k8s:openapi-gen=true
// +groupName=topology.tanzu.vmware.com
package v1alpha1
