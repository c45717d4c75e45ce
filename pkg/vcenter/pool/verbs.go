// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter"
)

type reference = types.ManagedObjectReference

// Session carries out calls that read; vcenter.Session does. Errors come with their failure kind.
type Session interface {
	Do(ctx context.Context, operation string, f func(context.Context, *vim25.Client) error) error
}

// Writer carries out calls that act; vcenter.Writer does. Errors come with their failure kind.
type Writer interface {
	Do(ctx context.Context, operation string, f func(context.Context, *vim25.Client) error) error
	RunTask(ctx context.Context, operation string,
		start func(context.Context, *vim25.Client) (task reference, err error)) (*types.TaskInfo, error)
}

// Verbs act on one resource pool each, or tell of it. Its fields are set before use. Errors have a failure kind:
// NotFound when the pool is not in vCenter any more, that of still's error when it refused, Unavailable when nothing
// may be changed now.
type Verbs struct {
	Session Session
	Writer  Writer
}

// Create makes a pool in another, with normal shares, which may borrow from that. The error's kind is
// failure.AlreadyExists when that has something of the name.
func (v *Verbs) Create(ctx context.Context, parent facts.ID, name string,
	cpu, memory facts.Allocation) (id facts.ID, err error) {
	operation := fmt.Sprintf("create resource pool %q in %s", name, parent.Value)
	err = v.Writer.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) error {
		this, err := vcenter.Refer(client, parent)
		if err != nil {
			return err
		}
		response, err := methods.CreateResourcePool(ctx, client, &types.CreateResourcePool{
			This: this, Name: name, Spec: types.ResourceConfigSpec{CpuAllocation: first(cpu), MemoryAllocation: first(memory)},
		})
		if err != nil {
			return err
		}
		id = vcenter.Identify(client, response.Returnval)
		return nil
	})
	return id, err
}

// Limit sets what a pool may take and what is kept for it, and nothing else of it, if still says directly before that
// it is to: its error ends the act, and is what comes of it.
func (v *Verbs) Limit(ctx context.Context, id facts.ID, cpu, memory facts.Allocation,
	still func(now facts.Container) error) error {
	operation := "set the limits of resource pool " + id.Value
	return v.Writer.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) error {
		this, err := vcenter.Refer(client, id)
		if err != nil {
			return err
		}
		now, err := contents(ctx, client, this)
		if err != nil {
			return err
		}
		if err := still(now); err != nil {
			return err
		}
		_, err = methods.UpdateConfig(ctx, client, &types.UpdateConfig{
			This: this, Config: &types.ResourceConfigSpec{CpuAllocation: changed(cpu), MemoryAllocation: changed(memory)},
		})
		return err
	})
}

// Destroy takes a pool away, if still says directly before that it is to: its error ends the act, and is what comes of
// it. What comes into the pool in between moves to the one above and keeps running.
func (v *Verbs) Destroy(ctx context.Context, id facts.ID, still func(now facts.Container) error) error {
	operation := "destroy resource pool " + id.Value
	_, err := v.Writer.RunTask(ctx, operation, func(ctx context.Context, client *vim25.Client) (reference, error) {
		this, err := vcenter.Refer(client, id)
		if err != nil {
			return reference{}, err
		}
		now, err := contents(ctx, client, this)
		if err != nil {
			return reference{}, err
		}
		if err := still(now); err != nil {
			return reference{}, err
		}
		response, err := methods.Destroy_Task(ctx, client, &types.Destroy_Task{This: this})
		if err != nil {
			return reference{}, err
		}
		return response.Returnval, nil
	})
	return err
}

func changed(a facts.Allocation) types.ResourceAllocationInfo {
	return types.ResourceAllocationInfo{Limit: &a.Limit, Reservation: &a.Reservation}
}

// first is what a pool that is made starts with: vCenter wants all of it said.
func first(a facts.Allocation) types.ResourceAllocationInfo {
	info, expandable := changed(a), true
	info.ExpandableReservation = &expandable
	info.Shares = &types.SharesInfo{Level: types.SharesLevelNormal}
	return info
}
