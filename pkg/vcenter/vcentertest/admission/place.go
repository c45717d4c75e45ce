// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"slices"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// place is where a machine is, or is to be: what it may name is found there.
type place struct {
	ctx        *simulator.Context
	datacenter *simulator.Datacenter
	// host is nil as long as none is chosen.
	host *simulator.HostSystem
	// home is the datastore of the machine's configuration.
	home string
}

// above finds what an entity lies in, of one type.
func above[T mo.Entity](ctx *simulator.Context, ref types.ManagedObjectReference) (found T, ok bool) {
	for {
		switch e := ctx.Map.Get(ref).(type) {
		case T:
			return e, true
		case mo.Entity:
			if e.Entity().Parent == nil {
				return found, false
			}
			ref = *e.Entity().Parent
		default:
			return found, false
		}
	}
}

// datastore finds a datastore of the datacenter's.
func (p *place) datastore(name string) *simulator.Datastore {
	if found, ok := p.ctx.Map.FindByName(name, p.datacenter.Datastore).(*simulator.Datastore); ok {
		return found
	}
	return nil
}

// path is why a machine here cannot have a file, nil where it can. An empty path, or one with no datastore, is beside
// the machine's configuration.
func (p *place) path(name string) types.BaseMethodFault {
	if name == "" {
		return nil
	}
	var at object.DatastorePath
	if !at.FromString(name) {
		return &types.InvalidDatastorePath{DatastorePath: name}
	}
	if at.Datastore == "" {
		at.Datastore = p.home
	}
	found := p.datastore(at.Datastore)
	if found == nil {
		return &types.InvalidDatastore{Name: at.Datastore}
	}
	if p.host != nil && !slices.Contains(p.host.Datastore, found.Self) {
		return notMounted(found)
	}
	return nil
}

func notMounted(datastore *simulator.Datastore) types.BaseMethodFault {
	return &types.InvalidDatastore{Datastore: &datastore.Self, Name: datastore.Name}
}

// hosts are those that a pool's machines may run on.
func hosts(ctx *simulator.Context, pool types.ManagedObjectReference) []types.ManagedObjectReference {
	var owner types.ManagedObjectReference
	switch p := ctx.Map.Get(pool).(type) {
	case *simulator.ResourcePool:
		owner = p.Owner
	case *simulator.VirtualApp:
		owner = p.Owner
	}
	switch of := ctx.Map.Get(owner).(type) {
	case *simulator.ClusterComputeResource:
		return of.Host
	case *mo.ComputeResource:
		return of.Host
	}
	return nil
}

// Ready says whether a machine can be made or started on a host.
func Ready(host *simulator.HostSystem) bool {
	state := host.Runtime.ConnectionState
	return !host.Runtime.InMaintenanceMode && (state == "" || state == types.HostSystemConnectionStateConnected)
}

// Host chooses a host for a machine among those of a pool's: one that is ready and mounts the datastores, and has the
// fewest machines.
func Host(ctx *simulator.Context, pool types.ManagedObjectReference,
	datastores []types.ManagedObjectReference) (*simulator.HostSystem, types.BaseMethodFault) {
	var chosen *simulator.HostSystem
	var missing *simulator.Datastore
	for _, ref := range hosts(ctx, pool) {
		host, ok := ctx.Map.Get(ref).(*simulator.HostSystem)
		if !ok {
			continue
		}
		lacks := slices.IndexFunc(datastores, func(ref types.ManagedObjectReference) bool {
			return !slices.Contains(host.Datastore, ref)
		})
		if lacks >= 0 {
			missing, _ = ctx.Map.Get(datastores[lacks]).(*simulator.Datastore)
			continue
		}
		if Ready(host) && (chosen == nil || len(host.Vm) < len(chosen.Vm)) {
			chosen = host
		}
	}
	switch {
	case chosen != nil:
		return chosen, nil
	case missing != nil:
		return nil, notMounted(missing)
	}
	return nil, new(types.NoCompatibleHost)
}
