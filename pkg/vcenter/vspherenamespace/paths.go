// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"github.com/vmware/govmomi/vim25/types"
)

const (
	pathName              = "name"
	pathParent            = "parent"
	pathTag               = "tag"
	pathOwner             = "owner"
	pathCPULimit          = "config.cpuAllocation.limit"
	pathCPUReservation    = "config.cpuAllocation.reservation"
	pathMemoryLimit       = "config.memoryAllocation.limit"
	pathMemoryReservation = "config.memoryAllocation.reservation"
	pathCPUUsage          = "runtime.cpu.overallUsage"
	pathMemoryUsage       = "runtime.memory.overallUsage"
	pathPowerState        = "runtime.powerState"
	pathTemplate          = "config.template"
	pathCommitted         = "summary.storage.committed"
	pathPool              = "resourcePool"
	pathDRS               = "configuration.drsConfig.enabled"
)

// The types of managed object that the projection is made of.
const (
	TypeVirtualMachine = "VirtualMachine"
	TypeFolder         = "Folder"
	TypeCluster        = "ClusterComputeResource"
	TypeResourcePool   = "ResourcePool"
	TypeNetwork        = "Network"
)

// The types that derive from TypeNetwork: whoever follows that one sees them too.
const (
	typePortgroup     = "DistributedVirtualPortgroup"
	typeOpaqueNetwork = "OpaqueNetwork"
)

// Paths are the properties of a VirtualMachine that the projection reads.
func Paths() []string {
	return []string{pathName, pathParent, pathPowerState, pathTemplate, pathCommitted, pathPool}
}

// FolderPaths are the properties of a Folder that the projection reads.
func FolderPaths() []string { return []string{pathName, pathParent} }

// ClusterPaths are the properties of a ClusterComputeResource that the projection reads.
func ClusterPaths() []string { return []string{pathName, pathDRS} }

// NetworkPaths are the properties of a Network that the projection reads.
func NetworkPaths() []string { return []string{pathName, pathTag} }

// ResourcePoolPaths are the properties of a ResourcePool that the projection reads.
func ResourcePoolPaths() []string {
	return []string{
		pathName, pathParent, pathOwner,
		pathCPULimit, pathCPUReservation, pathMemoryLimit, pathMemoryReservation,
		pathCPUUsage, pathMemoryUsage,
	}
}

// properties are a managed object's properties by path, as the inventory gives
// them. They are never changed.
type properties map[string]any

func (p properties) text(path string) string {
	switch v := p[path].(type) {
	case string:
		return v
	case types.VirtualMachinePowerState:
		return string(v)
	}
	return ""
}

func (p properties) ref(path string) types.ManagedObjectReference {
	switch v := p[path].(type) {
	case types.ManagedObjectReference:
		return v
	case *types.ManagedObjectReference:
		if v != nil {
			return *v
		}
	}
	return types.ManagedObjectReference{}
}

func (p properties) int64(path string) *int64 {
	switch v := p[path].(type) {
	case int64:
		return &v
	case *int64:
		return v
	}
	return nil
}

func (p properties) amount(path string) int64 {
	if v := p.int64(path); v != nil {
		return max(0, *v)
	}
	return 0
}

func (p properties) bool(path string) bool {
	switch v := p[path].(type) {
	case bool:
		return v
	case *bool:
		return v != nil && *v
	}
	return false
}
