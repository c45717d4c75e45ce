// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"slices"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/openpacific/pacific/pkg/apis/vmoperator/difference"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap/network"
)

// told is what is wrong with changing what a guest was told before its first start and is never told again.
const told = "is told to a guest before its first start alone, unless spec.bootstrap.cloudInit tells it: set it up in the " +
	"guest"

var networkPath = field.NewPath("spec", "network")

// withoutNetwork is a spec without its network, of which changes are looked at by the names of interfaces.
func withoutNetwork(spec v1alpha5.VirtualMachineSpec) v1alpha5.VirtualMachineSpec {
	spec.Network = nil
	return spec
}

// validateNetworkChange looks at a network that a write changes. Which interfaces there are, and at which networks, can
// be changed at any time; what their guest is told of them only where it is told again.
func validateNetworkChange(vm, old *v1alpha5.VirtualMachine) field.ErrorList {
	now, before := vm.Spec.Network, old.Spec.Network
	if now == nil || equality.Semantic.DeepEqual(now, before) {
		return nil
	}
	if before == nil {
		before = &v1alpha5.VirtualMachineNetworkSpec{}
	}
	errs := network.Validate(vm)
	for i := range now.Interfaces {
		if wanted := &now.Interfaces[i]; wanted.MACAddr != "" {
			errs = append(errs, field.Forbidden(networkPath.Child("interfaces").Index(i).Child("macAddr"),
				refusal("spec.network.interfaces.macAddr")))
		}
	}
	if bootstrap.Retells(&vm.Spec) {
		return append(errs, network.Untold(vm)...)
	}
	for i := range now.Interfaces {
		wanted, was := now.Interfaces[i], interfaceOf(before, now.Interfaces[i].Name)
		wanted.Network, wanted.MACAddr = was.Network, was.MACAddr
		wanted.DHCP4, was.DHCP4 = network.AsksByDHCP4(&wanted), network.AsksByDHCP4(&was)
		errs = append(errs, forbidden(networkPath.Child("interfaces").Index(i), was, wanted)...)
	}
	whole, was := *now, *before
	whole.Interfaces, whole.Disabled = was.Interfaces, was.Disabled
	return append(errs, forbidden(networkPath, was, whole)...)
}

// forbidden refuses all that a guest is told and in which two values differ.
func forbidden(path *field.Path, before, now any) (errs field.ErrorList) {
	for _, at := range difference.Between(path, before, now) {
		errs = append(errs, field.Forbidden(at, told))
	}
	return errs
}

// interfaceOf is the interface of a name, with nothing else in it where there is none.
func interfaceOf(spec *v1alpha5.VirtualMachineNetworkSpec, name string) v1alpha5.VirtualMachineNetworkInterfaceSpec {
	at := slices.IndexFunc(spec.Interfaces,
		func(i v1alpha5.VirtualMachineNetworkInterfaceSpec) bool { return i.Name == name })
	if at < 0 {
		return v1alpha5.VirtualMachineNetworkInterfaceSpec{Name: name}
	}
	return spec.Interfaces[at]
}
