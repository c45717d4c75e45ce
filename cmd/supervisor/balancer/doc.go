// SPDX-License-Identifier: Apache-2.0

// Package balancer is the network of a Supervisor on a simulated vCenter, as far as it has one: it listens on the
// addresses of the services of type LoadBalancer that lead to virtual machines, and passes each connection on to a guest
// that is ready. It goes by what Kubernetes tells, the core Services and their EndpointSlices, as kube-proxy does, and
// knows nothing of the machines.
//
// It tells the simulated guests which ports services lead to, so that they answer there.
package balancer
