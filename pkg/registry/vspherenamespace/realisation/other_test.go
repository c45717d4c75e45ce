// SPDX-License-Identifier: Apache-2.0

package realisation_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/projection"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// rewrite changes the one record there is, as if it had been written of something else.
func (w *world) rewrite(change func(text string) string) {
	w.t.Helper()
	for id, document := range w.records.kept {
		if _, err := w.records.Put(w.t.Context(), id, []byte(change(string(document.Value))), document.Revision); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) rename(path, name string) {
	w.t.Helper()
	task, err := object.NewCommon(w.builder().Client.Client, w.folder(path).Reference()).Rename(w.t.Context(), name)
	if err == nil {
		err = task.WaitEx(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// What has the id of a folder or a pool that Pacific made, and is not that, is neither the namespace's nor destroyed:
// it belongs to another vCenter, or to one that was restored.
func TestWhatHasTheIDOfAnother(t *testing.T) {
	for name, change := range map[string]func(w *world){
		"of another vCenter": func(w *world) {
			instance := w.start(-1).projector.ID("group-v1").VCenter
			w.rewrite(func(text string) string { return strings.ReplaceAll(text, instance, "another") })
		},
		"of other names": func(w *world) {
			w.rewrite(func(text string) string {
				return strings.ReplaceAll(text, `{"name":"mine","parent"`, `{"name":"yours","parent"`)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, twoClusters)
			maker := w.start(-1)
			object := fresh("mine")
			if err := maker.create(object); err != nil {
				t.Fatal(err)
			}
			maker.stop()
			change(w)
			s := w.start(-1)
			got := s.get("mine")
			if got.UID == "uid-of-mine" || len(got.Spec.Access) > 0 {
				t.Errorf("it is served as the namespace: %+v", got)
			}
			// Somebody deletes what the record says, with the folder out of the way of its name.
			w.rename("/DC0/vm/Namespaces/mine", "theirs")
			s.until("the record shows by itself",
				func() bool { return s.list()["mine"] != nil && s.get("mine").UID == "uid-of-mine" })
			if c := readiness(s.get("mine")); c.Reason != projection.ReasonFolderMissing {
				t.Errorf("condition: %+v", c)
			}
			if err := s.backend.Realise(t.Context(), "uid-of-mine"); err == nil {
				t.Error("it was made again")
			}
			if err := s.remove("mine"); err != nil {
				t.Fatal(err)
			}
			want := []string{"/DC0/host/cluster-a/Resources/mine", "/DC0/host/cluster-b/Resources/mine"}
			if diff := cmp.Diff(want, w.things("mine")); diff != "" || len(w.things("theirs")) != 1 {
				t.Errorf("vCenter (-want +got):\n%s, and %v", diff, w.things("theirs"))
			}
			if len(w.records.kept) > 0 || len(w.detached) > 0 {
				t.Errorf("records %v, detached %v", w.records.kept, w.detached)
			}
		})
	}
}

// What is renamed while Pacific looks on is the same still, also for the next process.
func TestRenamedWhilePacificLooksOn(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	if err := s.create(fresh("before")); err != nil {
		t.Fatal(err)
	}
	w.rename("/DC0/vm/Namespaces/before", "after")
	s.until("it has the new name", func() bool { return s.list()["after"] != nil })
	if got := s.get("after"); got.UID != "uid-of-before" || got.Status.Phase != v1alpha1.NamespaceRunning {
		t.Errorf("renamed: %+v", got)
	}
	if err := s.backend.Realise(t.Context(), "uid-of-before"); err != nil {
		t.Fatal(err)
	}
	s.stop()
	next := w.start(-1)
	if got := next.get("after"); got.UID != "uid-of-before" || len(got.Status.Zones) != 2 {
		t.Errorf("in the next process: %+v", got)
	}
	// The last look at what is to be destroyed is at vCenter itself.
	next.stop() // of the inventory
	w.rename("/DC0/vm/Namespaces/after", "later")
	if err := next.remove("after"); err == nil {
		t.Error("a folder was destroyed that is called otherwise by now")
	}
	if things := w.things("later"); len(things) != 1 {
		t.Errorf("vCenter: %v", things)
	}
}

// A record of a form before this one is left alone.
func TestOlderRecordsAreLeftAlone(t *testing.T) {
	w := newWorld(t, twoClusters)
	old, err := json.Marshal(map[string]any{"version": 1, "metadata": metav1.ObjectMeta{Name: "team-a", UID: "u"},
		"folder": "group-v1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.records.Put(t.Context(), "u", old, 0); err != nil {
		t.Fatal(err)
	}
	s := w.start(-1)
	if err := s.update("team-a", func(o *v1alpha1.Namespace) { o.Labels = map[string]string{"a": "b"} }); err != nil {
		t.Error(err)
	}
	if string(w.records.kept["u"].Value) != string(old) || s.get("team-a").UID == "u" {
		t.Errorf("the old record: %s", w.records.kept["u"].Value)
	}
}

// unseen has something happen in vCenter while Pacific's login is gone and no stream can be built.
func (s *server) unseen(happens func()) {
	s.t.Helper()
	s.vcenter.AddFault(vcentertest.Fault{Method: "CreateContainerView", Fault: &types.SystemError{}})
	s.vcenter.TerminateSessions()
	happens()
	s.vcenter.ClearFaults()
}

// A vCenter may be restored from a backup, or gone through by hand, while Pacific runs and has no connection. What has
// the id afterwards and is called otherwise is as strange to it as to a process that starts.
func TestWhatHasTheIDOfAnotherAfterALoss(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	if err := s.create(fresh("mine")); err != nil {
		t.Fatal(err)
	}
	// What was renamed before everybody's eyes is the same still when nothing else happens in a loss.
	w.rename("/DC0/vm/Namespaces/mine", "after")
	s.until("it has the new name", func() bool { return s.list()["after"] != nil })
	s.unseen(func() { w.rename("/DC0/vm/Namespaces/team-a", "marker") })
	s.until("the inventory is followed again", func() bool { return s.list()["marker"] != nil })
	if got := s.get("after"); got.UID != "uid-of-mine" || len(got.Status.Zones) != 2 {
		t.Errorf("after a loss in which nothing happened to it: %+v", got)
	}

	s.unseen(func() { w.rename("/DC0/vm/Namespaces/after", "theirs") })
	s.until("the inventory is followed again", func() bool { return s.list()["theirs"] != nil })
	if got := s.get("theirs"); got.UID == "uid-of-mine" || len(got.Spec.Access) > 0 {
		t.Errorf("what was renamed unseen is served as the namespace: %+v", got)
	}
	if c := readiness(s.get("mine")); c.Reason != projection.ReasonFolderMissing {
		t.Errorf("condition: %+v", c)
	}
	if err := s.remove("mine"); err != nil || len(w.things("theirs")) != 1 {
		t.Errorf("remove: %v, vCenter %v", err, w.things("theirs"))
	}
}

// A folder that somebody has put elsewhere in vCenter stays there, and the namespace can be deleted all the same.
func TestDeletedAfterItsFolderWasMovedAway(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	if err := s.create(fresh("mine")); err != nil {
		t.Fatal(err)
	}
	b := w.builder()
	if err := errors.Join(b.In(t.Context(), "DC0"), b.Folder(t.Context(), "Archive")); err != nil {
		t.Fatal(err)
	}
	mine := w.folder("/DC0/vm/Namespaces/mine").Reference()
	task, err := w.folder("/DC0/vm/Archive").MoveInto(t.Context(), []types.ManagedObjectReference{mine})
	if err == nil {
		err = task.WaitEx(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	s.until("the folder is gone from where it was", func() bool {
		return readiness(s.get("mine")).Reason == projection.ReasonFolderMissing
	})
	if err := s.remove("mine"); err != nil {
		t.Error(err)
	}
	if there := w.folder("/DC0/vm/Archive/mine").Reference(); there != mine || len(w.things("mine")) > 0 ||
		len(w.records.kept) > 0 {
		t.Errorf("vCenter: %v, and %v; %d records", there, w.things("mine"), len(w.records.kept))
	}
}

// A pool that was renamed while nobody looked on may be anybody's, and is not limited before it is known which one it
// is.
func TestLimitsLookAgain(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	if err := s.create(fresh("mine")); err != nil {
		t.Fatal(err)
	}
	pool := w.pool("/DC0/host/cluster-a/Resources/mine")
	before := w.limits(pool)
	s.stop() // of the inventory
	if err := pool.UpdateConfig(t.Context(), "theirs", nil); err != nil {
		t.Fatal(err)
	}
	less := func(o *v1alpha1.Namespace) { o.Spec.Resources.CPULimitMHz = ptr[int64](2000) }
	if err := s.update("mine", less); err != nil {
		t.Fatal(err)
	}
	if c := readiness(s.get("mine")); !strings.Contains(c.Message, pool.Reference().Value) || w.limits(pool) != before {
		t.Errorf("limits %v, before %v; condition %+v", w.limits(pool), before, c)
	}
	next := w.start(-1)
	if err := pool.UpdateConfig(t.Context(), "mine", nil); err != nil {
		t.Fatal(err)
	}
	next.knows(pool.Reference())
	if err := next.backend.Realise(t.Context(), "uid-of-mine"); err != nil || w.limits(pool)[0] != 1000 {
		t.Errorf("called as before: %v, limits %v", err, w.limits(pool))
	}
}

// A pool that was renamed before everybody's eyes, and back while nobody looked on, is not called as it was seen last.
// It is known by its id and its name, unless machines of others are in it: then it is taken over by its id.
func TestPoolsThatAreRenamedBack(t *testing.T) {
	for name, others := range map[string]bool{"empty": false, "with machines of others": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, twoClusters)
			s := w.start(-1)
			if err := s.create(fresh("mine")); err != nil {
				t.Fatal(err)
			}
			pool := w.pool("/DC0/host/cluster-a/Resources/mine")
			id := pool.Reference().Value
			if err := pool.UpdateConfig(t.Context(), "theirs", nil); err != nil {
				t.Fatal(err)
			}
			s.knows(pool.Reference())
			if err := s.backend.Realise(t.Context(), "uid-of-mine"); err != nil {
				t.Fatal(err)
			}
			s.stop()
			if err := pool.UpdateConfig(t.Context(), "mine", nil); err != nil {
				t.Fatal(err)
			}
			if others {
				b := w.builder()
				erp := vcentertest.VM{Name: "erp", Cluster: "cluster-a", Pool: "mine", GuestID: "ubuntu64Guest", CPUs: 1,
					MemoryMB: 1024}
				if err := errors.Join(b.In(t.Context(), "DC0"), second(b.VirtualMachine(t.Context(), erp))); err != nil {
					t.Fatal(err)
				}
			}
			next := w.start(-1)
			err := next.backend.Realise(t.Context(), "uid-of-mine")
			if others {
				limits := w.limits(pool)
				unnamed := next.update("mine", func(o *v1alpha1.Namespace) { o.Spec.Resources.CPULimitMHz = ptr[int64](2000) })
				for _, err := range []error{err, unnamed} {
					if !errors.Is(err, failure.AlreadyExists) || !strings.Contains(err.Error(), id) || w.limits(pool) != limits {
						t.Errorf("before it is taken over: %v, limits %v", err, w.limits(pool))
					}
				}
				err = next.update("mine", func(o *v1alpha1.Namespace) { o.Spec.ResourcePools = []string{id} })
			}
			got := next.get("mine")
			if err != nil || readiness(got).Status != metav1.ConditionTrue || got.Status.Zones[0].ResourcePool != id {
				t.Errorf("%v, %+v", err, got.Status)
			}
			if diff := cmp.Diff(made("mine"), w.things("mine")); diff != "" {
				t.Errorf("vCenter (-want +got):\n%s", diff)
			}
		})
	}
}
