// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/fault"
	"github.com/openpacific/pacific/pkg/waittest"
)

// shell is one in team-a, with a disk that is a copy of db-1's.
func (l *lab) shell(name string) (facts.Shell, facts.Head) {
	l.t.Helper()
	pool, err := l.finder.ResourcePool(l.t.Context(), "/DC0/host/cluster-a/Resources/team-a")
	if err != nil {
		l.t.Fatal(err)
	}
	network, err := l.finder.Network(l.t.Context(), "/DC0/network/VM Network")
	if err != nil {
		l.t.Fatal(err)
	}
	shell := facts.Shell{
		Name: name, Folder: l.folder("/DC0/vm/Namespaces/team-a"), Pool: l.id(pool.Reference()), Datastore: "datastore-1",
		InstanceUUID: uuid.NewString(), BIOSUUID: uuid.NewString(), GuestID: "ubuntu64Guest", Firmware: "efi",
		Size: facts.Size{CPUs: 2, MemoryMB: 2048, CPU: facts.Allocation{Limit: -1},
			Memory: facts.Allocation{Limit: 2048, Reservation: 1024}},
		Cards: facts.Cards{{Name: "eth0", ID: l.id(network.Reference()), Network: "VM Network"}},
		Build: facts.Build{Disks: []facts.BuildDisk{{From: l.disk("/DC0/vm/Namespaces/team-a/db-1"), Capacity: 40 << 30},
			{Capacity: 1 << 30}}},
	}
	head := facts.Head{Installation: "here", UID: shell.InstanceUUID, Sequence: 1, Created: true, Namespace: "team-a",
		Name: name, Folder: shell.Folder}
	return shell, head
}

// disk is the file of a machine's first disk.
func (l *lab) disk(path string) string {
	l.t.Helper()
	devices, err := l.vm(path).Device(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return devices.SelectByType((*types.VirtualDisk)(nil))[0].(*types.VirtualDisk).Backing.(*types.VirtualDiskFlatVer2BackingInfo).FileName
}

func (l *lab) config(id facts.ID) *types.VirtualMachineConfigInfo {
	l.t.Helper()
	element, err := l.finder.ObjectReference(l.t.Context(), types.ManagedObjectReference{Type: id.Type, Value: id.Value})
	if err != nil {
		l.t.Fatal(err)
	}
	vm := element.(*object.VirtualMachine)
	var found mo.VirtualMachine
	if err := vm.Properties(l.t.Context(), vm.Reference(), []string{"config"}, &found); err != nil {
		l.t.Fatal(err)
	}
	return found.Config
}

// files are those in a folder of the datastore.
func (l *lab) files(folder string) (names []string) {
	l.t.Helper()
	store, err := l.finder.Datastore(l.t.Context(), "/DC0/datastore/datastore-1")
	if err != nil {
		l.t.Fatal(err)
	}
	browser, err := store.Browser(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	task, err := browser.SearchDatastore(l.t.Context(), store.Path(folder),
		&types.HostDatastoreBrowserSearchSpec{MatchPattern: []string{"*"}})
	if err != nil {
		l.t.Fatal(err)
	}
	info, err := task.WaitForResult(l.t.Context())
	if err != nil {
		return nil
	}
	for _, file := range info.Result.(types.HostDatastoreBrowserSearchResults).File {
		names = append(names, path.Base(file.GetFileInfo().Path))
	}
	return names
}

func whatever(facts.Machine) error { return nil }

func TestCreate(t *testing.T) {
	l := newLab(t)
	shell, head := l.shell("made-1")
	id, err := l.verbs.Create(t.Context(), shell, head, []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	config := l.config(id)
	type made struct {
		Name, UUID, BIOS, Guest, Firmware string
		CPUs                              int32
		Memory                            int64
		Annotation                        bool
	}
	want := made{"made-1", shell.InstanceUUID, shell.BIOSUUID, "ubuntu64Guest", "efi", 2, 2048, true}
	got := made{config.Name, config.InstanceUuid, config.Uuid, config.GuestId, config.Firmware, config.Hardware.NumCPU,
		int64(config.Hardware.MemoryMB), strings.Contains(config.Annotation, "Pacific")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what was made (-want +got):\n%s", diff)
	}
	devices := object.VirtualDeviceList(config.Hardware.Device)
	if cards, disks := devices.SelectByType((*types.VirtualVmxnet3)(nil)),
		devices.SelectByType((*types.VirtualDisk)(nil)); len(cards) != 1 || len(disks) != 0 {
		t.Errorf("it has %d network cards and %d disks", len(cards), len(disks))
	}
	// Whoever comes next knows what is left to be made.
	var seen facts.Machine
	stop := errors.New("enough")
	if err := l.verbs.PowerOn(t.Context(), id, func(now facts.Machine) error { seen = now; return stop }); !errors.Is(err,
		stop) {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&shell.Build, seen.Build); diff != "" || seen.Head == nil || seen.Head.Build == nil {
		t.Errorf("record %+v; what is left (-want +got):\n%s", seen.Head, diff)
	}

	// The same again, as after an answer that was lost, is the same machine. Another one's name is taken.
	again, err := l.verbs.Create(t.Context(), shell, head, []byte(`{}`))
	if err != nil || again != id {
		t.Errorf("again: %v, %v", again, err)
	}
	other, otherHead := l.shell("made-1")
	if _, err := l.verbs.Create(t.Context(), other, otherHead, []byte(`{}`)); !errors.Is(err, failure.AlreadyExists) {
		t.Errorf("another one of that name: %v", err)
	}
}

func TestBuild(t *testing.T) {
	l := newLab(t)
	ctx := t.Context()
	shell, head := l.shell("made-2")
	id, err := l.verbs.Create(ctx, shell, head, []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	// Two attempts, of which the first got nobody knows how far.
	for range 2 {
		if err := l.verbs.CopyDisk(ctx, id, 0, "", func(int32) {}, whatever); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.verbs.CopyDisk(ctx, id, 7, "", func(int32) {}, whatever); !errors.Is(err, failure.Conflict) {
		t.Errorf("a disk that it is not to have: %v", err)
	}
	controller := object.VirtualDeviceList(l.config(id).Hardware.Device).SelectByType(
		(*types.ParaVirtualSCSIController)(nil))[0]
	key := controller.GetVirtualDevice().Key
	now := facts.Machine{Home: "[datastore-1] made-2/", InstanceUUID: shell.InstanceUUID}
	attachments := []facts.Attachment{
		{File: now.DiskFile(0), Controller: key, Capacity: 40 << 30},
		{File: now.DiskFile(1), Controller: key, Unit: 1, Create: true, Capacity: 1 << 30},
	}
	if err := l.verbs.Finish(ctx, id, attachments, facts.Told{Options: map[string]string{"guestinfo.userdata": "x"}}, whatever); err != nil {
		t.Fatal(err)
	}
	config := l.config(id)
	disks := object.VirtualDeviceList(config.Hardware.Device).SelectByType((*types.VirtualDisk)(nil))
	if len(disks) != 2 {
		t.Fatalf("it has %d disks", len(disks))
	}
	for number, device := range disks {
		backing := device.GetVirtualDevice().Backing.(*types.VirtualDiskFlatVer2BackingInfo)
		if want := now.DiskFile(number); backing.FileName != want {
			t.Errorf("disk %d is %s, want %s", number, backing.FileName, want)
		}
	}
	values := map[string]any{}
	for _, option := range config.ExtraConfig {
		values[option.GetOptionValue().Key] = option.GetOptionValue().Value
	}
	if left := l.now(id).Head; values["guestinfo.userdata"] != "x" || left.Build != nil || left.Sequence != 2 {
		t.Errorf("its options: %v, and what is left: %+v", values, left)
	}
	if err := l.verbs.Finish(ctx, id, nil, facts.Told{}, whatever); !errors.Is(err, failure.Conflict) {
		t.Errorf("it is finished twice: %v", err)
	}
}

// What was copied for a machine goes with it, also when it never became its disk.
func TestDestroyUnfinished(t *testing.T) {
	l := newLab(t)
	ctx := t.Context()
	shell, head := l.shell("made-3")
	id, err := l.verbs.Create(ctx, shell, head, []byte(`{}`))
	if err == nil {
		err = l.verbs.CopyDisk(ctx, id, 0, "", func(int32) {}, whatever)
	}
	if err != nil {
		t.Fatal(err)
	}
	disk := "made-3-" + shell.InstanceUUID + ".vmdk"
	if got := strings.Join(l.files("made-3"), " "); !strings.Contains(got, disk) {
		t.Fatalf("its files: %s", got)
	}
	refused := errors.New("not any more")
	if err := l.verbs.Destroy(ctx, id, func(facts.Machine) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("destroyed although it is not to be: %v", err)
	}
	if got := strings.Join(l.files("made-3"), " "); !strings.Contains(got, disk) {
		t.Errorf("its disk is gone although it is not to be destroyed: %s", got)
	}
	if err := l.verbs.Destroy(ctx, id, whatever); err != nil {
		t.Fatal(err)
	}
	if got := l.files("made-3"); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
}

// TestNoDiskOfAMachineIsDeleted though the machine says that it is yet to be made, as after a revert to a snapshot or
// by somebody's hand.
func TestNoDiskOfAMachineIsDeleted(t *testing.T) {
	l := newLab(t)
	ctx := t.Context()
	shell, head := l.shell("made-4")
	shell.Build.Disks = shell.Build.Disks[:1]
	id, err := l.verbs.Create(ctx, shell, head, []byte(`{}`))
	if err == nil {
		err = l.verbs.CopyDisk(ctx, id, 0, "", func(int32) {}, whatever)
	}
	if err != nil {
		t.Fatal(err)
	}
	before := l.option(l.vm("/DC0/vm/Namespaces/team-a/made-4"), facts.RecordKey)
	controller := object.VirtualDeviceList(l.config(id).Hardware.Device).SelectByType(
		(*types.ParaVirtualSCSIController)(nil))[0]
	disk := l.now(id).DiskFile(0)
	key := controller.GetVirtualDevice().Key
	err = l.verbs.Finish(ctx, id, []facts.Attachment{{File: disk, Controller: key}}, facts.Told{}, whatever)
	if err != nil {
		t.Fatal(err)
	}
	l.set(l.vm("/DC0/vm/Namespaces/team-a/made-4"), facts.RecordKey, before)

	err = l.verbs.CopyDisk(ctx, id, 0, "", func(int32) {}, whatever)
	if !errors.Is(err, failure.Conflict) || !strings.Contains(err.Error(), "is one of its disks already") {
		t.Errorf("it is copied anew: %v", err)
	}
	if got := strings.Join(l.files("made-4"), " "); !strings.Contains(got, path.Base(disk)) {
		t.Errorf("its disk is gone: %s", got)
	}
	// Its destruction takes its disks, as it should, but not before it may.
	asked := 0
	err = l.verbs.Destroy(ctx, id, func(facts.Machine) error {
		if asked++; asked > 2 {
			return failure.Forbidden
		}
		return nil
	})
	if got := strings.Join(l.files("made-4"), " "); err == nil || !strings.Contains(got, path.Base(disk)) {
		t.Errorf("it is not to be destroyed any more: %v, and its files are %s", err, got)
	}
	if err := l.verbs.Destroy(ctx, id, whatever); err != nil {
		t.Fatal(err)
	}
	if got := l.files("made-4"); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
}

// TestNoDiskOfAnotherTimeIsDeleted: a machine that was reverted to a snapshot of the time when it was a shell says that
// its disks are yet to be made, and the files of those that it had lie where they would be copied to.
func TestNoDiskOfAnotherTimeIsDeleted(t *testing.T) {
	l := newLab(t)
	ctx := t.Context()
	shell, head := l.shell("made-7")
	shell.Build.Disks = []facts.BuildDisk{shell.Build.Disks[0], {Capacity: 1 << 30}}
	id, err := l.verbs.Create(ctx, shell, head, []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	vm := l.vm("/DC0/vm/Namespaces/team-a/made-7")
	l.do(vm.CreateSnapshot(ctx, "a shell", "", false, false))
	if err := l.verbs.CopyDisk(ctx, id, 0, "", func(int32) {}, whatever); err != nil {
		t.Fatal(err)
	}
	key := object.VirtualDeviceList(l.config(id).Hardware.Device).SelectByType(
		(*types.ParaVirtualSCSIController)(nil))[0].GetVirtualDevice().Key
	disks := []facts.Attachment{{File: l.now(id).DiskFile(0), Controller: key},
		{File: l.now(id).DiskFile(1), Controller: key, Unit: 1, Create: true, Capacity: 1 << 30}}
	if err := l.verbs.Finish(ctx, id, disks, facts.Told{}, whatever); err != nil {
		t.Fatal(err)
	}
	files := func() string { return strings.Join(l.files("made-7"), " ") }
	has := func() bool {
		return strings.Contains(files(), path.Base(disks[0].File)) && strings.Contains(files(), path.Base(disks[1].File))
	}
	l.do(vm.RevertToSnapshot(ctx, "a shell", true))
	if left := l.now(id).Build; left == nil || !has() {
		t.Fatalf("after the revert there is left %v, and its files are %s", left, files())
	}
	for what, act := range map[string]func() error{
		"copied": func() error { return l.verbs.CopyDisk(ctx, id, 0, "", func(int32) {}, whatever) },
		"made":   func() error { return l.verbs.Finish(ctx, id, disks, facts.Told{}, whatever) },
	} {
		if err := act(); !errors.Is(err, failure.Conflict) || !strings.Contains(err.Error(), "has snapshots") || !has() {
			t.Errorf("its disks are %s anew: %v; its files are %s", what, err, files())
		}
	}
	// Who deletes the machine wants its files gone.
	if err := l.verbs.Destroy(ctx, id, whatever); err != nil || files() != "" {
		t.Errorf("destroyed: %v, and left are %s", err, files())
	}
}

// TestCopyBesideAnother: the copy that a server began which has died goes on in vCenter.
func TestCopyBesideAnother(t *testing.T) {
	l := newLab(t)
	ctx := t.Context()
	shell, head := l.shell("made-4")
	id, err := l.verbs.Create(ctx, shell, head, []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	l.vcenter.AddFault(vcentertest.Fault{Method: "CopyVirtualDisk_Task", Shape: fault.Slow, Delay: 2 * time.Second})
	dying, die := context.WithCancel(ctx)
	var died sync.WaitGroup
	died.Go(func() {
		_ = l.verbs.CopyDisk(dying, id, 0, "", func(percent int32) {
			if percent > 0 {
				die()
			}
		}, whatever)
	})
	waittest.Eventually(t, "the first copy is under way", func() bool { return l.vcenter.Calls()["CopyVirtualDisk_Task"] > 0 })
	waittest.Within(t, 30*time.Second, "the second is made", func(ctx context.Context) error {
		return l.verbs.CopyDisk(ctx, id, 0, "", func(int32) {}, whatever)
	})
	died.Wait()
	got := l.files("made-4")
	disks := slices.DeleteFunc(slices.Clone(got), func(name string) bool { return !strings.HasSuffix(name, ".vmdk") })
	if len(disks) != 2 {
		t.Errorf("its files: %v, want one disk, of a descriptor and its extent", got)
	}
}

// TestProperties: a machine is made with the image's properties, and its guest finds the values that it is told.
func TestProperties(t *testing.T) {
	l := newLab(t)
	ctx := t.Context()
	shell, head := l.shell("made-5")
	shell.Build.Disks = nil
	shell.Properties = []facts.Property{{Key: "hostname", Type: "string", Default: "localhost", UserConfigurable: true, Class: "net"},
		{Key: "port", Type: "int", UserConfigurable: true}, {Key: "version", Type: "string", Default: "1"}}
	id, err := l.verbs.Create(ctx, shell, head, []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ key, value, says string }{
		{"port", "hush", `the property "port" has to be an integer`}, {"version", "2", `the property "version" is not for people to set`},
		{"other", "hush", `there is no property "other": there are hostname, port`},
	} {
		err := l.verbs.Finish(ctx, id, nil, facts.Told{Properties: map[string]string{test.key: test.value}}, whatever)
		if !errors.Is(err, failure.Invalid) || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", test.key, err)
		}
	}
	err = l.verbs.Finish(ctx, id, nil, facts.Told{Properties: map[string]string{"hostname": "web", "port": "8080"}}, whatever)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, property := range l.config(id).VAppConfig.GetVmConfigInfo().Property {
		got[property.ClassId+"."+property.Id] = property.Value + "/" + property.DefaultValue
	}
	if diff := cmp.Diff(map[string]string{"net.hostname": "web/localhost", ".port": "8080/", ".version": "/1"}, got); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
}

// TestCustomizeOnce: not before it has its disks, and once, whoever comes back to it.
func TestCustomizeOnce(t *testing.T) {
	l := newLab(t)
	ctx := t.Context()
	shell, head := l.shell("made-6")
	shell.Build = facts.Build{Customize: true}
	id, err := l.verbs.Create(ctx, shell, head, []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	calls := func() int { return l.vcenter.Calls()["CustomizeVM_Task"] }
	told := l.customization(id)
	if err := l.verbs.Customize(ctx, id, told, whatever); !errors.Is(err, failure.Conflict) || calls() > 0 {
		t.Errorf("without disks: %v", err)
	}
	if err := l.verbs.Finish(ctx, id, nil, facts.Told{}, whatever); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&facts.Build{Customize: true, Assembled: true}, l.now(id).Build); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
	refused := errors.New("not any more")
	if err := l.verbs.Customize(ctx, id, told, func(facts.Machine) error { return refused }); !errors.Is(err, refused) || calls() > 0 {
		t.Errorf("although it is not to be: %v", err)
	}
	// The server dies when that is done, and before it has noted so; then somebody powers it on and off by hand.
	l.vcenter.AddFault(vcentertest.Fault{Method: "ReconfigVM_Task", Count: 1})
	if err := l.verbs.Customize(ctx, id, told, whatever); err == nil {
		t.Error("it is noted, in spite of a fault")
	}
	vm := l.vm("/DC0/vm/Namespaces/team-a/made-6")
	for _, act := range []func(context.Context) (*object.Task, error){vm.PowerOn, vm.PowerOff} {
		task, err := act(ctx)
		if err == nil {
			err = task.WaitEx(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if l.config(id).Tools.PendingCustomization != "" {
		t.Fatal("the customisation still waits")
	}
	if err := l.verbs.Customize(ctx, id, told, whatever); err != nil {
		t.Fatal(err)
	}
	if left := l.now(id).Build; left != nil || calls() != 1 {
		t.Errorf("it was customised %d times, and left is %v", calls(), left)
	}
}

// A guest that was started by somebody before it was customised is not customised later, when it is off for a while:
// people work in it.
func TestNotCustomizedAfterAStart(t *testing.T) {
	l := newLab(t)
	ctx := t.Context()
	shell, head := l.shell("made-6")
	shell.Build = facts.Build{Customize: true}
	id, err := l.verbs.Create(ctx, shell, head, []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.verbs.Finish(ctx, id, nil, facts.Told{}, whatever); err != nil {
		t.Fatal(err)
	}
	vm := l.vm("/DC0/vm/Namespaces/team-a/made-6")
	task, err := vm.PowerOn(ctx)
	if err == nil {
		err = task.WaitEx(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := l.verbs.Customize(ctx, id, l.customization(id), whatever); !errors.Is(err, failure.Conflict) ||
		!strings.Contains(err.Error(), "before its guest was customised") {
		t.Errorf("a guest that runs: %v", err)
	}
	if left, calls := l.now(id).Build, l.vcenter.Calls()["CustomizeVM_Task"]; left != nil || calls > 0 {
		t.Errorf("left is %v, and vCenter was asked %d times", left, calls)
	}
}
