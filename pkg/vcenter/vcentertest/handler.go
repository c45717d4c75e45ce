// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/admission"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/collector"
)

// tighten puts this package's managed objects in the place of the simulator's.
//
// The property collector is registered over the original. The others cannot be:
// the simulator asserts its own types in many places, in goroutines, so a
// wrapper in the registry would end the process. They are chosen call by call
// instead, see override.
func (v *VCenter) tighten(registry *simulator.Registry) {
	v.tracker.Register(registry)
	registry.AddHandler(v.gate)
	registry.AddHandler(v.sleepers)
	registry.AddHandler(v.servers)
	registry.AddHandler(uplinks{})
	registry.AddHandler(&endings{macs: v.macs, policies: v.policies, gate: v.gate})
	registry.AddHandler(tenants{})
	registry.AddHandler(lastResort{})
}

// override answers a call with an object of ours where one of its methods is
// stricter. The simulator prefers an object of the session's registry over any
// other, and hands out a copy of the session for each call: so the wrapper is
// all that the call's copy of the session knows.
func (v *VCenter) override(ctx *simulator.Context, method *simulator.Method, call *arrival) (mo.Reference,
	types.BaseMethodFault) {
	if method.Name == "LoginByToken" {
		// The simulator takes any assertion that names somebody.
		if _, ok := v.directory.IssuedTo(ctx.Header); !ok {
			return nil, new(types.InvalidLogin)
		}
	}
	if ctx.Session == nil {
		return nil, nil
	}
	if v.tracker.Hides(ctx, method.This) {
		return nil, &types.NoPermission{Object: &method.This, PrivilegeId: "System.View"}
	}
	if v.tracker.Veiled(method.This) && needsFiles(method.Name) {
		return nil, new(types.InvalidState)
	}
	tellLastEvent(ctx, method.Body)
	if changes(method.Name) {
		if fault := admission.References(ctx, method.Body); fault != nil {
			return nil, fault
		}
	}
	object := ctx.Map.Get(method.This)
	wrapper := v.stricter(ctx, object, method.Name)
	if busy, found := v.busy(ctx, object, call); found && changes(method.Name) {
		why := &types.TaskInProgress{Task: busy}
		if !hasTask(method.Name) {
			return nil, why
		}
		v.refuseByTask(ctx, method, why)
		return nil, nil
	}
	if object != nil && hasTask(method.Name) && call.rule != nil && ofTask(call.rule.Shape) {
		handler := wrapper
		if handler == nil {
			handler = object
		}
		if implemented(handler, method.Name).IsValid() {
			v.byTask(ctx, method, handler, call.rule)
			return nil, nil
		}
	}
	if wrapper == nil {
		return nil, nil
	}
	only := simulator.NewRegistry()
	ctx.WithLock(method.This, func() { only.Put(wrapper) })
	ctx.Session.Registry = only
	return nil, nil
}

// busy is a task that is at work on the machine that a call is made of, or was when the call came.
func (v *VCenter) busy(ctx *simulator.Context, object mo.Reference, call *arrival) (types.ManagedObjectReference,
	bool) {
	vm, ok := object.(*simulator.VirtualMachine)
	if !ok {
		return types.ManagedObjectReference{}, false
	}
	task, found := v.tasks.On(vm.Self)
	if !found && call.overlaps {
		found = true
		ctx.WithLock(vm, func() {
			if n := len(vm.RecentTask); n > 0 {
				task = vm.RecentTask[n-1]
			}
		})
	}
	return task, found
}

// stricter is an object of this package that has a method in place of the simulator's, nil where the simulator's will
// do.
func (v *VCenter) stricter(ctx *simulator.Context, object mo.Reference, method string) mo.Reference {
	switch object := object.(type) {
	case *simulator.VirtualMachine:
		switch method {
		case "ReconfigVM_Task", "Rename_Task", "CloneVM_Task", "RelocateVM_Task", "ShutdownGuest", "StandbyGuest", "RebootGuest",
			"PowerOnVM_Task", "PowerOffVM_Task", "SuspendVM_Task", "AnswerVM", "ResetVM_Task", "AcquireTicket",
			"RevertToCurrentSnapshot_Task",
			"MarkAsTemplate", "MarkAsVirtualMachine", "PromoteDisks_Task", "CustomizeVM_Task", "Destroy_Task":
			return &virtualMachine{VirtualMachine: object, tracker: v.tracker, policies: v.policies, questions: v.questions,
				gate: v.gate, guests: v.sleepers, macs: v.macs, files: v.files}
		}
	case *simulator.VirtualMachineSnapshot:
		switch method {
		case "RevertToSnapshot_Task", "RemoveSnapshot_Task":
			return &snapshot{VirtualMachineSnapshot: object}
		}
	case *simulator.Folder:
		switch method {
		case "CreateVM_Task", "RegisterVM_Task", "MoveIntoFolder_Task", "Rename_Task", "Destroy_Task",
			"UnregisterAndDestroy_Task":
			return &folder{Folder: object, tracker: v.tracker, policies: v.policies, macs: v.macs}
		}
	case *simulator.ResourcePool:
		switch method {
		case "UpdateConfig", "CreateResourcePool":
			return &resourcePool{ResourcePool: object, tracker: v.tracker}
		}
	case *simulator.ClusterComputeResource:
		if method == "ReconfigureComputeResource_Task" {
			return &cluster{ClusterComputeResource: object}
		}
	case *simulator.AuthorizationManager:
		switch method {
		case "SetEntityPermissions", "RemoveEntityPermission":
			return &authorizationManager{AuthorizationManager: object, tracker: v.tracker}
		}
	case *simulator.VirtualDiskManager:
		switch method {
		case "CopyVirtualDisk_Task", "DeleteVirtualDisk_Task", "ExtendVirtualDisk_Task":
			return &virtualDisks{VirtualDiskManager: object, files: v.files, copies: &v.copies}
		}
	case *simulator.FileManager:
		if method == "MakeDirectory" {
			return &fileManager{FileManager: object}
		}
	case *simulator.Task:
		if method == "CancelTask" {
			return &taskControl{Task: object, tasks: v.tasks}
		}
	case *simulator.SearchIndex:
		if method == "FindByInventoryPath" {
			return &searchIndex{SearchIndex: object, tracker: v.tracker}
		}
	case *simulator.ViewManager:
		if method == "CreateContainerView" {
			return &collector.ViewManager{ViewManager: object, Session: ctx.Session.Registry}
		}
	}
	return nil
}

// failed is a task that ends with a fault.
func failed(ctx *simulator.Context, e mo.Reference, name string,
	fault types.BaseMethodFault) types.ManagedObjectReference {
	return simulator.CreateTask(e, name, func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		return nil, fault
	}).Run(ctx)
}

// start runs a task under the lock of what it is about, which the task takes over.
func start(ctx *simulator.Context, about mo.Reference, task *simulator.Task) (ref types.ManagedObjectReference) {
	ctx.WithLock(about, func() { ref = task.Run(ctx) })
	return ref
}

// destroy destroys something the simulator's way and waits for that.
func destroy(ctx *simulator.Context, e destroyable) types.BaseMethodFault {
	var task types.ManagedObjectReference
	ctx.WithLock(e, func() {
		task = e.DestroyTask(ctx, &types.Destroy_Task{This: e.Reference()}).(*methods.Destroy_TaskBody).Res.Returnval
	})
	return result(ctx, task)
}

type destroyable interface {
	mo.Reference
	DestroyTask(*simulator.Context, *types.Destroy_Task) soap.HasFault
}

// result waits for a task of the simulator's.
func result(ctx *simulator.Context, ref types.ManagedObjectReference) types.BaseMethodFault {
	task := ctx.Map.Get(ref).(*simulator.Task)
	task.Wait()
	var fault types.BaseMethodFault
	ctx.WithLock(task, func() {
		if task.Info.Error != nil {
			fault = task.Info.Error.Fault
		}
	})
	return fault
}
