// SPDX-License-Identifier: Apache-2.0

// Package memory has a simulated vCenter remember: what it holds is in a file as soon as it is done, and there again in
// the next process.
//
// A Store is that file, a bbolt database. One transaction holds what one act has changed, so that an act is there whole
// or not at all. A Recorder hears what changes in a registry and writes it at the end of each act, when it is told: an
// object, its own parts that govmomi keeps to itself, and what companions keep beside it are one record. Lists that
// follow from what objects say of themselves, such as the machines of a host, are not kept but made again, so that they
// cannot disagree. What tells a folder's children is their parent, a pool's and a host's machines are told by the
// machines.
//
// Writes are not forced to the disk: what is written survives the death of the process at any moment, and not always the
// loss of power. Tasks and sessions are not remembered, as a vCenter that starts has none; identifiers go on where they
// ended, with room for those that may have been given away and not written.
//
// It depends on govmomi and bbolt, and knows nothing of the rest of vcentertest.
package memory
