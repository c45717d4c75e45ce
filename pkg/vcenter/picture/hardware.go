// SPDX-License-Identifier: Apache-2.0

package picture

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
)

// hardware is what the facts tell of a machine's devices, which take most of the
// memory of all properties.
func hardware(devices []types.BaseVirtualDevice) *facts.Hardware {
	h := &facts.Hardware{Cdroms: machine.Cdroms(devices), Cards: machine.Cards(devices)}
	for _, device := range devices {
		if kind, bus, ok := controller(device); ok {
			h.Controllers = append(h.Controllers, facts.Controller{Kind: kind, Bus: bus, Key: device.GetVirtualDevice().Key})
		}
	}
	slices.SortFunc(h.Controllers, func(a, b facts.Controller) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Bus, b.Bus), cmp.Compare(a.Key, b.Key))
	})
	for _, device := range devices {
		base := device.GetVirtualDevice()
		switch d := device.(type) {
		case *types.VirtualDisk:
			attach(h, base, true)
			h.Disks = append(h.Disks, disk(d))
		case *types.VirtualCdrom:
			attach(h, base, false)
		}
	}
	for i := range h.Controllers {
		slices.SortFunc(h.Controllers[i].Slots, func(a, b facts.Slot) int { return cmp.Compare(a.Unit, b.Unit) })
	}
	return h
}

func controller(device types.BaseVirtualDevice) (kind string, bus int32, ok bool) {
	switch d := device.(type) {
	case *types.VirtualIDEController:
		return facts.ControllerIDE, d.BusNumber, true
	case *types.VirtualNVMEController:
		return facts.ControllerNVME, d.BusNumber, true
	case types.BaseVirtualSATAController:
		return facts.ControllerSATA, d.GetVirtualSATAController().BusNumber, true
	case types.BaseVirtualSCSIController:
		return facts.ControllerSCSI, d.GetVirtualSCSIController().BusNumber, true
	}
	return "", 0, false
}

func attach(h *facts.Hardware, device *types.VirtualDevice, disk bool) {
	for i := range h.Controllers {
		if c := &h.Controllers[i]; c.Key == device.ControllerKey && device.UnitNumber != nil {
			c.Slots = append(c.Slots, facts.Slot{Disk: disk, Unit: *device.UnitNumber})
		}
	}
}

func disk(d *types.VirtualDisk) facts.Disk {
	capacity := d.CapacityInBytes
	if capacity == 0 {
		capacity = d.CapacityInKB << 10
	}
	made := facts.Disk{Key: d.Key, Capacity: capacity, Controller: d.ControllerKey}
	if d.UnitNumber != nil {
		unit := *d.UnitNumber
		made.Unit = &unit
	}
	if d.DeviceInfo != nil {
		made.Label = d.DeviceInfo.GetDescription().Label
	}
	if chain := vcenter.Chain(d.Backing); len(chain) > 1 {
		made.Parent = chain[1]
	}
	switch b := d.Backing.(type) {
	case *types.VirtualDiskFlatVer2BackingInfo:
		made.Mode, made.Sharing, made.UUID = b.DiskMode, b.Sharing, b.Uuid
	case *types.VirtualDiskSparseVer2BackingInfo:
		made.Mode, made.UUID = b.DiskMode, b.Uuid
	case *types.VirtualDiskSeSparseBackingInfo:
		made.Mode, made.UUID = b.DiskMode, b.Uuid
	case *types.VirtualDiskRawDiskMappingVer1BackingInfo:
		made.Mode, made.Sharing, made.UUID = b.DiskMode, b.Sharing, b.Uuid
	}
	return made
}

// interfaces is what the facts tell of a guest's network.
func interfaces(nics []types.GuestNicInfo) *[]facts.Interface {
	list := make([]facts.Interface, 0, len(nics))
	for i := range nics {
		list = append(list, networkInterface(&nics[i]))
	}
	return &list
}

func networkInterface(nic *types.GuestNicInfo) facts.Interface {
	made := facts.Interface{Card: nic.DeviceConfigId, MAC: nic.MacAddress}
	if config := nic.IpConfig; config != nil {
		for _, a := range config.IpAddress {
			address := a.IpAddress
			if a.PrefixLength > 0 {
				address += "/" + strconv.Itoa(int(a.PrefixLength))
			}
			// The lifetime is left out: it changes with every lease and tells nothing.
			made.Addresses = append(made.Addresses, facts.Address{IP: address, Origin: a.Origin, State: a.State})
		}
		made.Automatic = config.AutoConfigurationEnabled
		if config.Dhcp != nil {
			made.DHCP = &facts.DHCP{
				V4: config.Dhcp.Ipv4 != nil && config.Dhcp.Ipv4.Enable,
				V6: config.Dhcp.Ipv6 != nil && config.Dhcp.Ipv6.Enable,
			}
		}
	}
	if len(made.Addresses) == 0 {
		for _, address := range nic.IpAddress {
			made.Addresses = append(made.Addresses, facts.Address{IP: address})
		}
	}
	if dns := nic.DnsConfig; dns != nil {
		made.DNS = &facts.DNS{DHCP: dns.Dhcp, HostName: dns.HostName, DomainName: dns.DomainName,
			Servers: dns.IpAddress, SearchDomains: dns.SearchDomain}
	}
	return made
}
