// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds Pacific's own API types: the vSphere Namespace.
//
// +k8s:deepcopy-gen=package
// +k8s:openapi-gen=true
// +groupName=vsphere.openpacific.io
package v1alpha1
