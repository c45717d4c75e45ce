// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"context"
	"errors"
	"fmt"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/projected"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap"
)

const (
	// defaultTimeout bounds a write, below the 34 s that the API server gives a request that changes something.
	defaultTimeout = 30 * time.Second
	// attempts is how often a write is made for which vCenter says that somebody else was faster, or that a task is
	// under way.
	attempts     = 3
	attemptPause = 100 * time.Millisecond
)

// errMoved says that a machine is not any more what was decided on. The mirror will show that soon.
var errMoved = fmt.Errorf("the virtual machine is not what it was decided on any more: %w", failure.Conflict)

// Verbs act on one machine of vCenter each, if still says directly before that they are still to; machine.Verbs does.
type Verbs interface {
	Create(ctx context.Context, shell facts.Shell, head facts.Head, body []byte) (facts.ID, error)
	WriteRecord(ctx context.Context, id facts.ID, head facts.Head, body []byte, still func(facts.Machine) error) error
	PowerOff(ctx context.Context, id facts.ID, still func(facts.Machine) error) error
	Destroy(ctx context.Context, id facts.ID, still func(facts.Machine) error) error
}

// Planner works out what a machine that somebody asks for comes to, and fills in what its spec leaves open; plan.Planner does.
type Planner interface {
	// forgo is called when the machine was not made after all.
	Plan(ctx context.Context, vm *vmopv1.VirtualMachine) (shell facts.Shell, forgo func(), err error)
	// Size is what the class of a machine that is in a cluster means.
	Size(ctx context.Context, vm *vmopv1.VirtualMachine, cluster facts.ID) (facts.Size, error)
	// Drives are the CD-ROM drives that a machine declares. An image that was in one before is where it was.
	Drives(vm *vmopv1.VirtualMachine, before *facts.Drives) (*facts.Drives, error)
	// Cards are the network cards that a machine declares, and before those that it declared before.
	Cards(vm *vmopv1.VirtualMachine, before *facts.Cards) (*facts.Cards, error)
}

// Refresher reads one object now and hands it to the Projector.
type Refresher interface {
	Refresh(ctx context.Context, id facts.ID) error
}

// Backend carries out in vCenter what is written to virtual machines. Its fields are set before use.
type Backend struct {
	Verbs   Verbs
	Planner Planner
	// Ready says why nothing may be changed now, nil when something may.
	Ready     func() error
	Projector *Projector
	Refresher Refresher // Nil: updates of the inventory are all there is to wait for.
	Logger    klog.Logger
	// Timeout bounds one write whose context has no earlier end. Zero: 30 s.
	Timeout time.Duration
}

// Create implements registry.Backend: it makes the machine's shell, with its record, so that what is wrong with it shows at
// once. The controller makes the rest.
func (b *Backend) Create(ctx context.Context, vm *vmopv1.VirtualMachine) error {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	operation := fmt.Sprintf("create virtual machine %q", vm.NamespacedName())
	if err := b.Ready(); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	shell, forgo, err := b.Planner.Plan(ctx, vm)
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	meta := made(b.Projector.installation, shell, vm)
	body, err := meta.encodeBody()
	if err != nil {
		forgo()
		return err
	}
	id, err := b.Verbs.Create(ctx, shell, meta.Head, body)
	if err != nil {
		forgo()
		return fmt.Errorf("%s: %w", operation, err)
	}
	err = b.await(ctx, id, func(s State, found bool) bool {
		return found && s.Object != nil && s.Object.UID == vm.UID
	})
	if err != nil {
		return fmt.Errorf("%s: vCenter has done it, but the inventory does not show it yet: %w", operation, err)
	}
	return nil
}

// Update implements registry.Backend: it writes the machine's metadata, provided that the machine is still what current
// was made from.
func (b *Backend) Update(ctx context.Context, current, desired *vmopv1.VirtualMachine) error {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	operation := fmt.Sprintf("update virtual machine %q", current.NamespacedName())
	if err := b.Ready(); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	state, err := b.find(current)
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	if err := writable(state, desired); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	next, changed, err := record(&state, current, desired)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", operation, err, failure.Invalid)
	}
	if !changed {
		return nil
	}
	if err := b.resolve(ctx, &state, next, current, desired); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	body, err := next.encodeBody()
	if err != nil {
		return err
	}
	err = tryAgain(ctx, func() error { return b.Verbs.WriteRecord(ctx, state.ID, next.Head, body, unmoved(state)) })
	if err != nil {
		return fmt.Errorf("%s: %w", operation, vanished(err))
	}
	err = b.await(ctx, state.ID, func(s State, found bool) bool {
		return !found || s.InstanceUUID != next.UID || s.MetadataError != nil ||
			s.Metadata != nil && s.Metadata.Sequence >= next.Sequence
	})
	if err != nil {
		return fmt.Errorf("%s: vCenter has done it, but the inventory does not show it yet: %w", operation, err)
	}
	return nil
}

// resolve writes down what the class, the images and the networks mean that a write names anew.
func (b *Backend) resolve(ctx context.Context, state *State, next *Metadata, current, desired *vmopv1.VirtualMachine) error {
	if class := next.Spec.ClassName; class != "" && class != current.Spec.ClassName {
		var cluster facts.ID
		if state.Live.Cluster != nil {
			cluster = state.Live.Cluster.ID
		}
		size, err := b.Planner.Size(ctx, desired, cluster)
		if err != nil {
			return err
		}
		if next.Size != nil {
			size = size.After(*next.Size)
		}
		next.Size = &size
	}
	if next.Spec.Hardware != nil && (next.Drives == nil || !equality.Semantic.DeepEqual(current.Spec.Hardware, next.Spec.Hardware)) {
		drives, err := b.Planner.Drives(desired, next.Drives)
		if err != nil {
			return err
		}
		next.Drives = drives
	}
	if next.Spec.Network == nil {
		return nil
	}
	same := equality.Semantic.DeepEqual(current.Spec.Network, next.Spec.Network)
	if same && next.Cards != nil {
		return nil
	}
	if next.Cards != nil && state.Live.Hardware != nil {
		// Which card is whose shows now: later one of them may be gone, or another's.
		known := next.Cards.Known(state.Live.Hardware.Cards)
		next.Cards = &known
	}
	cards, err := b.Planner.Cards(desired, next.Cards)
	next.Cards, next.Untold = cards, next.Untold || !same && bootstrap.Retells(&next.Spec)
	return err
}

// Delete implements registry.Backend: it powers the machine off and destroys it, provided that its deletion was asked
// for, is allowed, and that the machine is still what current was made from.
func (b *Backend) Delete(ctx context.Context, current *vmopv1.VirtualMachine) error {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	operation := fmt.Sprintf("destroy virtual machine %q", current.NamespacedName())
	if err := b.Ready(); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	state, err := b.find(current)
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	if err := destroyable(state); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	still := func(now facts.Machine) error {
		// That its folder was detached, say, vCenter does not tell.
		known, found := b.Projector.Find(current.Namespace, current.Name)
		if !found || known.InstanceUUID != state.InstanceUUID || known.Object == nil || known.Object.DeletionTimestamp == nil {
			return fmt.Errorf("its deletion has ended meanwhile: %w", errMoved)
		}
		return unmoved(state)(now)
	}
	off := state.PowerState == facts.PoweredOff
	err = tryAgain(ctx, func() error {
		if !off {
			if err := b.Verbs.PowerOff(ctx, state.ID, still); err != nil {
				return err
			}
		}
		off = false // one that somebody powers on in between cannot be destroyed
		return b.Verbs.Destroy(ctx, state.ID, still)
	})
	if errors.Is(err, failure.Conflict) && !errors.Is(err, errMoved) {
		// The store would try again at once for a conflict, and this one will last.
		return fmt.Errorf("%w: %s: %s", failure.Unavailable, operation, err.Error())
	}
	if err != nil && !errors.Is(err, failure.NotFound) {
		return fmt.Errorf("%s: %w", operation, err)
	}
	err = b.await(ctx, state.ID, func(s State, found bool) bool {
		return !found || s.InstanceUUID != state.InstanceUUID
	})
	if err != nil {
		return fmt.Errorf("%s: vCenter has done it, but the inventory does not show it yet: %w", operation, err)
	}
	return nil
}

// find returns what the Projector knows of the machine, provided that it stands where current does, and that vCenter
// tells its configuration. Only then is the state the one that current was made from.
func (b *Backend) find(current *vmopv1.VirtualMachine) (State, error) {
	state, found := b.Projector.Find(current.Namespace, current.Name)
	if !found || state.InstanceUUID != string(current.UID) || state.Object == nil || !projected.Same(state.Object, current) {
		return State{}, fmt.Errorf("it has changed: %w", failure.Conflict)
	}
	if state.Recalled {
		return State{}, untold()
	}
	return state, nil
}

// writable says why a machine's record cannot be replaced by that of desired, nil when it can.
func writable(state State, desired *vmopv1.VirtualMachine) error {
	other, another := state.Another(state.Installation)
	doubt := state.Doubted(state.Installation)
	from, taken := desired.Annotations[vsphere.TakeOverAnnotation]
	switch {
	case doubt != "" && (!taken || from != state.Installation):
		return fmt.Errorf("%s: %w", doubtedText(state.Installation, doubt), failure.Forbidden)
	case another && from != other:
		return fmt.Errorf("%s: %w", anotherText(other), failure.Forbidden)
	case state.MetadataError != nil:
		return fmt.Errorf(malformedRemedyText+": %w", state.MetadataError, failure.Invalid)
	case !state.Connected:
		return fmt.Errorf("vCenter does not reach it now: %w", failure.Unavailable)
	}
	return nil
}

// destroyable says why a machine is not to be destroyed, nil when it is.
func destroyable(state State) error {
	meta := state.Metadata
	switch {
	case state.MetadataError != nil:
		return fmt.Errorf(malformedRemedyText+": %w", state.MetadataError, failure.Invalid)
	case state.Paused():
		return fmt.Errorf("it is paused: %w", failure.Forbidden)
	case state.WentBack:
		return fmt.Errorf("%s: %w", wentBackText, failure.Forbidden)
	case meta == nil || meta.Deletion.IsZero() || state.Object.DeletionTimestamp == nil:
		return fmt.Errorf("nobody asked for its deletion where it lies now: %w", failure.Forbidden)
	case !meta.Created && meta.ReclaimPolicy != vsphere.ReclaimDelete:
		return fmt.Errorf("it was not created through this API, and its annotation %s does not say %s any more: %w",
			vsphere.ReclaimPolicyAnnotation, vsphere.ReclaimDelete, failure.Forbidden)
	}
	return nil
}

// unmoved refuses an act on a machine that is not any more what was decided on.
func unmoved(state State) func(facts.Machine) error {
	return func(now facts.Machine) error {
		if difference := state.Differs(now); difference != "" {
			return fmt.Errorf("%s: %w", difference, errMoved)
		}
		return nil
	}
}

// vanished makes of a machine that is gone a conflict, which the mirror will show.
func vanished(err error) error {
	if errors.Is(err, failure.NotFound) {
		return fmt.Errorf("it is gone from vCenter: %w", errMoved)
	}
	return err
}

// tryAgain makes an act again that vCenter refused for what somebody else did or does, which may be nothing that
// decides about it.
func tryAgain(ctx context.Context, act func() error) error {
	for attempt := 1; ; attempt++ {
		err := act()
		if attempt == attempts || !errors.Is(err, failure.Conflict) || errors.Is(err, errMoved) {
			return err
		}
		timer := time.NewTimer(time.Duration(attempt) * attemptPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// await waits until the projection satisfies done.
func (b *Backend) await(ctx context.Context, id facts.ID, done func(State, bool) bool) error {
	var read func(context.Context)
	if b.Refresher != nil {
		read = func(ctx context.Context) {
			if err := b.Refresher.Refresh(ctx, id); err != nil {
				b.Logger.V(2).Info("Cannot read a virtual machine after a write", "id", id.Value, "err", err)
			}
		}
	}
	return b.Projector.shown.Await(ctx, id.Value, read, func() bool { return done(b.Projector.stateOf(id)) })
}

func (b *Backend) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := b.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	return context.WithTimeout(ctx, timeout)
}
