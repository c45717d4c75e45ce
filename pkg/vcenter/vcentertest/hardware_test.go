// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/fault"
)

// adding is a request that adds a device.
func adding(device types.BaseVirtualDevice,
	operation types.VirtualDeviceConfigSpecFileOperation) types.BaseVirtualDeviceConfigSpec {
	return &types.VirtualDeviceConfigSpec{
		Operation: types.VirtualDeviceConfigSpecOperationAdd, FileOperation: operation, Device: device,
	}
}

// newDisk is a disk for db-1, which has one on a controller with the key 1000 or so.
func newDisk(controller int32, unit *int32, gigabytes int64) *types.VirtualDisk {
	disk := new(types.VirtualDisk)
	disk.Key, disk.ControllerKey, disk.UnitNumber, disk.CapacityInKB = -20, controller, unit, gigabytes<<20
	disk.Backing = &types.VirtualDiskFlatVer2BackingInfo{DiskMode: "persistent", ThinProvisioned: types.NewBool(true)}
	return disk
}

func thick(disk *types.VirtualDisk) *types.VirtualDisk {
	disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo).ThinProvisioned = nil
	return disk
}

// refusals are specifications that neither a new machine can have nor one that is there.
func refusals(controller int32) map[string]struct {
	change func(*types.VirtualMachineConfigSpec)
	want   string
} {
	const create = types.VirtualDeviceConfigSpecFileOperationCreate
	type spec = types.VirtualMachineConfigSpec
	unit := func(n int32) *int32 { return &n }
	option := func(key string, size int) types.BaseOptionValue {
		return &types.OptionValue{Key: key, Value: strings.Repeat("x", size)}
	}
	with := func(device types.BaseVirtualDevice) func(*spec) {
		return func(s *spec) { s.DeviceChange = append(s.DeviceChange, adding(device, create)) }
	}
	twice := func(s *spec) {
		s.DeviceChange = append(s.DeviceChange, adding(newDisk(controller, unit(5), 1), create), adding(newDisk(controller,
			unit(5), 1), create))
	}
	property := func(s *spec) {
		s.VAppConfig = &types.VmConfigSpec{Property: []types.VAppPropertySpec{{
			ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationEdit},
			Info:            &types.VAppPropertyInfo{Key: 77},
		}}}
	}
	return map[string]struct {
		change func(*spec)
		want   string
	}{
		"name":          {func(s *spec) { s.Name = strings.Repeat("n", 81) }, "InvalidName"},
		"guest":         {func(s *spec) { s.GuestId = "amiga64Guest" }, "InvalidArgument"},
		"version":       {func(s *spec) { s.Version = "vmx-99" }, "NotSupported"},
		"too many CPUs": {func(s *spec) { s.NumCPUs = 769 }, "InvalidArgument"},
		"odd memory":    {func(s *spec) { s.MemoryMB = 1022 }, "InvalidArgument"},
		"uuid":          {func(s *spec) { s.Uuid = "zzz" }, "InvalidArgument"},
		"instance uuid": {func(s *spec) { s.InstanceUuid = "zzz" }, "InvalidArgument"},
		"firmware":      {func(s *spec) { s.Firmware = "openfirmware" }, "InvalidArgument"},
		"secure boot with BIOS": {func(s *spec) {
			s.BootOptions = &types.VirtualMachineBootOptions{EfiSecureBootEnabled: types.NewBool(true)}
		}, "InvalidVmConfig"},
		"reservation": {func(s *spec) {
			s.MemoryAllocation = &types.ResourceAllocationInfo{Reservation: types.NewInt64(1 << 30)}
		}, "InvalidArgument"},
		"vTPM without encryption": {func(s *spec) { with(&types.VirtualTPM{})(s); s.Firmware = "efi" }, "InvalidDeviceSpec"},
		"property":                {property, "InvalidArgument"},
		"policy": {func(s *spec) {
			s.VmProfile = []types.BaseVirtualMachineProfileSpec{&types.VirtualMachineDefinedProfileSpec{ProfileId: "nosuch"}}
		}, "InvalidArgument"},
		"disk without unit":       {with(newDisk(controller, nil, 1)), "InvalidDeviceSpec"},
		"disk without controller": {with(newDisk(0, unit(5), 1)), "InvalidDeviceSpec"},
		"two disks at a place":    {twice, "InvalidDeviceSpec"},
		"thick disk":              {with(thick(newDisk(controller, unit(5), 2000))), "NoDiskSpace"},
		"guestinfo": {func(s *spec) {
			s.ExtraConfig = append(s.ExtraConfig, option("guestinfo.userdata", 64<<10+1))
		}, "InvalidArgument"},
		"whole configuration": {func(s *spec) {
			for _, key := range []string{"a", "b", "c", "d"} {
				s.ExtraConfig = append(s.ExtraConfig, option(key, 1<<18))
			}
		}, "InvalidArgument"},
	}
}

// TestRefusedHardware: what a machine cannot have is refused before anything is made or changed.
func TestRefusedHardware(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	ctx := t.Context()
	db, folder, pool := i.vm("db-1"), i.folder(namespaces+"/team-a"), i.pool()
	machines, files := machineNames(i), v.onDisk(t)
	before := i.read(db).Config
	controller := object.VirtualDeviceList(before.Hardware.Device).SelectByType((*types.VirtualSCSIController)(
		nil))[0].GetVirtualDevice().Key
	for name, test := range refusals(-1) {
		t.Run("create: "+name, func(t *testing.T) {
			spec := with(controllerOf(diskAt(""))...)
			spec.DeviceChange = spec.DeviceChange[:1]
			test.change(&spec)
			_, err := i.try(folder.CreateVM(ctx, spec, pool, nil))
			if got := kindOf(err); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
	for name, test := range refusals(controller) {
		t.Run("reconfigure: "+name, func(t *testing.T) {
			spec := types.VirtualMachineConfigSpec{Annotation: "changed"}
			test.change(&spec)
			_, err := i.try(db.Reconfigure(ctx, spec))
			if got := kindOf(err); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
	if diff := cmp.Diff(machines, machineNames(i)); diff != "" {
		t.Errorf("machines before and after (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(files, v.onDisk(t)); diff != "" {
		t.Errorf("files before and after (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(before, i.read(db).Config); diff != "" {
		t.Errorf("the machine before and after (-before +after):\n%s", diff)
	}
	for name, rename := range map[string]func(string) (*object.Task, error){
		"machine": func(to string) (*object.Task, error) { return db.Rename(ctx, to) },
		"folder":  func(to string) (*object.Task, error) { return folder.Rename(ctx, to) },
	} {
		_, err := i.try(rename(strings.Repeat("é", 81)))
		if got := kindOf(err); got != "InvalidName" {
			t.Errorf("a long name for a %s: %s", name, got)
		}
		i.do(rename(strings.Repeat("é", 80)))
	}
}

// TestWhileOn: a machine that is on cannot have everything changed.
func TestWhileOn(t *testing.T) {
	i := inventoryOf(t, Run(t, Options{}))
	ctx := t.Context()
	web := i.vm("web-1")
	type spec = types.VirtualMachineConfigSpec
	try := func(s spec) string {
		t.Helper()
		_, err := i.try(web.Reconfigure(ctx, s))
		return kindOf(err)
	}
	off := map[string]spec{
		"firmware": {Firmware: "efi"}, "guest": {GuestId: "rhel9_64Guest"}, "version": {Version: "vmx-21"},
		"uuid":   {Uuid: identifier("x").String()},
		"nested": {NestedHVEnabled: types.NewBool(true)}, "hot-add": {CpuHotAddEnabled: types.NewBool(true)},
	}
	for name, s := range off {
		if got := try(s); got != "InvalidPowerState" {
			t.Errorf("%s: %s", name, got)
		}
	}
	steps := []struct {
		spec spec
		want string
	}{
		{spec{NumCPUs: 4}, "CpuHotPlugNotSupported"}, {spec{MemoryMB: 8192}, "MemoryHotPlugNotSupported"},
		{spec{NumCPUs: 2, MemoryMB: 4096, GuestId: "ubuntu64Guest"}, "nothing"}, {spec{Annotation: "a"}, "nothing"},
	}
	for _, step := range steps {
		if got := try(step.spec); got != step.want {
			t.Errorf("%+v: %s, want %s", step.spec, got, step.want)
		}
	}
	i.do(web.PowerOff(ctx))
	i.do(web.Reconfigure(ctx, spec{CpuHotAddEnabled: types.NewBool(true), MemoryHotAddEnabled: types.NewBool(true)}))
	i.do(web.PowerOn(ctx))
	steps = []struct {
		spec spec
		want string
	}{
		{spec{NumCPUs: 4}, "nothing"}, {spec{MemoryMB: 8192}, "nothing"},
		{spec{NumCPUs: 2}, "CpuHotPlugNotSupported"}, {spec{MemoryMB: 4096}, "MemoryHotPlugNotSupported"},
	}
	for _, step := range steps {
		if got := try(step.spec); got != step.want {
			t.Errorf("with hot-add, %+v: %s, want %s", step.spec, got, step.want)
		}
	}
	i.do(web.Suspend(ctx))
	if got := try(spec{NumCPUs: 8}); got != "InvalidPowerState" {
		t.Errorf("while it is suspended: %s", got)
	}
}

// TestEmptyExtraConfig: an empty value takes a key away, and is nothing where there is none.
func TestEmptyExtraConfig(t *testing.T) {
	i := inventoryOf(t, Run(t, Options{}))
	db := i.vm("db-1")
	keys := func() map[string]any {
		found := map[string]any{}
		for _, option := range i.read(db).Config.ExtraConfig {
			found[option.GetOptionValue().Key] = option.GetOptionValue().Value
		}
		return found
	}
	want := keys()
	set := func(key string, value any) {
		t.Helper()
		i.do(db.Reconfigure(t.Context(), types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
			&types.OptionValue{Key: key, Value: value}}}))
	}
	same := func(what string) {
		t.Helper()
		if diff := cmp.Diff(want, keys()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	set("a", "")
	same("an empty value where there is none")
	set("a", "1")
	want["a"] = "1"
	same("a value")
	set("a", "")
	delete(want, "a")
	same("an empty value")
}

// TestDiskGrowth: a disk can grow unless another needs it as it is.
func TestDiskGrowth(t *testing.T) {
	i := inventoryOf(t, Run(t, Options{}))
	ctx := t.Context()
	db := i.vm("db-1")
	disks := func() object.VirtualDeviceList {
		return object.VirtualDeviceList(i.read(db).Config.Hardware.Device).SelectByType((*types.VirtualDisk)(nil))
	}
	grow := func(at int, gigabytes int64) string {
		t.Helper()
		disk := disks()[at].(*types.VirtualDisk)
		disk.CapacityInKB, disk.CapacityInBytes = gigabytes<<20, 0
		_, err := i.try(db.Reconfigure(ctx, types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{
			&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: disk},
		}}))
		return kindOf(err)
	}
	if got := grow(0, 50); got != "nothing" {
		t.Errorf("growth: %s", got)
	}
	if got := disks()[0].(*types.VirtualDisk); got.CapacityInKB != 50<<20 || got.CapacityInBytes != 50<<30 {
		t.Errorf("it has %d KB and %d bytes then", got.CapacityInKB, got.CapacityInBytes)
	}
	if got := grow(0, 40); got != "InvalidDeviceOperation" {
		t.Errorf("shrinking: %s", got)
	}
	unit := int32(7)
	linked := newDisk(disks()[0].GetVirtualDevice().ControllerKey, &unit, 0)
	linked.Backing.(*types.VirtualDiskFlatVer2BackingInfo).Parent = &types.VirtualDiskFlatVer2BackingInfo{
		VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: "[datastore-1] web-1/disk-0.vmdk"},
		DiskMode:                     "persistent",
	}
	i.do(db.Reconfigure(ctx, types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{
		adding(linked, types.VirtualDeviceConfigSpecFileOperationCreate),
	}}))
	at := len(disks()) - 1
	if got := grow(at, 100); got != "InvalidDeviceOperation" {
		t.Errorf("growth of a linked disk: %s", got)
	}
	began := time.Now()
	i.do(db.PromoteDisks(ctx, true, nil))
	if parent := disks()[at].(*types.VirtualDisk).Backing.(*types.VirtualDiskFlatVer2BackingInfo).Parent; parent != nil {
		t.Errorf("a promoted disk has the parent %s", parent.FileName)
	}
	if got := grow(at, 100); got != "nothing" {
		t.Errorf("growth of a promoted disk, after %s: %s", time.Since(began), got)
	}
	i.do(db.CreateSnapshot(ctx, "s", "", false, false))
	_, err := i.try(db.PromoteDisks(ctx, true, nil))
	refused[*types.InvalidState](t, err)
	if got := grow(0, 60); got != "InvalidDeviceOperation" {
		t.Errorf("growth under a snapshot: %s", got)
	}
}

// TestDirectoryOfAnother: a machine has a directory of its own, also where one of its name was left.
func TestDirectoryOfAnother(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	ctx := t.Context()
	v.AddFault(Fault{Method: "CreateVM_Task", Shape: fault.TaskFailsHalfway, Count: 1})
	folder := i.folder(namespaces + "/team-a")
	if _, err := i.try(folder.CreateVM(ctx, with(), i.pool(), nil)); err == nil {
		t.Fatal("the first one succeeds")
	}
	made := i.read(i.made(i.do(folder.CreateVM(ctx, with(), i.pool(), nil))))
	if got := made.Config.Files.VmPathName; got != "[datastore-1] new_1/new.vmx" {
		t.Errorf("it lies at %s", got)
	}
}
