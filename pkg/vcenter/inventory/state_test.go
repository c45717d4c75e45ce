// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/vim25/types"
)

func reference(kind, value string) types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: kind, Value: value}
}

func update(kind types.ObjectUpdateKind, ref types.ManagedObjectReference,
	changes ...types.PropertyChange) types.ObjectUpdate {
	return types.ObjectUpdate{Kind: kind, Obj: ref, ChangeSet: changes}
}

func set(name string, value any) types.PropertyChange {
	return types.PropertyChange{Name: name, Op: types.PropertyChangeOpAssign, Val: value}
}

func TestTurn(t *testing.T) {
	const key = `config.extraConfig["k"]`
	testKinds := []Kind{{Type: "VirtualMachine"}, {Type: "Network"}, {Type: "DistributedVirtualPortgroup"}}
	paths := []map[string]bool{
		{"name": true, "config.hardware": true, key: true},
		{"name": true},
		{"name": true, "key": true},
	}
	a, b, c := reference("VirtualMachine", "vm-a"), reference("VirtualMachine", "vm-b"),
		reference("VirtualMachine", "vm-c")
	group := reference("DistributedVirtualPortgroup", "dvportgroup-1")
	base := func() map[types.ManagedObjectReference]entry {
		return map[types.ManagedObjectReference]entry{
			a:     {kinds: 1, properties: map[string]any{"name": "a", key: "v"}},
			b:     {kinds: 1, properties: map[string]any{"name": "b"}},
			group: {kinds: 6, properties: map[string]any{"name": "g", "key": "1"}},
		}
	}
	tests := []struct {
		name    string
		full    bool
		kind    int
		updates []types.ObjectUpdate
		changed []Object
		removed []types.ManagedObjectReference
		reread  []types.ManagedObjectReference
	}{
		{name: "nothing"},
		{name: "change", updates: []types.ObjectUpdate{update("modify", a, set("name", "x"))},
			changed: []Object{{Ref: a, Properties: map[string]any{"name": "x", key: "v"}}}},
		{name: "change to the same", updates: []types.ObjectUpdate{update("modify", a, set("name", "a"))}},
		{name: "there and back", updates: []types.ObjectUpdate{update("modify", a, set("name", "x")),
			update("modify", a, set("name", "a"))}},
		{name: "enter of a known one with less", updates: []types.ObjectUpdate{update("enter", a, set("name", "a"))},
			changed: []Object{{Ref: a, Properties: map[string]any{"name": "a"}}}},
		{name: "enter of a known one with the same", updates: []types.ObjectUpdate{
			update("enter", a, set("name", "a"), set(key, "v"))}},
		{name: "enter", updates: []types.ObjectUpdate{update("enter", c, set("name", "c"), set(key, nil))},
			changed: []Object{{Ref: c, Properties: map[string]any{"name": "c"}}}},
		{name: "leave", updates: []types.ObjectUpdate{update("leave", a)}, removed: []types.ManagedObjectReference{a}},
		{name: "leave of an unknown one", updates: []types.ObjectUpdate{update("leave", c)}},
		{name: "enter and leave", updates: []types.ObjectUpdate{update("enter", c, set("name", "c")), update("leave", c)}},
		{name: "leave and enter", updates: []types.ObjectUpdate{update("leave", b), update("enter", b, set("name", "b"))}},
		{name: "remove", updates: []types.ObjectUpdate{update("modify", a,
			types.PropertyChange{Name: key, Op: types.PropertyChangeOpRemove})},
			changed: []Object{{Ref: a, Properties: map[string]any{"name": "a"}}}},
		{name: "indirect remove", updates: []types.ObjectUpdate{
			update("modify", a, types.PropertyChange{Name: key, Op: types.PropertyChangeOpIndirectRemove})},
			changed: []Object{{Ref: a, Properties: map[string]any{"name": "a"}}}},
		{name: "added by key", updates: []types.ObjectUpdate{
			update("modify", b, types.PropertyChange{Name: key, Op: types.PropertyChangeOpAdd, Val: "w"})},
			changed: []Object{{Ref: b, Properties: map[string]any{"name": "b", key: "w"}}}},
		{name: "missing", updates: []types.ObjectUpdate{{Kind: "modify", Obj: a,
			MissingSet: []types.MissingProperty{{Path: key}}}},
			changed: []Object{{Ref: a, Properties: map[string]any{"name": "a"}}}},
		{name: "deeper than asked for", updates: []types.ObjectUpdate{
			update("modify", a, set("config.hardware.device[4000]", "d"))},
			reread: []types.ManagedObjectReference{a}},
		{name: "higher than asked for", updates: []types.ObjectUpdate{
			update("modify", a, types.PropertyChange{Name: "config", Op: types.PropertyChangeOpIndirectRemove})},
			reread: []types.ManagedObjectReference{a}},
		{name: "modify of an unknown one", updates: []types.ObjectUpdate{update("modify", c, set("name", "c"))},
			reread: []types.ManagedObjectReference{c}, changed: []Object{{Ref: c, Properties: map[string]any{"name": "c"}}}},
		{name: "leaves one of two kinds", kind: 1, updates: []types.ObjectUpdate{update("leave", group)}},
		{name: "enters one of two kinds", kind: 2, updates: []types.ObjectUpdate{
			update("enter", group, set("name", "g"), set("key", "2"))},
			changed: []Object{{Ref: group, Properties: map[string]any{"name": "g", "key": "2"}}}},
		{name: "full set", full: true, updates: []types.ObjectUpdate{update("enter", a, set("name", "a"), set(key, "v")),
			update("enter", c, set("name", "c"))},
			changed: []Object{{Ref: c, Properties: map[string]any{"name": "c"}}},
			removed: []types.ManagedObjectReference{b, group}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			objects := base()
			counts := []int{2, 1, 1}
			turn := newTurn(testKinds, paths, test.full, objects)
			for _, u := range test.updates {
				turn.apply(test.kind, u)
			}
			var reread []types.ManagedObjectReference
			for _, ref := range turn.order {
				if turn.drafts[ref].reread {
					reread = append(reread, ref)
				}
			}
			if diff := cmp.Diff(test.reread, reread); diff != "" {
				t.Errorf("reread (-want +got):\n%s", diff)
			}
			changed, removed := turn.commit(counts, 1)
			if diff := cmp.Diff(test.changed, changed); diff != "" {
				t.Errorf("changed (-want +got):\n%s", diff)
			}
			seen := map[types.ManagedObjectReference]bool{}
			for _, ref := range removed {
				seen[ref] = true
			}
			want := map[types.ManagedObjectReference]bool{}
			for _, ref := range test.removed {
				want[ref] = true
			}
			if diff := cmp.Diff(want, seen); diff != "" || len(removed) != len(want) {
				t.Errorf("removed (-want +got):\n%s", diff)
			}
			wantCounts := make([]int, len(counts))
			for _, e := range objects {
				for i := range counts {
					if e.kinds&(1<<i) != 0 {
						wantCounts[i]++
					}
				}
			}
			if diff := cmp.Diff(wantCounts, counts); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
			// What a handler was given before must not have changed.
			for ref, before := range base() {
				if after, ok := objects[ref]; ok && len(changed) == 0 && !cmp.Equal(before.properties, after.properties) {
					t.Errorf("%v changed silently", ref)
				}
			}
		})
	}
}

// largeSet is a full set of virtual machines with 25 properties each.
func largeSet(n int) (paths map[string]bool, updates []types.ObjectUpdate) {
	paths = map[string]bool{}
	for p := range 25 {
		paths[fmt.Sprintf("config.property%d", p)] = true
	}
	for i := range n {
		u := types.ObjectUpdate{Kind: "enter", Obj: reference("VirtualMachine", fmt.Sprintf("vm-%d", i))}
		for p := range 24 {
			u.ChangeSet = append(u.ChangeSet, set(fmt.Sprintf("config.property%d", p), fmt.Sprintf("value %d of %d", p, i)))
		}
		var devices types.ArrayOfVirtualDevice
		for d := range 8 {
			devices.VirtualDevice = append(devices.VirtualDevice, &types.VirtualDisk{
				VirtualDevice: types.VirtualDevice{Key: int32(2000 + d),
					Backing: &types.VirtualDiskFlatVer2BackingInfo{DiskMode: "persistent"}},
				CapacityInKB: 1 << 20,
			})
		}
		u.ChangeSet = append(u.ChangeSet, set("config.property24", devices))
		updates = append(updates, u)
	}
	return paths, updates
}

func TestTenThousandMachines(t *testing.T) {
	const n = 10_000
	paths, updates := largeSet(n)
	objects := map[types.ManagedObjectReference]entry{}
	counts := []int{0}
	apply := func(full bool, updates []types.ObjectUpdate) int {
		turn := newTurn([]Kind{{Type: "VirtualMachine"}}, []map[string]bool{paths}, full, objects)
		for _, u := range updates {
			turn.apply(0, u)
		}
		changed, _ := turn.commit(counts, 1)
		return len(changed)
	}
	start := time.Now()
	if got := apply(true, updates); got != n {
		t.Errorf("%d changed, want %d", got, n)
	}
	first := time.Since(start)
	start = time.Now()
	if got := apply(true, updates); got != 0 {
		t.Errorf("%d changed in the same set again", got)
	}
	again := time.Since(start)
	change := time.Hour // The best of ten: the others may have been interrupted.
	for i := range 10 {
		start = time.Now()
		if got := apply(false, []types.ObjectUpdate{update("modify", updates[7].Obj,
			set("config.property3", fmt.Sprint("other", i)))}); got != 1 {
			t.Errorf("%d changed, want 1", got)
		}
		change = min(change, time.Since(start))
	}
	t.Logf("full set %v, the same again %v, one change %v", first, again, change)
	// Ten times what it takes, for a slow machine with the race detector on.
	if first > 5*time.Second || again > 5*time.Second || change > 20*time.Millisecond {
		t.Errorf("too slow: full set %v, the same again %v, one change %v", first, again, change)
	}
}
