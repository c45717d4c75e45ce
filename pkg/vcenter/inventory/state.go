// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"maps"
	"reflect"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// entry is what is known of one object. It is immutable.
type entry struct {
	// kinds has bit i set when the object is in the view of Kinds[i]; an
	// object is in several when one type derives from the other.
	kinds      uint64
	properties map[string]any
	turn       uint64 // The number of the turn that changed it last.
}

// draft is an entry while a set is applied to it.
type draft struct {
	entry
	// reread: a change could not be applied by its path, or may be older than
	// what Refresh has read; the properties must be read once more.
	reread bool
}

// turn is one set of updates, or one full set, on its way into the state.
type turn struct {
	kinds  []Kind
	paths  []map[string]bool // By kind.
	full   bool
	base   map[types.ManagedObjectReference]entry
	drafts map[types.ManagedObjectReference]*draft
	order  []types.ManagedObjectReference // Of drafts.
}

func newTurn(kinds []Kind, paths []map[string]bool, full bool, base map[types.ManagedObjectReference]entry) *turn {
	return &turn{kinds: kinds, paths: paths, full: full, base: base, drafts: map[types.ManagedObjectReference]*draft{}}
}

// draft returns the draft of an object. In a full set nothing is taken over
// from what was known before.
func (t *turn) draft(ref types.ManagedObjectReference) *draft {
	d := t.drafts[ref]
	if d == nil {
		d = &draft{}
		if known, ok := t.base[ref]; ok && !t.full {
			d.kinds, d.properties = known.kinds, maps.Clone(known.properties)
		} else {
			d.properties = map[string]any{}
		}
		t.drafts[ref] = d
		t.order = append(t.order, ref)
	}
	return d
}

// apply takes in one object's update of the filter for kind.
func (t *turn) apply(kind int, update types.ObjectUpdate) {
	d := t.draft(update.Obj)
	bit := uint64(1) << kind
	switch update.Kind {
	case types.ObjectUpdateKindLeave:
		d.kinds &^= bit
		return
	case types.ObjectUpdateKindEnter:
		// Also for a known object, of which it tells the whole truth.
		d.kinds |= bit
		for path := range t.paths[kind] {
			delete(d.properties, path)
		}
	default:
		if d.kinds&bit == 0 {
			d.kinds |= bit
			d.reread = true
		}
	}
	for _, change := range update.ChangeSet {
		switch {
		case !t.paths[kind][change.Name]:
			// Deeper or higher than what was asked for.
			d.reread = true
		case change.Val == nil, change.Op == types.PropertyChangeOpRemove, change.Op == types.PropertyChangeOpIndirectRemove:
			delete(d.properties, change.Name)
		default:
			t.set(d, kind, change.Name, change.Val)
		}
	}
	for _, missing := range update.MissingSet {
		if t.paths[kind][missing.Path] {
			delete(d.properties, missing.Path)
		}
	}
}

// set keeps what the kind wants of a value.
func (t *turn) set(d *draft, kind int, path string, value any) {
	if kept := t.kinds[kind].reduce(path, value); kept != nil {
		d.properties[path] = kept
	} else {
		delete(d.properties, path)
	}
}

// replace takes in all of one kind's properties of an object.
func (t *turn) replace(kind int, content types.ObjectContent) {
	d := t.draft(content.Obj)
	for path := range t.paths[kind] {
		delete(d.properties, path)
	}
	for _, property := range content.PropSet {
		if property.Val != nil && t.paths[kind][property.Name] {
			t.set(d, kind, property.Name, property.Val)
		}
	}
}

// commit writes the drafts into base, as turn number, counts, and returns what
// differs.
func (t *turn) commit(counts []int, number uint64) (changed []Object, removed []types.ManagedObjectReference) {
	recount := func(kinds uint64, n int) {
		for i := range counts {
			if kinds&(1<<i) != 0 {
				counts[i] += n
			}
		}
	}
	for _, ref := range t.order {
		d := t.drafts[ref]
		known, ok := t.base[ref]
		switch {
		case d.kinds == 0 && !ok:
			continue
		case d.kinds == 0:
			delete(t.base, ref)
			recount(known.kinds, -1)
			removed = append(removed, ref)
			continue
		case ok && equalProperties(known.properties, d.properties):
			// The known map stays, since it may be shared with the handler.
			d.properties, d.turn = known.properties, known.turn
		default:
			d.turn = number
			changed = append(changed, Object{Ref: ref, Properties: d.properties})
		}
		recount(known.kinds, -1)
		recount(d.kinds, 1)
		t.base[ref] = d.entry
	}
	if t.full {
		for ref, known := range t.base {
			if t.drafts[ref] == nil {
				delete(t.base, ref)
				recount(known.kinds, -1)
				removed = append(removed, ref)
			}
		}
	}
	return changed, removed
}

func equalProperties(a, b map[string]any) bool {
	if len(a) != len(b) {
		return false
	}
	for path, value := range a {
		other, ok := b[path]
		if !ok || !equalValue(value, other) {
			return false
		}
	}
	return true
}

// equalValue is reflect.DeepEqual with a short way for the common types.
func equalValue(a, b any) bool {
	switch x := a.(type) {
	case string, bool, int32, int64, types.ManagedObjectReference, types.VirtualMachinePowerState:
		return a == b
	case time.Time:
		y, ok := b.(time.Time)
		return ok && x.Equal(y)
	}
	return reflect.DeepEqual(a, b)
}
