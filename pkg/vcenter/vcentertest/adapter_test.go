// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

// network is what connects an adapter to a network.
func (i *inventory) network(name string) types.BaseVirtualDeviceBackingInfo {
	i.t.Helper()
	found, err := i.finder.Network(i.t.Context(), name)
	if err != nil {
		i.t.Fatal(err)
	}
	backing, err := found.EthernetCardBackingInfo(i.t.Context())
	if err != nil {
		i.t.Fatal(err)
	}
	return backing
}

func (i *inventory) cards(vm *object.VirtualMachine) object.VirtualDeviceList {
	i.t.Helper()
	return object.VirtualDeviceList(i.read(vm).Config.Hardware.Device).SelectByType((*types.VirtualEthernetCard)(nil))
}

// seen is what a machine's guest tells of its adapters, and how many networks vCenter says that the machine is at.
func (i *inventory) seen(vm *object.VirtualMachine) (list []string) {
	i.t.Helper()
	props := i.read(vm)
	for _, info := range props.Guest.Net {
		list = append(list, fmt.Sprintf("%d %s %v %t", info.DeviceConfigId, info.Network, info.IpAddress, info.Connected))
	}
	return append(list, fmt.Sprintf("networks: %d", len(props.Network)))
}

func changing(operation types.VirtualDeviceConfigSpecOperation,
	device types.BaseVirtualDevice) types.BaseVirtualDeviceConfigSpec {
	return &types.VirtualDeviceConfigSpec{Operation: operation, Device: device}
}

func at(device types.BaseVirtualDevice, backing types.BaseVirtualDeviceBackingInfo) types.BaseVirtualDevice {
	device.GetVirtualDevice().Backing = backing
	return device
}

// TestAdaptersOfARunningMachine: they are added, moved and taken away while it is on, keep their addresses, and have keys
// as vCenter gives them.
func TestAdaptersOfARunningMachine(t *testing.T) {
	i := inventoryOf(t, Run(t, Options{Inventory: Sample}))
	const add, edit, remove = types.VirtualDeviceConfigSpecOperationAdd, types.VirtualDeviceConfigSpecOperationEdit,
		types.VirtualDeviceConfigSpecOperationRemove
	vm := i.vm("/DC0/vm/Namespaces/team-a/web-2")
	change := func(changes ...types.BaseVirtualDeviceConfigSpec) {
		t.Helper()
		i.do(vm.Reconfigure(t.Context(), types.VirtualMachineConfigSpec{DeviceChange: changes}))
	}
	is := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, i.seen(vm)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	first := i.addresses(vm)[0]
	is("before", "4000 workload-net [10.20.1.12] true", "networks: 1")
	change(changing(add, adapterOn(i.network("management-net"))), changing(add, adapterOn(i.network("VM Network"))))
	is("two more", "4000 workload-net [10.20.1.12] true", "4001 management-net [] true", "4002 VM Network [] true",
		"networks: 3")
	before := i.addresses(vm)
	change(changing(edit, at(i.cards(vm).FindByKey(4000), i.network("VM Network"))),
		changing(remove, i.cards(vm).FindByKey(4001)))
	is("one moved, and one gone", "4000 VM Network [10.20.1.12] true", "4002 VM Network [] true", "networks: 2")
	if key := i.cards(vm).FindByKey(4000).(types.BaseVirtualEthernetCard).GetVirtualEthernetCard(); key.MacAddress != first {
		t.Errorf("the one that was moved has the address %s, and had %s", key.MacAddress, first)
	}
	change(changing(add, adapterOn(i.network("workload-net"))))
	is("a key that was another's", "4000 VM Network [10.20.1.12] true", "4001 workload-net [] true",
		"4002 VM Network [] true", "networks: 3")
	for _, address := range before {
		is := i.cards(vm).FindByKey(4001).(types.BaseVirtualEthernetCard).GetVirtualEthernetCard()
		if is.MacAddress == address {
			t.Errorf("a new adapter has the address %s of an old one", address)
		}
	}
}

// TestRefusedAdapters: what vCenter refuses of adapters changes nothing.
func TestRefusedAdapters(t *testing.T) {
	i := inventoryOf(t, Run(t, Options{Inventory: Sample}))
	const add, edit, remove = types.VirtualDeviceConfigSpecOperationAdd, types.VirtualDeviceConfigSpecOperationEdit,
		types.VirtualDeviceConfigSpecOperationRemove
	on, asleep := "/DC0/vm/Namespaces/team-a/web-2", "/DC0/vm/Namespaces/team-a/web-1"
	i.do(i.vm(asleep).Suspend(t.Context()))
	first := func(vm *object.VirtualMachine) types.BaseVirtualDevice { return i.cards(vm)[0] }
	for name, test := range map[string]struct {
		path   string
		change func(*object.VirtualMachine) []types.BaseVirtualDeviceConfigSpec
		want   string
	}{
		"of a machine that is suspended": {asleep, func(*object.VirtualMachine) []types.BaseVirtualDeviceConfigSpec {
			return []types.BaseVirtualDeviceConfigSpec{changing(add, adapterOn(i.network("VM Network")))}
		}, "InvalidPowerState"},
		"eleven": {on, func(*object.VirtualMachine) (all []types.BaseVirtualDeviceConfigSpec) {
			for range 10 {
				all = append(all, changing(add, adapterOn(i.network("VM Network"))))
			}
			return all
		}, "TooManyDevices"},
		"one that is not there": {on, func(vm *object.VirtualMachine) []types.BaseVirtualDeviceConfigSpec {
			card := first(vm)
			card.GetVirtualDevice().Key = 4009
			return []types.BaseVirtualDeviceConfigSpec{changing(remove, card)}
		}, "InvalidDeviceSpec"},
		"one twice": {on, func(vm *object.VirtualMachine) []types.BaseVirtualDeviceConfigSpec {
			return []types.BaseVirtualDeviceConfigSpec{changing(edit, at(first(vm), i.network("VM Network"))),
				changing(remove, first(vm))}
		}, "InvalidDeviceSpec"},
		"of another type": {on, func(vm *object.VirtualMachine) []types.BaseVirtualDeviceConfigSpec {
			card := new(types.VirtualE1000)
			card.VirtualEthernetCard = first(vm).(*types.VirtualVmxnet3).VirtualEthernetCard
			return []types.BaseVirtualDeviceConfigSpec{changing(edit, card)}
		}, "InvalidDeviceSpec"},
		"another address, while it is on": {on, func(vm *object.VirtualMachine) []types.BaseVirtualDeviceConfigSpec {
			card := first(vm).(*types.VirtualVmxnet3)
			card.MacAddress = "00:50:56:80:77:77"
			return []types.BaseVirtualDeviceConfigSpec{changing(edit, card)}
		}, "InvalidPowerState"},
		"at a port group that is gone": {on, func(vm *object.VirtualMachine) []types.BaseVirtualDeviceConfigSpec {
			backing := i.network("management-net").(*types.VirtualEthernetCardDistributedVirtualPortBackingInfo)
			backing.Port.PortgroupKey = "dvportgroup-0"
			return []types.BaseVirtualDeviceConfigSpec{changing(edit, at(first(vm), backing))}
		}, "InvalidDeviceSpec"},
	} {
		t.Run(name, func(t *testing.T) {
			vm := i.vm(test.path)
			before := i.seen(vm)
			_, err := i.try(vm.Reconfigure(t.Context(), types.VirtualMachineConfigSpec{DeviceChange: test.change(vm)}))
			if got := kindOf(err); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
			if diff := cmp.Diff(before, i.seen(vm)); diff != "" {
				t.Errorf("it was changed (-before +after):\n%s", diff)
			}
		})
	}
}
