// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vapi/library"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// TestCopyVirtualDisk: what cannot be copied is refused by name, and a copy that finds no room leaves a part.
func TestCopyVirtualDisk(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	ctx := t.Context()
	dc, err := i.finder.Datacenter(ctx, "DC0")
	if err != nil {
		t.Fatal(err)
	}
	disks := object.NewVirtualDiskManager(i.client.Client)
	const source = "[datastore-1] db-1/disk-0.vmdk"
	for name, test := range map[string]struct{ from, to, want string }{
		"no source":           {"[datastore-1] db-1/nosuch.vmdk", "[datastore-1] db-1/a.vmdk", "FileNotFound"},
		"no datastore":        {"[nosuch] db-1/disk-0.vmdk", "[datastore-1] db-1/a.vmdk", "InvalidDatastore"},
		"no target datastore": {source, "[nosuch] db-1/a.vmdk", "InvalidDatastore"},
		"no path":             {source, "a.vmdk", "InvalidDatastorePath"},
		"no directory":        {source, "[datastore-1] nosuch/a.vmdk", "FileNotFound"},
		"taken":               {source, "[datastore-1] web-1/disk-0.vmdk", "FileAlreadyExists"},
		"no disk":             {"[datastore-1] db-1/db-1.vmx", "[datastore-1] db-1/a.vmdk", "InvalidDiskFormat"},
		"of a running one":    {"[datastore-1] web-1/disk-0.vmdk", "[datastore-1] db-1/a.vmdk", "FileLocked"},
	} {
		_, err := i.try(disks.CopyVirtualDisk(ctx, test.from, dc, test.to, dc, nil, false))
		if got := kindOf(err); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	_, err = i.try(disks.ExtendVirtualDisk(ctx, "[datastore-1] db-1/db-1.vmx", dc, 1<<30, nil))
	if got := kindOf(err); got != "InvalidDiskFormat" {
		t.Errorf("extend what is no disk: %s", got)
	}
	before := v.onDisk(t)
	sim := v.inProcess()
	datastore := sim.Map.Any("Datastore").(*simulator.Datastore)
	sim.WithLock(datastore, func() { datastore.Summary.FreeSpace = 39 << 30 })
	_, err = i.try(disks.CopyVirtualDisk(ctx, source, dc, "[datastore-1] db-1/a.vmdk", dc, nil, false))
	refused[*types.NoDiskSpace](t, err)
	if diff := cmp.Diff([]string{"/datastore-1/db-1/a-flat.vmdk"}, newFiles(before, v.onDisk(t))); diff != "" {
		t.Errorf("what is left without room (-want +got):\n%s", diff)
	}
	sim.WithLock(datastore, func() { datastore.Summary.FreeSpace = 41 << 30 })
	i.do(disks.CopyVirtualDisk(ctx, source, dc, "[datastore-1] db-1/b.vmdk", dc, nil, false))
}

// TestLibraryDisk: the disk of a library's item is where its URI says, and can be copied and attached.
func TestLibraryDisk(t *testing.T) {
	v := Run(t, Options{Inventory: func(ctx context.Context, b *Builder) error {
		return b.steps(ctx, func() error { return Small(ctx, b) }, func() error {
			return b.Library(ctx, "images", "datastore-1", LibraryItem{Name: "linux", Type: library.ItemTypeOVF})
		})
	}})
	i, ctx := inventoryOf(t, v), t.Context()
	c := rest.NewClient(i.client.Client)
	if err := c.Login(ctx, url.UserPassword(v.Username(), v.Password())); err != nil {
		t.Fatal(err)
	}
	storage, err := library.NewManager(c).ListLibraryItemStorage(ctx, LibraryItemID("images", "linux"))
	if err != nil {
		t.Fatal(err)
	}
	datastore, err := i.finder.Datastore(ctx, "datastore-1")
	if err != nil {
		t.Fatal(err)
	}
	var props mo.Datastore
	if err := datastore.Properties(ctx, datastore.Reference(), []string{"summary"}, &props); err != nil {
		t.Fatal(err)
	}
	source := ""
	for _, file := range storage {
		for _, uri := range file.StorageURIs {
			if at, ok := strings.CutPrefix(uri, props.Summary.Url); ok && strings.HasPrefix(at, "contentlib-") &&
				strings.HasSuffix(at, ".vmdk") {
				source = "[datastore-1] " + at
			}
		}
	}
	if source == "" {
		t.Fatalf("there is no disk in the datastore's %s: %+v", props.Summary.Url, storage)
	}
	dc, err := i.finder.Datacenter(ctx, "DC0")
	if err != nil {
		t.Fatal(err)
	}
	const target = "[datastore-1] db-1/boot.vmdk"
	i.do(object.NewVirtualDiskManager(i.client.Client).CopyVirtualDisk(ctx, source, dc, target, dc, nil, false))
	db := i.vm("db-1")
	unit := int32(9)
	disk := newDisk(object.VirtualDeviceList(i.read(db).Config.Hardware.Device).SelectByType((*types.VirtualSCSIController)(nil))[0].GetVirtualDevice().Key, &unit, 1)
	disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo).FileName = target
	i.do(db.Reconfigure(ctx, types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{adding(disk,
		"")}}))
	attached := object.VirtualDeviceList(i.read(db).Config.Hardware.Device).SelectByType((*types.VirtualDisk)(nil))
	if got := attached[len(attached)-1].(*types.VirtualDisk).CapacityInKB; got != 20<<20 {
		t.Errorf("the attached disk has %d KB, want the 20 GB of the image", got)
	}

	// It is another's while that is on.
	other := i.vm("/DC0/vm/outside")
	disk.Key, disk.ControllerKey = -20, -1
	controller := new(types.ParaVirtualSCSIController)
	controller.Key = -1
	i.do(other.Reconfigure(ctx, types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{adding(
		controller, ""), adding(disk, "")}}))
	i.do(db.PowerOn(ctx))
	_, err = i.try(other.PowerOn(ctx))
	refused[*types.FileLocked](t, err)
	i.do(db.PowerOff(ctx))
	i.do(other.PowerOn(ctx))
}
