// SPDX-License-Identifier: Apache-2.0

// Package virtualmachinesetresourcepolicy is the kind VirtualMachineSetResourcePolicy: what a set of virtual machines,
// such as those of a cluster of Kubernetes, have of their own in a vSphere Namespace: a folder, a resource pool in each
// zone, and groups of machines that are kept on different hosts.
//
// It owns the descriptor and the rules. There is nothing in vCenter that could carry such an object, so that it is kept
// in etcd, with its status: the only place that says which module of a cluster is for which group. What it asks for is
// made by pkg/controller/resourcepolicy, and machines are placed there by pkg/registry/virtualmachine/plan.
package virtualmachinesetresourcepolicy
