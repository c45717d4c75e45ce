// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// propertyFilter remembers what it has sent of each object, and sends the
// difference.
type propertyFilter struct {
	mo.PropertyFilter

	collector *propertyCollector
	started   bool
	seen      uint64
	order     []types.ManagedObjectReference
	known     map[types.ManagedObjectReference]map[string]any
}

// DestroyPropertyFilter lets the filter go.
func (f *propertyFilter) DestroyPropertyFilter(ctx *simulator.Context, req *types.DestroyPropertyFilter) soap.HasFault {
	f.collector.removeFilter(f)
	ctx.Session.Remove(ctx, req.This)
	return &methods.DestroyPropertyFilterBody{Res: &types.DestroyPropertyFilterResponse{}}
}

func (f *propertyFilter) forget() { f.started, f.known, f.order, f.seen = false, nil, nil, 0 }

// changes is what to send since the last call.
func (f *propertyFilter) changes(ctx *simulator.Context, t *Tracker) ([]types.ObjectUpdate, types.BaseMethodFault) {
	dirty, structural, now := t.since(f.seen)
	if f.started && len(dirty) == 0 {
		return nil, nil
	}
	first := !f.started
	if first {
		f.known = make(map[types.ManagedObjectReference]map[string]any)
	}

	selected, simple, fault := f.selection(ctx, t)
	if fault != nil {
		return nil, fault
	}
	look := selected
	if !first && simple {
		look = nil
		for _, ref := range selected {
			if _, known := f.known[ref]; !known || dirty[ref] || structural && f.lists(ref.Type) {
				look = append(look, ref)
			}
		}
	}
	contents, fault := retrieve(ctx, f.Spec.PropSet, look)
	if fault != nil {
		return nil, fault
	}

	var updates []types.ObjectUpdate
	present := make(map[types.ManagedObjectReference]bool, len(selected))
	for _, ref := range selected {
		present[ref] = true
	}
	for _, ref := range f.order {
		if _, known := f.known[ref]; known && !present[ref] {
			delete(f.known, ref)
			updates = append(updates, types.ObjectUpdate{Kind: types.ObjectUpdateKindLeave, Obj: ref})
		}
	}
	for _, content := range contents {
		if update, ok := f.compare(content, t.Veiled(content.Obj)); ok {
			updates = append(updates, update)
		}
	}
	f.order = selected
	f.started, f.seen = true, now
	return updates, nil
}

// lists says whether the filter asks for a list of other objects, which the
// simulator changes without notice.
func (f *propertyFilter) lists(kind string) bool {
	for _, set := range f.Spec.PropSet {
		if !isA(kind, set.Type) {
			continue
		}
		if set.All != nil && *set.All {
			return true
		}
		for _, path := range set.PathSet {
			switch path {
			case "vm", "childEntity", "host", "resourcePool", "network", "datastore", "portgroup":
				return true
			}
		}
	}
	return false
}

// selection lists the objects that the filter is about. It is simple when it
// names objects and views, so that it can change only when those do.
func (f *propertyFilter) selection(ctx *simulator.Context,
	t *Tracker) (selected []types.ManagedObjectReference, simple bool, fault types.BaseMethodFault) {
	seen := make(map[types.ManagedObjectReference]bool)
	add := func(ref types.ManagedObjectReference) {
		if !seen[ref] && f.wants(ref.Type) {
			seen[ref] = true
			selected = append(selected, ref)
		}
	}
	simple = true
	for _, set := range f.Spec.ObjectSet {
		if len(set.SelectSet) == 0 || set.Skip == nil || !*set.Skip {
			if t.visible(set.Obj) {
				add(set.Obj)
			}
		}
		if len(set.SelectSet) == 0 {
			continue
		}
		members, ok := f.view(ctx, set)
		if !ok {
			simple = false
			continue
		}
		for _, ref := range members {
			add(ref)
		}
	}
	if simple {
		return selected, true, nil
	}
	return f.traverse(ctx)
}

// view is the members of a view that is traversed in the usual way.
func (f *propertyFilter) view(ctx *simulator.Context, set types.ObjectSpec) ([]types.ManagedObjectReference, bool) {
	if len(set.SelectSet) != 1 {
		return nil, false
	}
	traversal, ok := set.SelectSet[0].(*types.TraversalSpec)
	if !ok || traversal.Path != "view" || len(traversal.SelectSet) != 0 {
		return nil, false
	}
	switch view := ctx.Session.Get(set.Obj).(type) {
	case *containerView:
		return view.refresh(ctx), true
	case *simulator.ListView:
		var members []types.ManagedObjectReference
		ctx.WithLock(view, func() { members = append(members, view.View...) })
		// The simulator lists also what it could not resolve, and what has gone since.
		return slices.DeleteFunc(members, func(ref types.ManagedObjectReference) bool {
			return ctx.Session.Get(ref) == nil
		}), true
	case nil:
		return nil, true // a destroyed view holds nothing
	}
	return nil, false
}

// traverse follows any other selection.
func (f *propertyFilter) traverse(ctx *simulator.Context) ([]types.ManagedObjectReference, bool,
	types.BaseMethodFault) {
	spec := f.Spec
	spec.ReportMissingObjectsInResults = types.NewBool(true)
	refs, fault := objectsOf(ctx, spec)
	if fault != nil {
		return nil, false, fault
	}
	return slices.DeleteFunc(refs, func(ref types.ManagedObjectReference) bool { return !f.wants(ref.Type) }), false, nil
}

func (f *propertyFilter) wants(kind string) bool {
	for _, set := range f.Spec.PropSet {
		if isA(kind, set.Type) {
			return true
		}
	}
	return false
}

// retrieve reads the wanted properties of objects, each under its lock.
func retrieve(ctx *simulator.Context, properties []types.PropertySpec,
	refs []types.ManagedObjectReference) ([]types.ObjectContent, types.BaseMethodFault) {
	if len(refs) == 0 {
		return nil, nil
	}
	return collect(ctx, naming(properties, refs))
}

// compare records what an object is like now and says what to send of it. Veiled, it has lost properties with what held
// them.
func (f *propertyFilter) compare(content types.ObjectContent, veiled bool) (types.ObjectUpdate, bool) {
	before, known := f.known[content.Obj]
	if known && len(content.PropSet) == 0 && len(content.MissingSet) > 0 {
		f.known[content.Obj] = map[string]any{}
		return types.ObjectUpdate{Kind: types.ObjectUpdateKindModify, Obj: content.Obj, MissingSet: content.MissingSet},
			len(before) > 0
	}
	now := make(map[string]any, len(content.PropSet))
	update := types.ObjectUpdate{Kind: types.ObjectUpdateKindModify, Obj: content.Obj}
	for _, property := range content.PropSet {
		now[property.Name] = property.Val
		old, had := before[property.Name]
		if had && reflect.DeepEqual(old, property.Val) {
			continue
		}
		op := types.PropertyChangeOpAssign
		if known && !had && strings.HasSuffix(property.Name, "]") {
			op = types.PropertyChangeOpAdd
		}
		update.ChangeSet = append(update.ChangeSet, types.PropertyChange{Name: property.Name, Op: op, Val: property.Val})
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, has := now[name]; has {
			continue
		}
		op := types.PropertyChangeOpAssign // without a value: the property is unset
		switch {
		case veiled && unreadable(name) && strings.ContainsAny(name, ".["):
			op = types.PropertyChangeOpIndirectRemove
		case strings.HasSuffix(name, "]"):
			op = types.PropertyChangeOpRemove
		}
		update.ChangeSet = append(update.ChangeSet, types.PropertyChange{Name: name, Op: op})
	}
	f.known[content.Obj] = now
	if !known {
		update.Kind, update.MissingSet = types.ObjectUpdateKindEnter, content.MissingSet
		return update, true
	}
	return update, len(update.ChangeSet) > 0
}

// validPath says whether a managed object type has a property path, as far as
// the types tell. vCenter refuses a filter with a path that does not exist.
func validPath(kind, path string) bool {
	t, _, ok := entityType(kind)
	if !ok {
		return true
	}
	if i := strings.IndexByte(path, '['); i >= 0 {
		path = path[:i]
	}
	for _, name := range strings.Split(path, ".") {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() == reflect.Interface {
			return true
		}
		if t.Kind() != reflect.Struct || name == "" {
			return false
		}
		field, ok := t.FieldByName(strings.ToUpper(name[:1]) + name[1:])
		if !ok || field.Anonymous {
			return false
		}
		t = field.Type
	}
	return true
}
