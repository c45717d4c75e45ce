// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"cmp"
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Plugged is what a guest tells of its adapters once those of its machine were changed. It keeps the addresses of those
// that it had before, since what is behind an adapter is nothing that it sees, and has none for a new one: nobody has
// told it of that. The caller holds the machine's lock.
func Plugged(ctx *simulator.Context, vm *mo.VirtualMachine, before []types.GuestNicInfo) []types.PropertyChange {
	var adapters []types.GuestNicInfo
	for _, device := range vm.Config.Hardware.Device {
		card, ok := device.(types.BaseVirtualEthernetCard)
		if !ok {
			continue
		}
		is := adapter(ctx, card.GetVirtualEthernetCard())
		info := types.GuestNicInfo{DeviceConfigId: is.Key}
		known := slices.IndexFunc(before, func(i types.GuestNicInfo) bool {
			return i.DeviceConfigId == is.Key && i.MacAddress == is.MAC
		})
		if known >= 0 {
			info = before[known]
		}
		info.Network, info.MacAddress, info.Connected = is.Network, is.MAC, is.Connected
		adapters = append(adapters, info)
	}
	slices.SortFunc(adapters, func(a, b types.GuestNicInfo) int { return cmp.Compare(a.DeviceConfigId, b.DeviceConfigId) })
	return []types.PropertyChange{{Name: "guest.net", Val: adapters}}
}
