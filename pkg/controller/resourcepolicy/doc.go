// SPDX-License-Identifier: Apache-2.0

// Package resourcepolicy makes in vCenter what VirtualMachineSetResourcePolicies ask for, and takes it away again: a
// folder in the namespace's, a resource pool in that of each zone, and a cluster module for each group of machines.
//
// It works on all policies of a namespace at once, since two of them may name the same folder. What it has made stands
// in a record, and that it is about to make it stands there before: so whoever comes after a death knows what is
// Pacific's. What has a name that a policy asks for and is in no record is somebody else's: machines are placed there,
// and it is neither changed nor destroyed. What Pacific made goes when no policy asks for it and nothing lies in it. A
// module has no name: one that was about to be made is known again because it is new in its cluster and nothing is in
// it.
//
// It knows neither govmomi nor how policies are kept; what it needs of both it declares. Who wants to place a machine
// by a policy asks Use.
package resourcepolicy
