// SPDX-License-Identifier: Apache-2.0

// Package clustermodule is the REST endpoint of a simulated vCenter for cluster modules: groups of machines of one
// cluster that DRS keeps apart. A member leaves with its machine, or with the machine's move to another cluster.
//
// govmomi has a simulator of its own for them, which looks at no session, keeps members that are gone, and logs in to its
// own vCenter to look at a machine. The package depends on nothing; what there is in the inventory it asks for.
package clustermodule
