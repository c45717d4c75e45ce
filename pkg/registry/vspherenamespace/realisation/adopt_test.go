// SPDX-License-Identifier: Apache-2.0

package realisation_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/projection"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// withOldFolders is twoClusters and folders with machines that are not served.
func withOldFolders(names ...string) vcentertest.Inventory {
	return func(ctx context.Context, b *vcentertest.Builder) error {
		errs := []error{twoClusters(ctx, b)}
		for _, name := range names {
			errs = append(errs, b.Folder(ctx, "Old/"+name+"/deep"),
				second(b.VirtualMachine(ctx, vcentertest.VM{Name: "db-1", Folder: "Old/" + name, Cluster: "cluster-a",
					GuestID: "ubuntu64Guest", CPUs: 1, MemoryMB: 1024})),
				second(b.VirtualMachine(ctx, vcentertest.VM{Name: "db-2", Folder: "Old/" + name + "/deep", Cluster: "cluster-a",
					GuestID: "ubuntu64Guest", CPUs: 1, MemoryMB: 1024})))
		}
		return errors.Join(errs...)
	}
}

func (w *world) folder(path string) *object.Folder {
	w.t.Helper()
	folder, err := find.NewFinder(w.builder().Client.Client).Folder(w.t.Context(), path)
	if err != nil {
		w.t.Fatal(err)
	}
	return folder
}

func taking(name string, folder *object.Folder) *v1alpha1.Namespace {
	object := fresh(name)
	object.Spec.Folder = folder.Reference().Value
	return object
}

// A folder that lies elsewhere comes into the namespaces folder with its machines,
// and stays when the vSphere Namespace is deleted.
func TestTakeOverAFolder(t *testing.T) {
	w := newWorld(t, withOldFolders("billing"))
	s := w.start(-1)
	old := w.folder("/DC0/vm/Old/billing")
	if err := s.create(taking("billing", old)); err != nil {
		t.Fatal(err)
	}
	s.until("its machines are there", func() bool { return s.get("billing").Status.Usage.VirtualMachines == 2 })
	got := s.get("billing")
	if got.Status.Folder != old.Reference().Value || got.Status.Phase != v1alpha1.NamespaceRunning ||
		len(got.Status.Zones) != 2 {
		t.Errorf("taken over: %+v", got.Status)
	}
	if diff := cmp.Diff(made("billing"), w.things("billing")); diff != "" {
		t.Errorf("vCenter (-want +got):\n%s", diff)
	}
	if err := s.remove("billing"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made("billing")[2:], w.things("billing")); diff != "" {
		t.Errorf("vCenter after the deletion (-want +got):\n%s", diff)
	}
	if !w.detached[old.Reference().Value] || len(w.records.kept) > 0 || s.list()["billing"] != nil {
		t.Errorf("detached %v, records %v, served %v", w.detached, w.records.kept, s.list()["billing"])
	}
	// Once taken over, a folder that somebody moves out is not brought again.
	if err := s.create(taking("billing", old)); err != nil {
		t.Fatal(err)
	}
	task, err := w.folder("/DC0/vm/Old").MoveInto(t.Context(), []types.ManagedObjectReference{old.Reference()})
	if err == nil {
		err = task.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	s.until("it shows that the folder is gone", func() bool {
		return s.get("billing").Status.Conditions[0].Reason == projection.ReasonFolderMissing
	})
	if err := s.backend.Realise(t.Context(), got.UID); !errors.Is(err, failure.Unavailable) {
		t.Errorf("realise without its folder: %v", err)
	}
}

func TestFoldersThatCannotBeTakenOver(t *testing.T) {
	w := newWorld(t, func(ctx context.Context, b *vcentertest.Builder) error {
		return errors.Join(withOldFolders("billing")(ctx, b), b.Folder(ctx, "Old/team-a"))
	})
	s := w.start(-1)
	if err := s.remove("team-a"); err != nil {
		t.Fatal(err)
	}
	id := func(path string) string { return w.folder(path).Reference().Value }
	for name, try := range map[string]struct{ name, folder, want string }{
		"that is not there":       {"billing", "group-v4711", "vCenter has no folder group-v4711"},
		"of hosts":                {"billing", id("/DC0/host"), "it does not hold virtual machines"},
		"of all machines":         {"billing", id("/DC0/vm"), "it is the folder of all virtual machines"},
		"of the namespaces":       {"billing", id("/DC0/vm/Namespaces"), "the namespaces folder itself lies in it"},
		"in a vSphere Namespace":  {"deep", id("/DC0/vm/Namespaces/team-a/deep"), "it lies in a vSphere Namespace already"},
		"of another name":         {"invoices", id("/DC0/vm/Old/billing"), `it is called "billing"`},
		"of a name that is taken": {"team-a", id("/DC0/vm/Old/team-a"), "take that one over, or rename one of the two"},
	} {
		object := fresh(try.name)
		object.Spec.Folder = try.folder
		err := s.create(object)
		if err == nil || !strings.Contains(err.Error(), try.want) || !errors.Is(err, failure.Invalid) {
			t.Errorf("a folder %s: %v", name, err)
		}
	}
	// vCenter's own refusal leaves nothing behind either.
	w.vcenter.AddFault(vcentertest.Fault{Method: "MoveIntoFolder_Task",
		Fault: &types.NoPermission{PrivilegeId: "Folder.Move"}, Count: 1})
	if err := s.create(taking("billing", w.folder("/DC0/vm/Old/billing"))); !errors.Is(err, failure.Forbidden) {
		t.Errorf("without the privilege: %v", err)
	}
	if len(w.records.kept) > 0 || s.list()["billing"] != nil || len(w.things("billing")) > 0 {
		t.Errorf("left over: records %v, served %v, vCenter %v", w.records.kept, s.list()["billing"], w.things("billing"))
	}
}
