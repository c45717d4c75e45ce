// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/policy"
)

// endings does what belongs to the end of tasks, in this order, before anybody sees that they have ended: clones get
// addresses of their own, storage policies count, and what the whole act has changed is remembered.
type endings struct {
	macs     *macAddresses
	policies *policy.ProfileManager
	gate     *gate
}

// Reference makes it a handler of the registry's.
func (*endings) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "Handler", Value: "vcentertest-endings"}
}

// PutObject sees each task before that runs.
func (e *endings) PutObject(ctx *simulator.Context, o mo.Reference) {
	task, ok := o.(*simulator.Task)
	if !ok || task.Execute == nil {
		return
	}
	e.policies.Begins(task.Self)
	execute := task.Execute
	task.Execute = func(task *simulator.Task) (types.AnyType, types.BaseMethodFault) {
		made, fault := execute(task)
		if ref, ok := made.(types.ManagedObjectReference); ok && fault == nil &&
			task.Info.DescriptionId == "VirtualMachine.cloneVm" {
			e.macs.renew(ctx, ctx.Map.Get(ref).(*simulator.VirtualMachine))
		}
		e.policies.Succeeded(task.Self, made, fault != nil)
		if err := e.gate.endsAlone(task); err != nil {
			return nil, &types.SystemErrorFault{Reason: err.Error()}
		}
		return made, fault
	}
}

// UpdateObject does nothing.
func (*endings) UpdateObject(*simulator.Context, mo.Reference, []types.PropertyChange) {}

// RemoveObject does nothing.
func (*endings) RemoveObject(*simulator.Context, types.ManagedObjectReference) {}
