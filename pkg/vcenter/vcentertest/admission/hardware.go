// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// The limits of vCenter.
const (
	longestName = 80
	mostCPUs    = 768
	mostMemory  = 24 << 20 // MB
	newest      = types.VMX22
	// longestGuestInfo is the most that a guest reads of one value, and largestConfig the most that a configuration file
	// has.
	longestGuestInfo = 64 << 10
	largestConfig    = 1 << 20
)

// Name is why nothing can have a name, nil where something can.
func Name(name string) types.BaseMethodFault {
	if utf8.RuneCountInString(name) > longestName {
		return &types.InvalidName{Name: name}
	}
	return nil
}

func argument(property string) types.BaseMethodFault {
	return &types.InvalidArgument{InvalidProperty: "configSpec." + property}
}

// hardware is why a machine cannot be what a specification says, of its devices apart. A new machine has no present.
func hardware(spec *types.VirtualMachineConfigSpec, present *types.VirtualMachineConfigInfo) types.BaseMethodFault {
	if fault := Name(spec.Name); fault != nil {
		return fault
	}
	if spec.GuestId != "" && !slices.Contains(simulator.GuestID, types.VirtualMachineGuestOsIdentifier(spec.GuestId)) {
		return argument("guestId")
	}
	if spec.Version != "" {
		if version, err := types.ParseHardwareVersion(spec.Version); err != nil || version > newest {
			return new(types.NotSupported)
		}
	}
	switch {
	case spec.NumCPUs < 0 || spec.NumCPUs > mostCPUs:
		return argument("numCPUs")
	case spec.NumCoresPerSocket != nil && *spec.NumCoresPerSocket < 0:
		return argument("numCoresPerSocket")
	case spec.MemoryMB < 0 || spec.MemoryMB > mostMemory || spec.MemoryMB%4 != 0:
		return argument("memoryMB")
	case spec.Uuid != "" && uuid.Validate(spec.Uuid) != nil:
		return argument("uuid")
	case spec.InstanceUuid != "" && uuid.Validate(spec.InstanceUuid) != nil:
		return argument("instanceUuid")
	}
	if fault := firmware(spec, present); fault != nil {
		return fault
	}
	for _, allocation := range []struct {
		property string
		info     *types.ResourceAllocationInfo
		most     int64
	}{{"cpuAllocation", spec.CpuAllocation, 0}, {"memoryAllocation", spec.MemoryAllocation, memory(spec, present)}} {
		if fault := allocated(allocation.property, allocation.info, allocation.most); fault != nil {
			return fault
		}
	}
	return properties(spec, present)
}

// memory is how much a machine will have, in MB.
func memory(spec *types.VirtualMachineConfigSpec, present *types.VirtualMachineConfigInfo) int64 {
	switch {
	case spec.MemoryMB != 0:
		return spec.MemoryMB
	case present != nil:
		return int64(present.Hardware.MemoryMB)
	}
	return 32
}

// firmware is why a machine cannot start as a specification says.
func firmware(spec *types.VirtualMachineConfigSpec, present *types.VirtualMachineConfigInfo) types.BaseMethodFault {
	const efi = string(types.GuestOsDescriptorFirmwareTypeEfi)
	switch spec.Firmware {
	case "", efi, string(types.GuestOsDescriptorFirmwareTypeBios):
	default:
		return argument("firmware")
	}
	will, encrypted := spec.Firmware, spec.Crypto != nil
	if present != nil {
		encrypted = encrypted || present.KeyId != nil
		if will == "" {
			will = present.Firmware
		}
	}
	if boot := spec.BootOptions; boot != nil && boot.EfiSecureBootEnabled != nil && *boot.EfiSecureBootEnabled &&
		will != efi {
		return &types.InvalidVmConfig{Property: "msg.hostd.configSpec.efi"}
	}
	for i, change := range spec.DeviceChange {
		change := change.GetVirtualDeviceConfigSpec()
		_, tpm := change.Device.(*types.VirtualTPM)
		if !tpm || change.Operation != types.VirtualDeviceConfigSpecOperationAdd {
			continue
		}
		if will != efi || !encrypted {
			return invalid(int32(i), "")
		}
	}
	return nil
}

// allocated is why a share of a resource cannot be given, of which most is the most.
func allocated(property string, info *types.ResourceAllocationInfo, most int64) types.BaseMethodFault {
	if info == nil {
		return nil
	}
	reservation, limit := int64(0), int64(-1)
	if info.Reservation != nil {
		reservation = *info.Reservation
	}
	if info.Limit != nil {
		limit = *info.Limit
	}
	switch {
	case reservation < 0, limit < -1, limit >= 0 && reservation > limit, most > 0 && reservation > most,
		info.OverheadLimit != nil,
		info.Shares != nil && info.Shares.Level == types.SharesLevelCustom && info.Shares.Shares < 0:
		return argument(property)
	}
	return nil
}

// properties is why vApp properties cannot be changed so.
func properties(spec *types.VirtualMachineConfigSpec, present *types.VirtualMachineConfigInfo) types.BaseMethodFault {
	if spec.VAppConfig == nil {
		return nil
	}
	known, products := map[int32]bool{}, map[int32]bool{}
	if present != nil && present.VAppConfig != nil {
		for _, property := range present.VAppConfig.GetVmConfigInfo().Property {
			known[property.Key] = true
		}
		for _, product := range present.VAppConfig.GetVmConfigInfo().Product {
			products[product.Key] = true
		}
	}
	for _, property := range spec.VAppConfig.GetVmConfigSpec().Property {
		if property.Info == nil || !follows(known, property.Info.Key, property.Operation) {
			return argument("vAppConfig.property")
		}
		if fault := value(property.Info); fault != nil {
			return fault
		}
	}
	for _, product := range spec.VAppConfig.GetVmConfigSpec().Product {
		if product.Info == nil || !follows(products, product.Info.Key, product.Operation) {
			return argument("vAppConfig.product")
		}
	}
	return nil
}

// value is why a property cannot have its value, of which only the common types are looked at.
func value(property *types.VAppPropertyInfo) types.BaseMethodFault {
	if property.Value == "" {
		return nil
	}
	var wrong error
	switch base, _, _ := strings.Cut(property.Type, "("); base {
	case "int":
		_, wrong = strconv.ParseInt(property.Value, 10, 64)
	case "boolean":
		if property.Value != "True" && property.Value != "False" {
			wrong = strconv.ErrSyntax
		}
	case "ip":
		_, wrong = netip.ParseAddr(property.Value)
	}
	if wrong == nil {
		return nil
	}
	return &types.InvalidPropertyValue{VAppPropertyFault: types.VAppPropertyFault{Id: property.Id, Type: property.Type,
		Value: property.Value}}
}

// follows notes an operation on what is known, and says whether it can be done.
func follows(known map[int32]bool, key int32, operation types.ArrayUpdateOperation) bool {
	if known[key] == (operation == types.ArrayUpdateOperationAdd) {
		return false
	}
	known[key] = operation != types.ArrayUpdateOperationRemove
	return true
}

// running is why a specification has to wait until a machine is off, nil when it has not.
func running(spec *types.VirtualMachineConfigSpec, vm *simulator.VirtualMachine) types.BaseMethodFault {
	state, config := vm.Runtime.PowerState, vm.Config
	if state == types.VirtualMachinePowerStatePoweredOff || state == "" {
		return nil
	}
	off := &types.InvalidPowerState{RequestedState: types.VirtualMachinePowerStatePoweredOff, ExistingState: state}
	differs := func(wanted, is string) bool { return wanted != "" && wanted != is }
	switched := func(wanted, is *bool) bool { return wanted != nil && *wanted != isTrue(is) }
	switch {
	case differs(spec.Firmware, config.Firmware), differs(spec.GuestId, config.GuestId), differs(spec.Version,
		config.Version),
		differs(spec.Uuid, config.Uuid), switched(spec.NestedHVEnabled, config.NestedHVEnabled),
		switched(spec.CpuHotAddEnabled, config.CpuHotAddEnabled), switched(spec.MemoryHotAddEnabled,
			config.MemoryHotAddEnabled),
		spec.NumCoresPerSocket != nil && (config.Hardware.NumCoresPerSocket == nil ||
			*spec.NumCoresPerSocket != *config.Hardware.NumCoresPerSocket):
		return off
	}
	moreCPUs, moreMemory := spec.NumCPUs-config.Hardware.NumCPU, spec.MemoryMB-int64(config.Hardware.MemoryMB)
	cpus, memory := spec.NumCPUs != 0 && moreCPUs != 0, spec.MemoryMB != 0 && moreMemory != 0
	switch {
	case (cpus || memory || len(spec.DeviceChange) > 0) && state != types.VirtualMachinePowerStatePoweredOn:
		return off // its memory lies on disk
	case moved(spec.DeviceChange, config.Hardware.Device):
		return off
	case plugs(spec.DeviceChange) && slices.ContainsFunc(config.ExtraConfig, unpluggable):
		return new(types.DeviceHotPlugNotSupported)
	case cpus && (moreCPUs < 0 && !isTrue(config.CpuHotRemoveEnabled) || moreCPUs > 0 && !isTrue(config.CpuHotAddEnabled)):
		return new(types.CpuHotPlugNotSupported)
	case memory && (moreMemory < 0 || !isTrue(config.MemoryHotAddEnabled)):
		return new(types.MemoryHotPlugNotSupported)
	}
	return nil
}

// plugs says whether devices are to be added or removed, and unpluggable whether an option forbids that while a machine is
// on.
func plugs(changes []types.BaseVirtualDeviceConfigSpec) bool {
	return slices.ContainsFunc(changes, func(change types.BaseVirtualDeviceConfigSpec) bool {
		return change.GetVirtualDeviceConfigSpec().Operation != types.VirtualDeviceConfigSpecOperationEdit
	})
}

func unpluggable(option types.BaseOptionValue) bool {
	value, _ := option.GetOptionValue().Value.(string)
	return option.GetOptionValue().Key == "devices.hotplug" && strings.EqualFold(value, "false")
}

// moved says whether adapters are to get other addresses.
func moved(changes []types.BaseVirtualDeviceConfigSpec, present object.VirtualDeviceList) bool {
	return slices.ContainsFunc(changes, func(change types.BaseVirtualDeviceConfigSpec) bool {
		spec := change.GetVirtualDeviceConfigSpec()
		wanted, ok := spec.Device.(types.BaseVirtualEthernetCard)
		if !ok || spec.Operation != types.VirtualDeviceConfigSpecOperationEdit {
			return false
		}
		address := wanted.GetVirtualEthernetCard().MacAddress
		is, ok := present.FindByKey(wanted.GetVirtualEthernetCard().Key).(types.BaseVirtualEthernetCard)
		return ok && address != "" && !strings.EqualFold(address, is.GetVirtualEthernetCard().MacAddress)
	})
}

func isTrue(b *bool) bool { return b != nil && *b }
