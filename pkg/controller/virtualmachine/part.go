// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/failure"
)

// reasonKept says that vCenter did what it was asked for, and has the machine as it was.
const reasonKept = "NotTakenOver"

// attempt is a change of a part that vCenter was asked for.
type attempt struct {
	// by is what the change went by, in a power state.
	by    any
	state string
	came  outcome
}

// outcome is what came of an attempt.
type outcome int

const (
	// taken: vCenter has made the change.
	taken outcome = iota
	// waits: vCenter can make it only while the machine is off.
	waits
	// passes: something was in its way that passes as a rule.
	passes
)

// part is something of a machine that somebody declares and that is kept at that, such as its size. What is the same
// for all of them is here: it is changed where that can be done now, else the projection says what is in the way; what
// vCenter refuses is said in the part's condition; and what vCenter has done and does not show, or can do only while
// the machine is off, is not asked for again until something is otherwise, so that nobody does for ever what is undone
// each time.
type part struct {
	// name and verb are what people call it, and what is done to a machine.
	name, verb string
	// condition is the type of the one that tells of it, and failed that one's reason when vCenter refuses a change.
	condition, failed string
	// kept says that a machine has it as it is declared, or that nobody declares it.
	kept func(Machine) bool
	// changes says whether something can be done about it now.
	changes func(Machine) bool
	// attempt is all that a change of it goes by, besides the power state.
	attempt func(Machine) any
	// change has vCenter change it.
	change func(context.Context, Machine) error
	// holds says that a machine of which it could not be changed is not to be powered on so, and awaited that one of
	// which it was changed is not, as long as that does not show. Nil: none is held.
	holds, awaited func(Machine) bool
}

// partConditions are the types of the parts' conditions.
var partConditions = []string{vmopv1.VirtualMachineClassConfigurationSynced, vmopv1.VirtualMachineHardwareCDROMVerified,
	vmopv1.VirtualMachineConditionNetworkReady, vmopv1.VirtualMachineGuestNetworkConfigSynced}

// parts are in the order in which they are changed.
func (c *Controller) parts() []part { return []part{c.size(), c.drives(), c.cards(), c.telling()} }

// differs says that a part of a machine that is served is not as it is declared.
func differs(vm *vmopv1.VirtualMachine) bool {
	return slices.ContainsFunc(partConditions, func(conditionType string) bool {
		return meta.IsStatusConditionFalse(vm.Status.Conditions, conditionType)
	})
}

// changes says whether something can be done about any part of a machine now.
func (c *Controller) changes(m Machine) bool {
	return slices.ContainsFunc(c.parts(), func(p part) bool { return p.changes(m) })
}

// keep brings the parts of a machine to what is declared. holds says that it is not to be powered on as it is.
func (c *Controller) keep(ctx context.Context, m Machine) (holds bool, err error) {
	for _, p := range c.parts() {
		done, failed := c.bring(ctx, p, m)
		if errors.Is(failed, errMoved) {
			return true, failed
		}
		holds = holds || failed != nil && p.holds != nil && p.holds(m) || done && p.awaited != nil && p.awaited(m)
		err = errors.Join(err, failed)
	}
	return holds, err
}

// bring brings one part of a machine to what is declared, as far as that can be done now. done says that it was
// changed.
func (c *Controller) bring(ctx context.Context, p part, m Machine) (done bool, err error) {
	if !p.changes(m) {
		return false, nil
	}
	vm, now, again := m.Object, attempt{by: p.attempt(m), state: m.Facts.PowerState}, false
	switch last := c.triedOf(vm.UID, p); {
	case !reflect.DeepEqual(last.by, now.by) || last.state != now.state:
	case last.came == waits:
		return false, nil // as it was said then
	case last.came == passes:
		again = true
	default:
		c.say(p, m, reasonKept, "vCenter has taken the change of its "+p.name+", and shows the virtual machine as it was: "+
			"look whether something keeps it so in vCenter")
		return false, nil
	}
	err = p.change(ctx, m)
	switch {
	case errors.Is(err, errMoved):
		return false, err
	case errors.Is(err, failure.NeedsPowerOff):
		c.say(p, m, string(failure.NeedsPowerOff), err.Error()+": set spec.powerState to PoweredOff, and then to PoweredOn")
		now.came = waits
		c.remembers(vm.UID, p, now)
		return false, nil
	case err != nil:
		// Somebody else's change, or task, is no news as long as the next attempt succeeds.
		if now.came = passes; !again && (errors.Is(err, failure.Conflict) || errors.Is(err, failure.Unavailable)) {
			c.remembers(vm.UID, p, now)
			return false, fmt.Errorf("%s virtual machine %s: %w", p.verb, klog.KObj(vm), err)
		}
		c.say(p, m, failure.ReasonOf(err, p.failed), err.Error())
		return false, fmt.Errorf("%s virtual machine %s: %w", p.verb, klog.KObj(vm), err)
	}
	c.remembers(vm.UID, p, now)
	return true, nil
}

// remembers keeps what was tried last.
func (c *Controller) remembers(uid types.UID, p part, last attempt) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.tried[uid] == nil {
		c.tried[uid] = map[string]attempt{}
	}
	c.tried[uid][p.condition] = last
}

// say shows on a machine why a part of it is not as it is declared.
func (c *Controller) say(p part, m Machine, reason, message string) {
	c.Machines.SetCondition(m.Object.Namespace, m.Object.Name, m.Object.UID, metav1.Condition{
		Type: p.condition, Status: metav1.ConditionFalse,
		Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(c.Clock.Now()),
	})
}

// triedOf is the last change of a part of a machine that vCenter was asked for.
func (c *Controller) triedOf(uid types.UID, p part) attempt {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.tried[uid][p.condition]
}

// settled takes back what was said of a part, and forgets what was tried.
func (c *Controller) settled(p part, vm *vmopv1.VirtualMachine) {
	c.lock.Lock()
	delete(c.tried[vm.UID], p.condition)
	if len(c.tried[vm.UID]) == 0 {
		delete(c.tried, vm.UID)
	}
	c.lock.Unlock()
	c.Machines.ClearCondition(vm.Namespace, vm.Name, vm.UID, p.condition)
}
