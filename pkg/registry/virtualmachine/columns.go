// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"time"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha1"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
)

// powerStateAtHub spells v1alpha1's name of a power state as the hub does.
func powerStateAtHub(version, value string) string {
	if version != v1alpha1.GroupVersion.Version {
		return value
	}
	switch v1alpha1.VirtualMachinePowerState(value) {
	case v1alpha1.VirtualMachinePoweredOff:
		return string(v1alpha5.VirtualMachinePowerStateOff)
	case v1alpha1.VirtualMachinePoweredOn:
		return string(v1alpha5.VirtualMachinePowerStateOn)
	case v1alpha1.VirtualMachineSuspended:
		return string(v1alpha5.VirtualMachinePowerStateSuspended)
	}
	return value
}

func powerState(m *v1alpha5.VirtualMachine, _ time.Time) any { return string(m.Status.PowerState) }
func className(m *v1alpha5.VirtualMachine, _ time.Time) any  { return m.Spec.ClassName }
func hostName(m *v1alpha5.VirtualMachine, _ time.Time) any   { return m.Status.NodeName }
func zoneName(m *v1alpha5.VirtualMachine, _ time.Time) any   { return m.Status.Zone }

func imageName(m *v1alpha5.VirtualMachine, _ time.Time) any {
	if m.Spec.Image != nil {
		return m.Spec.Image.Name
	}
	return m.Spec.ImageName
}

func primaryIP4(m *v1alpha5.VirtualMachine, _ time.Time) any {
	if m.Status.Network == nil {
		return ""
	}
	return m.Status.Network.PrimaryIP4
}

func guestOS(m *v1alpha5.VirtualMachine, _ time.Time) any {
	switch guest := m.Status.Guest; {
	case guest == nil:
		return m.Spec.GuestID
	case guest.GuestFullName != "":
		return guest.GuestFullName
	default:
		return guest.GuestID
	}
}
