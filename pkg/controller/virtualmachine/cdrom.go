// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"slices"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"

	"github.com/openpacific/pacific/pkg/facts"
)

// drives has machines have the CD-ROM drives that are declared. One that is to get a disc while it is off is held until
// it has it: it would start from nothing, and could not be given the disc any more.
func (c *Controller) drives() part {
	return part{
		name: "CD-ROM drives", verb: "change the CD-ROM drives of",
		condition: vmopv1.VirtualMachineHardwareCDROMVerified, failed: vmopv1.VirtualMachineHardwareCDROMMismatchReason,
		kept: func(m Machine) bool {
			return m.Drives == nil || len(m.Drives.Changes(m.Cdroms, m.Facts.PowerState)) == 0
		},
		changes: func(m Machine) bool { return len(m.driveChanges()) > 0 },
		attempt: func(m Machine) any {
			return struct {
				wanted facts.Drives
				was    []facts.Cdrom
			}{*m.Drives, m.Cdroms}
		},
		change: func(ctx context.Context, m Machine) error {
			return c.Verbs.SetDrives(ctx, m.Facts.ID, *m.Drives, unmoved(m.Facts), func(d facts.Drive) error {
				// It lies in the machine's ExtraConfig, as what its disks are copies of does.
				return c.Sources.PermitsDisc(m.Object, d.Image, d.File)
			})
		},
		holds: func(m Machine) bool {
			return m.Facts.PowerState == facts.PoweredOff &&
				slices.ContainsFunc(m.driveChanges(), func(c facts.DriveChange) bool { return c.Inserts })
		},
	}
}

// driveChanges are those of its CD-ROM drives that can be made now.
func (m Machine) driveChanges() []facts.DriveChange {
	if m.Drives == nil {
		return nil
	}
	return facts.Possible(m.Drives.Changes(m.Cdroms, m.Facts.PowerState), m.Facts.PowerState)
}
