// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"reflect"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// entityTypes are the managed objects that a ContainerView can show or stand on.
func entityTypes() []struct {
	kind      reflect.Type
	container bool
} {
	type row = struct {
		kind      reflect.Type
		container bool
	}
	return []row{
		{reflect.TypeFor[mo.ManagedEntity](), true},
		{reflect.TypeFor[mo.Folder](), true},
		{reflect.TypeFor[mo.StoragePod](), true},
		{reflect.TypeFor[mo.Datacenter](), true},
		{reflect.TypeFor[mo.ComputeResource](), true},
		{reflect.TypeFor[mo.ClusterComputeResource](), true},
		{reflect.TypeFor[mo.HostSystem](), true},
		{reflect.TypeFor[mo.ResourcePool](), true},
		{reflect.TypeFor[mo.VirtualApp](), true},
		{reflect.TypeFor[mo.VirtualMachine](), false},
		{reflect.TypeFor[mo.Datastore](), false},
		{reflect.TypeFor[mo.Network](), false},
		{reflect.TypeFor[mo.OpaqueNetwork](), false},
		{reflect.TypeFor[mo.DistributedVirtualPortgroup](), false},
		{reflect.TypeFor[mo.DistributedVirtualSwitch](), false},
		{reflect.TypeFor[mo.VmwareDistributedVirtualSwitch](), false},
	}
}

func entityType(name string) (kind reflect.Type, container, ok bool) {
	for _, row := range entityTypes() {
		if row.kind.Name() == name {
			return row.kind, row.container, true
		}
	}
	return nil, false, false
}

// isA says whether a managed object type is another one or derives from it.
func isA(kind, ancestor string) bool {
	if kind == ancestor {
		return true
	}
	t, _, ok := entityType(kind)
	if !ok {
		return false
	}
	field, ok := t.FieldByName(ancestor)
	return ok && field.Anonymous
}

// ViewManager makes views that follow moves.
type ViewManager struct {
	*simulator.ViewManager
	Session *simulator.Registry // the session's own objects
}

// CreateContainerView replaces the simulator's.
func (m *ViewManager) CreateContainerView(ctx *simulator.Context, req *types.CreateContainerView) soap.HasFault {
	ctx.Session.Registry = m.Session
	body := &methods.CreateContainerViewBody{}
	if ctx.Map.Get(req.Container) == nil {
		body.Fault_ = simulator.Fault("", &types.ManagedObjectNotFound{Obj: req.Container})
		return body
	}
	if _, container, ok := entityType(req.Container.Type); !ok || !container {
		body.Fault_ = simulator.Fault("", &types.InvalidArgument{InvalidProperty: "container"})
		return body
	}
	for _, name := range req.Type {
		if _, _, ok := entityType(name); !ok {
			body.Fault_ = simulator.Fault("", &types.InvalidArgument{InvalidProperty: "type"})
			return body
		}
	}
	view := &containerView{ContainerView: mo.ContainerView{Container: req.Container, Recursive: req.Recursive,
		Type: req.Type}}
	ctx.Session.Put(view)
	view.refresh(ctx)
	body.Res = &types.CreateContainerViewResponse{Returnval: view.Self}
	return body
}

// containerView works out its members when somebody looks, if anything moved
// since somebody last did.
type containerView struct {
	mo.ContainerView
	structure uint64
	fresh     bool
}

// DestroyView lets the view go.
func (v *containerView) DestroyView(ctx *simulator.Context, req *types.DestroyView) soap.HasFault {
	ctx.Session.Remove(ctx, req.This)
	trackerOf(ctx).Wake()
	return &methods.DestroyViewBody{Res: &types.DestroyViewResponse{}}
}

// refresh brings the members up to date and returns them.
func (v *containerView) refresh(ctx *simulator.Context) []types.ManagedObjectReference {
	t := trackerOf(ctx)
	structure := t.structureSequence()
	var members []types.ManagedObjectReference
	fresh := false
	ctx.WithLock(v, func() {
		members, fresh = v.View, v.fresh && v.structure == structure
	})
	if fresh {
		return members
	}
	members = nil
	seen := map[types.ManagedObjectReference]bool{v.Container: true}
	v.walk(ctx, t, v.Container, seen, &members)
	ctx.WithLock(v, func() {
		v.View, v.structure, v.fresh = members, structure, true
	})
	return members
}

func (v *containerView) walk(ctx *simulator.Context, t *Tracker, container types.ManagedObjectReference,
	seen map[types.ManagedObjectReference]bool, members *[]types.ManagedObjectReference) {
	for _, child := range Children(ctx, container) {
		if seen[child] || !t.visible(child) || t.Hides(ctx, child) {
			continue
		}
		seen[child] = true
		if v.includes(child.Type) {
			*members = append(*members, child)
		}
		if v.Recursive {
			v.walk(ctx, t, child, seen, members)
		}
	}
}

func (v *containerView) includes(kind string) bool {
	for _, name := range v.Type {
		if isA(kind, name) {
			return true
		}
	}
	return len(v.Type) == 0
}

// Children lists what is directly in an entity. It waits for a task that is at
// work on the entity.
func Children(ctx *simulator.Context, ref types.ManagedObjectReference) []types.ManagedObjectReference {
	switch ref.Type {
	case "VirtualMachine", "Datastore", "Network", "OpaqueNetwork", "DistributedVirtualPortgroup",
		"DistributedVirtualSwitch", "VmwareDistributedVirtualSwitch":
		return nil
	}
	var refs []types.ManagedObjectReference
	add := func(lists ...[]types.ManagedObjectReference) {
		for _, list := range lists {
			refs = append(refs, list...)
		}
	}
	pool := func(ref *types.ManagedObjectReference) {
		if ref != nil {
			refs = append(refs, *ref)
		}
	}
	object := ctx.Map.Get(ref)
	if object == nil {
		return nil
	}
	ctx.WithLock(ref, func() {
		switch e := object.(type) {
		case *simulator.Datacenter:
			add([]types.ManagedObjectReference{e.VmFolder, e.HostFolder, e.DatastoreFolder, e.NetworkFolder})
		case *simulator.Folder:
			add(e.ChildEntity)
		case *simulator.StoragePod:
			add(e.ChildEntity)
		case *simulator.ClusterComputeResource:
			add(e.Host)
			pool(e.ResourcePool)
		case *mo.ComputeResource:
			add(e.Host)
			pool(e.ResourcePool)
		case *simulator.ResourcePool:
			add(e.ResourcePool.ResourcePool, e.Vm)
		case *simulator.VirtualApp:
			add(e.ResourcePool.ResourcePool, e.Vm)
		case *simulator.HostSystem:
			add(e.Vm)
		}
	})
	return refs
}
