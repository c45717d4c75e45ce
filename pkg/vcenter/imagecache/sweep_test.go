// SPDX-License-Identifier: Apache-2.0

package imagecache_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/waittest"
)

// linked gives a machine on another datastore a disk that stands on a file.
func (l *lab) linked(parent string) *object.VirtualMachine {
	l.t.Helper()
	vm, err := l.finder.VirtualMachine(l.t.Context(), "/DC0/vm/Namespaces/team-a/db-1")
	if err != nil {
		l.t.Fatal(err)
	}
	devices, err := vm.Device(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	controller := devices.SelectByType((*types.ParaVirtualSCSIController)(nil))[0]
	unit := int32(5)
	l.do(vm.Reconfigure(l.t.Context(), types.VirtualMachineConfigSpec{
		ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: "vmprov.keepDisks",
			Value: parent[strings.LastIndex(parent, "/")+1:]}},
		DeviceChange: []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{
			Operation:     types.VirtualDeviceConfigSpecOperationAdd,
			FileOperation: types.VirtualDeviceConfigSpecFileOperationCreate,
			Device: &types.VirtualDisk{VirtualDevice: types.VirtualDevice{Key: -1,
				ControllerKey: controller.GetVirtualDevice().Key, UnitNumber: &unit,
				Backing: &types.VirtualDiskFlatVer2BackingInfo{
					VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: "[" + here + "] db-1/linked.vmdk"},
					DiskMode:                     string(types.VirtualDiskModePersistent), ThinProvisioned: types.NewBool(true),
					Parent: &types.VirtualDiskFlatVer2BackingInfo{VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{
						FileName: parent}},
				}}},
		}},
	}))
	return vm
}

// TestSweep: what is kept goes when no item has it any more, and not before, nor at once, nor while somebody uses it,
// nor while it is not known which items there are.
func TestSweep(t *testing.T) {
	for name, test := range map[string]struct {
		// before is what happens before the sweep, and left how much is left after it.
		before func(*lab)
		left   int
	}{
		"an item has it":                         {func(*lab) {}, 1},
		"the item is gone":                       {func(l *lab) { l.contents = nil }, 0},
		"the item has other contents":            {func(l *lab) { l.contents[0].Version = "3" }, 0},
		"the number came again, of another time": {func(l *lab) { l.contents[0].Modified = time.Unix(1_900_000_000, 0) }, 0},
		"it is not known":                        {func(l *lab) { l.contents, l.unknown = nil, true }, 1},
		"it is used": {func(l *lab) {
			l.contents = nil
			if _, _, err := l.cache.Keep(l.t.Context(), there, l.origin, func(int32) {}); err != nil {
				l.t.Fatal(err)
			}
		}, 1},
		"a machine stands on it": {func(l *lab) {
			l.contents = nil
			l.linked(l.keep(l.cache))
		}, 1},
		"a machine's snapshot stands on it": {func(l *lab) {
			l.contents = nil
			vm := l.linked(l.keep(l.cache))
			l.do(vm.CreateSnapshot(l.t.Context(), "s", "", false, false))
		}, 1},
		"the datastore is away": {func(l *lab) {
			l.contents = nil
			for i := range l.stores {
				l.stores[i].Away = true
			}
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.keep(l.cache)
			test.before(l)
			l.sweep(l.cache)
			l.has(1, 1, "when it was seen first")
			l.clock.Step(30 * time.Minute)
			l.sweep(l.cache)
			l.has(1, 1, "after half an hour")
			l.clock.Step(time.Hour)
			l.sweep(l.cache)
			l.has(test.left, test.left, "after the time that it is left for")
			// Wanted again, it is made again, or is there.
			l.set(func() { l.contents, l.unknown = []facts.Contents{l.origin.Contents}, false })
			l.keep(l.cache)
			l.has(1, 1, "at last")
		})
	}
}

// TestSweepWhatIsLeft: a version that a machine stood on goes with the machine.
func TestSweepWhatIsLeft(t *testing.T) {
	l := newLab(t)
	vm := l.linked(l.keep(l.cache))
	l.set(func() { l.contents = nil })
	l.swept(l.cache)
	l.has(1, 1, "while a machine stands on it")
	l.do(vm.Destroy(t.Context()))
	l.sweep(l.cache)
	l.has(0, 0, "without the machine")
	if files := l.files(there); !slices.Equal(files, []string{top}) {
		t.Errorf("there is left %v", files)
	}
}

// TestSweepUntold: while vCenter does not tell the files of a machine that lies there, nothing is deleted.
func TestSweepUntold(t *testing.T) {
	l := newLab(t)
	l.linked(l.keep(l.cache))
	l.set(func() { l.contents = nil })
	if err := l.vcenter.LoseDatastore(here); err != nil { // with the machine's configuration
		t.Fatal(err)
	}
	l.sweep(l.cache)
	l.clock.Step(2 * time.Hour)
	if err := l.cache.Sweep(t.Context()); err == nil || !strings.Contains(err.Error(), "does not tell") {
		t.Errorf("got %v", err)
	}
	l.has(1, 1, "then")
}

// TestSweepHidden: a machine that is kept from the account is among none of a datastore's, and may stand on what is
// kept.
func TestSweepHidden(t *testing.T) {
	l := newLab(t)
	l.keep(l.cache)
	l.set(func() { l.contents = nil })
	hidden := 1
	l.cache.Hidden = func() int { return hidden }
	l.sweep(l.cache)
	l.clock.Step(2 * time.Hour)
	if err := l.cache.Sweep(t.Context()); err == nil || !strings.Contains(err.Error(), "kept from the account") {
		t.Errorf("got %v", err)
	}
	l.has(1, 1, "while a machine is hidden")
	hidden = 0
	l.sweep(l.cache)
	l.has(0, 0, "when it shows again")
}

// TestSweepLeavesOthers: what is not called as ours, and what another installation has, is left alone.
func TestSweepLeavesOthers(t *testing.T) {
	l := newLab(t)
	file := l.keep(l.cache)
	entry := file[:strings.LastIndex(file, "/")]
	theirs := l.anew()
	theirs.Installation = "6b0e52a8-9e55-4ed6-b0d7-3fb6e2f4a8a2"
	l.keep(theirs)
	datacenter, err := l.finder.Datacenter(t.Context(), "DC0")
	if err != nil {
		t.Fatal(err)
	}
	files := object.NewFileManager(datacenter.Client())
	for _, name := range []string{"[" + there + "] " + top + "/notes", entry + "/notes"} {
		if err := files.MakeDirectory(t.Context(), name, datacenter, false); err != nil {
			t.Fatal(err)
		}
	}
	l.set(func() { l.contents = nil })
	l.swept(l.cache)
	l.has(1, 1, "of the other installation")
	var notes []string
	for _, left := range l.files(there) {
		if strings.HasSuffix(left, "/notes") {
			notes = append(notes, left)
		}
	}
	if len(notes) != 2 {
		t.Errorf("of what somebody put there is left %v", notes)
	}
}

// TestRun sweeps again and again.
func TestRun(t *testing.T) {
	l := newLab(t)
	l.keep(l.cache)
	l.set(func() { l.contents = nil })
	l.cache.Interval, l.cache.Grace = time.Minute, time.Minute
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.cache.Run(ctx) }()
	waittest.Eventually(t, "it was swept away", func() bool {
		l.clock.Step(time.Minute)
		disks, _ := l.kept()
		return disks == 0
	})
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
