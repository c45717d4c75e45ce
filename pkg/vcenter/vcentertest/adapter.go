// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"slices"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/guest"
)

// The first network adapter's key and place at its controller. The simulator counts keys of all devices together.
const (
	firstAdapter    = 4000
	adapterBus      = 100
	firstAdapterBay = 7
)

// placeAdapters gives the adapters that a request adds the first keys and places that are free, whatever the request
// says, once those are gone that it removes: so a key may be another adapter's later.
func placeAdapters(present object.VirtualDeviceList, changes []types.BaseVirtualDeviceConfigSpec) {
	taken := map[int32]bool{}
	for _, device := range present {
		taken[device.GetVirtualDevice().Key] = true
	}
	for _, change := range changes {
		if spec := change.GetVirtualDeviceConfigSpec(); spec.Operation == types.VirtualDeviceConfigSpecOperationRemove {
			delete(taken, spec.Device.GetVirtualDevice().Key)
		}
	}
	for _, change := range changes {
		spec := change.GetVirtualDeviceConfigSpec()
		adapter, ok := spec.Device.(types.BaseVirtualEthernetCard)
		if !ok || spec.Operation != types.VirtualDeviceConfigSpecOperationAdd {
			continue
		}
		number := int32(0)
		for taken[firstAdapter+number] {
			number++
		}
		taken[firstAdapter+number] = true
		bay, card := firstAdapterBay+number, adapter.GetVirtualEthernetCard()
		card.Key, card.ControllerKey, card.UnitNumber = firstAdapter+number, adapterBus, &bay
	}
}

// touchesAdapters says whether a request changes adapters.
func touchesAdapters(changes []types.BaseVirtualDeviceConfigSpec) bool {
	return slices.ContainsFunc(changes, func(change types.BaseVirtualDeviceConfigSpec) bool {
		_, ok := change.GetVirtualDeviceConfigSpec().Device.(types.BaseVirtualEthernetCard)
		return ok
	})
}

// plug notes what a guest tells of its adapters, before those of its machine are changed.
func (g *guests) plug(vm types.ManagedObjectReference, told []types.GuestNicInfo) {
	g.asleep.mu.Lock()
	defer g.asleep.mu.Unlock()
	g.asleep.adapters[vm] = slices.Clone(told)
}

// plugged has a guest see the adapters that its machine has now, if they were changed. The simulator tells nobody of
// those, and forgets the addresses of one that was changed.
func (g *guests) plugged(ctx *simulator.Context, vm *mo.VirtualMachine) {
	g.asleep.mu.Lock()
	before, changed := g.asleep.adapters[vm.Self]
	delete(g.asleep.adapters, vm.Self)
	g.asleep.mu.Unlock()
	if changed {
		ctx.Map.Update(ctx, vm, guest.Plugged(ctx, vm, before))
	}
}
