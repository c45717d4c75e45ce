// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// macAddresses hands out addresses of network adapters, of which no two are the same. The simulator makes them of
// what a machine's uuid ends with, so that of 200 machines some share one, and a clone keeps those of its source.
type macAddresses struct {
	mu    sync.Mutex
	taken map[string]bool
}

func newMACAddresses() *macAddresses { return &macAddresses{taken: map[string]bool{}} }

// assign gives those adapters of a request an address that have none, or one that is another's and was not set by
// hand. An adapter that is changed keeps its own.
func (m *macAddresses) assign(instanceUUID string, present []types.BaseVirtualDevice,
	changes []types.BaseVirtualDeviceConfigSpec) {
	for _, change := range changes {
		spec := change.GetVirtualDeviceConfigSpec()
		adapter, ok := spec.Device.(types.BaseVirtualEthernetCard)
		if !ok || spec.Operation == types.VirtualDeviceConfigSpecOperationRemove {
			continue
		}
		card := adapter.GetVirtualEthernetCard()
		before := adapterWith(present, card.Key)
		switch {
		case spec.Operation == types.VirtualDeviceConfigSpecOperationEdit && before != nil:
			if card.MacAddress == "" {
				card.MacAddress, card.AddressType = before.MacAddress, before.AddressType
			}
			m.take(card.MacAddress)
		default:
			m.give(instanceUUID, card)
		}
	}
}

// give gives an adapter an address.
func (m *macAddresses) give(instanceUUID string, card *types.VirtualEthernetCard) {
	manual := card.AddressType == string(types.VirtualEthernetCardMacTypeManual)
	m.mu.Lock()
	defer m.mu.Unlock()
	address := strings.ToLower(card.MacAddress)
	for n := 0; address == "" || m.taken[address] && !manual; n++ {
		id := identifier(instanceUUID, "adapter", strconv.Itoa(n))
		address = fmt.Sprintf("00:50:56:%02x:%02x:%02x", 0x80|id[0]&0x3f, id[1], id[2])
		card.MacAddress, card.AddressType = address, string(types.VirtualEthernetCardMacTypeAssigned)
		manual = false
	}
	m.taken[address] = true
}

func (m *macAddresses) take(address string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken[strings.ToLower(address)] = true
}

func adapterWith(devices []types.BaseVirtualDevice, key int32) *types.VirtualEthernetCard {
	for _, device := range devices {
		if adapter, ok := device.(types.BaseVirtualEthernetCard); ok && adapter.GetVirtualEthernetCard().Key == key {
			return adapter.GetVirtualEthernetCard()
		}
	}
	return nil
}

// renew gives a clone addresses of its own.
func (m *macAddresses) renew(ctx *simulator.Context, clone *simulator.VirtualMachine) {
	own := &simulator.Context{Context: context.Background(), Map: ctx.Map}
	own.WithLock(clone, func() {
		adapters := clone.Guest.Net
		for _, device := range clone.Config.Hardware.Device {
			adapter, ok := device.(types.BaseVirtualEthernetCard)
			if !ok {
				continue
			}
			card := adapter.GetVirtualEthernetCard()
			if card.AddressType == string(types.VirtualEthernetCardMacTypeManual) {
				continue
			}
			before := card.MacAddress
			m.give(clone.Config.InstanceUuid, card)
			for i := range adapters {
				if adapters[i].MacAddress == before && adapters[i].DeviceConfigId == card.Key {
					adapters[i].MacAddress = card.MacAddress
				}
			}
		}
		own.Update(clone, []types.PropertyChange{
			{Name: "config.hardware.device", Val: clone.Config.Hardware.Device}, {Name: "guest.net", Val: adapters},
		})
	})
}
