// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/admission"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/collector"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/policy"
)

// folder refuses what vCenter refuses. It takes no lock by itself: a move locks
// the machine before its folders, as the simulator does when it destroys one. But
// whoever starts a task holds the lock of what the task is about: the simulator
// notes the task there.
type folder struct {
	*simulator.Folder
	tracker  *collector.Tracker
	policies *policy.ProfileManager
	macs     *macAddresses
}

// Lock keeps the simulator from locking the folder for the whole call.
func (*folder) Lock() {}

// Unlock belongs to Lock.
func (*folder) Unlock() {}

func (f *folder) duplicate(name string) types.BaseMethodFault {
	if other, ok := f.tracker.ChildNamed(f.Self, name, types.ManagedObjectReference{}); ok {
		return &types.DuplicateName{Name: name, Object: other}
	}
	return nil
}

// CreateVMTask checks the name and the storage policies, and gives a machine
// identifiers that no other has.
func (f *folder) CreateVMTask(ctx *simulator.Context, req *types.CreateVM_Task) soap.HasFault {
	var body soap.HasFault
	ctx.WithLock(f.Folder, func() {
		if fault := f.duplicate(req.Config.Name); fault != nil {
			body = &methods.CreateVM_TaskBody{Res: &types.CreateVM_TaskResponse{Returnval: failed(ctx, f.Folder, "createVm",
				fault)}}
			return
		}
		if fault := unreachable(ctx, req.Config.Files); fault != nil {
			body = &methods.CreateVM_TaskBody{Res: &types.CreateVM_TaskResponse{Returnval: failed(ctx, f.Folder, "createVm",
				fault)}}
			return
		}
		if fault := admission.Create(ctx, f.Self, req); fault != nil {
			body = &methods.CreateVM_TaskBody{Res: &types.CreateVM_TaskResponse{Returnval: failed(ctx, f.Folder, "createVm",
				fault)}}
			return
		}
		if fault := f.policies.Knows(policy.ProfilesOf(&req.Config)...); fault != nil {
			body = &methods.CreateVM_TaskBody{Res: &types.CreateVM_TaskResponse{Returnval: failed(ctx, f.Folder, "createVm",
				fault)}}
			return
		}
		if id := req.Config.InstanceUuid; id == "" || f.tracker.InstanceUUIDTaken(id, types.ManagedObjectReference{}) {
			req.Config.InstanceUuid = uuid.NewString()
		}
		if req.Config.Uuid == "" {
			req.Config.Uuid = uuid.NewString()
		}
		placeAdapters(nil, req.Config.DeviceChange)
		f.macs.assign(req.Config.InstanceUuid, nil, req.Config.DeviceChange)
		allocations := types.DefaultResourceConfigSpec()
		keepAllocation(req.Config.CpuAllocation, &allocations.CpuAllocation)
		keepAllocation(req.Config.MemoryAllocation, &allocations.MemoryAllocation)
		defer f.policies.Expect(policy.Asks(&req.Config), nil)()
		body = f.Folder.CreateVMTask(ctx, req)
	})
	return body
}

// RegisterVMTask checks the name.
func (f *folder) RegisterVMTask(ctx *simulator.Context, req *types.RegisterVM_Task) soap.HasFault {
	var body soap.HasFault
	ctx.WithLock(f.Folder, func() {
		if fault := f.duplicate(req.Name); req.Name != "" && fault != nil {
			body = &methods.RegisterVM_TaskBody{Res: &types.RegisterVM_TaskResponse{Returnval: failed(ctx, f.Folder,
				"registerVM", fault)}}
			return
		}
		if fault := admission.Register(ctx, f.Self, req); fault != nil {
			body = &methods.RegisterVM_TaskBody{Res: &types.RegisterVM_TaskResponse{Returnval: failed(ctx, f.Folder,
				"registerVM", fault)}}
			return
		}
		body = f.Folder.RegisterVMTask(ctx, req)
	})
	return body
}

// RenameTask refuses a name that is taken with the fault that vCenter uses.
func (f *folder) RenameTask(ctx *simulator.Context, req *types.Rename_Task) soap.HasFault {
	task := simulator.CreateTask(f.Folder, "rename", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		if req.NewName == "" {
			return nil, &types.InvalidName{Name: req.NewName}
		}
		if fault := admission.Name(req.NewName); fault != nil {
			return nil, fault
		}
		if other, ok := f.tracker.ChildNamed(f.tracker.Parent(f.Self), req.NewName, f.Self); ok {
			return nil, &types.DuplicateName{Name: req.NewName, Object: other}
		}
		ctx.Update(f.Folder, []types.PropertyChange{{Name: "name", Val: req.NewName}})
		return nil, nil
	})
	return &methods.Rename_TaskBody{Res: &types.Rename_TaskResponse{Returnval: start(ctx, f.Folder, task)}}
}

// MoveIntoFolderTask moves machines and folders and says so; anything else is
// left to the simulator.
func (f *folder) MoveIntoFolderTask(ctx *simulator.Context, req *types.MoveIntoFolder_Task) soap.HasFault {
	objects := make([]mo.Entity, 0, len(req.List))
	for _, ref := range req.List {
		entity, ok := ctx.Map.Get(ref).(mo.Entity)
		if !ok {
			return &methods.MoveIntoFolder_TaskBody{Fault_: simulator.Fault("", &types.ManagedObjectNotFound{Obj: ref})}
		}
		if ref.Type != "VirtualMachine" && ref.Type != "Folder" {
			return f.Folder.MoveIntoFolderTask(ctx, req)
		}
		objects = append(objects, entity)
	}
	if len(objects) == 0 {
		return &methods.MoveIntoFolder_TaskBody{Fault_: simulator.Fault("", &types.InvalidArgument{InvalidProperty: "list"})}
	}
	task := simulator.CreateTask(objects[0], "moveIntoFolder", func(*simulator.Task) (types.AnyType,
		types.BaseMethodFault) {
		for _, object := range objects {
			var fault types.BaseMethodFault
			ctx.WithLock(object, func() { fault = moveInto(ctx, f.tracker, object, f.Self) })
			if fault != nil {
				return nil, fault
			}
		}
		return nil, nil
	})
	return &methods.MoveIntoFolder_TaskBody{Res: &types.MoveIntoFolder_TaskResponse{Returnval: start(ctx, objects[0],
		task)}}
}

// moveInto moves one machine or folder, whose lock the caller holds.
func moveInto(ctx *simulator.Context, t *collector.Tracker, object mo.Entity,
	target types.ManagedObjectReference) types.BaseMethodFault {
	ref := object.Reference()
	entity := object.Entity()
	to, ok := ctx.Map.Get(target).(*simulator.Folder)
	if !ok {
		return &types.ManagedObjectNotFound{Obj: target}
	}
	from, ok := ctx.Map.Get(*entity.Parent).(*simulator.Folder)
	if !ok {
		return new(types.NotSupported)
	}
	if from == to {
		return nil
	}
	for at := target; at.Value != ""; at = t.Parent(at) {
		if at == ref {
			return &types.InvalidFolder{Target: target}
		}
	}
	supported := false
	for _, kind := range to.ChildType {
		supported = supported || kind == ref.Type
	}
	if !supported {
		return new(types.NotSupported)
	}
	if other, ok := t.ChildNamed(target, entity.Name, ref); ok {
		return &types.DuplicateName{Name: entity.Name, Object: other}
	}
	ctx.Map.RemoveReference(ctx, from, &from.ChildEntity, ref)
	ctx.Map.AddReference(ctx, to, &to.ChildEntity, ref)
	ctx.Update(object, []types.PropertyChange{{Name: "parent", Val: target}})
	return nil
}

// DestroyTask destroys what is in the folder and then the folder. A machine that
// is on keeps everything in place.
func (f *folder) DestroyTask(ctx *simulator.Context, req *types.Destroy_Task) soap.HasFault {
	task := simulator.CreateTask(f.Folder, "destroy", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		if fault := f.anyRunning(ctx, f.Self); fault != nil {
			return nil, fault
		}
		return nil, f.destroyTree(ctx, f.Folder)
	})
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{Returnval: start(ctx, f.Folder, task)}}
}

func (f *folder) anyRunning(ctx *simulator.Context, ref types.ManagedObjectReference) types.BaseMethodFault {
	for _, child := range collector.Children(ctx, ref) {
		if vm, ok := ctx.Map.Get(child).(*simulator.VirtualMachine); ok {
			if f.tracker.Veiled(vm.Self) {
				return new(types.InvalidState)
			}
			var state types.VirtualMachinePowerState
			ctx.WithLock(vm, func() { state = vm.Runtime.PowerState })
			if state == types.VirtualMachinePowerStatePoweredOn {
				return &types.InvalidPowerState{RequestedState: types.VirtualMachinePowerStatePoweredOff, ExistingState: state}
			}
			continue
		}
		if fault := f.anyRunning(ctx, child); fault != nil {
			return fault
		}
	}
	return nil
}

func (f *folder) destroyTree(ctx *simulator.Context, tree *simulator.Folder) types.BaseMethodFault {
	for _, child := range collector.Children(ctx, tree.Self) {
		switch e := ctx.Map.Get(child).(type) {
		case *simulator.VirtualMachine:
			if fault := destroy(ctx, e); fault != nil {
				return fault
			}
		case *simulator.Folder:
			if fault := f.destroyTree(ctx, e); fault != nil {
				return fault
			}
		}
	}
	return destroy(ctx, tree)
}
