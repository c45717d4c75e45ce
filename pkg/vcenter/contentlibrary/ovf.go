// SPDX-License-Identifier: Apache-2.0

package contentlibrary

import (
	"fmt"
	"strings"

	"github.com/vmware/govmomi/ovf"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
)

const (
	// maxHardware and maxProperties bound what a descriptor may have of hardware items, of disks and of properties, those
	// of all its configurations: the time in which the library understands it grows with the square of the first. A
	// virtual machine has at most some 350 devices.
	maxHardware   = 1000
	maxProperties = 5000
)

// bounded says what a descriptor has too much of to be understood in a short time.
func bounded(envelope *ovf.Envelope) error {
	system := systemOf(envelope)
	if system == nil {
		return nil
	}
	// The library goes by the first.
	if all := system.VirtualHardware; len(all) > 0 && len(all[0].Item) > maxHardware {
		return fmt.Errorf("it has %d hardware items, and %d are possible", len(all[0].Item), maxHardware)
	}
	if envelope.Disk != nil && len(envelope.Disk.Disks) > maxHardware {
		return fmt.Errorf("it has %d disks, and %d are possible", len(envelope.Disk.Disks), maxHardware)
	}
	products := system.Product
	if all := envelope.VirtualSystemCollection; products == nil && envelope.VirtualSystem == nil {
		products = all.Product
	}
	properties := 0
	for _, product := range products {
		properties += len(product.Property)
	}
	if properties > maxProperties {
		return fmt.Errorf("it has %d properties, and %d are possible", properties, maxProperties)
	}
	return nil
}

// systemOf is the virtual system that the library goes by. Nil: there is none.
func systemOf(envelope *ovf.Envelope) *ovf.VirtualSystem {
	if all := envelope.VirtualSystemCollection; envelope.VirtualSystem == nil && all != nil && len(all.VirtualSystem) > 0 {
		return &all.VirtualSystem[0]
	}
	return envelope.VirtualSystem
}

// imageOf is what a descriptor says of the machines that are made of it, as vm-operator understands it: by the
// specification that the library makes of the default configuration. Of its options and properties it has those that
// keeps wants, all for nil, and the properties that its user may set.
func imageOf(envelope *ovf.Envelope, keeps func(key string) bool) (image *facts.Image, err error) {
	defer func() {
		// Whoever may write to a library may put anything there, and the library's parser was not made for that.
		if cause := recover(); cause != nil {
			image, err = nil, fmt.Errorf("it is not understood: %v", cause)
		}
	}()
	if err := bounded(envelope); err != nil {
		return nil, err
	}
	if keeps == nil {
		keeps = func(string) bool { return true }
	}
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
		if value := option.GetOptionValue(); value != nil && keeps(value.Key) {
			if text, ok := value.Value.(string); ok {
				if image.Extra == nil {
					image.Extra = map[string]string{}
				}
				image.Extra[value.Key] = text
			}
		}
	}
	if spec.VAppConfig != nil {
		describeVApp(image, spec.VAppConfig.GetVmConfigSpec(), keeps)
	}
	return image, nil
}

// osVersion is what the descriptor says of the operating system's version, which is lost in the specification.
func osVersion(envelope *ovf.Envelope) string {
	system := systemOf(envelope)
	if system == nil || system.OperatingSystem == nil || system.OperatingSystem.Version == nil {
		return ""
	}
	return *system.OperatingSystem.Version
}

func describeVApp(image *facts.Image, config *types.VmConfigSpec, keeps func(key string) bool) {
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
		info := property.Info
		if info == nil {
			continue
		}
		settable := info.UserConfigurable != nil && *info.UserConfigurable
		if settable || keeps(info.Id) {
			image.Properties = append(image.Properties, facts.Property{
				Key: info.Id, Type: info.Type, Default: info.DefaultValue, UserConfigurable: settable,
				Class: info.ClassId, Instance: info.InstanceId,
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
		if backing, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok {
			told.File = backing.FileName
		}
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
