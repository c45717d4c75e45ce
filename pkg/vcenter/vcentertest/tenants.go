// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// tenants has datastores list the machines that came to use them by a change: the simulator lists those alone whose home is
// there from the start.
type tenants struct{}

// Reference implements simulator.RegisterObject.
func (tenants) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "VcentertestTenants", Value: "tenants"}
}

// PutObject implements simulator.RegisterObject.
func (tenants) PutObject(*simulator.Context, mo.Reference) {}

// RemoveObject implements simulator.RegisterObject.
func (tenants) RemoveObject(ctx *simulator.Context, ref types.ManagedObjectReference) {
	if ref.Type != "VirtualMachine" {
		return
	}
	for _, entity := range ctx.Map.All("Datastore") {
		store := entity.(*simulator.Datastore)
		ctx.WithLock(store, func() { simulator.RemoveReference(&store.Vm, ref) })
	}
}

// UpdateObject implements simulator.RegisterObject. It runs under the machine's lock.
func (tenants) UpdateObject(ctx *simulator.Context, o mo.Reference, _ []types.PropertyChange) {
	vm, ok := o.(*mo.VirtualMachine)
	if !ok || ctx.Map.Get(vm.Self) == nil {
		return
	}
	var home object.DatastorePath
	if vm.Config != nil {
		home.FromString(vm.Config.Files.VmPathName)
	}
	for _, ref := range vm.Datastore {
		// The one of its home the simulator has, or is about to have.
		if store, ok := ctx.Map.Get(ref).(*simulator.Datastore); ok && store.Name != home.Datastore {
			ctx.Map.AddReference(ctx, store, &store.Vm, vm.Self)
		}
	}
}
