// SPDX-License-Identifier: Apache-2.0

package projection_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/find"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8stypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/projection"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/fault"
)

// planned plans machines on the first datastore, and counts those that were not made.
type planned struct {
	folder, pool facts.ID
	networks     map[string]facts.ID
	forgone      int
}

func (p *planned) Plan(_ context.Context, vm *vmopv1.VirtualMachine) (facts.Shell, func(), error) {
	return facts.Shell{Name: vm.Name, Home: p.folder, Folder: p.folder, Pool: p.pool, Datastore: "datastore-1", InstanceUUID: string(vm.UID),
		Size: facts.Size{CPUs: 1, MemoryMB: 512}}, func() { p.forgone++ }, nil
}

func (p *planned) Size(_ context.Context, vm *vmopv1.VirtualMachine, _ facts.ID) (facts.Size, error) {
	size := facts.Size{CPUs: 2, MemoryMB: 1024}
	if vm.Spec.ClassName == "plain" {
		size.CPU = facts.Allocation{Limit: facts.Unsaid, Reservation: facts.Unsaid}
		size.Memory = size.CPU
	}
	return size, nil
}

func (p *planned) Drives(vm *vmopv1.VirtualMachine, before *facts.Drives) (*facts.Drives, error) {
	drives := facts.Drives{}
	for _, cdrom := range vm.Spec.Hardware.Cdrom {
		drives = append(drives, facts.Drive{Image: cdrom.Image.Name, File: cdrom.Name})
	}
	return &drives, nil
}

// TestDrivesAreDeclared: what is in the drives is written down when somebody declares them, of whatever machine, and
// worked out no more than that.
func TestDrivesAreDeclared(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	s := serve(t, v)
	s.backend.Planner = &planned{}
	drive := func(names ...string) *vmopv1.VirtualMachineHardwareSpec {
		hardware := &vmopv1.VirtualMachineHardwareSpec{}
		for _, name := range names {
			hardware.Cdrom = append(hardware.Cdrom, vmopv1.VirtualMachineCdromSpec{Name: name,
				Image: vmopv1.VirtualMachineImageRef{Name: "vmi-1"}})
		}
		return hardware
	}
	for _, step := range []struct {
		name   string
		change func(*vmopv1.VirtualMachine)
		want   *facts.Drives
		says   string // the condition's reason
	}{
		{"something else", func(vm *vmopv1.VirtualMachine) { vm.Labels = map[string]string{"a": "b"} }, nil, ""},
		{"declared", func(vm *vmopv1.VirtualMachine) { vm.Spec.Hardware = drive("one") },
			&facts.Drives{{Image: "vmi-1", File: "one"}}, projection.NeedsPowerOffReason},
		{"something else", func(vm *vmopv1.VirtualMachine) { vm.Labels = nil },
			&facts.Drives{{Image: "vmi-1", File: "one"}}, projection.NeedsPowerOffReason},
		{"none", func(vm *vmopv1.VirtualMachine) { vm.Spec.Hardware = drive() }, &facts.Drives{}, "True"},
		{"declared no longer", func(vm *vmopv1.VirtualMachine) { vm.Spec.Hardware = nil }, nil, ""},
	} {
		vm, err := s.update("team-a/web-1", step.change)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		state, _ := s.projector.Find("team-a", "web-1")
		if diff := cmp.Diff(step.want, state.Metadata.Drives); diff != "" {
			t.Errorf("%s: the drives (-want +got):\n%s", step.name, diff)
		}
		reason := ""
		if told := meta.FindStatusCondition(vm.Status.Conditions, vmopv1.VirtualMachineHardwareCDROMVerified); told != nil {
			reason = told.Reason
		}
		if reason != step.says {
			t.Errorf("%s: the condition says %q, want %q", step.name, reason, step.says)
		}
	}
}

// TestClassIsDeclared: what the class means is written down when somebody declares one, of whatever machine, and no more
// when nobody does.
func TestClassIsDeclared(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	s := serve(t, v)
	s.backend.Planner = &planned{}
	for _, step := range []struct {
		name   string
		change func(*vmopv1.VirtualMachine)
		want   *facts.Size
	}{
		{"declared", func(vm *vmopv1.VirtualMachine) { vm.Spec.ClassName = "large" }, &facts.Size{CPUs: 2, MemoryMB: 1024}},
		{"something else", func(vm *vmopv1.VirtualMachine) { vm.Labels = map[string]string{"a": "b"} },
			&facts.Size{CPUs: 2, MemoryMB: 1024}},
		// The one before said what this one does not: that is taken away.
		{"another", func(vm *vmopv1.VirtualMachine) { vm.Spec.ClassName = "plain" }, &facts.Size{CPUs: 2, MemoryMB: 1024,
			CPU: facts.Allocation{Limit: -1}, Memory: facts.Allocation{Limit: -1}}},
		{"declared no longer", func(vm *vmopv1.VirtualMachine) { vm.Spec.ClassName = "" }, nil},
		{"one that says nothing", func(vm *vmopv1.VirtualMachine) { vm.Spec.ClassName = "plain" }, &facts.Size{CPUs: 2,
			MemoryMB: 1024, CPU: facts.Allocation{Limit: facts.Unsaid, Reservation: facts.Unsaid},
			Memory: facts.Allocation{Limit: facts.Unsaid, Reservation: facts.Unsaid}}},
	} {
		if _, err := s.update("team-a/web-1", step.change); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		state, _ := s.projector.Find("team-a", "web-1")
		if diff := cmp.Diff(step.want, state.Metadata.Size); diff != "" {
			t.Errorf("%s: the size (-want +got):\n%s", step.name, diff)
		}
	}
}

// TestCreationThatFails gives back what was promised to the machine, or people who ask for what vCenter refuses would
// fill a datastore with nothing. A machine whose creation succeeds, whatever became of the answer, has what it was
// promised.
func TestCreationThatFails(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	s, a := serve(t, v), newAdmin(t, v)
	pool, err := find.NewFinder(a.b.Client.Client).ResourcePool(t.Context(), "/DC0/host/cluster-a/Resources/team-a")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		rule    fault.Rule
		forgone int
	}{
		{"refused", fault.Rule{Shape: fault.Refused}, 1},
		{"failed", fault.Rule{Shape: fault.TaskFails}, 1},
		{"not-heard-of", fault.Rule{Shape: fault.NoAnswer}, 1},
		{"answer-lost", fault.Rule{Shape: fault.AnswerLost}, 0},
		{"made", fault.Rule{Nth: 2}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			plans := &planned{folder: a.id(a.folder("team-a").Reference()), pool: a.id(pool.Reference())}
			s.backend.Planner = plans
			test.rule.Method = "CreateVM_Task"
			v.AddFault(test.rule)
			defer v.ClearFaults()
			vm := &vmopv1.VirtualMachine{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: test.name,
				UID: k8stypes.UID(uuid.NewUUID()), Generation: 1}}
			if err := s.backend.Create(t.Context(), vm); (err != nil) != (test.forgone > 0) || plans.forgone != test.forgone {
				t.Errorf("got %v, and %d machines were given up", err, plans.forgone)
			}
			if made, found := s.projector.Find(vm.Namespace, vm.Name); test.forgone == 0 &&
				(!found || made.Metadata.Origin != plans.folder) {
				t.Errorf("it was asked for in %v, and says %+v", plans.folder, made.Metadata)
			}
		})
	}
}
