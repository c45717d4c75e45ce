// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"fmt"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/facts"
)

// reasonKept says that vCenter did what it was asked for, and has the machine as it was.
const reasonKept = "NotTakenOver"

// sizing is what a machine was to be made, and what it was then.
type sizing struct{ wanted, was facts.Size }

// resizes says whether the machine is to be made as large as its class says, and can be now.
func (m Machine) resizes() bool {
	return m.Wanted != nil && *m.Wanted != m.Size && m.Size.CPUs > 0 &&
		m.Size.Changes(*m.Wanted, m.Facts.PowerState, m.CPUHotAdd, m.MemoryHotAdd)
}

// resize makes a machine as large as its class says, where that can be now: else the projection says what is in the way.
// A failure keeps nobody from powering it on.
func (c *Controller) resize(ctx context.Context, m Machine) error {
	if !m.resizes() {
		return nil
	}
	vm, now := m.Object, sizing{*m.Wanted, m.Size}
	if c.sizedOf(vm.UID) == now {
		// As it is told, or it would not come here again: so that nobody does for ever what is undone each time.
		c.saySize(m, reasonKept, "vCenter has taken the change, and shows the virtual machine as it was: look whether "+
			"something keeps it so in vCenter")
		return nil
	}
	err := c.Verbs.Resize(ctx, m.Facts.ID, *m.Wanted, unmoved(m.Facts))
	switch {
	case errors.Is(err, errMoved):
		return err
	case err != nil:
		c.saySize(m, "ResizeFailed", err.Error())
		return fmt.Errorf("resize virtual machine %s: %w", klog.KObj(vm), err)
	}
	c.rememberSize(vm.UID, now)
	return nil
}

func (c *Controller) saySize(m Machine, reason, message string) {
	c.Machines.SetCondition(m.Object.Namespace, m.Object.Name, m.Object.UID, metav1.Condition{
		Type: vmopv1.VirtualMachineClassConfigurationSynced, Status: metav1.ConditionFalse,
		Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(c.Clock.Now()),
	})
}

func (c *Controller) sizedOf(uid types.UID) sizing {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.sized[uid]
}

func (c *Controller) rememberSize(uid types.UID, done sizing) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.sized[uid] = done
}

func (c *Controller) forgetSize(uid types.UID) {
	c.lock.Lock()
	defer c.lock.Unlock()
	delete(c.sized, uid)
}
