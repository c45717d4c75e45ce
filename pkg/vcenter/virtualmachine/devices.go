// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/utils/ptr"
)

// hardwareSurvey is what the API shows of a machine's virtual devices. It is immutable, and API objects share its slices.
type hardwareSurvey struct {
	controllers []vmopv1.VirtualControllerStatus
	volumes     []vmopv1.VirtualMachineVolumeStatus
	cards       []card
	capacity    int64 // of all disks, in bytes
}

type card struct {
	key int32
	mac string
}

// Reduce gives what is kept of a property of a virtual machine: of the devices, which take most of the memory of all
// properties, what the API shows.
func Reduce(path string, value any) any {
	if devices, ok := value.(types.ArrayOfVirtualDevice); ok && path == pathDevices {
		return survey(devices.VirtualDevice)
	}
	return value
}

func survey(devices []types.BaseVirtualDevice) *hardwareSurvey {
	s := &hardwareSurvey{}
	for _, device := range devices {
		if kind, bus, ok := controller(device); ok {
			s.controllers = append(s.controllers,
				vmopv1.VirtualControllerStatus{Type: kind, BusNumber: bus, DeviceKey: device.GetVirtualDevice().Key})
		}
	}
	slices.SortFunc(s.controllers, func(a, b vmopv1.VirtualControllerStatus) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.BusNumber, b.BusNumber), cmp.Compare(a.DeviceKey, b.DeviceKey))
	})
	for _, device := range devices {
		base := device.GetVirtualDevice()
		switch d := device.(type) {
		case *types.VirtualDisk:
			s.attach(base, vmopv1.VirtualDeviceTypeDisk)
			s.disk(d)
		case *types.VirtualCdrom:
			s.attach(base, vmopv1.VirtualDeviceTypeCDROM)
		default:
			if nic, ok := device.(types.BaseVirtualEthernetCard); ok {
				s.cards = append(s.cards, card{key: base.Key, mac: strings.ToLower(nic.GetVirtualEthernetCard().MacAddress)})
			}
		}
	}
	for i := range s.controllers {
		slices.SortFunc(s.controllers[i].Devices, func(a, b vmopv1.VirtualDeviceStatus) int { return cmp.Compare(a.UnitNumber, b.UnitNumber) })
	}
	slices.SortFunc(s.cards, func(a, b card) int { return cmp.Compare(a.key, b.key) })
	slices.SortStableFunc(s.volumes, func(a, b vmopv1.VirtualMachineVolumeStatus) int {
		return cmp.Or(cmp.Compare(len(a.Name), len(b.Name)), cmp.Compare(a.Name, b.Name))
	})
	return s
}

func controller(device types.BaseVirtualDevice) (kind vmopv1.VirtualControllerType, bus int32, ok bool) {
	switch d := device.(type) {
	case *types.VirtualIDEController:
		return vmopv1.VirtualControllerTypeIDE, d.BusNumber, true
	case *types.VirtualNVMEController:
		return vmopv1.VirtualControllerTypeNVME, d.BusNumber, true
	case types.BaseVirtualSATAController:
		return vmopv1.VirtualControllerTypeSATA, d.GetVirtualSATAController().BusNumber, true
	case types.BaseVirtualSCSIController:
		return vmopv1.VirtualControllerTypeSCSI, d.GetVirtualSCSIController().BusNumber, true
	}
	return "", 0, false
}

func (s *hardwareSurvey) at(key int32) *vmopv1.VirtualControllerStatus {
	for i := range s.controllers {
		if s.controllers[i].DeviceKey == key {
			return &s.controllers[i]
		}
	}
	return nil
}

func (s *hardwareSurvey) attach(base *types.VirtualDevice, kind vmopv1.VirtualDeviceType) {
	if c := s.at(base.ControllerKey); c != nil && base.UnitNumber != nil {
		c.Devices = append(c.Devices, vmopv1.VirtualDeviceStatus{Type: kind, UnitNumber: *base.UnitNumber})
	}
}

func (s *hardwareSurvey) disk(d *types.VirtualDisk) {
	capacity := d.CapacityInBytes
	if capacity == 0 {
		capacity = d.CapacityInKB << 10
	}
	s.capacity += capacity
	v := vmopv1.VirtualMachineVolumeStatus{
		Name: "disk-" + strconv.Itoa(int(d.Key)), Type: vmopv1.VolumeTypeClassic, Attached: true,
		Limit: quantity(capacity), Requested: quantity(capacity),
	}
	// The label is unique in the machine, and what the vSphere Client shows.
	if d.DeviceInfo != nil && d.DeviceInfo.GetDescription().Label != "" {
		v.Name = d.DeviceInfo.GetDescription().Label
	}
	if c := s.at(d.ControllerKey); c != nil {
		v.ControllerType, v.ControllerBusNumber = c.Type, ptr.To(c.BusNumber)
		v.UnitNumber = d.UnitNumber
	}
	mode, sharing, uuid := backing(d.Backing)
	v.DiskMode, v.DiskUUID = diskModes[mode], uuid
	switch types.VirtualDiskSharing(sharing) {
	case types.VirtualDiskSharingSharingMultiWriter:
		v.SharingMode = vmopv1.VolumeSharingModeMultiWriter
	case types.VirtualDiskSharingSharingNone:
		v.SharingMode = vmopv1.VolumeSharingModeNone
	}
	s.volumes = append(s.volumes, v)
}

var diskModes = map[string]vmopv1.VolumeDiskMode{
	string(types.VirtualDiskModePersistent):                vmopv1.VolumeDiskModePersistent,
	string(types.VirtualDiskModeNonpersistent):             vmopv1.VolumeDiskModeNonPersistent,
	string(types.VirtualDiskModeIndependent_persistent):    vmopv1.VolumeDiskModeIndependentPersistent,
	string(types.VirtualDiskModeIndependent_nonpersistent): vmopv1.VolumeDiskModeIndependentNonPersistent,
}

func backing(b types.BaseVirtualDeviceBackingInfo) (mode, sharing, uuid string) {
	switch b := b.(type) {
	case *types.VirtualDiskFlatVer2BackingInfo:
		return b.DiskMode, b.Sharing, b.Uuid
	case *types.VirtualDiskSparseVer2BackingInfo:
		return b.DiskMode, "", b.Uuid
	case *types.VirtualDiskSeSparseBackingInfo:
		return b.DiskMode, "", b.Uuid
	case *types.VirtualDiskRawDiskMappingVer1BackingInfo:
		return b.DiskMode, b.Sharing, b.Uuid
	}
	return "", "", ""
}
