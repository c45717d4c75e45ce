// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"strconv"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/admission"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/guest"
)

// CustomizeVMTask refuses what vCenter refuses, and has the guest read it at its next start.
func (vm *virtualMachine) CustomizeVMTask(ctx *simulator.Context, req *types.CustomizeVM_Task) soap.HasFault {
	task := simulator.CreateTask(vm.VirtualMachine, "customizeVm", func(*simulator.Task) (types.AnyType,
		types.BaseMethodFault) {
		if fault := admission.Customize(vm.VirtualMachine, &req.Spec); fault != nil {
			return nil, fault
		}
		req.Spec = guest.WithoutPasswords(req.Spec)
		inner := vm.VirtualMachine.CustomizeVMTask(ctx, req).(*methods.CustomizeVM_TaskBody)
		if fault := result(ctx, inner.Res.Returnval); fault != nil {
			return nil, fault
		}
		if own := vm.guests.own; own != nil {
			own.Customize(vm.Self, &req.Spec)
		}
		ctx.Update(vm.VirtualMachine, []types.PropertyChange{
			{Name: "config.changeVersion", Val: strconv.FormatInt(time.Now().UnixNano(), 10)},
			{Name: "config.modified", Val: time.Now()},
		})
		return nil, nil
	})
	return &methods.CustomizeVM_TaskBody{Res: &types.CustomizeVM_TaskResponse{Returnval: task.Run(ctx)}}
}
