// SPDX-License-Identifier: Apache-2.0

// Package facts has what is known of the things in vCenter, as plain Go: what
// they are, not where they were read nor how they are served.
//
// It is the language between those who read and act in vCenter and those who
// make Kubernetes' objects of it. So it depends on the standard library alone:
// neither on govmomi, nor on Kubernetes, nor on any package of ours.
package facts
