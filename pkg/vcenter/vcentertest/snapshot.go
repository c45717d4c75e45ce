// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

// snapshot brings its machine back, of which the simulator moves a pointer only.
// Its methods run under the machine's lock and not under one of its own.
type snapshot struct {
	*simulator.VirtualMachineSnapshot
}

// Lock keeps the simulator from locking the snapshot for the whole call.
func (*snapshot) Lock() {}

// Unlock belongs to Lock.
func (*snapshot) Unlock() {}

// RevertToSnapshotTask puts the machine's configuration, extraConfig included, and
// its power state back to what they were.
func (s *snapshot) RevertToSnapshotTask(ctx *simulator.Context, req *types.RevertToSnapshot_Task) soap.HasFault {
	vm := ctx.Map.Get(s.Vm).(*simulator.VirtualMachine)
	return &methods.RevertToSnapshot_TaskBody{Res: &types.RevertToSnapshot_TaskResponse{
		Returnval: revert(ctx, vm, s.VirtualMachineSnapshot, "revertToSnapshot",
			req.SuppressPowerOn != nil && *req.SuppressPowerOn),
	}}
}

// RemoveSnapshotTask leaves no snapshot current when that was the first one and those that were made after it stay.
func (s *snapshot) RemoveSnapshotTask(ctx *simulator.Context, req *types.RemoveSnapshot_Task) (body soap.HasFault) {
	vm := ctx.Map.Get(s.Vm).(*simulator.VirtualMachine)
	ctx.WithLock(vm, func() {
		if info := vm.Snapshot; info != nil && info.CurrentSnapshot != nil && *info.CurrentSnapshot == s.Self {
			for _, root := range info.RootSnapshotList {
				if root.Snapshot == s.Self {
					info.CurrentSnapshot = nil
				}
			}
		}
		body = s.VirtualMachineSnapshot.RemoveSnapshotTask(ctx, req)
	})
	return body
}

// RevertToCurrentSnapshotTask does the same as reverting to the snapshot by name.
func (vm *virtualMachine) RevertToCurrentSnapshotTask(ctx *simulator.Context,
	req *types.RevertToCurrentSnapshot_Task) soap.HasFault {
	body := new(methods.RevertToCurrentSnapshot_TaskBody)
	if vm.Snapshot == nil || vm.Snapshot.CurrentSnapshot == nil {
		body.Fault_ = simulator.Fault("snapshot not found", new(types.NotFound))
		return body
	}
	current := ctx.Map.Get(*vm.Snapshot.CurrentSnapshot).(*simulator.VirtualMachineSnapshot)
	body.Res = &types.RevertToCurrentSnapshot_TaskResponse{
		Returnval: revert(ctx, vm.VirtualMachine, current, "revertSnapshot",
			req.SuppressPowerOn != nil && *req.SuppressPowerOn),
	}
	return body
}

func revert(ctx *simulator.Context, vm *simulator.VirtualMachine, s *simulator.VirtualMachineSnapshot, name string,
	suppressPowerOn bool) types.ManagedObjectReference {
	task := simulator.CreateTask(vm, name, func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		inner := s.RevertToSnapshotTask(ctx, &types.RevertToSnapshot_Task{This: s.Self}).(*methods.RevertToSnapshot_TaskBody)
		if fault := result(ctx, inner.Res.Returnval); fault != nil {
			return nil, fault
		}
		restored, err := configOf(s)
		if err != nil {
			return nil, &types.SystemErrorFault{Reason: err.Error()}
		}
		state := types.VirtualMachinePowerStatePoweredOff
		if vm.Snapshot != nil && !suppressPowerOn {
			if at := inTree(vm.Snapshot.RootSnapshotList, s.Self); at != nil {
				state = at.State
			}
		}
		now := vm.Config
		restored.Name, restored.InstanceUuid, restored.Uuid, restored.Files = now.Name, now.InstanceUuid, now.Uuid, now.Files
		restored.Template, restored.CreateDate = now.Template, now.CreateDate
		restored.Modified, restored.ChangeVersion = time.Now(), strconv.FormatInt(time.Now().UnixNano(), 10)
		changes := []types.PropertyChange{
			{Name: "config", Val: restored},
			{Name: "summary.config.numCpu", Val: restored.Hardware.NumCPU},
			{Name: "summary.config.memorySizeMB", Val: restored.Hardware.MemoryMB},
			{Name: "summary.config.annotation", Val: restored.Annotation},
			{Name: "summary.config.guestId", Val: restored.GuestId},
		}
		if vm.Runtime.PowerState != state {
			changes = append(changes, types.PropertyChange{Name: "runtime.powerState", Val: state},
				types.PropertyChange{Name: "summary.runtime.powerState", Val: state})
		}
		ctx.Update(vm, changes)
		return nil, nil
	})
	return start(ctx, vm, task)
}

// configOf is a copy of the configuration that a snapshot holds.
func configOf(s *simulator.VirtualMachineSnapshot) (*types.VirtualMachineConfigInfo, error) {
	var text bytes.Buffer
	restored := new(types.VirtualMachineConfigInfo)
	if err := xml.NewEncoder(&text).Encode(&s.Config); err != nil {
		return nil, fmt.Errorf("copy the configuration of a snapshot: %w", err)
	}
	decoder := xml.NewDecoder(&text)
	decoder.TypeFunc = types.TypeFunc()
	if err := decoder.Decode(restored); err != nil {
		return nil, fmt.Errorf("copy the configuration of a snapshot: %w", err)
	}
	return restored, nil
}

// inTree finds a snapshot, nil when it is not there.
func inTree(tree []types.VirtualMachineSnapshotTree,
	ref types.ManagedObjectReference) *types.VirtualMachineSnapshotTree {
	for i := range tree {
		if tree[i].Snapshot == ref {
			return &tree[i]
		}
		if found := inTree(tree[i].ChildSnapshotList, ref); found != nil {
			return found
		}
	}
	return nil
}
