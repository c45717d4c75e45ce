// SPDX-License-Identifier: Apache-2.0

package resourcepolicy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// module returns the module of a policy's group in a cluster, and makes it where there is none.
func (r *round) module(ctx context.Context, policy types.UID, group string, cluster facts.ID) (string, error) {
	have := r.record.module(policy, group, cluster)
	if have != nil && have.ID != "" && r.membersKnown(have.ID) {
		return have.ID, nil
	}
	r.making.Lock()
	defer r.making.Unlock()
	all, err := r.Modules.In(ctx, cluster)
	if err != nil {
		return "", err
	}
	if have != nil && have.ID != "" && slices.Contains(all, have.ID) {
		return have.ID, nil
	}
	if have != nil && have.ID == "" {
		id, err := r.madeBefore(ctx, *have, all)
		if err != nil {
			return "", err
		}
		if id != "" {
			return id, r.moduleMade(ctx, *have, id)
		}
	}
	wanted := module{Policy: policy, Group: group, Cluster: cluster, Before: all}
	r.record.setModule(wanted)
	if err := r.write(ctx, r.namespace, r.record); err != nil {
		return "", err
	}
	id, err := r.Modules.Create(ctx, cluster)
	switch {
	case err == nil:
		return id, r.moduleMade(ctx, wanted, id)
	case refused(err):
		r.record.dropModule(wanted)
		return "", errors.Join(err, r.write(ctx, r.namespace, r.record))
	}
	return "", err // it may be there
}

func (r *round) moduleMade(ctx context.Context, made module, id string) error {
	made.ID, made.Before = id, nil
	r.record.setModule(made)
	return r.write(ctx, r.namespace, r.record)
}

// madeBefore looks for the module that was about to be made when nobody could write down any more which it is. It is
// new in its cluster, nobody knows it and nothing is in it. Of several that are so nobody can tell: none is taken.
func (r *round) madeBefore(ctx context.Context, making module, all []string) (string, error) {
	candidates := slices.DeleteFunc(slices.Clone(all), func(id string) bool {
		return slices.Contains(making.Before, id) || r.recorded(id)
	})
	var empty []string
	for _, id := range candidates {
		members, err := r.Modules.Members(ctx, making.Cluster, id)
		switch {
		case errors.Is(err, failure.NotFound):
		case err != nil:
			return "", err
		case len(members) == 0:
			empty = append(empty, id)
		}
	}
	if len(empty) > 1 {
		r.Logger.Info("A cluster module may have been made and not be known any more: of several that are new nobody can "+
			"tell, and all are left alone", "namespace", r.namespace, "cluster", making.Cluster.Value, "modules", empty)
	}
	if len(empty) != 1 {
		return "", nil
	}
	return empty[0], nil
}

// recorded says whether a module is known to be for some policy.
func (r *round) recorded(id string) bool {
	is := func(m module) bool { return m.ID == id }
	for _, other := range r.others {
		if slices.ContainsFunc(other.Modules, is) {
			return true
		}
	}
	return slices.ContainsFunc(r.record.Modules, is)
}

// moduleOf is the module that a machine belongs in, nil where it belongs in none.
func (r *round) moduleOf(vm *vmopv1.VirtualMachine) *module {
	zone, found := r.home.Zones[vm.Status.Zone]
	i := slices.IndexFunc(r.policies, func(p *policy) bool { return p.Name == policyOf(vm) })
	if !found || i < 0 || groupOf(vm) == "" {
		return nil
	}
	made := r.record.module(r.policies[i].UID, groupOf(vm), zone.Cluster)
	if made == nil || made.ID == "" {
		return nil
	}
	return made
}

// lacksModule says that a machine names a group and is in no module.
func (r *round) lacksModule(_ *policy, vm *vmopv1.VirtualMachine) bool {
	if groupOf(vm) == "" {
		return false
	}
	of := r.moduleOf(vm)
	if of == nil {
		return true
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	return !r.set.members[of.ID][r.idOf(vm)]
}

func (r *round) idOf(vm *vmopv1.VirtualMachine) facts.ID {
	return facts.ID{VCenter: r.home.Folder.VCenter, Type: facts.TypeMachine, Value: vm.Status.UniqueID}
}

// gather brings the machines that name a group into its module, and out of others. Who is a member is asked once for
// each module, and known from then on.
func (r *round) gather(ctx context.Context) error {
	if !r.there {
		return nil
	}
	belongs := map[string][]facts.ID{}
	ours := map[facts.ID]bool{}
	for _, vm := range r.machines {
		if vm.Status.UniqueID == "" {
			continue
		}
		ours[r.idOf(vm)] = true
		if of := r.moduleOf(vm); of != nil && vm.DeletionTimestamp == nil {
			belongs[of.ID] = append(belongs[of.ID], r.idOf(vm))
		}
	}
	var errs []error
	for _, made := range r.record.Modules {
		if made.ID == "" || made.Cluster.VCenter != r.home.Folder.VCenter {
			continue
		}
		if err := r.gatherIn(ctx, made, belongs[made.ID], ours); err != nil {
			r.forgetMembers(made.ID)
			if !errors.Is(err, failure.NotFound) {
				errs = append(errs, fmt.Errorf("group %q: %w", made.Group, err))
				continue
			}
			r.again = promiseInterval // it is made anew
		}
	}
	return errors.Join(errs...)
}

func (r *round) gatherIn(ctx context.Context, made module, belong []facts.ID, ours map[facts.ID]bool) error {
	if !r.membersKnown(made.ID) {
		found, err := r.Modules.Members(ctx, made.Cluster, made.ID)
		if err != nil {
			return err
		}
		r.setMembers(made.ID, found)
	}
	members := r.membersOf(made.ID)
	var add, remove []facts.ID
	for _, id := range belong {
		if !slices.Contains(members, id) {
			add = append(add, id)
		}
	}
	for _, id := range members {
		if ours[id] && !slices.Contains(belong, id) {
			remove = append(remove, id)
		}
	}
	if len(remove) > 0 {
		if err := r.Modules.Remove(ctx, made.ID, remove...); err != nil {
			return err
		}
	}
	if len(add) > 0 {
		if err := r.Modules.Add(ctx, made.ID, add...); err != nil {
			return err
		}
	}
	if len(add)+len(remove) > 0 {
		members = slices.DeleteFunc(members, func(id facts.ID) bool { return slices.Contains(remove, id) })
		r.setMembers(made.ID, append(members, add...))
	}
	return nil
}

func (r *round) membersKnown(id string) bool {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.set.members[id] != nil
}

func (r *round) membersOf(id string) []facts.ID {
	r.lock.Lock()
	defer r.lock.Unlock()
	var members []facts.ID
	for member := range r.set.members[id] {
		members = append(members, member)
	}
	slices.SortFunc(members, func(a, b facts.ID) int { return cmp.Compare(a.Value, b.Value) })
	return members
}

func (r *round) setMembers(id string, members []facts.ID) {
	now := map[facts.ID]bool{}
	for _, member := range members {
		now[member] = true
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	r.set.members[id] = now
}

func (r *round) forgetMembers(id string) {
	r.lock.Lock()
	defer r.lock.Unlock()
	delete(r.set.members, id)
}
