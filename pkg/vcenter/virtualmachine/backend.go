// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"fmt"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/livestore"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
)

const (
	// defaultTimeout bounds a write, below the 34 s that the API server gives a request that changes something.
	defaultTimeout = 30 * time.Second
	// patience is how long the inventory may take to show a write before the object is read on purpose.
	patience = time.Second
	// staleRetries is how often a write is tried again that met a version newer than the known one, though nothing visible had changed.
	staleRetries = 3
	staleWait    = 2 * time.Second
)

// Session carries out calls that read; vcenter.Session does. Errors come with their failure kind.
type Session interface {
	Do(ctx context.Context, operation string, f func(context.Context, *vim25.Client) error) error
}

// Writer carries out calls that act; vcenter.Writer does. Errors come with their failure kind.
type Writer interface {
	// Ready says why nothing may be changed now, nil when something may.
	Ready() error
	Do(ctx context.Context, operation string, f func(context.Context, *vim25.Client) error) error
	RunTask(ctx context.Context, operation string, start func(context.Context, *vim25.Client) (types.ManagedObjectReference, error)) (*types.TaskInfo, error)
}

// Refresher reads one object now and hands it to the Projector; inventory.Collector does.
type Refresher interface {
	Refresh(ctx context.Context, ref types.ManagedObjectReference) error
}

// Backend carries out in vCenter what is written to the live store. Its fields are set before use.
type Backend struct {
	Session   Session
	Writer    Writer
	Projector *Projector
	Refresher Refresher // Nil: updates of the inventory are all there is to wait for.
	Logger    klog.Logger
	// Timeout bounds one write whose context has no earlier end. Zero: 30 s.
	Timeout time.Duration
}

var _ livestore.Backend = (*Backend)(nil)

// Create implements livestore.Backend.
func (b *Backend) Create(_ context.Context, key string, _ runtime.Object) error {
	return fmt.Errorf("create %s: creating virtual machines is not supported yet: %w", key, failure.Forbidden)
}

// Update implements livestore.Backend: it writes the machine's metadata, under the version of its configuration that current was made from.
func (b *Backend) Update(ctx context.Context, key string, current, desired runtime.Object) error {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	err := b.Writer.Ready()
	if err != nil {
		return fmt.Errorf("update %s: %w", key, err)
	}
	for range staleRetries {
		var state State
		if state, err = b.find(key, current); err != nil {
			return err
		}
		if err = b.update(ctx, &state, current.(*vmopv1.VirtualMachine), desired.(*vmopv1.VirtualMachine)); !errors.Is(err, failure.Conflict) {
			return err
		}
		// vCenter knows of a change that the inventory has not brought yet. It may be one that no object shows: then the same write, with
		// the new version, is right. Else find says that current is no longer current.
		used := state.ChangeVersion
		wait, stop := context.WithTimeout(ctx, staleWait)
		moved := b.await(wait, state.Ref, 0, func(s State, found bool) bool { return !found || s.ChangeVersion != used })
		stop()
		if moved != nil {
			return err
		}
	}
	return err
}

func (b *Backend) update(ctx context.Context, state *State, current, desired *vmopv1.VirtualMachine) error {
	operation := fmt.Sprintf("update virtual machine %q", current.Namespace+"/"+current.Name)
	if state.MetadataError != nil {
		return fmt.Errorf("%s: "+malformedRemedyText+": %w", operation, state.MetadataError, failure.Invalid)
	}
	if !state.Connected {
		return fmt.Errorf("%s: vCenter does not reach it now: %w", operation, failure.Unavailable)
	}
	next, changed, err := record(state, current, desired)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", operation, err, failure.Invalid)
	}
	if !changed {
		return nil
	}
	value, err := next.Encode()
	if err != nil {
		return err
	}
	_, err = b.Writer.RunTask(ctx, operation, func(ctx context.Context, client *vim25.Client) (types.ManagedObjectReference, error) {
		response, err := methods.ReconfigVM_Task(ctx, client, &types.ReconfigVM_Task{
			This: state.Ref,
			Spec: types.VirtualMachineConfigSpec{
				ChangeVersion: state.ChangeVersion,
				ExtraConfig: []types.BaseOptionValue{
					&types.OptionValue{Key: machine.RecordKey, Value: value},
					&types.OptionValue{Key: machine.NamespacedNameKey, Value: next.Namespace + "/" + next.Name},
				},
			},
		})
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return response.Returnval, nil
	})
	if errors.Is(err, failure.NotFound) {
		return fmt.Errorf("%s: it is gone from vCenter: %w", operation, failure.Conflict)
	}
	if err != nil {
		return err
	}
	err = b.await(ctx, state.Ref, patience, func(s State, found bool) bool {
		return !found || string(s.UID) != next.UID || s.MetadataError != nil || s.Metadata != nil && s.Metadata.Sequence >= next.Sequence
	})
	if err != nil {
		return fmt.Errorf("%s: vCenter has done it, but the inventory does not show it yet: %w", operation, err)
	}
	return nil
}

// Delete implements livestore.Backend: it powers the machine off and destroys it. Whether that is allowed was decided before.
func (b *Backend) Delete(ctx context.Context, key string, current runtime.Object) error {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	if err := b.Writer.Ready(); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	state, err := b.find(key, current)
	if err != nil {
		return err
	}
	operation := fmt.Sprintf("destroy virtual machine %q", key[len(KeyPrefix):])
	if state.MetadataError != nil {
		return fmt.Errorf("%s: "+malformedRemedyText+": %w", operation, state.MetadataError, failure.Invalid)
	}
	power := Power{Session: b.Session, Writer: b.Writer}
	// A machine that somebody powers on in between cannot be destroyed: once more, then.
	for range 2 {
		if err = power.off(ctx, state.Ref); err == nil || errors.Is(err, failure.Conflict) {
			_, err = b.Writer.RunTask(ctx, operation, func(ctx context.Context, client *vim25.Client) (types.ManagedObjectReference, error) {
				response, err := methods.Destroy_Task(ctx, client, &types.Destroy_Task{This: state.Ref})
				if err != nil {
					return types.ManagedObjectReference{}, err
				}
				return response.Returnval, nil
			})
		}
		if !errors.Is(err, failure.Conflict) {
			break
		}
	}
	if errors.Is(err, failure.Conflict) {
		// The store would try again at once for a conflict, and this one will last.
		return fmt.Errorf("%w: %s: %s", failure.Unavailable, operation, err.Error())
	}
	if err != nil && !errors.Is(err, failure.NotFound) {
		return err
	}
	err = b.await(ctx, state.Ref, patience, func(s State, found bool) bool { return !found || s.UID != state.UID })
	if err != nil {
		return fmt.Errorf("%s: vCenter has done it, but the inventory does not show it yet: %w", operation, err)
	}
	return nil
}

// find returns what the Projector knows of the machine, provided that it stands where current does. Only then is the version of the configuration
// that goes with the state the one that current was made from.
func (b *Backend) find(key string, current runtime.Object) (State, error) {
	vm, ok := current.(*vmopv1.VirtualMachine)
	if !ok {
		return State{}, fmt.Errorf("find %s: a %T is no virtual machine", key, current)
	}
	state, found := b.Projector.Find(key)
	if !found || state.UID != vm.UID || state.Object == nil || !same(state.Object, vm) {
		return State{}, fmt.Errorf("virtual machine %s has changed: %w", key, failure.Conflict)
	}
	return state, nil
}

// await waits until the projection satisfies done. Where that takes longer than grace the machine is read anew.
func (b *Backend) await(ctx context.Context, ref types.ManagedObjectReference, grace time.Duration, done func(State, bool) bool) error {
	for {
		wait, stop := ctx, context.CancelFunc(func() {})
		if b.Refresher != nil {
			wait, stop = context.WithTimeout(ctx, grace)
		}
		err := b.Projector.Wait(wait, ref, done)
		stop()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", failure.Timeout, ctx.Err())
		}
		if err := b.Refresher.Refresh(ctx, ref); err != nil {
			b.Logger.V(2).Info("Cannot read a virtual machine after a write", "ref", ref.Value, "err", err)
		}
		grace = max(patience, 2*grace)
	}
}

func (b *Backend) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := b.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	return context.WithTimeout(ctx, timeout)
}
