// SPDX-License-Identifier: Apache-2.0

package resourcepolicy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// realise makes what a policy asks for, as far as it can, and returns what there is.
func (r *round) realise(ctx context.Context, policy *policy) (at place,
	status vmopv1.VirtualMachineSetResourcePolicyStatus, err error) {
	if !r.there {
		return at, policy.Status, fmt.Errorf("the namespace %q has no folder in vCenter yet: %w", r.namespace,
			failure.Unavailable)
	}
	var errs []error
	if name := policy.Spec.Folder; name != "" {
		at.folder, err = r.folder(ctx, name)
		errs = append(errs, err)
	}
	if policy.Spec.ResourcePool.Name != "" {
		at.pools = map[facts.ID]facts.ID{}
	}
	for _, name := range slices.Sorted(maps.Keys(r.home.Zones)) {
		zone := r.home.Zones[name]
		if at.pools != nil {
			id, err := r.pool(ctx, zone, policy.Spec.ResourcePool)
			if err != nil {
				errs = append(errs, fmt.Errorf("zone %q: %w", name, err))
			} else {
				at.pools[zone.Pool] = id
				status.ResourcePools = append(status.ResourcePools, vmopv1.ResourcePoolStatus{
					ClusterMoID: zone.Cluster.Value, ChildResourcePoolMoID: id.Value})
			}
		}
		for _, group := range policy.Spec.ClusterModuleGroups {
			id, err := r.module(ctx, policy.UID, group, zone.Cluster)
			if err != nil {
				errs = append(errs, fmt.Errorf("zone %q: %w", name, err))
				continue
			}
			status.ClusterModules = append(status.ClusterModules, vmopv1.VSphereClusterModuleStatus{
				GroupName: group, ModuleUuid: id, ClusterMoID: zone.Cluster.Value})
		}
	}
	slices.SortStableFunc(status.ClusterModules, func(a, b vmopv1.VSphereClusterModuleStatus) int {
		return cmp.Compare(slices.Index(policy.Spec.ClusterModuleGroups, a.GroupName),
			slices.Index(policy.Spec.ClusterModuleGroups, b.GroupName))
	})
	if len(r.home.Zones) == 0 {
		errs = append(errs, fmt.Errorf("the namespace %q has no resource pools yet: %w", r.namespace, failure.Unavailable))
	}
	return at, status, errors.Join(errs...)
}

// folder returns the folder of a name in the namespace's, and makes it where there is none.
func (r *round) folder(ctx context.Context, name string) (facts.ID, error) {
	return r.ensure(ctx, thing{Parent: r.home.Folder, Name: name}, r.Folders.Named,
		func(ctx context.Context) (facts.ID, error) { return r.Folders.Create(ctx, r.home.Folder, name) })
}

// pool does the same for a resource pool.
func (r *round) pool(ctx context.Context, zone Zone, wanted vmopv1.ResourcePoolSpec) (facts.ID, error) {
	cpu, memory, err := allocations(zone, wanted)
	if err != nil {
		return facts.ID{}, err
	}
	if !r.affords(zone, wanted.Name, cpu, memory) {
		return facts.ID{}, fmt.Errorf("the resource policies of the namespace may have %d MHz of CPU and %d MiB of memory "+
			"reserved, as much as the namespace has: an administrator reserves more in spec.resources of the vSphere "+
			"Namespace: %w", zone.CPU, zone.Memory, failure.Forbidden)
	}
	made := thing{Parent: zone.Pool, Name: wanted.Name, CPU: cpu.Reservation, Memory: memory.Reservation}
	return r.ensure(ctx, made, r.Pools.Named,
		func(ctx context.Context) (facts.ID, error) {
			return r.Pools.Create(ctx, zone.Pool, wanted.Name, cpu, memory)
		})
}

// affords says whether what is kept for the pool of that name is within what is kept for the namespace's, with the pools
// that were made already. vCenter would take the rest from the whole cluster, and so from everybody else there: that is
// for an administrator to give, and whoever may make machines may make policies.
func (r *round) affords(zone Zone, name string, cpu, memory facts.Allocation) bool {
	if cpu.Reservation == 0 && memory.Reservation == 0 {
		return true
	}
	left := Zone{CPU: zone.CPU - cpu.Reservation, Memory: zone.Memory - memory.Reservation}
	for _, made := range r.record.Things {
		if made.Parent == zone.Pool && made.Name != name {
			left.CPU, left.Memory = left.CPU-made.CPU, left.Memory-made.Memory
		}
	}
	return left.CPU >= 0 && left.Memory >= 0
}

// allocations are what a pool may take and what is kept for it. A policy counts CPUs, as a class does, and vCenter the
// speed of the slowest that they may run on.
func allocations(zone Zone, wanted vmopv1.ResourcePoolSpec) (cpu, memory facts.Allocation, err error) {
	if zone.MHz == 0 && wanted.Reservations.Cpu.Sign()+wanted.Limits.Cpu.Sign() > 0 {
		return cpu, memory, fmt.Errorf("how fast the CPUs of its hosts are is not known yet: %w", failure.Unavailable)
	}
	amount := func(reservation, limit resource.Quantity, in func(resource.Quantity) int64) facts.Allocation {
		all := facts.Allocation{Limit: -1, Reservation: in(reservation)}
		if limit.Sign() > 0 {
			all.Limit = in(limit)
		}
		return all
	}
	most := resource.NewMilliQuantity(math.MaxInt64/max(1, int64(zone.MHz)), resource.DecimalSI)
	if wanted.Reservations.Cpu.Cmp(*most) > 0 || wanted.Limits.Cpu.Cmp(*most) > 0 {
		return cpu, memory, fmt.Errorf("%s of CPUs are more than vCenter can count: %w", most, failure.Invalid)
	}
	cpu = amount(wanted.Reservations.Cpu, wanted.Limits.Cpu, func(q resource.Quantity) int64 {
		return q.MilliValue() * int64(zone.MHz) / 1000
	})
	memory = amount(wanted.Reservations.Memory, wanted.Limits.Memory, func(q resource.Quantity) int64 {
		return q.Value() >> 20
	})
	return cpu, memory, nil
}

// ensure returns what has a name in a folder or a pool, and makes it where there is nothing. That is Pacific's only if
// it was written down before that it is made, and nothing lies in it.
func (r *round) ensure(ctx context.Context, wanted thing,
	named func(context.Context, facts.ID, string) (facts.Container, error),
	create func(context.Context) (facts.ID, error)) (facts.ID, error) {
	if id, known := r.known(wanted); known {
		return id, nil
	}
	id, err := r.find(ctx, wanted, named)
	if errors.Is(err, failure.NotFound) {
		id, err = r.create(ctx, wanted, create)
		if errors.Is(err, failure.AlreadyExists) {
			// Somebody was faster, or something that is neither folder nor pool has the name.
			if found, failed := r.find(ctx, wanted, named); failed == nil {
				id, err = found, nil
			}
		}
	}
	if err != nil {
		return facts.ID{}, err
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	r.set.found[wanted.place()] = id
	return id, nil
}

func (r *round) known(wanted thing) (facts.ID, bool) {
	r.lock.Lock()
	defer r.lock.Unlock()
	id, known := r.set.found[wanted.place()]
	return id, known && !r.Site.Strayed(id, wanted.Parent)
}

// find looks for a thing in vCenter, and brings the record up to date with that.
func (r *round) find(ctx context.Context, wanted thing,
	named func(context.Context, facts.ID, string) (facts.Container, error)) (facts.ID, error) {
	now, err := named(ctx, wanted.Parent, wanted.Name)
	if err != nil {
		return facts.ID{}, err
	}
	have := r.record.thing(wanted.Parent, wanted.Name)
	switch {
	case have == nil || have.ID == now.ID:
		return now.ID, nil
	case have.ID.IsZero() && now.Empty():
		made := *have
		made.ID = now.ID
		r.record.set(made)
	default:
		// Somebody else's has the name by now. What Pacific made was renamed or moved, and is theirs who did that.
		r.record.drop(wanted)
	}
	return now.ID, r.write(ctx, r.namespace, r.record)
}

// create makes a thing, and writes down before that it does.
func (r *round) create(ctx context.Context, wanted thing,
	create func(context.Context) (facts.ID, error)) (facts.ID, error) {
	r.record.set(wanted)
	if err := r.write(ctx, r.namespace, r.record); err != nil {
		return facts.ID{}, err
	}
	id, err := create(ctx)
	switch {
	case err == nil:
		made := wanted
		made.ID = id
		r.record.set(made)
		r.Logger.Info("Made for a resource policy", "namespace", r.namespace, "name", wanted.Name, "id", id)
	case refused(err):
		r.record.drop(wanted)
	default:
		return facts.ID{}, err // it may be there
	}
	if failed := r.write(ctx, r.namespace, r.record); failed != nil {
		return facts.ID{}, errors.Join(err, failed)
	}
	return id, err
}

// refused says that vCenter has said no, so that nothing came of it.
func refused(err error) bool {
	switch failure.KindOf(err) {
	case failure.NotFound, failure.AlreadyExists, failure.Forbidden, failure.Invalid, failure.ResourceExhausted,
		failure.Conflict:
		return true
	}
	return false
}
