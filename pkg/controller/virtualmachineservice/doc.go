// SPDX-License-Identifier: Apache-2.0

// Package virtualmachineservice has VirtualMachineServices come about in Kubernetes: each as a core Service of its name
// without a selector, and as EndpointSlices with the addresses of the machines that its labels select and that are
// ready.
//
// It owns those objects, which carry an owner reference to their VirtualMachineService: what has the name and does not
// is somebody else's and left alone. And it gives addresses to services of type LoadBalancer, out of those that an
// administrator has set aside: once, in the status, where nobody but this process writes. Where none are set aside the
// cluster may have load balancers of its own, and what those say is passed on.
//
// It knows nothing of vCenter: machines are what the API serves.
package virtualmachineservice
