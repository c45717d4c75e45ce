// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"path"
	"slices"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// keepDisksKey names the disks that vCenter leaves when it destroys a machine that stands on them, or promotes its disks.
const keepDisksKey = "vmprov.keepDisks"

// DestroyTask takes what the machine's disks stand on with it, unless the machine says that it is to be kept: the
// simulator leaves it.
func (vm *virtualMachine) DestroyTask(ctx *simulator.Context, req *types.Destroy_Task) soap.HasFault {
	task := simulator.CreateTask(vm.VirtualMachine, "destroy", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		parents := vm.parents(nil)
		inner := vm.VirtualMachine.DestroyTask(ctx, req).(*methods.Destroy_TaskBody)
		fault := result(ctx, inner.Res.Returnval)
		if fault == nil {
			vm.deleteParents(ctx, parents)
		}
		return nil, fault
	})
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{Returnval: task.Run(ctx)}}
}

// parents are the files that disks stand on, of all disks where none is named.
func (vm *virtualMachine) parents(named []types.VirtualDisk) (files []string) {
	for _, device := range object.VirtualDeviceList(vm.Config.Hardware.Device).SelectByType((*types.VirtualDisk)(nil)) {
		disk := device.(*types.VirtualDisk)
		if len(named) > 0 && !slices.ContainsFunc(named, func(n types.VirtualDisk) bool { return n.Key == disk.Key }) {
			continue
		}
		if flat, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok {
			for flat = flat.Parent; flat != nil; flat = flat.Parent {
				files = append(files, flat.FileName)
			}
		}
	}
	return files
}

// deleteParents deletes what is not to be kept.
func (vm *virtualMachine) deleteParents(ctx *simulator.Context, files []string) {
	keep := ""
	for _, option := range vm.Config.ExtraConfig {
		if o := option.GetOptionValue(); o.Key == keepDisksKey {
			keep, _ = o.Value.(string)
		}
	}
	for _, file := range files {
		if slices.Contains(strings.Split(keep, ","), path.Base(file)) {
			continue
		}
		manager := ctx.Map.VirtualDiskManager()
		datacenter := vm.datacenter(ctx)
		body := manager.DeleteVirtualDiskTask(ctx, &types.DeleteVirtualDisk_Task{This: manager.Reference(), Name: file,
			Datacenter: datacenter})
		_ = result(ctx, body.(*methods.DeleteVirtualDisk_TaskBody).Res.Returnval)
	}
}

func (vm *virtualMachine) datacenter(ctx *simulator.Context) *types.ManagedObjectReference {
	for _, entity := range ctx.Map.All("Datacenter") {
		ref := entity.Reference()
		return &ref
	}
	return nil
}

// unchain has the machine's files be without those that its disks stood on. The caller holds its lock.
func (vm *virtualMachine) unchain(parents []string) {
	if vm.LayoutEx == nil {
		return
	}
	var gone []int32
	vm.LayoutEx.File = slices.DeleteFunc(slices.Clone(vm.LayoutEx.File), func(file types.VirtualMachineFileLayoutExFileInfo) bool {
		of := slices.ContainsFunc(parents, func(parent string) bool {
			return file.Name == parent || file.Name == simulator.VirtualDiskBackingFileName(parent)
		})
		if of {
			gone = append(gone, file.Key)
		}
		return of
	})
	for i := range vm.LayoutEx.Disk {
		vm.LayoutEx.Disk[i].Chain = slices.DeleteFunc(slices.Clone(vm.LayoutEx.Disk[i].Chain),
			func(unit types.VirtualMachineFileLayoutExDiskUnit) bool {
				return len(unit.FileKey) > 0 && slices.Contains(gone, unit.FileKey[0])
			})
	}
}
