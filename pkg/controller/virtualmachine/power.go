// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"fmt"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

const (
	// SoftTimeout is how long a guest that was asked with mode TrySoft has, as vm-operator has it.
	SoftTimeout = 5 * time.Minute
	// softPoll is how long to wait before looking again at a guest that was asked.
	softPoll = 5 * time.Second
)

// Verbs act on one machine of vCenter each, if still says directly before, of what vCenter has then, that they are
// still to.
type Verbs interface {
	PowerOn(ctx context.Context, id facts.ID, still func(facts.Machine) error) error
	PowerOff(ctx context.Context, id facts.ID, still func(facts.Machine) error) error
	Suspend(ctx context.Context, id facts.ID, still func(facts.Machine) error) error
	ShutdownGuest(ctx context.Context, id facts.ID, still func(facts.Machine) error) error
	StandbyGuest(ctx context.Context, id facts.ID, still func(facts.Machine) error) error
	Reset(ctx context.Context, id facts.ID, still func(facts.Machine) error) error
	RebootGuest(ctx context.Context, id facts.ID, still func(facts.Machine) error) error
	// Resize makes a machine as large as a size says.
	Resize(ctx context.Context, id facts.ID, size facts.Size, still func(facts.Machine) error) error
	// SetDrives gives a machine its CD-ROM drives, as far as that can be done in its power state, if permits has nothing
	// against any disc that comes into one.
	SetDrives(ctx context.Context, id facts.ID, drives facts.Drives, still func(facts.Machine) error,
		permits func(facts.Drive) error) error
	// SetCards gives a machine its network cards, if permits has nothing against any that comes to a network. tells says that
	// its guest is to be told of one that is new.
	SetCards(ctx context.Context, id facts.ID, cards facts.Cards, tells bool, still func(facts.Machine) error,
		permits func(facts.Link) error) error
	// TellNetwork gives a machine the options by which its guest is told of its network.
	TellNetwork(ctx context.Context, id facts.ID, options map[string]string, still func(facts.Machine) error) error
	// Amend changes the head of a machine's record.
	Amend(ctx context.Context, id facts.ID, amend func(now facts.Machine) (facts.Head, error)) error
}

// live are vCenter's words for the power states.
var live = map[vmopv1.VirtualMachinePowerState]string{
	vmopv1.VirtualMachinePowerStateOn:        facts.PoweredOn,
	vmopv1.VirtualMachinePowerStateOff:       facts.PoweredOff,
	vmopv1.VirtualMachinePowerStateSuspended: facts.Suspended,
}

// asking is how the guest of a machine was asked to stop.
type asking struct {
	target vmopv1.VirtualMachinePowerState // what for
	since  time.Time                       // Zero: it was not.
	// unsure: perhaps it was not, since vCenter's answer was lost. Then since is when it was tried last.
	unsure bool
}

// unansweredError is why nobody knows whether a guest was asked.
type unansweredError struct{ cause error }

func (e *unansweredError) Error() string { return e.cause.Error() }
func (e *unansweredError) Unwrap() error { return e.cause }

// refused says whether an error is vCenter's word that a guest is not asked, and not the lack of one.
func refused(err error) bool {
	return !errors.Is(err, failure.Unavailable) && !errors.Is(err, failure.Timeout) &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, errMoved)
}

// change makes one step towards a power state and does not wait for a guest. It returns zero when there is nothing left
// to do, else after how long to come again. asked is since when it answers so to this wish, or with an unansweredError:
// it tells a guest that was asked from one that is to be. It may be called any number of times.
func (c *Controller) change(ctx context.Context, m facts.Machine, target vmopv1.VirtualMachinePowerState,
	mode vmopv1.VirtualMachinePowerOpMode, asked asking) (again time.Duration, err error) {
	type verb = func(context.Context, facts.ID, func(facts.Machine) error) error
	var hard, soft verb
	switch {
	case m.PowerState == live[target]:
		return 0, nil
	case target == vmopv1.VirtualMachinePowerStateOn:
		return 0, c.Verbs.PowerOn(ctx, m.ID, unmoved(m))
	case target == vmopv1.VirtualMachinePowerStateOff && m.PowerState == facts.Suspended:
		// No guest runs that could be asked.
		return 0, c.Verbs.PowerOff(ctx, m.ID, unmoved(m))
	case target == vmopv1.VirtualMachinePowerStateOff:
		hard, soft = c.Verbs.PowerOff, c.Verbs.ShutdownGuest
	case target == vmopv1.VirtualMachinePowerStateSuspended && m.PowerState == facts.PoweredOff:
		return 0, fmt.Errorf("it is powered off, and only one that runs can be suspended: %w", failure.Invalid)
	case target == vmopv1.VirtualMachinePowerStateSuspended:
		hard, soft = c.Verbs.Suspend, c.Verbs.StandbyGuest
	default:
		return 0, fmt.Errorf("%q is not a power state: %w", target, failure.Invalid)
	}

	switch mode {
	case vmopv1.VirtualMachinePowerOpModeHard:
		return 0, hard(ctx, m.ID, unmoved(m))
	case vmopv1.VirtualMachinePowerOpModeSoft:
		if asked.since.IsZero() || asked.unsure {
			if err := soft(ctx, m.ID, unmoved(m)); err != nil {
				return 0, err
			}
		}
		return softPoll, nil
	case vmopv1.VirtualMachinePowerOpModeTrySoft, "":
		left := SoftTimeout
		if !asked.since.IsZero() {
			left -= c.Clock.Since(asked.since)
		}
		if m.ToolsRunning && (asked.since.IsZero() || asked.unsure) {
			err := soft(ctx, m.ID, unmoved(m))
			switch {
			case err == nil:
				return softPoll, nil
			case !refused(err):
				// A guest that shuts down, perhaps, is not to lose its power.
				return 0, &unansweredError{err}
			}
		}
		if left > 0 && !asked.since.IsZero() {
			return min(left, softPoll), nil
		}
		return 0, hard(ctx, m.ID, unmoved(m))
	}
	return 0, fmt.Errorf("%q is not a mode: %w", mode, failure.Invalid)
}

// unmoved refuses an act on a machine that is not any more what was decided on.
func unmoved(seen facts.Machine) func(facts.Machine) error {
	return func(now facts.Machine) error {
		if difference := seen.Differs(now); difference != "" {
			return fmt.Errorf("%s: %w", difference, errMoved)
		}
		if now.PowerState != seen.PowerState {
			return fmt.Errorf("it is %s where it was %s: %w", now.PowerState, seen.PowerState, errMoved)
		}
		return nil
	}
}
