// SPDX-License-Identifier: Apache-2.0

// Package clustermodule is what can be done to the cluster modules of vCenter, in vCenter's nouns: groups of virtual
// machines of one cluster that DRS keeps on different hosts as far as it can.
//
// It owns the verbs, which act at vCenter's REST endpoints through the one gate. A module has no name and no parent but
// its cluster, and nobody can tell who made it: what is whose is for the caller to know. It knows no API object, and
// why something is done is not its business.
package clustermodule
