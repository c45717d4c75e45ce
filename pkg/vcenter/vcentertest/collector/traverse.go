// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// step is one selection at one object: where a traversal has been.
type step struct {
	object    types.ManagedObjectReference
	selection *types.TraversalSpec
}

// traversal follows the selections of a specification. The simulator holds the lock of the first object alone while it
// reads all the others.
type traversal struct {
	ctx   *simulator.Context
	named map[string]*types.TraversalSpec
	been  map[step]bool
	found []types.ManagedObjectReference
}

// selected lists the objects that a part of a specification is about, each once, and says whether the one that it
// begins at is there.
func selected(ctx *simulator.Context, set types.ObjectSpec) (refs []types.ManagedObjectReference, exists bool) {
	if object(ctx, set.Obj) == nil {
		return nil, false
	}
	t := &traversal{ctx: ctx, named: map[string]*types.TraversalSpec{}, been: map[step]bool{}}
	if len(set.SelectSet) == 0 || set.Skip == nil || !*set.Skip {
		t.found = append(t.found, set.Obj)
	}
	t.learn(set.SelectSet)
	t.follow(set.Obj, set.SelectSet)
	seen := map[types.ManagedObjectReference]bool{}
	return slices.DeleteFunc(t.found, func(ref types.ManagedObjectReference) bool {
		before := seen[ref]
		seen[ref] = true
		return before
	}), true
}

// learn notes the selections that others call by name, however deep.
func (t *traversal) learn(set []types.BaseSelectionSpec) {
	for _, selection := range set {
		if traversal, ok := selection.(*types.TraversalSpec); ok {
			if traversal.Name != "" {
				t.named[traversal.Name] = traversal
			}
			t.learn(traversal.SelectSet)
		}
	}
}

func (t *traversal) follow(from types.ManagedObjectReference, set []types.BaseSelectionSpec) {
	for _, selection := range set {
		next, ok := selection.(*types.TraversalSpec)
		if !ok {
			next = t.named[selection.GetSelectionSpec().Name]
		}
		if next == nil || t.been[step{from, next}] {
			continue
		}
		t.been[step{from, next}] = true
		for _, ref := range references(t.ctx, from, next.Path) {
			if trackerOf(t.ctx).Hides(t.ctx, ref) {
				continue
			}
			if next.Skip == nil || !*next.Skip {
				t.found = append(t.found, ref)
			}
			t.follow(ref, next.SelectSet)
		}
	}
}

// object is a managed object as the session sees it.
func object(ctx *simulator.Context, ref types.ManagedObjectReference) mo.Reference {
	if ctx.Session != nil {
		if own := ctx.Session.Get(ref); own != nil {
			return own
		}
	}
	return ctx.Map.Get(ref)
}

// references reads a property that refers to other objects, under the object's lock.
func references(ctx *simulator.Context, ref types.ManagedObjectReference,
	property string) (refs []types.ManagedObjectReference) {
	o := object(ctx, ref)
	if o == nil {
		return nil
	}
	ctx.WithLock(ref, func() {
		value := managed(o)
		for _, name := range strings.Split(property, ".") {
			if value.Kind() == reflect.Pointer || value.Kind() == reflect.Interface {
				value = value.Elem()
			}
			if value.Kind() != reflect.Struct || name == "" {
				return
			}
			value = value.FieldByName(strings.ToUpper(name[:1]) + name[1:])
		}
		if !value.IsValid() {
			return
		}
		switch found := value.Interface().(type) {
		case types.ManagedObjectReference:
			refs = append(refs, found)
		case *types.ManagedObjectReference:
			if found != nil {
				refs = append(refs, *found)
			}
		case []types.ManagedObjectReference:
			refs = append(refs, found...)
		}
	})
	return refs
}

// managed is the part of an object that has its properties: what the simulator adds to it is around that.
func managed(o mo.Reference) reflect.Value {
	value := reflect.ValueOf(o).Elem()
	for path.Base(value.Type().PkgPath()) != "mo" {
		if value.Kind() != reflect.Struct || value.NumField() == 0 {
			return reflect.ValueOf(struct{}{})
		}
		if value = value.Field(0); value.Kind() == reflect.Pointer {
			value = value.Elem()
		}
	}
	return value
}
