// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"fmt"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// A machine that is restarted looks as before. So that it is restarted once for each time that somebody asks, whoever
// dies in between and whatever answer is lost, the machine's record says that the restart was begun, and after which of
// vCenter's events; and whoever finds it begun asks vCenter's events whether the machine was restarted since.

// Restarts tells of restarts by vCenter's events, and its clock.
type Restarts interface {
	// Now is vCenter's time, and the key of its last event.
	Now(ctx context.Context) (now time.Time, event int32, err error)
	// Restarted says whether a machine was restarted, or powered on, since then and after that event.
	Restarted(ctx context.Context, id facts.ID, since time.Time, after int32) (bool, error)
}

// restartPends says that somebody asked for a restart that is not over. One that is not to be on waits until it is.
func restartPends(vm *vmopv1.VirtualMachine) bool {
	if vm.Spec.NextRestartTime == "" || vm.Spec.PowerState != vmopv1.VirtualMachinePowerStateOn {
		return false
	}
	wanted, err := time.Parse(time.RFC3339, vm.Spec.NextRestartTime)
	last := vm.Status.LastRestartTime
	return err == nil && (last == nil || wanted.Truncate(time.Second).After(last.Time))
}

// beginRestart writes down in the machine that it is restarted from now on. What is returned is the machine as it is
// then.
func (c *Controller) beginRestart(ctx context.Context, m Machine) (Machine, error) {
	now, event, err := c.Restarts.Now(ctx)
	if err != nil {
		return m, fmt.Errorf("ask vCenter for its time: %w", err)
	}
	m.Restart = facts.Restart{Wanted: m.Object.Spec.NextRestartTime, Since: now.UTC(), Event: event}
	return c.noteRestart(ctx, m)
}

// noteRestart writes down how far the restart of a machine is. What is returned is the machine as it is then.
func (c *Controller) noteRestart(ctx context.Context, m Machine) (Machine, error) {
	still := unmoved(m.Facts)
	head := facts.Head{}
	err := c.Verbs.Amend(ctx, m.Facts.ID, func(now facts.Machine) (facts.Head, error) {
		if err := still(now); err != nil {
			return facts.Head{}, err
		}
		if now.Head == nil {
			return facts.Head{}, fmt.Errorf("it has no record: %w", errMoved)
		}
		head = *now.Head
		head.Restart = m.Restart
		return head, nil
	})
	if err != nil {
		return m, fmt.Errorf("write down how far the restart of virtual machine %s is: %w", klog.KObj(m.Object), err)
	}
	head.Sequence++
	m.Facts.Head = &head
	return m, nil
}

// restart restarts a machine that is on, and whose restart was begun: by this pass, or before.
func (c *Controller) restart(ctx context.Context, m Machine, begun bool) (again time.Duration, err error) {
	if !begun {
		done, err := c.Restarts.Restarted(ctx, m.Facts.ID, m.Restart.Since, m.Restart.Event)
		if err != nil {
			return 0, fmt.Errorf("see whether virtual machine %s was restarted: %w", klog.KObj(m.Object), err)
		}
		if done {
			m.Restart.Done = true
			_, err := c.noteRestart(ctx, m)
			return 0, err
		}
	}
	err = c.bootAnew(ctx, m)
	switch {
	case errors.Is(err, errMoved):
		return 0, err
	case err != nil:
		c.Machines.SetCondition(m.Object.Namespace, m.Object.Name, m.Object.UID, metav1.Condition{
			Type: vmoperator.RestartedCondition, Status: metav1.ConditionFalse,
			Reason: failure.ReasonOf(err, vmoperator.RestartFailedReason), Message: err.Error(), LastTransitionTime: metav1.NewTime(c.Clock.Now()),
		})
		if !refused(err) {
			// Perhaps it was restarted. vCenter's events tell that a moment later.
			return softPoll, nil
		}
		return 0, fmt.Errorf("restart virtual machine %s: %w", klog.KObj(m.Object), err)
	}
	m.Restart.Done = true
	_, err = c.noteRestart(ctx, m)
	return 0, err
}

// bootAnew has vCenter restart a machine in the way that is declared.
func (c *Controller) bootAnew(ctx context.Context, m Machine) error {
	id, still := m.Facts.ID, unmoved(m.Facts)
	switch mode := m.Object.Spec.RestartMode; mode {
	case vmopv1.VirtualMachinePowerOpModeHard:
		return c.Verbs.Reset(ctx, id, still)
	case vmopv1.VirtualMachinePowerOpModeSoft:
		return c.Verbs.RebootGuest(ctx, id, still)
	case vmopv1.VirtualMachinePowerOpModeTrySoft, "":
		if m.Facts.ToolsRunning {
			if err := c.Verbs.RebootGuest(ctx, id, still); err == nil || !refused(err) {
				return err
			}
		}
		return c.Verbs.Reset(ctx, id, still)
	default:
		return fmt.Errorf("%q is not a mode: %w", mode, failure.Invalid)
	}
}
