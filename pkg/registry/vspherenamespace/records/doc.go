// SPDX-License-Identifier: Apache-2.0

// Package records has what no folder and no pool of vCenter can carry of a vSphere Namespace: who may what,
// descriptions, Kubernetes' metadata, and what is still to be done.
//
// It owns the form of a Record, which somebody else keeps, and what it says: which zones are asked for, which are being
// left, what was there before Pacific had anything to do with it and so is never destroyed, what may have been made
// without having been written down. And it owns the division of a namespace's limits among the pools of its zones,
// whose parts add up.
package records
