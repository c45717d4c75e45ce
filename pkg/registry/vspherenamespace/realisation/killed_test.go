// SPDX-License-Identifier: Apache-2.0

package realisation_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8stypes "k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
)

// longer has something done that takes ever more steps before it dies, until it has lived to its end.
func longer(t *testing.T, attempt func(steps int) (finished bool)) {
	t.Helper()
	const enough = 100
	for steps := range enough {
		if attempt(steps) {
			return
		}
	}
	t.Fatalf("it takes more than %d steps", enough)
}

// dieCreating has a server create a namespace that dies after so many steps.
func (w *world) dieCreating(object *v1alpha1.Namespace, steps int) (finished bool) {
	w.t.Helper()
	dying := w.start(steps)
	defer dying.stop()
	_ = dying.create(object)
	seen := dying.list()[object.Name]
	return seen != nil && seen.Status.Phase == v1alpha1.NamespaceRunning
}

// dieRemoving has a server remove a namespace that dies after so many steps, and the next one finish that: nothing is
// left over.
func (w *world) dieRemoving(name string, steps int) (finished bool) {
	w.t.Helper()
	dying := w.start(steps)
	finished = dying.remove(name) == nil
	dying.stop()
	next := w.start(-1)
	defer next.stop()
	if err := next.remove(name); err != nil {
		w.t.Fatalf("killed after %d steps: %v", steps, err)
	}
	if things := w.things(name); len(things) > 0 || len(w.records.kept) > 0 || len(w.detached) > 0 {
		w.t.Errorf("killed after %d steps: left over %v, records %v, detached %v", steps, things, w.records.kept, w.detached)
	}
	return finished
}

// A server that dies at any step of creating is finished by the next one, and
// the same with deleting: nothing is left over, nothing is there twice.
func TestKilledAtEachStep(t *testing.T) {
	w := newWorld(t, twoClusters)
	longer(t, func(steps int) bool {
		name := fmt.Sprintf("create-%d", steps)
		finished := w.dieCreating(fresh(name), steps)
		next := w.start(-1)
		defer next.stop()
		if err := next.backend.Realise(t.Context(), k8stypes.UID("uid-of-"+name)); err != nil {
			t.Fatalf("killed after %d steps: %v", steps, err)
		}
		switch things := w.things(name); {
		case len(w.records.kept) == 0 && len(things) == 0: // It was never promised.
		case !cmp.Equal(made(name), things):
			t.Errorf("killed after %d steps: vCenter has %v", steps, things)
		case next.get(name).Status.Phase != v1alpha1.NamespaceRunning:
			t.Errorf("killed after %d steps: %+v", steps, next.get(name).Status)
		case !cmp.Equal(next.get(name).Spec.Resources, fresh(name).Spec.Resources):
			t.Errorf("killed after %d steps: %+v", steps, next.get(name).Spec.Resources)
		}
		if err := next.remove(name); err != nil {
			t.Fatal(err)
		}
		return finished
	})
	longer(t, func(steps int) bool {
		name := fmt.Sprintf("delete-%d", steps)
		maker := w.start(-1)
		if err := maker.create(fresh(name)); err != nil {
			t.Fatal(err)
		}
		maker.stop()
		return w.dieRemoving(name, steps)
	})
}

// A zone that is given up while its pool is being made leaves none behind, at
// whichever step of making it the server died.
func TestGivenUpZones(t *testing.T) {
	w := newWorld(t, twoClusters)
	longer(t, func(steps int) bool {
		name := fmt.Sprintf("zones-%d", steps)
		finished := w.dieCreating(fresh(name), steps)
		next := w.start(-1)
		defer next.stop()
		if next.list()[name] != nil {
			if err := next.update(name, func(o *v1alpha1.Namespace) { o.Spec.Zones = []string{"cluster-a"} }); err != nil {
				t.Fatalf("killed after %d steps: %v", steps, err)
			}
			want := []string{"/DC0/host/cluster-a/Resources/" + name, "/DC0/vm/Namespaces/" + name}
			if diff := cmp.Diff(want, w.things(name)); diff != "" {
				t.Errorf("killed after %d steps: vCenter with one zone less (-want +got):\n%s", steps, diff)
			}
		}
		if err := next.remove(name); err != nil {
			t.Fatalf("killed after %d steps: %v", steps, err)
		}
		if things := w.things(name); len(things) > 0 || len(w.records.kept) > 0 {
			t.Errorf("killed after %d steps: left over %v, records %v", steps, things, w.records.kept)
		}
		return finished
	})
}

// One that is deleted before the folder that was made for it could be written down is shown with the folder, by which
// the controller knows its Kubernetes Namespace; and nothing is left of it, at whichever step of removing it the server
// died.
func TestDeletedBeforeItWasWrittenDown(t *testing.T) {
	w := newWorld(t, twoClusters)
	longer(t, func(steps int) bool {
		name := fmt.Sprintf("brief-%d", steps)
		maker := w.start(-1)
		if err := maker.create(fresh(name)); err != nil {
			t.Fatal(err)
		}
		folder := maker.get(name).Status.Folder
		maker.stop()
		w.unwritten()
		deleter := w.start(-1)
		err := deleter.update(name, func(o *v1alpha1.Namespace) { o.DeletionTimestamp = &metav1.Time{Time: time.Unix(2e9, 0)} })
		if err != nil {
			t.Fatal(err)
		}
		if shown := deleter.get(name).Status.Folder; shown != folder {
			t.Errorf("folder %q instead of %s", shown, folder)
		}
		deleter.stop()
		return w.dieRemoving(name, steps)
	})
}

// A server that dies at any step of taking over is finished by the next one.
func TestKilledWhileTakingOver(t *testing.T) {
	const enough = 30
	names := make([]string, enough)
	for i := range names {
		names[i] = fmt.Sprintf("old-%d", i)
	}
	w := newWorld(t, withOldFolders(names...))
	for acts, name := range names {
		steps := 2 * acts // To die before the next act is to leave what dying after the last one leaves.
		old := w.folder("/DC0/vm/Old/" + name)
		finished := w.dieCreating(taking(name, old), steps)
		next := w.start(-1)
		if err := next.backend.Realise(t.Context(), k8stypes.UID("uid-of-"+name)); err != nil {
			t.Fatalf("killed after %d steps: %v", steps, err)
		}
		switch things := w.things(name); {
		case len(w.records.kept) == 0 && len(things) == 0: // It was never promised.
		case !cmp.Equal(made(name), things):
			t.Errorf("killed after %d steps: vCenter has %v", steps, things)
		case next.get(name).Status.Phase != v1alpha1.NamespaceRunning,
			next.get(name).Status.Folder != old.Reference().Value:
			t.Errorf("killed after %d steps: %+v", steps, next.get(name).Status)
		}
		if err := next.remove(name); err != nil {
			t.Fatal(err)
		}
		if left := w.things(name); len(left) > 0 && !slices.Equal(left, made(name)[2:]) {
			t.Errorf("killed after %d steps: left of it is %v", steps, left)
		}
		next.stop()
		if finished {
			return
		}
	}
	t.Fatalf("taking over takes more than %d acts", enough)
}
