// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/facts"
)

// drives are the CD-ROM drives that a machine was to have, and what it had then, in its power state.
type drives struct {
	wanted facts.Drives
	was    []facts.Cdrom
	state  string
}

// driveChanges are those of its CD-ROM drives that can be made now.
func (m Machine) driveChanges() []facts.DriveChange {
	if m.Drives == nil {
		return nil
	}
	return facts.Possible(m.Drives.Changes(m.Cdroms, m.Facts.PowerState), m.Facts.PowerState)
}

// lacksDisc says that a machine that is off has not all discs in its drives that it is to have.
func (m Machine) lacksDisc() bool {
	return m.Facts.PowerState == facts.PoweredOff &&
		slices.ContainsFunc(m.driveChanges(), func(c facts.DriveChange) bool { return c.Inserts })
}

// drive gives a machine its CD-ROM drives as they are declared, as far as that can be done now: else the projection
// says what is in the way.
func (c *Controller) drive(ctx context.Context, m Machine) error {
	if len(m.driveChanges()) == 0 {
		return nil
	}
	vm, now := m.Object, drives{*m.Drives, m.Cdroms, m.Facts.PowerState}
	if reflect.DeepEqual(c.drivesOf(vm.UID), now) {
		// As with its size: nobody is to do for ever what is undone each time.
		c.sayDrives(m, reasonKept, "vCenter has taken the change of its CD-ROM drives, and shows the virtual machine as it "+
			"was: look whether something keeps it so in vCenter")
		return nil
	}
	err := c.Verbs.SetDrives(ctx, m.Facts.ID, *m.Drives, unmoved(m.Facts), func(d facts.Drive) error {
		// It lies in the machine's ExtraConfig, as what its disks are copies of does.
		return c.Sources.PermitsDisc(vm, d.Image, d.File)
	})
	switch {
	case errors.Is(err, errMoved):
		return err
	case err != nil:
		c.sayDrives(m, vmopv1.VirtualMachineHardwareCDROMMismatchReason, err.Error())
		return fmt.Errorf("change the CD-ROM drives of virtual machine %s: %w", klog.KObj(vm), err)
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	c.drove[vm.UID] = now
	return nil
}

func (c *Controller) sayDrives(m Machine, reason, message string) {
	c.Machines.SetCondition(m.Object.Namespace, m.Object.Name, m.Object.UID, metav1.Condition{
		Type: vmopv1.VirtualMachineHardwareCDROMVerified, Status: metav1.ConditionFalse,
		Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(c.Clock.Now()),
	})
}

func (c *Controller) drivesOf(uid types.UID) drives {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.drove[uid]
}

func (c *Controller) forgetDrives(uid types.UID) {
	c.lock.Lock()
	defer c.lock.Unlock()
	delete(c.drove, uid)
}
