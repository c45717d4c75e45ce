// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"cmp"
	"slices"
	"strconv"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/utils/ptr"

	"github.com/openpacific/pacific/pkg/facts"
)

// hardwareSurvey is what the API shows of a machine's virtual devices. It is immutable, and API objects share its
// slices.
type hardwareSurvey struct {
	controllers []vmopv1.VirtualControllerStatus
	volumes     []vmopv1.VirtualMachineVolumeStatus
	capacity    int64 // of all disks, in bytes
}

// surveys makes surveys. Those whose controllers are the same in memory share them.
type surveys map[*facts.Controller][]vmopv1.VirtualControllerStatus

// surveysLimit is how many different sets of controllers are remembered.
const surveysLimit = 1000

func (x surveys) of(h *facts.Hardware) *hardwareSurvey {
	s := &hardwareSurvey{}
	if h == nil {
		return s
	}
	if len(h.Controllers) > 0 {
		first, known := &h.Controllers[0], false
		if s.controllers, known = x[first]; !known {
			if len(x) >= surveysLimit {
				clear(x)
			}
			s.controllers = controllers(h.Controllers)
			x[first] = s.controllers
		}
	}
	for i := range h.Disks {
		s.disk(&h.Disks[i])
	}
	slices.SortStableFunc(s.volumes, func(a, b vmopv1.VirtualMachineVolumeStatus) int {
		return cmp.Or(cmp.Compare(len(a.Name), len(b.Name)), cmp.Compare(a.Name, b.Name))
	})
	return s
}

func controllers(known []facts.Controller) []vmopv1.VirtualControllerStatus {
	list := make([]vmopv1.VirtualControllerStatus, len(known))
	for i, c := range known {
		list[i] = vmopv1.VirtualControllerStatus{Type: controllerTypes[c.Kind], BusNumber: c.Bus, DeviceKey: c.Key}
		for _, slot := range c.Slots {
			kind := vmopv1.VirtualDeviceTypeCDROM
			if slot.Disk {
				kind = vmopv1.VirtualDeviceTypeDisk
			}
			list[i].Devices = append(list[i].Devices, vmopv1.VirtualDeviceStatus{Type: kind, UnitNumber: slot.Unit})
		}
	}
	return list
}

var controllerTypes = map[string]vmopv1.VirtualControllerType{
	facts.ControllerIDE:  vmopv1.VirtualControllerTypeIDE,
	facts.ControllerNVME: vmopv1.VirtualControllerTypeNVME,
	facts.ControllerSATA: vmopv1.VirtualControllerTypeSATA,
	facts.ControllerSCSI: vmopv1.VirtualControllerTypeSCSI,
}

func (s *hardwareSurvey) disk(d *facts.Disk) {
	s.capacity += d.Capacity
	v := vmopv1.VirtualMachineVolumeStatus{
		Name: d.Label, Type: vmopv1.VolumeTypeClassic, Attached: true,
		Limit: quantity(d.Capacity), Requested: quantity(d.Capacity),
		DiskMode: diskModes[d.Mode], DiskUUID: d.UUID, SharingMode: sharingModes[d.Sharing],
	}
	// The label is unique in the machine, and what the vSphere Client shows.
	if v.Name == "" {
		v.Name = "disk-" + strconv.Itoa(int(d.Key))
	}
	for _, c := range s.controllers {
		if c.DeviceKey == d.Controller {
			v.ControllerType, v.ControllerBusNumber, v.UnitNumber = c.Type, ptr.To(c.BusNumber), d.Unit
		}
	}
	s.volumes = append(s.volumes, v)
}

// The words are vCenter's.
var (
	diskModes = map[string]vmopv1.VolumeDiskMode{
		"persistent":                vmopv1.VolumeDiskModePersistent,
		"nonpersistent":             vmopv1.VolumeDiskModeNonPersistent,
		"independent_persistent":    vmopv1.VolumeDiskModeIndependentPersistent,
		"independent_nonpersistent": vmopv1.VolumeDiskModeIndependentNonPersistent,
	}
	sharingModes = map[string]vmopv1.VolumeSharingMode{
		"sharingMultiWriter": vmopv1.VolumeSharingModeMultiWriter,
		"sharingNone":        vmopv1.VolumeSharingModeNone,
	}
)
