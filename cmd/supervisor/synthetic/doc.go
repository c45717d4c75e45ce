// SPDX-License-Identifier: Apache-2.0

// Package synthetic is an inventory of as many virtual machines as one likes, at the seam where otherwise the inventory
// collector of a vCenter sits: no simulator holds ten thousand machines and stays quick. It hands over a full set, then
// changes, as they are asked for on a Unix socket. What it hands over are the property values that govmomi would have
// decoded, with the memory that they would take: nothing is shared between two machines.
//
// It is for benchmarks. It knows neither the API server nor how the benchmark measures.
package synthetic
