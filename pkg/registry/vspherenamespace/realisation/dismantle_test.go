// SPDX-License-Identifier: Apache-2.0

package realisation_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/realisation"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/records"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// What was made and is neither written down nor in the inventory yet goes with
// its namespace. What Pacific did not begin to make is not its own, whatever it is
// called.
func TestDismantleAsksVCenter(t *testing.T) {
	w := newWorld(t, twoClusters)
	for _, test := range []struct {
		name, method string
		want         []string
	}{
		{"no-folder", "CreateFolder", []string{"/DC0/host/cluster-a/Resources/no-folder",
			"/DC0/host/cluster-b/Resources/no-folder"}},
		{"no-pool", "CreateResourcePool", []string{"/DC0/host/cluster-b/Resources/no-pool"}},
	} {
		s := w.start(-1)
		w.vcenter.AddFault(vcentertest.Fault{Method: test.method, Fault: &types.HostCommunication{}, Count: 1})
		if err := s.create(fresh(test.name)); err != nil {
			t.Fatal(err)
		}
		s.stop() // of the inventory
		b := w.builder()
		err := errors.Join(
			b.In(t.Context(), "DC0"),
			b.Folder(t.Context(), "Namespaces/"+test.name),
			b.ResourcePool(t.Context(), "cluster-a", test.name),
			b.ResourcePool(t.Context(), "cluster-b", test.name),
		)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.remove(test.name); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, w.things(test.name)); diff != "" || len(w.records.kept) > 0 {
			t.Errorf("%s: left over (-want +got):\n%s, records %v", test.name, diff, w.records.kept)
		}
	}
}

// A pool of the namespace's name that was there before its zone was taken in is
// somebody else's, also once it is taken over.
func TestPoolsOfOthersStay(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	object := fresh("guest")
	object.Spec.Zones = []string{"cluster-a"}
	if err := s.create(object); err != nil {
		t.Fatal(err)
	}
	b := w.builder()
	if err := errors.Join(b.In(t.Context(), "DC0"), b.ResourcePool(t.Context(), "cluster-b", "guest")); err != nil {
		t.Fatal(err)
	}
	other := w.pool("/DC0/host/cluster-b/Resources/guest").Reference()
	zones := func(zones ...string) error {
		return s.update("guest", func(o *v1alpha1.Namespace) { o.Spec.Zones = zones })
	}
	s.knows(other)
	if err := zones("cluster-a", "cluster-b"); !errors.Is(err, failure.AlreadyExists) ||
		!strings.Contains(err.Error(), other.Value) {
		t.Errorf("a zone with a pool of that name: %v", err)
	}
	if got := s.get("guest"); len(got.Status.Zones) != 1 || len(got.Spec.Zones) != 1 {
		t.Errorf("zones: %v, %v", got.Spec.Zones, got.Status.Zones)
	}
	err := s.update("guest", func(o *v1alpha1.Namespace) {
		o.Spec.Zones, o.Spec.ResourcePools = []string{"cluster-a", "cluster-b"}, []string{other.Value}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, names := range [][]string{{"cluster-a"}, {"cluster-b"}} {
		if err := zones(names...); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"/DC0/host/cluster-b/Resources/guest", "/DC0/vm/Namespaces/guest"}
	if diff := cmp.Diff(want, w.things("guest")); diff != "" {
		t.Errorf("vCenter with another zone (-want +got):\n%s", diff)
	}
	if err := s.remove("guest"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want[:1], w.things("guest")); diff != "" {
		t.Errorf("vCenter without it (-want +got):\n%s", diff)
	}
}

// unwritten has the records forget what was made.
func (w *world) unwritten() {
	w.t.Helper()
	for id, document := range w.records.kept {
		record, err := records.Decode(document.Value)
		if err != nil {
			w.t.Fatal(err)
		}
		record.Folder, record.Pools = facts.ID{}, nil
		record.MakingFolder, record.MakingPools = true, []string{"cluster-a", "cluster-b"}
		value, err := record.Encode()
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := w.records.Put(w.t.Context(), id, value, document.Revision); err != nil {
			w.t.Fatal(err)
		}
	}
}

// A namespace whose Kubernetes Namespace was deleted before the folder that was
// made for it could be written down is deleted, and does not come back.
func TestDetachedBeforeItWasWrittenDown(t *testing.T) {
	w := newWorld(t, twoClusters)
	maker := w.start(-1)
	if err := maker.create(fresh("brief")); err != nil {
		t.Fatal(err)
	}
	folder := maker.get("brief").Status.Folder
	maker.stop()
	w.unwritten()
	w.detached[folder] = true
	s := w.start(-1)
	if err := s.backend.Realise(t.Context(), "uid-of-brief"); !errors.Is(err, failure.Unavailable) {
		t.Errorf("realise: %v", err)
	}
	// By this the controller tells that it was deleted.
	if shown := s.get("brief").Status.Folder; shown != folder || !w.detached[folder] {
		t.Errorf("folder %q instead of %s, detached %v", shown, folder, w.detached)
	}
	if err := s.remove("brief"); err != nil {
		t.Fatal(err)
	}
	if things := w.things("brief"); len(things) > 0 || len(w.records.kept) > 0 || len(w.detached) > 0 {
		t.Errorf("left over: %v, records %v, detached %v", things, w.records.kept, w.detached)
	}
}

// forgetful does not answer when a folder is looked at for the first time.
type forgetful struct {
	realisation.Refresher
	failed bool
}

func (f *forgetful) Refresh(ctx context.Context, id facts.ID) error {
	if id.Type == facts.TypeFolder && !f.failed {
		f.failed = true
		return failure.Unavailable
	}
	return f.Refresher.Refresh(ctx, id)
}

// A folder that is gone and that the inventory still has is not detached anew.
func TestDismantledTwice(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	if err := s.create(fresh("slow")); err != nil {
		t.Fatal(err)
	}
	s.stop() // of the inventory
	s.backend.Refresher = &forgetful{Refresher: s.backend.Refresher}
	if err := s.remove("slow"); !errors.Is(err, failure.Unavailable) {
		t.Fatalf("vCenter goes away when the folder is destroyed: %v", err)
	}
	if err := s.remove("slow"); err != nil {
		t.Fatal(err)
	}
	if things := w.things("slow"); len(things) > 0 || len(w.records.kept) > 0 || len(w.detached) > 0 {
		t.Errorf("left over: %v, records %v, detached %v", things, w.records.kept, w.detached)
	}
}
