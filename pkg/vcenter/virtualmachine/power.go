// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"fmt"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/failure"
)

const (
	// SoftTimeout is how long a guest that was asked with mode TrySoft has, as vm-operator has it.
	SoftTimeout = 5 * time.Minute
	// softPoll is how long to wait before looking again at a guest that was asked.
	softPoll = 5 * time.Second
)

// Power brings virtual machines to a power state.
type Power struct {
	Session Session
	Writer  Writer
	// SoftTimeout is how long a guest has with mode TrySoft. Zero: five minutes.
	SoftTimeout time.Duration
	Clock       clock.PassiveClock // Nil: the real one.
}

// Set takes one step towards a power state and does not wait for a guest. It returns zero when the machine is in that state, else after how long
// to call it again. softSince is when the caller first got an answer other than zero to this wish, zero before that: it tells an unanswered
// request to the guest from one not made yet. An empty mode is TrySoft. Set may be called any number of times.
func (p *Power) Set(ctx context.Context, ref types.ManagedObjectReference, target vmopv1.VirtualMachinePowerState,
	mode vmopv1.VirtualMachinePowerOpMode, softSince time.Time) (requeueAfter time.Duration, err error) {
	if err := p.Writer.Ready(); err != nil {
		return 0, fmt.Errorf("set the power state of virtual machine %s: %w", ref.Value, err)
	}
	now, tools, err := p.read(ctx, ref)
	if err != nil {
		return 0, err
	}
	if now == target {
		return 0, nil
	}
	var hard, soft func(context.Context, types.ManagedObjectReference) error
	switch target {
	case vmopv1.VirtualMachinePowerStateOn:
		return 0, p.powerOn(ctx, ref)
	case vmopv1.VirtualMachinePowerStateOff:
		hard, soft = p.powerOff, p.shutdownGuest
		if now == vmopv1.VirtualMachinePowerStateSuspended {
			// No guest runs that could be asked.
			return 0, hard(ctx, ref)
		}
	case vmopv1.VirtualMachinePowerStateSuspended:
		hard, soft = p.suspend, p.standbyGuest
		if now == vmopv1.VirtualMachinePowerStateOff {
			return 0, fmt.Errorf("suspend virtual machine %s: it is powered off, and only one that runs can be suspended: %w", ref.Value, failure.Invalid)
		}
	default:
		return 0, fmt.Errorf("set the power state of virtual machine %s: %q is none: %w", ref.Value, target, failure.Invalid)
	}

	switch mode {
	case vmopv1.VirtualMachinePowerOpModeHard:
		return 0, hard(ctx, ref)
	case vmopv1.VirtualMachinePowerOpModeSoft:
		if softSince.IsZero() {
			if err := soft(ctx, ref); err != nil {
				return 0, err
			}
		}
		return softPoll, nil
	case vmopv1.VirtualMachinePowerOpModeTrySoft, "":
		if softSince.IsZero() {
			if tools && soft(ctx, ref) == nil {
				return softPoll, nil
			}
			return 0, hard(ctx, ref)
		}
		if left := p.softTimeout() - p.now().Sub(softSince); left > 0 {
			return min(left, softPoll), nil
		}
		return 0, hard(ctx, ref)
	}
	return 0, fmt.Errorf("set the power state of virtual machine %s: %q is no mode: %w", ref.Value, mode, failure.Invalid)
}

func (p *Power) softTimeout() time.Duration {
	if p.SoftTimeout == 0 {
		return SoftTimeout
	}
	return p.SoftTimeout
}

func (p *Power) now() time.Time {
	if p.Clock == nil {
		return time.Now()
	}
	return p.Clock.Now()
}

// off powers a machine off hard unless it is off.
func (p *Power) off(ctx context.Context, ref types.ManagedObjectReference) error {
	_, err := p.Set(ctx, ref, vmopv1.VirtualMachinePowerStateOff, vmopv1.VirtualMachinePowerOpModeHard, time.Time{})
	return err
}

// read asks vCenter, not the inventory: what follows depends on the state of this moment.
func (p *Power) read(ctx context.Context, ref types.ManagedObjectReference) (state vmopv1.VirtualMachinePowerState, tools bool, err error) {
	var vm mo.VirtualMachine
	err = p.Session.Do(ctx, "read the power state of virtual machine "+ref.Value, func(ctx context.Context, client *vim25.Client) error {
		vm = mo.VirtualMachine{}
		return property.DefaultCollector(client).RetrieveOne(ctx, ref, []string{pathPowerState, pathToolsRunning}, &vm)
	})
	if err != nil {
		return "", false, err
	}
	if vm.Guest != nil {
		tools = vm.Guest.ToolsRunningStatus == string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)
	}
	return apiPowerState(vm.Runtime.PowerState), tools, nil
}

func (p *Power) powerOn(ctx context.Context, ref types.ManagedObjectReference) error {
	return p.task(ctx, "power on", ref, types.VirtualMachinePowerStatePoweredOn,
		func(ctx context.Context, client *vim25.Client) (types.ManagedObjectReference, error) {
			response, err := methods.PowerOnVM_Task(ctx, client, &types.PowerOnVM_Task{This: ref})
			if err != nil {
				return types.ManagedObjectReference{}, err
			}
			return response.Returnval, nil
		})
}

func (p *Power) powerOff(ctx context.Context, ref types.ManagedObjectReference) error {
	return p.task(ctx, "power off", ref, types.VirtualMachinePowerStatePoweredOff,
		func(ctx context.Context, client *vim25.Client) (types.ManagedObjectReference, error) {
			response, err := methods.PowerOffVM_Task(ctx, client, &types.PowerOffVM_Task{This: ref})
			if err != nil {
				return types.ManagedObjectReference{}, err
			}
			return response.Returnval, nil
		})
}

func (p *Power) suspend(ctx context.Context, ref types.ManagedObjectReference) error {
	return p.task(ctx, "suspend", ref, types.VirtualMachinePowerStateSuspended,
		func(ctx context.Context, client *vim25.Client) (types.ManagedObjectReference, error) {
			response, err := methods.SuspendVM_Task(ctx, client, &types.SuspendVM_Task{This: ref})
			if err != nil {
				return types.ManagedObjectReference{}, err
			}
			return response.Returnval, nil
		})
}

// task runs a power operation. That somebody else was faster is no failure.
func (p *Power) task(ctx context.Context, verb string, ref types.ManagedObjectReference, target types.VirtualMachinePowerState,
	start func(context.Context, *vim25.Client) (types.ManagedObjectReference, error)) error {
	_, err := p.Writer.RunTask(ctx, verb+" virtual machine "+ref.Value, start)
	if !errors.Is(err, failure.Conflict) {
		return err
	}
	if now, _, readErr := p.read(ctx, ref); readErr == nil && now == apiPowerState(target) {
		return nil
	}
	return err
}

func (p *Power) shutdownGuest(ctx context.Context, ref types.ManagedObjectReference) error {
	return p.Writer.Do(ctx, "shut down the guest of virtual machine "+ref.Value, func(ctx context.Context, client *vim25.Client) error {
		_, err := methods.ShutdownGuest(ctx, client, &types.ShutdownGuest{This: ref})
		return err
	})
}

func (p *Power) standbyGuest(ctx context.Context, ref types.ManagedObjectReference) error {
	return p.Writer.Do(ctx, "suspend the guest of virtual machine "+ref.Value, func(ctx context.Context, client *vim25.Client) error {
		_, err := methods.StandbyGuest(ctx, client, &types.StandbyGuest{This: ref})
		return err
	})
}
