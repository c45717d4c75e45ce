// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"maps"
	"reflect"
	"slices"
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
	// unseen: it is in no view any more, and yet not known to be gone.
	// withheld: a property that was known is kept from the account.
	// Either way it stays as it was read last.
	unseen, withheld bool
}

func (e entry) hidden() bool { return e.unseen || e.withheld }

// draft is an entry while a set is applied to it.
type draft struct {
	entry
	// reread: a change could not be applied by its path, or may be older than
	// what Refresh has read; the properties must be read once more.
	reread bool
	// gone: vCenter said that it does not exist, when it was asked for it.
	gone bool
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
			d.entry = known
			d.properties = maps.Clone(known.properties)
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
		d.unseen, d.withheld = false, false
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
	t.miss(d, kind, update.Obj, update.MissingSet)
}

// miss takes in what vCenter does not show of an object. What the account may
// not see, or vCenter cannot read now, stays as it was.
func (t *turn) miss(d *draft, kind int, ref types.ManagedObjectReference, missing []types.MissingProperty) {
	for _, m := range missing {
		if !t.paths[kind][m.Path] {
			continue
		}
		delete(d.properties, m.Path)
		switch m.Fault.Fault.(type) {
		case types.BaseSecurityError, *types.SystemError:
			if known, ok := t.base[ref].properties[m.Path]; ok {
				d.properties[m.Path] = known
				d.withheld = true
			}
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
	d.withheld = false
	for path := range t.paths[kind] {
		delete(d.properties, path)
	}
	t.miss(d, kind, content.Obj, content.MissingSet)
	for _, property := range content.PropSet {
		if property.Val != nil && t.paths[kind][property.Name] {
			t.set(d, kind, property.Name, property.Val)
		}
	}
}

// leaving lists the objects that were known and that no view has any more: of a
// full set those that are not in it.
func (t *turn) leaving() []types.ManagedObjectReference {
	var refs []types.ManagedObjectReference
	for _, ref := range t.order {
		if d := t.drafts[ref]; d.kinds == 0 && !d.gone && t.base[ref].kinds != 0 {
			refs = append(refs, ref)
		}
	}
	if t.full {
		for ref := range t.base {
			if t.drafts[ref] == nil {
				refs = append(refs, ref)
			}
		}
	}
	return refs
}

// revealed says whether the set shows an object that was hidden: then others may
// be shown as well, or be known to be gone.
func (t *turn) revealed() bool {
	return slices.ContainsFunc(t.order, func(ref types.ManagedObjectReference) bool {
		return t.base[ref].hidden() && !t.drafts[ref].hidden()
	})
}

// keep leaves an object as it was, though no view has it.
func (t *turn) keep(ref types.ManagedObjectReference) {
	d := t.draft(ref)
	d.entry = t.base[ref]
	d.unseen = true
}

// has says whether an object is there after this turn.
func (t *turn) has(ref types.ManagedObjectReference) bool {
	if d := t.drafts[ref]; d != nil {
		return d.kinds != 0
	}
	return !t.full && t.base[ref].kinds != 0
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
		case ok && known.hidden() == d.hidden() && equalProperties(known.properties, d.properties):
			// The known map stays, since it may be shared with the handler.
			d.properties, d.turn = known.properties, known.turn
		default:
			d.turn = number
			changed = append(changed, Object{Ref: ref, Properties: d.properties, Hidden: d.hidden()})
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
