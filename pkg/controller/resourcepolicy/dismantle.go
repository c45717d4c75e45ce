// SPDX-License-Identifier: Apache-2.0

package resourcepolicy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// What keeps something from being destroyed, by what vCenter itself says directly before.
var (
	errOccupied = fmt.Errorf("something lies in it: %w", failure.Conflict)
	errAnother  = fmt.Errorf("it is not what it was: %w", failure.Conflict)
)

// wanted says whether a policy asks for a thing where it is. What a namespace has in vCenter may not be known now: then
// a thing is where it is to be.
func (r *round) wanted(t thing) bool {
	return r.named(t) && (!r.there || t.Parent == r.home.Folder || r.zoned(t.Parent))
}

// named says whether a policy asks for something of that name and kind, wherever.
func (r *round) named(t thing) bool {
	return slices.ContainsFunc(r.wants(), func(p *policy) bool {
		if t.Parent.Type == facts.TypeFolder {
			return p.Spec.Folder == t.Name
		}
		return p.Spec.ResourcePool.Name == t.Name
	})
}

// zoned says whether a pool is the namespace's in a zone.
func (r *round) zoned(pool facts.ID) bool {
	for _, zone := range r.home.Zones {
		if zone.Pool == pool {
			return true
		}
	}
	return false
}

// clear takes away what Pacific made and nobody asks for any more, the modules first.
func (r *round) clear(ctx context.Context) error {
	if r.promised() {
		r.again = promiseInterval // a machine that is being made may be on its way there
		return nil
	}
	var errs []error
	for _, made := range slices.Clone(r.record.Modules) {
		if !r.wantedModule(made) {
			errs = append(errs, r.clearModule(ctx, made))
		}
	}
	for _, made := range slices.Clone(r.record.Things) {
		if !r.wanted(made) {
			errs = append(errs, r.clearThing(ctx, made))
		}
	}
	return errors.Join(errs...)
}

func (r *round) wantedModule(m module) bool {
	asked := slices.ContainsFunc(r.wants(), func(p *policy) bool {
		return p.UID == m.Policy && slices.Contains(p.Spec.ClusterModuleGroups, m.Group)
	})
	if !asked || !r.there {
		return asked
	}
	for _, zone := range r.home.Zones {
		if zone.Cluster == m.Cluster {
			return true
		}
	}
	return false
}

// clearModule destroys a module. Its members stay what they are; one that is no machine of the namespace is somebody's
// who put it there, and then the module is left alone.
func (r *round) clearModule(ctx context.Context, made module) error {
	id := made.ID
	if id == "" {
		all, err := r.Modules.In(ctx, made.Cluster)
		if err != nil {
			return err
		}
		if id, err = r.madeBefore(ctx, made, all); err != nil {
			return err
		}
	}
	if id != "" {
		err := r.Modules.Destroy(ctx, made.Cluster, id, func(members []facts.ID) error {
			if slices.ContainsFunc(members, func(member facts.ID) bool { return !r.isOurs(member) }) {
				return errOccupied
			}
			return nil
		})
		switch {
		case errors.Is(err, errOccupied):
			r.left("cluster module "+id, made.Group)
		case err != nil && !errors.Is(err, failure.NotFound):
			return fmt.Errorf("group %q: %w", made.Group, err)
		}
		r.forgetMembers(id)
	}
	r.record.dropModule(made)
	return r.write(ctx, r.namespace, r.record)
}

func (r *round) isOurs(id facts.ID) bool {
	for _, vm := range r.machines {
		if vm.Status.UniqueID == id.Value {
			return true
		}
	}
	return false
}

// clearThing destroys a folder or a pool in which nothing lies. One in which something lies stays, and is Pacific's no
// longer, unless a policy asks for its like elsewhere: then its machines go from here by and by.
func (r *round) clearThing(ctx context.Context, made thing) error {
	named, destroy := r.Pools.Named, r.Pools.Destroy
	if made.Parent.Type == facts.TypeFolder {
		named, destroy = r.Folders.Named, r.Folders.Destroy
	}
	id := made.ID
	if id.IsZero() {
		now, err := named(ctx, made.Parent, made.Name)
		if err != nil && !errors.Is(err, failure.NotFound) {
			return err
		}
		id = now.ID
	}
	r.forget(made)
	if !id.IsZero() {
		err := destroy(ctx, id, func(now facts.Container) error {
			switch {
			case now.Name != made.Name || now.Parent != made.Parent:
				return errAnother
			case !now.Empty():
				return errOccupied
			}
			return nil
		})
		switch {
		case errors.Is(err, errOccupied) && r.named(made):
			return nil // until it is empty
		case errors.Is(err, errOccupied):
			r.left(made.Parent.Type+" "+id.Value, made.Name)
		case errors.Is(err, errAnother), errors.Is(err, failure.NotFound):
		case err != nil && errors.Is(err, failure.Conflict) && r.elsewhere(made):
		case err != nil:
			return fmt.Errorf("take away %q: %w", made.Name, err)
		}
	}
	r.record.drop(made)
	return r.write(ctx, r.namespace, r.record)
}

// elsewhere says that a thing lies in another vCenter, which nobody can ask.
func (r *round) elsewhere(t thing) bool { return r.there && t.Parent.VCenter != r.home.Folder.VCenter }

func (r *round) forget(t thing) {
	r.lock.Lock()
	defer r.lock.Unlock()
	delete(r.set.found, t.place())
}

// left tells that something stays in vCenter.
func (r *round) left(what, name string) {
	r.Logger.Info("Something that was made for a resource policy stays in vCenter: something is in it that is not the "+
		"policy's", "namespace", r.namespace, "what", what, "name", name)
	for _, policy := range r.policies {
		if policy.DeletionTimestamp != nil {
			r.tell(policy, corev1.EventTypeWarning, ReasonLeft, fmt.Sprintf("The %s, called %q, stays in vCenter, since "+
				"something is in it that is not the policy's: take it away in the vSphere Client when it is not needed",
				what, name))
		}
	}
}
