// SPDX-License-Identifier: Apache-2.0

package clustermodule

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/vapi/cluster"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// Session carries out calls that read; vcenter.RESTSession does. Errors come with their failure kind.
type Session interface {
	Do(ctx context.Context, operation string, f func(context.Context, *rest.Client) error) error
}

// Writer carries out calls that act. Errors come with their failure kind.
type Writer interface {
	Do(ctx context.Context, operation string, f func(context.Context, *rest.Client) error) error
}

// Verbs act on one module each, or tell of them. Its fields are set before use. Errors have a failure kind: NotFound
// when the module is not in vCenter any more, Unavailable when nothing may be changed now.
type Verbs struct {
	Session Session
	Writer  Writer
}

// In returns the modules of a cluster, by their ids.
func (v *Verbs) In(ctx context.Context, in facts.ID) (modules []string, err error) {
	operation := "list the modules of cluster " + in.Value
	err = v.Session.Do(ctx, operation, func(ctx context.Context, client *rest.Client) error {
		all, err := cluster.NewManager(client).ListModules(ctx)
		modules = nil
		for _, module := range all {
			if module.Cluster == in.Value {
				modules = append(modules, module.Module)
			}
		}
		return err
	})
	return modules, err
}

// Create makes a module in a cluster and returns its id.
func (v *Verbs) Create(ctx context.Context, in facts.ID) (id string, err error) {
	operation := "create a module in cluster " + in.Value
	err = v.Writer.Do(ctx, operation, func(ctx context.Context, client *rest.Client) (err error) {
		id, err = cluster.NewManager(client).CreateModule(ctx, reference(in))
		return err
	})
	return id, err
}

// Members are the machines in a module of a cluster.
func (v *Verbs) Members(ctx context.Context, in facts.ID, id string) (members []facts.ID, err error) {
	operation := "list the members of cluster module " + id
	err = v.Session.Do(ctx, operation, func(ctx context.Context, client *rest.Client) error {
		found, err := cluster.NewManager(client).ListModuleMembers(ctx, id)
		members = nil
		for _, member := range found {
			members = append(members, facts.ID{VCenter: in.VCenter, Type: facts.TypeMachine, Value: member.Value})
		}
		return err
	})
	return members, err
}

// errNotAll says that vCenter did not do it for every machine, and does not tell for which: one is what it is to
// become already, or runs in another cluster.
var errNotAll = fmt.Errorf("vCenter did not do it for every machine: %w", failure.Conflict)

// Add makes machines members of a module. The error's kind is failure.Conflict when one of them is already, or runs in
// another cluster than the module's.
func (v *Verbs) Add(ctx context.Context, id string, machines ...facts.ID) error {
	return v.members(ctx, "add machines to cluster module "+id, machines,
		func(ctx context.Context, manager *cluster.Manager, all []mo.Reference) (bool, error) {
			return manager.AddModuleMembers(ctx, id, all...)
		})
}

// Remove ends the membership of machines in a module. That it has ended already is not an error.
func (v *Verbs) Remove(ctx context.Context, id string, machines ...facts.ID) error {
	err := v.members(ctx, "remove machines from cluster module "+id, machines,
		func(ctx context.Context, manager *cluster.Manager, all []mo.Reference) (bool, error) {
			return manager.RemoveModuleMembers(ctx, id, all...)
		})
	if errors.Is(err, errNotAll) {
		return nil
	}
	return err
}

func (v *Verbs) members(ctx context.Context, operation string, machines []facts.ID,
	act func(context.Context, *cluster.Manager, []mo.Reference) (all bool, err error)) error {
	references := make([]mo.Reference, len(machines))
	for i, machine := range machines {
		references[i] = reference(machine)
	}
	return v.Writer.Do(ctx, operation, func(ctx context.Context, client *rest.Client) error {
		all, err := act(ctx, cluster.NewManager(client), references)
		if err == nil && !all {
			err = errNotAll
		}
		return err
	})
}

// Destroy takes a module away, if still says directly before that it is to, by the members that it has: its error ends
// the act, and is what comes of it. Members stay what they are; they are not kept apart any more.
func (v *Verbs) Destroy(ctx context.Context, in facts.ID, id string, still func(members []facts.ID) error) error {
	members, err := v.Members(ctx, in, id)
	if err != nil {
		return err
	}
	if err := still(slices.Clone(members)); err != nil {
		return err
	}
	return v.Writer.Do(ctx, "destroy cluster module "+id, func(ctx context.Context, client *rest.Client) error {
		return cluster.NewManager(client).DeleteModule(ctx, id)
	})
}

func reference(id facts.ID) types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: id.Type, Value: id.Value}
}
