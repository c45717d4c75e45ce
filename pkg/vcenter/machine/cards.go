// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// newCard is the first of the keys that new cards have in a request. vCenter gives them others.
const newCard = -200

// Cards are a machine's network cards, in the order of their keys.
func Cards(devices []types.BaseVirtualDevice) []facts.Card {
	var list []facts.Card
	for _, device := range devices {
		if card, ok := device.(types.BaseVirtualEthernetCard); ok {
			is := card.GetVirtualEthernetCard()
			list = append(list, facts.Card{Key: is.Key, MAC: strings.ToLower(is.MacAddress), Network: networkOf(is)})
		}
	}
	slices.SortFunc(list, func(a, b facts.Card) int { return cmp.Compare(a.Key, b.Key) })
	return list
}

// networkOf is the id of the network that a card is at, empty where vCenter does not tell. A port group's key is its
// id.
func networkOf(card *types.VirtualEthernetCard) string {
	switch backing := card.Backing.(type) {
	case *types.VirtualEthernetCardNetworkBackingInfo:
		if backing.Network != nil {
			return backing.Network.Value
		}
	case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
		return backing.Port.PortgroupKey
	}
	return ""
}

// SetCards gives a machine the network cards that it is to have, under the version of the configuration that still was
// shown. permits is asked of each that comes to a network, and its error ends the act. A card that comes to another
// network keeps its address, its key and its type. Where tells, and a card is new, the machine's record says with the
// same change that its guest has not been told of it.
func (v *Verbs) SetCards(ctx context.Context, id facts.ID, cards facts.Cards, tells bool, still Still,
	permits func(facts.Link) error) error {
	return v.configure(ctx, "change the network cards of", id, func(ctx context.Context, client *vim25.Client,
		now reading) (spec types.VirtualMachineConfigSpec, err error) {
		if err := still(now.Machine); err != nil {
			return spec, err
		}
		devices, err := devicesOf(ctx, client, id)
		if err != nil {
			return spec, err
		}
		changes := cards.Changes(Cards(devices))
		if len(changes) == 0 || !facts.Pluggable(now.PowerState) {
			return spec, errAsWanted
		}
		for _, change := range changes {
			if change.To != nil {
				if err := permits(*change.To); err != nil {
					return spec, err
				}
			}
		}
		if spec.DeviceChange, err = v.cardChanges(ctx, client, devices, changes); err != nil {
			return spec, err
		}
		adds := slices.ContainsFunc(changes, func(c facts.CardChange) bool { return c.Key == 0 })
		if tells && adds && !(now.Head != nil && now.Head.Untold) {
			spec.ExtraConfig, err = v.untold(now, true)
		}
		return spec, err
	})
}

// TellNetwork gives a machine options by which its guest is told of its network, under the version of the configuration
// that still was shown, and has its record say so.
func (v *Verbs) TellNetwork(ctx context.Context, id facts.ID, told map[string]string, still Still) error {
	return v.configure(ctx, "tell of its network the guest of", id, func(_ context.Context, _ *vim25.Client,
		now reading) (spec types.VirtualMachineConfigSpec, err error) {
		if err := still(now.Machine); err != nil {
			return spec, err
		}
		record, err := v.untold(now, false)
		spec.ExtraConfig = append(options(told), record...)
		return spec, err
	})
}

// untold is a machine's record that says whether its guest is yet to be told of its network.
func (v *Verbs) untold(now reading, untold bool) ([]types.BaseOptionValue, error) {
	record, _, err := v.amended(now, func(now facts.Machine) (facts.Head, error) {
		if now.Head == nil {
			return facts.Head{}, fmt.Errorf("it has no record: %w", failure.Conflict)
		}
		head := *now.Head
		head.Untold = untold
		return head, nil
	})
	return options(map[string]string{facts.RecordKey: record}), err
}

// cardChanges are changes of network cards in vCenter's words. What is taken away makes room for what is added.
func (v *Verbs) cardChanges(ctx context.Context, client *vim25.Client, devices object.VirtualDeviceList,
	changes []facts.CardChange) ([]types.BaseVirtualDeviceConfigSpec, error) {
	var removed, changed, added []types.BaseVirtualDeviceConfigSpec
	for _, change := range changes {
		if change.To == nil {
			removed = append(removed, &types.VirtualDeviceConfigSpec{
				Operation: types.VirtualDeviceConfigSpecOperationRemove, Device: devices.FindByKey(change.Key),
			})
			continue
		}
		backing, err := v.backing(ctx, client, *change.To)
		if err != nil {
			return nil, err
		}
		if change.Key == 0 {
			added = append(added, newCardAt(backing, int32(newCard-len(added))))
			continue
		}
		card := devices.FindByKey(change.Key)
		is := card.(types.BaseVirtualEthernetCard).GetVirtualEthernetCard()
		// The port that it had, and what vCenter knows a subnet by, are the other network's.
		is.Backing, is.SubnetId = backing, ""
		changed = append(changed, &types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: card,
		})
	}
	return slices.Concat(removed, changed, added), nil
}

// newCardAt adds a card that is connected whenever its machine is on.
func newCardAt(backing types.BaseVirtualDeviceBackingInfo, key int32) *types.VirtualDeviceConfigSpec {
	return &types.VirtualDeviceConfigSpec{
		Operation: types.VirtualDeviceConfigSpecOperationAdd,
		Device: &types.VirtualVmxnet3{VirtualVmxnet: types.VirtualVmxnet{VirtualEthernetCard: types.VirtualEthernetCard{
			VirtualDevice: types.VirtualDevice{Key: key, Backing: backing,
				Connectable: &types.VirtualDeviceConnectInfo{StartConnected: true, AllowGuestControl: true, Connected: true}},
			WakeOnLanEnabled: types.NewBool(true),
		}}},
	}
}
