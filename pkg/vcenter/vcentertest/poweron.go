// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/admission"
)

// openFiles are the disks of machines that are on, by their file.
type openFiles struct {
	mu sync.Mutex
	by map[string]types.ManagedObjectReference
}

func newOpenFiles() *openFiles { return &openFiles{by: map[string]types.ManagedObjectReference{}} }

// open is whether another machine that is on has a file.
func (o *openFiles) open(ctx *simulator.Context, file string, except types.ManagedObjectReference) bool {
	o.mu.Lock()
	owner, found := o.by[file]
	o.mu.Unlock()
	vm, exists := ctx.Map.Get(owner).(*simulator.VirtualMachine)
	if !found || !exists || owner == except {
		return false
	}
	has := false
	ctx.WithLock(vm, func() {
		has = vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
		if has {
			has = false
			for _, name := range ownFiles(vm) {
				has = has || name == file
			}
		}
	})
	return has
}

func (o *openFiles) take(vm *simulator.VirtualMachine) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, file := range ownFiles(vm) {
		o.by[file] = vm.Self
	}
}

// ownFiles are the disks that a machine has for itself. The caller holds its lock.
func ownFiles(vm *simulator.VirtualMachine) (files []string) {
	for _, device := range vm.Config.Hardware.Device {
		disk, ok := device.(*types.VirtualDisk)
		if !ok {
			continue
		}
		if flat, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok &&
			flat.Sharing == string(types.VirtualDiskSharingSharingMultiWriter) {
			continue
		}
		if backing, ok := disk.Backing.(types.BaseVirtualDeviceFileBackingInfo); ok {
			files = append(files, backing.GetVirtualDeviceFileBackingInfo().FileName)
		}
	}
	return files
}

// admit is why a machine cannot be powered on, nil when it can. Where its host cannot run it and DRS is on, it gets
// another one. The caller holds its lock.
func (vm *virtualMachine) admit(ctx *simulator.Context) types.BaseMethodFault {
	if vm.Config.Template || vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
		return nil // which the simulator refuses
	}
	for _, file := range ownFiles(vm.VirtualMachine) {
		if vm.files.open(ctx, file, vm.Self) {
			return &types.FileLocked{FileFault: types.FileFault{File: file}}
		}
	}
	host, ok := ctx.Map.Get(*vm.Runtime.Host).(*simulator.HostSystem)
	if ok && !admission.Ready(host) {
		if fault := vm.moveHost(ctx, host); fault != nil {
			return fault
		}
	}
	vm.files.take(vm.VirtualMachine)
	return nil
}

func (vm *virtualMachine) moveHost(ctx *simulator.Context, from *simulator.HostSystem) types.BaseMethodFault {
	owner, ok := ctx.Map.Get(*from.Parent).(*simulator.ClusterComputeResource)
	if !ok || !balances(owner) || vm.ResourcePool == nil {
		if from.Runtime.InMaintenanceMode {
			return new(types.InvalidState)
		}
		return new(types.HostNotConnected)
	}
	to, fault := admission.Host(ctx, *vm.ResourcePool, vm.Datastore)
	if fault != nil {
		return fault
	}
	ctx.Update(vm.VirtualMachine, []types.PropertyChange{
		{Name: "runtime.host", Val: &to.Self}, {Name: "summary.runtime.host", Val: &to.Self},
	})
	relist(ctx, vm.Self, &from.Self, &to.Self)
	return nil
}
