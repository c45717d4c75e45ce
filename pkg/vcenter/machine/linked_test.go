// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/fault"
)

// TestLinked: a machine of linked disks costs three calls that act. Its disks stand on the image's until they are promoted,
// and neither that nor the end of the machine takes those away.
func TestLinked(t *testing.T) {
	l := newLab(t)
	ctx := t.Context()
	shell, head := l.shell("made-linked")
	parent, capacity := shell.Build.Disks[0].From, shell.Build.Disks[0].Capacity
	shell.Build.Linked = true
	recording := l.vcenter.Record()
	id, err := l.verbs.Create(ctx, shell, head, []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	controller := object.VirtualDeviceList(l.config(id).Hardware.Device).SelectByType(
		(*types.ParaVirtualSCSIController)(nil))[0].GetVirtualDevice().Key
	file := facts.Machine{Home: "[datastore-1] made-linked/", InstanceUUID: shell.InstanceUUID}.DiskFile(0)
	disks := []facts.Attachment{{File: file, Parent: parent, Create: true, Capacity: capacity, Controller: controller}}
	if err := l.verbs.Finish(ctx, id, disks, facts.Told{}, whatever); err != nil {
		t.Fatal(err)
	}
	if err := l.verbs.PowerOn(ctx, id, whatever); err != nil {
		t.Fatal(err)
	}
	recording.Stop()
	counts := recording.Counts()
	acts := map[string]int{}
	for _, method := range []string{"CreateVM_Task", "ReconfigVM_Task", "PowerOnVM_Task", "CopyVirtualDisk_Task"} {
		acts[method] = counts[method]
	}
	if diff := cmp.Diff(map[string]int{"CreateVM_Task": 1, "ReconfigVM_Task": 1, "PowerOnVM_Task": 1,
		"CopyVirtualDisk_Task": 0}, acts); diff != "" {
		t.Errorf("acts (-want +got):\n%s", diff)
	}
	chain := func() []string {
		disk := object.VirtualDeviceList(l.config(id).Hardware.Device).SelectByType((*types.VirtualDisk)(nil))[0]
		return vcenter.Chain(disk.GetVirtualDevice().Backing)
	}
	if diff := cmp.Diff([]string{file, parent}, chain()); diff != "" {
		t.Errorf("its disk (-want +got):\n%s", diff)
	}
	l.vcenter.AddFault(vcentertest.Fault{Method: "PromoteDisks_Task", Shape: fault.TaskFails, Count: 1,
		Fault: &types.NoDiskSpace{Datastore: "datastore-1"}})
	if err := l.verbs.PromoteDisks(ctx, id, func(int32) {}, whatever); !errors.Is(err, failure.ResourceExhausted) {
		t.Errorf("without room: %v", err)
	}
	for range 2 { // the second time there is nothing to do
		if err := l.verbs.PromoteDisks(ctx, id, func(int32) {}, whatever); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{file}, chain()); diff != "" {
		t.Errorf("its disk, promoted (-want +got):\n%s", diff)
	}
	if err := l.verbs.PowerOff(ctx, id, whatever); err != nil {
		t.Fatal(err)
	}
	if err := l.verbs.Destroy(ctx, id, whatever); err != nil {
		t.Fatal(err)
	}
	// What it stood on can still be copied.
	again, head := l.shell("made-again")
	id, err = l.verbs.Create(ctx, again, head, []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.verbs.CopyDisk(ctx, id, 0, parent, func(int32) {}, whatever); err != nil {
		t.Errorf("what it stood on: %v", err)
	}
}

// TestOthersDisksAreKept: whoever takes away a machine's word that what its disks stand on is to be left takes that from
// nobody else, neither when the machine is destroyed nor when its disks are promoted.
func TestOthersDisksAreKept(t *testing.T) {
	for name, act := range map[string]func(l *lab, id facts.ID) error{
		"destroyed": func(l *lab, id facts.ID) error { return l.verbs.Destroy(l.t.Context(), id, whatever) },
		"promoted": func(l *lab, id facts.ID) error {
			return l.verbs.PromoteDisks(l.t.Context(), id, func(int32) {}, whatever)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			shell, head := l.shell("made-linked")
			parent, capacity := shell.Build.Disks[0].From, shell.Build.Disks[0].Capacity
			shell.Build.Linked = true
			id, err := l.verbs.Create(t.Context(), shell, head, []byte(`{}`))
			if err != nil {
				t.Fatal(err)
			}
			controller := object.VirtualDeviceList(l.config(id).Hardware.Device).SelectByType(
				(*types.ParaVirtualSCSIController)(nil))[0].GetVirtualDevice().Key
			disks := []facts.Attachment{{File: l.now(id).DiskFile(0), Parent: parent, Create: true, Capacity: capacity,
				Controller: controller}}
			if err := l.verbs.Finish(t.Context(), id, disks, facts.Told{}, whatever); err != nil {
				t.Fatal(err)
			}
			l.do(l.vm("/DC0/vm/Namespaces/team-a/made-linked").Reconfigure(t.Context(), types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
				&types.OptionValue{Key: "vmprov.keepDisks", Value: ""}}}))
			if err := act(l, id); err != nil {
				t.Fatal(err)
			}
			again, head := l.shell("made-again")
			if id, err = l.verbs.Create(t.Context(), again, head, []byte(`{}`)); err != nil {
				t.Fatal(err)
			}
			if err := l.verbs.CopyDisk(t.Context(), id, 0, parent, func(int32) {}, whatever); err != nil {
				t.Errorf("what it stood on: %v", err)
			}
		})
	}
}
