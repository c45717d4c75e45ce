// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"context"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter"
)

const (
	pathName     = "name"
	pathParent   = "parent"
	pathMachines = "vm"
	pathPools    = "resourcePool"
)

// Named returns the pool of a name that lies in another, with what lies in it now. The error's kind is failure.NotFound
// when there is none.
func (v *Verbs) Named(ctx context.Context, parent facts.ID, name string) (now facts.Container, err error) {
	operation := fmt.Sprintf("look for resource pool %q in %s", name, parent.Value)
	err = v.Session.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) error {
		found, err := vcenter.Child(ctx, client, parent, name)
		if err != nil {
			return err
		}
		now, err = contents(ctx, client, found)
		return err
	})
	return now, err
}

// Machines returns the virtual machines in a pool and in all that lie in it. Their parents are folders.
func (v *Verbs) Machines(ctx context.Context, id facts.ID) (machines []facts.Entity, err error) {
	operation := "look at the virtual machines in resource pool " + id.Value
	err = v.Session.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) error {
		machines = nil
		top, err := vcenter.Refer(client, id)
		if err != nil {
			return err
		}
		var inside []reference
		for pools := []reference{top}; len(pools) > 0; pools = pools[1:] {
			pool, err := retrieve(ctx, client, pools[0])
			if err != nil {
				return err
			}
			inside, pools = append(inside, pool.Vm...), append(pools, pool.ResourcePool...)
		}
		if len(inside) == 0 {
			return nil
		}
		var read []mo.VirtualMachine
		if err := property.DefaultCollector(client).Retrieve(ctx, inside, []string{pathName, pathParent}, &read); err != nil {
			return err
		}
		for _, machine := range read {
			machines = append(machines, vcenter.Entity(client, machine.ManagedEntity))
		}
		return nil
	})
	return machines, err
}

func contents(ctx context.Context, client *vim25.Client, ref reference) (facts.Container, error) {
	pool, err := retrieve(ctx, client, ref)
	if err != nil {
		return facts.Container{}, err
	}
	now := facts.Container{Entity: vcenter.Entity(client, pool.ManagedEntity)}
	for _, inside := range slices.Concat(pool.Vm, pool.ResourcePool) {
		now.Inside = append(now.Inside, vcenter.Identify(client, inside))
	}
	return now, nil
}

func retrieve(ctx context.Context, client *vim25.Client, ref reference) (mo.ResourcePool, error) {
	var pool mo.ResourcePool
	paths := []string{pathName, pathParent, pathMachines, pathPools}
	err := property.DefaultCollector(client).RetrieveOne(ctx, ref, paths, &pool)
	return pool, err
}
