// SPDX-License-Identifier: Apache-2.0

package resourcepolicy_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// longer has something done that takes ever more steps before it dies, until it has lived to its end.
func longer(t *testing.T, attempt func(steps int) (finished bool)) {
	t.Helper()
	for steps := range 100 {
		if attempt(steps) {
			t.Logf("it takes %d steps", steps)
			return
		}
	}
	t.Fatal("it takes more than 100 steps")
}

// A server that dies at any step of making what a policy asks for is finished by the next one: nothing is left over,
// nothing is there twice.
func TestKilledMaking(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	longer(t, func(steps int) bool {
		w.declare("cluster")
		dying := w.start(steps)
		w.eventually("it is dead or done", func() bool { return dying.life.over() || w.complete("cluster") })
		dying.stop()
		finished := !dying.life.over()
		next := w.start(-1)
		w.eventually(fmt.Sprintf("killed after %d steps, the next one makes it", steps), func() bool { return w.complete("cluster") })
		if diff := cmp.Diff(all, w.here()); diff != "" {
			t.Errorf("killed after %d steps: in vCenter (-want +got):\n%s", steps, diff)
		}
		w.remove("cluster")
		w.eventually("it is gone", func() bool { return w.gone("cluster") })
		next.stop()
		if left := w.here(); len(left) > 0 || w.records.len() > 0 {
			t.Fatalf("killed after %d steps: left over %v, %d records", steps, left, w.records.len())
		}
		return finished
	})
}

// And the same with taking it away.
func TestKilledTakingAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	longer(t, func(steps int) bool {
		w.declare("cluster")
		maker := w.start(-1)
		w.eventually("it is made", func() bool { return w.complete("cluster") })
		maker.stop()
		w.remove("cluster")
		dying := w.start(steps)
		w.eventually("it is dead or done", func() bool { return dying.life.over() || w.gone("cluster") })
		dying.stop()
		finished := !dying.life.over()
		next := w.start(-1)
		w.eventually(fmt.Sprintf("killed after %d steps, the next one finishes", steps), func() bool { return w.gone("cluster") })
		next.stop()
		if left := w.here(); len(left) > 0 || w.records.len() > 0 {
			t.Fatalf("killed after %d steps: left over %v, %d records", steps, left, w.records.len())
		}
		return finished
	})
}

// A policy that is deleted before what was being made for it could be written down leaves nothing either.
func TestDeletedWhileItIsMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	longer(t, func(steps int) bool {
		w.declare("cluster")
		dying := w.start(steps)
		w.eventually("it is dead or done", func() bool { return dying.life.over() || w.complete("cluster") })
		dying.stop()
		w.remove("cluster")
		next := w.start(-1)
		w.eventually("it is gone", func() bool { return w.gone("cluster") })
		next.stop()
		if left := w.here(); len(left) > 0 || w.records.len() > 0 {
			t.Fatalf("killed after %d steps: left over %v, %d records", steps, left, w.records.len())
		}
		return !dying.life.over()
	})
}

// Nothing is taken for what was being made that something lies in.
func TestNotTakenForItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.declare("cluster", func(p *policy) { p.Spec.ClusterModuleGroups = nil })
	dying := w.start(2) // the folder is written down, and not made
	w.eventually("it is dead", dying.life.over)
	dying.stop()
	parent, err := w.finder.Folder(t.Context(), "/DC0/vm/Namespaces/team-a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parent.CreateFolder(t.Context(), "cluster"); err != nil {
		t.Fatal(err)
	}
	w.move("db-1", "/DC0/vm/Namespaces/team-a/cluster")
	w.start(-1)
	w.eventually("it has its pools", func() bool { return len(w.status("cluster").ResourcePools) == 2 })
	w.remove("cluster")
	w.eventually("it is gone", func() bool { return w.gone("cluster") })
	if diff := cmp.Diff([]string{"vm/Namespaces/team-a/cluster"}, w.here()); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}
