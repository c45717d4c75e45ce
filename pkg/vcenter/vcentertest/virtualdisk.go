// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vmdk"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/admission"
)

// virtualDisks refuses what cannot be copied or extended, and copies the disks of content libraries too, which are in
// one file, where the simulator wants two.
type virtualDisks struct {
	*simulator.VirtualDiskManager
	files  *openFiles
	copies *copies
}

// copies are the disks, by their files, that slow tasks are copying to.
type copies struct {
	mu      sync.Mutex
	targets map[string]bool
}

// begin is false when a disk is copied there already.
func (c *copies) begin(target string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.targets[target] {
		return false
	}
	if c.targets == nil {
		c.targets = map[string]bool{}
	}
	c.targets[target] = true
	return true
}

func (c *copies) end(target string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.targets, target)
}

func (c *copies) underWay(target string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.targets[target]
}

// DeleteVirtualDiskTask leaves a disk alone that is being copied there.
func (m *virtualDisks) DeleteVirtualDiskTask(ctx *simulator.Context, req *types.DeleteVirtualDisk_Task) soap.HasFault {
	task := simulator.CreateTask(m.VirtualDiskManager, "deleteVirtualDisk", func(*simulator.Task) (types.AnyType,
		types.BaseMethodFault) {
		if local, ok := admission.LocalPath(ctx, req.Name); ok && m.copies.underWay(local) {
			return nil, &types.FileLocked{FileFault: types.FileFault{File: req.Name}}
		}
		inner := m.VirtualDiskManager.DeleteVirtualDiskTask(ctx, req).(*methods.DeleteVirtualDisk_TaskBody)
		return nil, result(ctx, inner.Res.Returnval)
	})
	return &methods.DeleteVirtualDisk_TaskBody{Res: &types.DeleteVirtualDisk_TaskResponse{Returnval: task.Run(ctx)}}
}

// source is a disk that is there, and how large it is.
func (m *virtualDisks) source(ctx *simulator.Context, name string) (local string, bytes int64,
	fault types.BaseMethodFault) {
	if fault := placed(ctx, name); fault != nil {
		return "", 0, fault
	}
	local, _ = admission.LocalPath(ctx, name)
	switch bytes, disk := admission.CapacityOf(local); {
	case !exists(local):
		return "", 0, &types.FileNotFound{FileFault: types.FileFault{File: name}}
	case m.files.open(ctx, name, types.ManagedObjectReference{}):
		return "", 0, &types.FileLocked{FileFault: types.FileFault{File: name}}
	case !disk:
		return "", 0, new(types.InvalidDiskFormat)
	default:
		return local, bytes, nil
	}
}

// placed is why there cannot be a file of a name, nil where there can.
func placed(ctx *simulator.Context, name string) types.BaseMethodFault {
	var at object.DatastorePath
	if !at.FromString(name) {
		return &types.InvalidDatastorePath{DatastorePath: name}
	}
	if _, ok := admission.LocalPath(ctx, name); !ok {
		return &types.InvalidDatastore{Name: at.Datastore}
	}
	return unreachable(ctx, &types.VirtualMachineFileInfo{VmPathName: name})
}

// CopyVirtualDiskTask needs room for the whole disk. Where there is not enough it leaves a part, as vCenter does.
func (m *virtualDisks) CopyVirtualDiskTask(ctx *simulator.Context, req *types.CopyVirtualDisk_Task) soap.HasFault {
	task := simulator.CreateTask(m.VirtualDiskManager, "copyVirtualDisk", func(*simulator.Task) (types.AnyType,
		types.BaseMethodFault) {
		from, bytes, fault := m.source(ctx, req.SourceName)
		if fault != nil {
			return nil, fault
		}
		if fault := placed(ctx, req.DestName); fault != nil {
			return nil, fault
		}
		to, _ := admission.LocalPath(ctx, req.DestName)
		switch {
		case !exists(filepath.Dir(to)):
			return nil, &types.FileNotFound{FileFault: types.FileFault{File: req.DestName}}
		case exists(to) && (req.Force == nil || !*req.Force):
			return nil, &types.FileAlreadyExists{FileFault: types.FileFault{File: req.DestName}}
		}
		if fault := room(ctx, req.DestName, bytes); fault != nil {
			leave(simulator.VirtualDiskBackingFileName(to))
			return nil, fault
		}
		if !exists(simulator.VirtualDiskBackingFileName(from)) {
			return nil, unpack(to, req.DestName, bytes)
		}
		inner := m.VirtualDiskManager.CopyVirtualDiskTask(ctx, req).(*methods.CopyVirtualDisk_TaskBody)
		return nil, result(ctx, inner.Res.Returnval)
	})
	return &methods.CopyVirtualDisk_TaskBody{Res: &types.CopyVirtualDisk_TaskResponse{Returnval: task.Run(ctx)}}
}

// ExtendVirtualDiskTask extends a disk that is one, and nobody's at the time.
func (m *virtualDisks) ExtendVirtualDiskTask(ctx *simulator.Context, req *types.ExtendVirtualDisk_Task) soap.HasFault {
	task := simulator.CreateTask(m.VirtualDiskManager, "extendVirtualDisk", func(*simulator.Task) (types.AnyType,
		types.BaseMethodFault) {
		_, bytes, fault := m.source(ctx, req.Name)
		if fault == nil {
			fault = room(ctx, req.Name, req.NewCapacityKb<<10-bytes)
		}
		if fault != nil {
			return nil, fault
		}
		inner := m.VirtualDiskManager.ExtendVirtualDiskTask(ctx, req).(*methods.ExtendVirtualDisk_TaskBody)
		return nil, result(ctx, inner.Res.Returnval)
	})
	return &methods.ExtendVirtualDisk_TaskBody{Res: &types.ExtendVirtualDisk_TaskResponse{Returnval: task.Run(ctx)}}
}

// room is why a datastore has no room, nil where it has.
func room(ctx *simulator.Context, name string, bytes int64) types.BaseMethodFault {
	var at object.DatastorePath
	at.FromString(name)
	for _, entity := range ctx.Map.All("Datastore") {
		datastore := entity.(*simulator.Datastore)
		short := false
		ctx.WithLock(datastore, func() { short = datastore.Name == at.Datastore && datastore.Summary.FreeSpace < bytes })
		if short {
			return &types.NoDiskSpace{FileFault: types.FileFault{File: name}, Datastore: at.Datastore}
		}
	}
	return nil
}

// unpack makes a disk of the two files that the simulator wants.
func unpack(local, name string, bytes int64) types.BaseMethodFault {
	flat := simulator.VirtualDiskBackingFileName(local)
	leave(flat)
	file, err := os.Create(local)
	if err == nil {
		err = vmdk.NewDescriptor(vmdk.Extent{Size: bytes / vmdk.SectorSize, Info: filepath.Base(flat)}).Write(file)
	}
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		return &types.CannotCreateFile{FileFault: types.FileFault{File: name}}
	}
	return nil
}

// PromoteDisksTask takes the parents of disks away, of all where the request names none. The simulator holds the lock
// of the machine for a second per gigabyte; how long it takes is a matter of rules here. Snapshots need the disks as
// they are.
func (vm *virtualMachine) PromoteDisksTask(ctx *simulator.Context, req *types.PromoteDisks_Task) soap.HasFault {
	task := simulator.CreateTask(vm.VirtualMachine, "promoteDisks", func(*simulator.Task) (types.AnyType,
		types.BaseMethodFault) {
		if vm.Snapshot != nil {
			return nil, new(types.InvalidState)
		}
		devices := object.VirtualDeviceList(vm.Config.Hardware.Device)
		disks := devices.SelectByType((*types.VirtualDisk)(nil))
		for i := range req.Disks {
			if disks.FindByKey(req.Disks[i].Key) == nil {
				return nil, &types.InvalidArgument{InvalidProperty: "disks"}
			}
		}
		parents := vm.parents(req.Disks)
		for _, disk := range disks {
			if device := disk.(*types.VirtualDisk); req.Unlink && len(vm.parents([]types.VirtualDisk{*device})) > 0 {
				if fault := room(ctx, ownFiles(vm.VirtualMachine)[0], device.CapacityInBytes); fault != nil {
					return nil, fault
				}
			}
		}
		for _, disk := range disks {
			named := len(req.Disks) == 0 || slices.ContainsFunc(req.Disks, func(named types.VirtualDisk) bool {
				return named.Key == disk.GetVirtualDevice().Key
			})
			if !named || !req.Unlink {
				continue
			}
			switch backing := disk.GetVirtualDevice().Backing.(type) {
			case *types.VirtualDiskFlatVer2BackingInfo:
				backing.Parent = nil
			case *types.VirtualDiskSeSparseBackingInfo:
				backing.Parent = nil
			}
		}
		if req.Unlink {
			vm.unchain(parents)
			vm.deleteParents(ctx, parents)
		}
		ctx.Update(vm.VirtualMachine, []types.PropertyChange{
			{Name: "layoutEx", Val: vm.LayoutEx}, {Name: "config.hardware.device", Val: vm.Config.Hardware.Device},
			{Name: "config.changeVersion", Val: strconv.FormatInt(time.Now().UnixNano(), 10)},
		})
		return nil, nil
	})
	return &methods.PromoteDisks_TaskBody{Res: &types.PromoteDisks_TaskResponse{Returnval: task.Run(ctx)}}
}
