// SPDX-License-Identifier: Apache-2.0

// Package virtualmachineservice is the kind VirtualMachineService: one address for the virtual machines of a namespace
// that have certain labels.
//
// It owns the descriptor and the rules. Nothing in vCenter is such a thing, so that it is kept in etcd, with the address
// that it was given. It comes about as a core Service with EndpointSlices, which pkg/controller/virtualmachineservice
// makes.
package virtualmachineservice
