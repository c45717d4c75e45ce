// SPDX-License-Identifier: Apache-2.0

package contentlibrary_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vapi/library"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// templates has a library with an item that stands for a template.
func templates(ctx context.Context, b *vcentertest.Builder) error {
	if err := empty(ctx, b); err != nil {
		return err
	}
	if err := b.Folder(ctx, "Templates"); err != nil {
		return err
	}
	return b.Library(ctx, "images", datastore, golden)
}

var golden = vcentertest.LibraryItem{
	Name: "golden", Type: library.ItemTypeVMTX, Template: &vcentertest.VM{Folder: "Templates", Cluster: "cluster-a",
		GuestID: "rhel9_64Guest", CPUs: 2, MemoryMB: 4096, DisksGB: []int64{30, 5}, Firmware: "efi", HardwareVersion: "vmx-19",
		ExtraConfig: map[string]string{"vmservice.vmlabels": "os:rhel"}},
}

func (w *world) template() *object.VirtualMachine {
	w.t.Helper()
	client, err := w.vcenter.Client(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return object.NewVirtualMachine(client.Client,
		w.vcenter.LibraryTemplate(vcentertest.LibraryItemID("images", "golden")))
}

func (w *world) done(task *object.Task, err error) {
	w.t.Helper()
	if err == nil {
		err = task.WaitEx(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// What an item that stands for a template says is what that template is like, and its files are the template's disks.
func TestTemplates(t *testing.T) {
	w := newWorld(t, templates)
	images := w.has("images", "the template was read", same("golden 1 1"))
	bus, first, second := int32(0), int32(0), int32(1)
	want := facts.Item{
		ID: vcentertest.LibraryItemID("images", "golden"), Name: "golden", Type: facts.ItemVM, Version: "1", ImageVersion: "1",
		Image: &facts.Image{
			GuestID: "rhel9_64Guest", OS: 80, Firmware: "efi", HardwareVersion: 19,
			Extra: map[string]string{"vmservice.vmlabels": "os:rhel"},
			Disks: []facts.ImageDisk{
				{Label: "disk-202-0", Capacity: 30 << 30, File: "0-golden.vmdk", Controller: facts.ControllerSCSI, Bus: &bus,
					Unit: &first},
				{Label: "disk-202-1", Capacity: 5 << 30, File: "1-golden_1.vmdk", Controller: facts.ControllerSCSI, Bus: &bus,
					Unit: &second},
			},
		},
	}
	got := images.Items[0]
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(facts.Item{}, "Created", "Modified", "Files"),
		cmpopts.IgnoreFields(facts.ImageDisk{}, "Label", "File"),
		cmpopts.IgnoreMapEntries(func(key, _ string) bool { return !strings.HasPrefix(key, "vmservice.") })); diff != "" {
		t.Errorf("a template (-want +got):\n%s", diff)
	}
	var devices object.VirtualDeviceList
	devices, err := w.template().Device(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, disk := range devices.SelectByType((*types.VirtualDisk)(nil)) {
		var at object.DatastorePath
		at.FromString(disk.GetVirtualDevice().Backing.(types.BaseVirtualDeviceFileBackingInfo).
			GetVirtualDeviceFileBackingInfo().FileName)
		file := got.Files[got.Image.Disks[i].File]
		if !strings.HasPrefix(file.URL, "ds:///vmfs/volumes/") || !strings.HasSuffix(file.URL, "/"+at.Path) || file.Size == 0 {
			t.Errorf("disk %d is a copy of %+v, and the template's is %s", i, file, at)
		}
	}
	asked := w.vcenter.RESTCalls()["GET /vcenter/vm-template/library-items/"+got.ID]
	w.cost(10)
	if again := w.vcenter.RESTCalls()["GET /vcenter/vm-template/library-items/"+got.ID]; again != asked || asked == 0 {
		t.Errorf("it was asked %d times which template that is, and %d times more while it was the same", asked, again-asked)
	}
}

// A template with other contents is another version, and is read again, once it is a template again.
func TestATemplateIsReplaced(t *testing.T) {
	w := newWorld(t, templates)
	w.has("images", "the template was read", same("golden 1 1"))
	template, id := w.template(), vcentertest.LibraryItemID("images", "golden")
	pool, err := find.NewFinder(template.Client()).ResourcePool(t.Context(), "/DC0/host/cluster-a/Resources")
	if err != nil {
		t.Fatal(err)
	}
	if err := template.MarkAsVirtualMachine(t.Context(), *pool, nil); err != nil {
		t.Fatal(err)
	}
	w.done(template.Reconfigure(t.Context(), types.VirtualMachineConfigSpec{Firmware: "bios"}))
	w.vcenter.ChangeLibraryItem(id, func(item *library.Item) { item.ContentVersion = "2" })
	changing := w.has("images", "it is said that it is a machine", func(l *facts.Library) bool {
		return len(l.Items) == 1 && strings.Contains(l.Items[0].Problem, "is a virtual machine now")
	})
	if got := changing.Items[0]; got.ImageVersion != "1" {
		t.Errorf("while it was changed its contents were taken as version %s", got.ImageVersion)
	}
	if err := template.MarkAsTemplate(t.Context()); err != nil {
		t.Fatal(err)
	}
	images := w.has("images", "the new contents were read", same("golden 2 2"))
	if got := images.Items[0].Image.Firmware; got != "bios" {
		t.Errorf("the new contents have the firmware %q", got)
	}
}

// A template that cannot be used, or read now, says so on its item, and the others of its library are read.
func TestTemplatesThatCannotBeRead(t *testing.T) {
	w := newWorldOf(t, templates, nil, func(v *vcentertest.VCenter) {
		v.RefuseRESTOf("vm-template", http.StatusServiceUnavailable)
	})
	w.library("others", ovf("image-1"))
	w.has("others", "another library", same("image-1 2 2"))
	w.has("images", "it is said that it cannot be read", func(l *facts.Library) bool {
		return len(l.Items) == 1 && strings.Contains(l.Items[0].Problem, "which template") && l.Items[0].Image == nil
	})
	w.vcenter.RefuseRESTOf("vm-template", 0)
	w.has("images", "it was read", same("golden 1 1"))
	w.done(w.template().Destroy(t.Context()))
	w.vcenter.ChangeLibraryItem(vcentertest.LibraryItemID("images", "golden"),
		func(item *library.Item) { item.ContentVersion = "2" })
	told := w.has("images", "its template is gone", func(l *facts.Library) bool {
		return len(l.Items) == 1 && l.Items[0].Problem != ""
	})
	if got := told.Items[0]; got.ImageVersion != "1" || got.Image == nil {
		t.Errorf("what was read before is %+v", got)
	}
	waittest.Eventually(t, "the library itself can be read", func() bool { return w.catalogue.Err() == nil })
}
