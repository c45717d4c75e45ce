// SPDX-License-Identifier: Apache-2.0

package picture

import (
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
)

// Picture is the inventory.Handler that decodes.
type Picture struct {
	// Followers are handed each step, in this order.
	Followers []facts.Follower
	// Handlers are handed each update as it is, after the followers.
	Handlers []inventory.Handler
}

// Apply implements inventory.Handler.
func (p *Picture) Apply(update inventory.Update) {
	step := decode(update)
	for _, follower := range p.Followers {
		follower.Take(step)
	}
	for _, handler := range p.Handlers {
		handler.Apply(update)
	}
}

// decode makes a step of an update.
func decode(update inventory.Update) facts.Step {
	d := decoder(update.VCenter)
	step := facts.Step{VCenter: update.VCenter, Initial: update.Initial, Root: d.id(update.NamespacesFolder)}
	for _, object := range update.Changed {
		props := properties(object.Properties)
		switch object.Ref.Type {
		case facts.TypeFolder:
			step.Folders = append(step.Folders, d.folder(object.Ref, props))
		case facts.TypeCluster:
			step.Clusters = append(step.Clusters, d.cluster(object.Ref, props))
		case facts.TypeHost:
			step.Hosts = append(step.Hosts, d.host(object.Ref, props))
		case facts.TypePool:
			step.Pools = append(step.Pools, d.pool(object.Ref, props))
		case facts.TypeNetwork, typePortgroup, typeOpaqueNetwork:
			step.Networks = append(step.Networks, d.network(object.Ref, props))
		}
	}
	for _, ref := range update.Removed {
		step.Removed = append(step.Removed, d.id(ref))
	}
	return step
}

// decoder makes facts of the objects of one vCenter.
type decoder string

func (d decoder) id(ref types.ManagedObjectReference) facts.ID {
	if ref == (types.ManagedObjectReference{}) {
		return facts.ID{}
	}
	return facts.ID{VCenter: string(d), Type: ref.Type, Value: ref.Value}
}
