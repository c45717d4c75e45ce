// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"slices"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"

	"github.com/openpacific/pacific/pkg/facts"
)

// cards has machines have the network cards of the interfaces that are declared. They can be given them while they are
// on, so that a failure keeps nobody from powering them on.
func (c *Controller) cards() part {
	return part{
		name: "network cards", verb: "change the network cards of",
		condition: vmopv1.VirtualMachineConditionNetworkReady, failed: "NetworkCardsFailed",
		kept: func(m Machine) bool { return m.Links == nil || len(m.Links.Changes(m.Cards)) == 0 },
		changes: func(m Machine) bool {
			return m.Links != nil && facts.Pluggable(m.Facts.PowerState) && len(m.Links.Changes(m.Cards)) > 0
		},
		attempt: func(m Machine) any {
			return struct {
				wanted facts.Cards
				was    []facts.Card
			}{*m.Links, m.Cards}
		},
		change: func(ctx context.Context, m Machine) error {
			return c.Verbs.SetCards(ctx, m.Facts.ID, *m.Links, m.Retells, unmoved(m.Facts), func(l facts.Link) error {
				// It may have been taken from the namespace since it was declared.
				return c.Sources.PermitsNetwork(m.Object, l)
			})
		},
		// A guest that starts before it is told of its new cards sets up none of them.
		awaited: func(m Machine) bool { return m.Retells },
	}
}

// telling has guests be told of their networks as those are now, once their machines have the cards: by then it is
// known what addresses those have.
func (c *Controller) telling() part {
	return part{
		name: "network as its guest is told of it", verb: "tell of its network the guest of",
		condition: vmopv1.VirtualMachineGuestNetworkConfigSynced, failed: "TellingFailed",
		kept:    func(m Machine) bool { return !m.tells() },
		changes: func(m Machine) bool { return m.tells() && m.Links != nil && len(m.Links.Changes(m.Cards)) == 0 },
		attempt: func(m Machine) any { return m.Facts.Head.Sequence },
		change: func(ctx context.Context, m Machine) error {
			told, err := c.Guests.Network(m.Object, m.interfaces())
			if err != nil {
				return err
			}
			return c.Verbs.TellNetwork(ctx, m.Facts.ID, told, unmoved(m.Facts))
		},
		awaited: func(Machine) bool { return true }, // its record is another one then
	}
}

// tells says that the machine's guest is yet to be told of its network.
func (m Machine) tells() bool { return m.Untold && m.Retells && m.Facts.Head != nil }

// interfaces are the machine's network cards: those of its declared interfaces, in their order, and then all others.
func (m Machine) interfaces() []facts.Card {
	if m.Links == nil {
		return m.Cards
	}
	list := m.Links.Of(m.Cards)
	for _, card := range m.Cards {
		if !slices.Contains(list, card) {
			list = append(list, card)
		}
	}
	return list
}
