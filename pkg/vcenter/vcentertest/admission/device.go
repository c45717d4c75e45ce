// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"slices"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// devices is why changes of a machine's devices are refused, nil when they are not. The fault says which of them it is.
func (p *place) devices(changes []types.BaseVirtualDeviceConfigSpec, present object.VirtualDeviceList) types.BaseMethodFault {
	for i, change := range changes {
		if fault := p.device(change, int32(i), present); fault != nil {
			return fault
		}
	}
	return nil
}

// invalid is a fault about a device of a request.
func invalid(index int32, property string) *types.InvalidDeviceSpec {
	fault := &types.InvalidDeviceSpec{DeviceIndex: index}
	fault.Property = "virtualDeviceSpec.device" + property
	return fault
}

func (p *place) device(change types.BaseVirtualDeviceConfigSpec, index int32, present object.VirtualDeviceList) types.BaseMethodFault {
	if change.GetVirtualDeviceConfigSpec().Device == nil {
		return invalid(index, "")
	}
	spec := change.GetVirtualDeviceConfigSpec()
	if spec.Operation == types.VirtualDeviceConfigSpecOperationRemove {
		// The simulator takes what the request says of the device for what it is.
		found := present.FindByKey(spec.Device.GetVirtualDevice().Key)
		if found == nil {
			return invalid(index, ".key")
		}
		spec.Device = found
		return nil
	}
	switch device := spec.Device.(type) {
	case types.BaseVirtualEthernetCard:
		return p.adapter(device.GetVirtualEthernetCard(), index)
	case *types.VirtualDisk:
		return p.disk(device, index)
	}
	return nil
}

// adapter is why an adapter cannot be connected to what it names.
func (p *place) adapter(card *types.VirtualEthernetCard, index int32) types.BaseMethodFault {
	switch backing := card.Backing.(type) {
	case *types.VirtualEthernetCardNetworkBackingInfo:
		network := p.ctx.Map.FindByName(backing.DeviceName, p.datacenter.Network)
		if network == nil || network.Reference().Type != "Network" {
			return invalid(index, ".backing")
		}
	case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
		ref := types.ManagedObjectReference{Type: "DistributedVirtualPortgroup", Value: backing.Port.PortgroupKey}
		group, ok := p.ctx.Map.Get(ref).(*simulator.DistributedVirtualPortgroup)
		if !ok || group.Config.DistributedVirtualSwitch == nil {
			return invalid(index, ".backing.port.portgroupKey")
		}
		dvs, ok := p.ctx.Map.Get(*group.Config.DistributedVirtualSwitch).(*simulator.DistributedVirtualSwitch)
		if !ok || dvs.Uuid != backing.Port.SwitchUuid {
			return new(types.NotFound)
		}
		if p.host != nil && !slices.Contains(dvs.Summary.HostMember, p.host.Self) {
			return &types.InvalidArgument{InvalidProperty: "spec.deviceChange.device.port.switchUuid"}
		}
	}
	return nil
}

// disk is why a disk cannot have its file.
func (p *place) disk(disk *types.VirtualDisk, index int32) types.BaseMethodFault {
	if disk.Backing == nil {
		return invalid(index, ".backing")
	}
	return p.path(fileOf(disk))
}

// fileOf is the file of a disk, "" where it has none yet.
func fileOf(disk *types.VirtualDisk) string {
	if backing, ok := disk.Backing.(types.BaseVirtualDeviceFileBackingInfo); ok {
		return backing.GetVirtualDeviceFileBackingInfo().FileName
	}
	return ""
}

func labelOf(device types.BaseVirtualDevice) string {
	if info := device.GetVirtualDevice().DeviceInfo; info != nil {
		return info.GetDescription().Label
	}
	return ""
}
