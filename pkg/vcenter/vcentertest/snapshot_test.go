// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

// ofSnapshot is what a snapshot brings back, and what it does not.
type ofSnapshot struct {
	Name, InstanceUUID, Mine, Other string
	CPUs                            int32
	SummaryCPUs                     int32
	Power                           types.VirtualMachinePowerState
}

func (i *inventory) ofSnapshot(vm *object.VirtualMachine) ofSnapshot {
	i.t.Helper()
	props := i.read(vm)
	return ofSnapshot{
		Name: props.Config.Name, InstanceUUID: props.Config.InstanceUuid, Mine: option(props, "mine"), Other: option(props,
			"other"),
		CPUs: props.Config.Hardware.NumCPU, SummaryCPUs: props.Summary.Config.NumCpu, Power: props.Runtime.PowerState,
	}
}

func TestRevertToSnapshot(t *testing.T) {
	i := inventoryOf(t, Run(t, Options{}))
	ctx := context.Background()
	for name, test := range map[string]struct {
		machine, snapshot string // by path, and of which of the two
		memory            bool
		suppress          bool
		want              types.VirtualMachinePowerState
	}{
		"with memory": {machine: "web-1", snapshot: "first", memory: true,
			want: types.VirtualMachinePowerStatePoweredOn},
		"with memory, kept off": {machine: "cache-1", snapshot: "first", memory: true, suppress: true,
			want: types.VirtualMachinePowerStatePoweredOff},
		"without memory":     {machine: "db-1", snapshot: "first", want: types.VirtualMachinePowerStatePoweredOff},
		"to the current one": {machine: "/DC0/vm/outside", want: types.VirtualMachinePowerStatePoweredOff},
	} {
		t.Run(name, func(t *testing.T) {
			vm := i.vm(test.machine)
			i.hotAdd(vm)
			set := func(mine, other string, cpus int32) {
				i.do(vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{NumCPUs: cpus, ExtraConfig: []types.BaseOptionValue{
					&types.OptionValue{Key: "mine", Value: mine}, &types.OptionValue{Key: "other", Value: other},
				}}))
			}
			set("then", "", 2)
			want := i.ofSnapshot(vm)
			i.do(vm.CreateSnapshot(ctx, "first", "", test.memory, false))
			if test.snapshot != "" {
				set("between", "", 3)
				i.do(vm.CreateSnapshot(ctx, "second", "", false, false))
			}
			set("now", "new", 4)
			i.do(vm.Rename(ctx, want.Name+"-renamed"))
			version := i.read(vm).Config.ChangeVersion

			if test.snapshot == "" {
				i.do(vm.RevertToCurrentSnapshot(ctx, test.suppress))
			} else {
				i.do(vm.RevertToSnapshot(ctx, test.snapshot, test.suppress))
			}
			want.Name, want.Power = want.Name+"-renamed", test.want
			if diff := cmp.Diff(want, i.ofSnapshot(vm)); diff != "" {
				t.Errorf("after the revert (-want +got):\n%s", diff)
			}
			if i.read(vm).Config.ChangeVersion == version {
				t.Error("the changeVersion did not change")
			}
		})
	}
}

func TestSnapshotStaysAfterItsParent(t *testing.T) {
	i := inventoryOf(t, Run(t, Options{}))
	ctx := context.Background()
	vm := i.vm("db-1")
	i.do(vm.CreateSnapshot(ctx, "first", "", false, false))
	i.do(vm.CreateSnapshot(ctx, "second", "", false, false))
	i.do(vm.RevertToSnapshot(ctx, "first", false))
	i.do(vm.RemoveSnapshot(ctx, "first", false, nil))
	info := i.read(vm).Snapshot
	if info == nil || len(info.RootSnapshotList) != 1 || info.RootSnapshotList[0].Name != "second" ||
		info.CurrentSnapshot != nil {
		t.Errorf("left are %+v", info)
	}
}

// hotAdd allows a machine more CPUs while it is on.
func (i *inventory) hotAdd(vm *object.VirtualMachine) {
	i.t.Helper()
	ctx := context.Background()
	on := i.read(vm).Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
	if on {
		i.do(vm.PowerOff(ctx))
	}
	i.do(vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{CpuHotAddEnabled: types.NewBool(true)}))
	if on {
		i.do(vm.PowerOn(ctx))
	}
}
