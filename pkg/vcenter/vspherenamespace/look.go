// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/namespace"
)

// contents are a resource pool and what lies in it at this moment, as vCenter
// itself says: the inventory may be behind.
type contents struct {
	id       string
	sight    Sight
	machines []types.ManagedObjectReference
	pools    []types.ManagedObjectReference
}

func (c contents) empty() bool { return len(c.machines) == 0 && len(c.pools) == 0 }

func (b *Backend) readPool(ctx context.Context, operation, id string) (contents, error) {
	var pool mo.ResourcePool
	err := b.retrieve(ctx, operation, types.ManagedObjectReference{Type: TypeResourcePool, Value: id}, []string{pathName, pathParent, "vm", "resourcePool"}, &pool)
	found := contents{id: id, sight: Sight{Name: namespace.Decode(pool.Name)}, machines: pool.Vm, pools: pool.ResourcePool}
	if pool.Parent != nil {
		found.sight.Parent = b.Projector.poolID(pool.Parent.Value)
	}
	return found, err
}

// poolNamed returns the pool of a name directly below the root pool of a zone. The
// error's kind is failure.NotFound when there is none.
func (b *Backend) poolNamed(ctx context.Context, name, zone string) (contents, error) {
	operation := fmt.Sprintf("look for the resource pool of vSphere Namespace %q in zone %q", name, zone)
	root, found := b.Projector.roots()[zone]
	if !found {
		return contents{}, fmt.Errorf("%s: there is no such cluster any more: %w", operation, failure.NotFound)
	}
	id, err := b.child(ctx, operation, types.ManagedObjectReference{Type: TypeResourcePool, Value: root.pool}, name)
	if err != nil {
		return contents{}, err
	}
	return b.readPool(ctx, operation, id)
}

// dwellers are the virtual machines in a resource pool, and in those in it.
type dwellers struct {
	// own is how many lie in the folder of the namespace.
	own int
	// stranger is the name of one that does not. Empty: there is none.
	stranger string
}

// dwellersOf asks vCenter itself what is in a pool.
func (b *Backend) dwellersOf(ctx context.Context, s state, pool string) (dwellers, error) {
	operation := fmt.Sprintf("look at the machines in the resource pool %s of vSphere Namespace %q", pool, s.name)
	var machines []types.ManagedObjectReference
	for pools := []string{pool}; len(pools) > 0; pools = pools[1:] {
		found, err := b.readPool(ctx, operation, pools[0])
		if err != nil {
			return dwellers{}, err
		}
		machines = append(machines, found.machines...)
		for _, below := range found.pools {
			pools = append(pools, below.Value)
		}
	}
	var found dwellers
	if len(machines) == 0 {
		return found, nil
	}
	var read []mo.VirtualMachine
	err := b.Session.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) error {
		return property.DefaultCollector(client).Retrieve(ctx, machines, []string{pathName, pathParent}, &read)
	})
	if err != nil {
		return dwellers{}, err
	}
	for _, machine := range read {
		if machine.Parent != nil && b.Projector.liesIn(machine.Parent.Value, s.folder) {
			found.own++
		} else {
			found.stranger = machine.Name
		}
	}
	return found, nil
}

func (b *Backend) retrieve(ctx context.Context, operation string, ref types.ManagedObjectReference, paths []string, into any) error {
	return b.Session.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) error {
		return property.DefaultCollector(client).RetrieveOne(ctx, ref, paths, into)
	})
}
