// SPDX-License-Identifier: Apache-2.0

// Package placement chooses where a new virtual machine is to lie and to run: its zone, by the resource pool that it takes
// from, its datastore, and its host where vCenter does not choose one itself.
//
// It knows clusters, hosts, pools, datastores and networks from the steps of the inventory and asks vCenter nothing, so that a place
// costs no call. It depends on facts alone: what a namespace was given, and what a storage policy is satisfied by, whoever
// asks says.
package placement
