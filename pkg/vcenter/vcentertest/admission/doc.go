// SPDX-License-Identifier: Apache-2.0

// Package admission is what the simulated vCenter looks at before it begins to make or to change a virtual machine. It
// answers with the fault that vCenter has for a request, and leaves everything as it is.
//
// govmomi's simulator looks at little, and late: on a name that it does not find it ends the whole process, since its
// tasks run in goroutines of their own, and of a change that it refuses it keeps what came before.
//
// The package owns what can be told from a request and the inventory. It does not act, and knows neither names that are
// taken nor storage policies, which the trackers of those know. It depends on govmomi alone. Its functions are called
// while nothing else changes the inventory.
package admission
