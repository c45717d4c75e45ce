// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// Customize is why vCenter would not customise the guest of a machine, nil when it would. It brings the settings that
// name an adapter into the order of the machine's.
func Customize(vm *simulator.VirtualMachine, spec *types.CustomizationSpec) types.BaseMethodFault {
	if state := vm.Runtime.PowerState; state != types.VirtualMachinePowerStatePoweredOff {
		return &types.InvalidPowerState{RequestedState: types.VirtualMachinePowerStatePoweredOff, ExistingState: state}
	}
	if vm.Config.Template {
		return new(types.NotSupported)
	}
	if tools := vm.Config.Tools; tools != nil && tools.PendingCustomization != "" {
		return new(types.CustomizationPending)
	}
	if fault := identity(vm.Config.GuestId, spec.Identity); fault != nil {
		return fault
	}
	macs := cards(vm)
	if len(macs) != len(spec.NicSettingMap) {
		return &types.NicSettingMismatch{NumberOfNicsInSpec: int32(len(spec.NicSettingMap)), NumberOfNicsInVM: int32(len(macs))}
	}
	return arrange(macs, spec)
}

// identity is why a guest cannot be what a customisation says.
func identity(guest string, wanted types.BaseCustomizationIdentitySettings) types.BaseMethodFault {
	windows := strings.HasPrefix(guest, "win")
	switch identity := wanted.(type) {
	case *types.CustomizationLinuxPrep:
		if windows {
			return &types.UncustomizableGuest{UncustomizableGuestOS: guest}
		}
		if name, fixed := identity.HostName.(*types.CustomizationFixedName); fixed && !hostName(name.Name, 63) {
			return argumentOf("spec.identity.hostName")
		}
	case *types.CustomizationSysprep:
		if !windows {
			return &types.UncustomizableGuest{UncustomizableGuestOS: guest}
		}
		if name, fixed := identity.UserData.ComputerName.(*types.CustomizationFixedName); fixed && !hostName(name.Name, 15) {
			return argumentOf("spec.identity.userData.computerName")
		}
		joins := identity.Identification
		if joins.JoinDomain != "" && (joins.DomainAdmin == "" || joins.DomainAdminPassword == nil || joins.JoinWorkgroup != "") {
			return argumentOf("spec.identity.identification")
		}
		for _, password := range []*types.CustomizationPassword{identity.GuiUnattended.Password, joins.DomainAdminPassword} {
			if password != nil && password.Value == "" {
				return argumentOf("spec.identity.password")
			}
		}
	case *types.CustomizationSysprepText:
		if !windows {
			return &types.UncustomizableGuest{UncustomizableGuestOS: guest}
		}
	default:
		return argumentOf("spec.identity")
	}
	return nil
}

func argumentOf(property string) types.BaseMethodFault {
	return &types.InvalidArgument{InvalidProperty: property}
}

// hostName says whether a guest can be called so.
func hostName(name string, most int) bool {
	letters := "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-"
	return name != "" && len(name) <= most && strings.Trim(name, letters+"0123456789") == "" &&
		strings.ContainsAny(name, letters)
}

// cards are the addresses of a machine's network cards, in their order.
func cards(vm *simulator.VirtualMachine) (macs []string) {
	for _, device := range vm.Config.Hardware.Device {
		if card, ok := device.(types.BaseVirtualEthernetCard); ok {
			macs = append(macs, card.GetVirtualEthernetCard().MacAddress)
		}
	}
	return macs
}

// arrange brings settings into the order of the cards that they name. The simulator would give the cards their
// addresses, which is not in a guest's power.
func arrange(macs []string, spec *types.CustomizationSpec) types.BaseMethodFault {
	arranged := make([]types.CustomizationAdapterMapping, len(macs))
	taken := make([]bool, len(macs))
	for i, setting := range spec.NicSettingMap {
		if setting.Adapter.Ip == nil {
			return argumentOf("spec.nicSettingMap.adapter.ip")
		}
		at := i
		if setting.MacAddress != "" {
			at = -1
			for card, mac := range macs {
				if strings.EqualFold(mac, setting.MacAddress) {
					at = card
				}
			}
		}
		if at < 0 || taken[at] {
			return argumentOf("spec.nicSettingMap.macAddress")
		}
		arranged[at], taken[at] = setting, true
	}
	spec.NicSettingMap = arranged
	return nil
}
