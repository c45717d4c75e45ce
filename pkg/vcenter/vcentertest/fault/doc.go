// SPDX-License-Identifier: Apache-2.0

// Package fault says which calls to the simulated vCenter go wrong, and how: rules by name, by object and by how many
// calls came before, and what calls there were at all. It decides and counts; the vCenter does what was decided. It
// depends on govmomi's types alone. Everything in it may be used at the same time.
package fault
