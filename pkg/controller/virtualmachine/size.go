// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"

	"github.com/openpacific/pacific/pkg/facts"
)

// size has machines be as large as their classes say. A failure keeps nobody from powering them on.
func (c *Controller) size() part {
	return part{
		name: "size", verb: "resize", condition: vmopv1.VirtualMachineClassConfigurationSynced, failed: "ResizeFailed",
		kept: func(m Machine) bool { return m.Wanted == nil || m.Wanted.Over(m.Size) == m.Size },
		changes: func(m Machine) bool {
			return m.Wanted != nil && m.Wanted.Over(m.Size) != m.Size && m.Size.CPUs > 0 &&
				m.Size.Changes(m.Wanted.Over(m.Size), m.Facts.PowerState, m.CPUHotAdd, m.MemoryHotAdd)
		},
		attempt: func(m Machine) any { return struct{ wanted, was facts.Size }{*m.Wanted, m.Size} },
		change: func(ctx context.Context, m Machine) error {
			return c.Verbs.Resize(ctx, m.Facts.ID, *m.Wanted, unmoved(m.Facts))
		},
	}
}
