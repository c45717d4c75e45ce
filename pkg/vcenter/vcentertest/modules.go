// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/clustermodule"
)

// ClusterModules are the groups of machines that DRS keeps apart.
func (v *VCenter) ClusterModules() *clustermodule.Modules { return v.rest.modules }

// moduleInventory is what there is, for cluster modules.
type moduleInventory struct{ vcenter *VCenter }

// IsCluster implements clustermodule.Inventory.
func (i moduleInventory) IsCluster(id string) bool {
	return i.vcenter.service.Context.Map.Get(types.ManagedObjectReference{Type: "ClusterComputeResource", Value: id}) != nil
}

// ClusterOf implements clustermodule.Inventory.
func (i moduleInventory) ClusterOf(machine string) (cluster string) {
	ctx := i.vcenter.inProcess()
	vm, ok := ctx.Map.Get(types.ManagedObjectReference{Type: "VirtualMachine", Value: machine}).(*simulator.VirtualMachine)
	if !ok {
		return ""
	}
	ctx.WithLock(vm, func() {
		if host, ok := ctx.Map.Get(*vm.Runtime.Host).(*simulator.HostSystem); ok && host.Parent != nil {
			cluster = host.Parent.Value
		}
	})
	return cluster
}
