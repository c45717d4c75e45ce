// SPDX-License-Identifier: Apache-2.0

package realisation

import "github.com/openpacific/pacific/pkg/facts"

// What is read of a folder besides what the picture tells.
const (
	pathName   = "name"
	pathParent = "parent"
)

// The types of managed object that the projection is made of.
const (
	TypeVirtualMachine = facts.TypeMachine
	TypeFolder         = facts.TypeFolder
	TypeCluster        = facts.TypeCluster
	TypeResourcePool   = facts.TypePool
	TypeNetwork        = facts.TypeNetwork
)

// The types that derive from TypeNetwork.
const (
	typePortgroup     = "DistributedVirtualPortgroup"
	typeOpaqueNetwork = "OpaqueNetwork"
)
