// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/collector"
)

// UnregisterAndDestroyTask removes a folder and what lies in it from the
// inventory. The simulator has no such method; machines are taken out of the
// inventory here, and their files stay.
func (f *folder) UnregisterAndDestroyTask(ctx *simulator.Context, req *types.UnregisterAndDestroy_Task) soap.HasFault {
	task := simulator.CreateTask(f.Folder, "unregisterAndDestroy",
		func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
			if fault := f.anyRunning(ctx, f.Self); fault != nil {
				return nil, fault
			}
			return nil, f.unregisterTree(ctx, f.Folder)
		})
	return &methods.UnregisterAndDestroy_TaskBody{Res: &types.UnregisterAndDestroy_TaskResponse{
		Returnval: start(ctx, f.Folder, task)}}
}

func (f *folder) unregisterTree(ctx *simulator.Context, tree *simulator.Folder) types.BaseMethodFault {
	for _, child := range collector.Children(ctx, tree.Self) {
		switch e := ctx.Map.Get(child).(type) {
		case *simulator.VirtualMachine:
			e.UnregisterVM(ctx, &types.UnregisterVM{This: child})
		case *simulator.Folder:
			if fault := f.unregisterTree(ctx, e); fault != nil {
				return fault
			}
		}
	}
	return destroy(ctx, tree)
}
