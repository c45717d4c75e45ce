// SPDX-License-Identifier: Apache-2.0

package contentlibrary

import (
	"fmt"
	"strings"

	"github.com/vmware/govmomi/ovf"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
)

// imageOf is what a descriptor says of the machines that are made of it, as vm-operator understands it: by the
// specification that the library makes of the default configuration.
func imageOf(envelope *ovf.Envelope) (image *facts.Image, err error) {
	defer func() {
		// Whoever may write to a library may put anything there, and the library's parser was not made for that.
		if cause := recover(); cause != nil {
			image, err = nil, fmt.Errorf("it is not understood: %v", cause)
		}
	}()
	spec, err := envelope.ToConfigSpec()
	if err != nil {
		return nil, err
	}
	image = &facts.Image{
		GuestID: spec.GuestId, OS: int(ovf.GuestIDToCIMOSType(spec.GuestId)), OSVersion: osVersion(envelope),
		Firmware: spec.Firmware, Disks: disksOf(spec.DeviceChange),
	}
	if version, err := types.ParseHardwareVersion(spec.Version); err == nil {
		image.HardwareVersion = int32(version)
	}
	for _, option := range spec.ExtraConfig {
		if value := option.GetOptionValue(); value != nil {
			if text, ok := value.Value.(string); ok {
				if image.Extra == nil {
					image.Extra = map[string]string{}
				}
				image.Extra[value.Key] = text
			}
		}
	}
	if spec.VAppConfig != nil {
		describeVApp(image, spec.VAppConfig.GetVmConfigSpec())
	}
	return image, nil
}

// osVersion is what the descriptor says of the operating system's version, which is lost in the specification.
func osVersion(envelope *ovf.Envelope) string {
	system := envelope.VirtualSystem
	if all := envelope.VirtualSystemCollection; system == nil && all != nil && len(all.VirtualSystem) > 0 {
		system = &all.VirtualSystem[0]
	}
	if system == nil || system.OperatingSystem == nil || system.OperatingSystem.Version == nil {
		return ""
	}
	return *system.OperatingSystem.Version
}

func describeVApp(image *facts.Image, config *types.VmConfigSpec) {
	if config == nil {
		return
	}
	for _, product := range config.Product {
		if info := product.Info; info != nil {
			image.Product = facts.Product{
				Name: info.Name, Vendor: info.Vendor, Version: info.Version, FullVersion: info.FullVersion,
			}
			break
		}
	}
	for _, property := range config.Property {
		if info := property.Info; info != nil {
			image.Properties = append(image.Properties, facts.Property{
				Key: info.Id, Type: info.Type, Default: info.DefaultValue,
				UserConfigurable: info.UserConfigurable != nil && *info.UserConfigurable,
			})
		}
	}
}

func disksOf(changes []types.BaseVirtualDeviceConfigSpec) (disks []facts.ImageDisk) {
	type controller struct {
		kind string
		bus  int32
	}
	controllers := map[int32]controller{}
	for _, change := range changes {
		device := change.GetVirtualDeviceConfigSpec().Device
		if kind := controllerKind(device); kind != "" {
			at := device.(types.BaseVirtualController).GetVirtualController()
			controllers[at.Key] = controller{kind, at.BusNumber}
		}
	}
	for _, change := range changes {
		disk, ok := change.GetVirtualDeviceConfigSpec().Device.(*types.VirtualDisk)
		if !ok {
			continue
		}
		told := facts.ImageDisk{Capacity: disk.CapacityInBytes, Unit: disk.UnitNumber}
		if disk.DeviceInfo != nil {
			told.Label = strings.TrimSpace(disk.DeviceInfo.GetDescription().Label)
		}
		if at, found := controllers[disk.ControllerKey]; found {
			told.Controller, told.Bus = at.kind, &at.bus
		}
		disks = append(disks, told)
	}
	return disks
}

func controllerKind(device types.BaseVirtualDevice) string {
	switch device.(type) {
	case *types.VirtualIDEController:
		return facts.ControllerIDE
	case types.BaseVirtualSCSIController:
		return facts.ControllerSCSI
	case types.BaseVirtualSATAController:
		return facts.ControllerSATA
	case *types.VirtualNVMEController:
		return facts.ControllerNVME
	}
	return ""
}
