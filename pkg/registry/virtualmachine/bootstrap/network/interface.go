// SPDX-License-Identifier: Apache-2.0

package network

import (
	"fmt"
	"net/netip"
	"strings"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

const (
	// noGateway says of an interface that it has no gateway, whatever its network has.
	noGateway = "None"
	// defaultRoute is the destination of a route that leads everywhere.
	defaultRoute = "default"
)

// wish is what is wanted of one interface.
type wish = vmopv1.VirtualMachineNetworkInterfaceSpec

// Interface is how a network card is to be set up.
type Interface struct {
	// Wish is what the spec says of it.
	Wish *vmopv1.VirtualMachineNetworkInterfaceSpec
	// Device is what it is called in the guest.
	Device string
	// MAC is in lower case.
	MAC          string
	DHCP4, DHCP6 bool
	Addresses    []netip.Prefix
	// Gateway4 and Gateway6 are empty for none.
	Gateway4, Gateway6 string
}

// Interfaces says how each network card is to be set up that the spec asks for. cards are those of its interfaces, in their
// order. Cards that somebody added in vCenter come last, and are not among them.
func Interfaces(vm *vmopv1.VirtualMachine, cards []facts.Card) ([]Interface, error) {
	if vm.Spec.Network == nil {
		return nil, nil
	}
	var all []Interface
	for i := range vm.Spec.Network.Interfaces {
		if i >= len(cards) || cards[i].MAC == "" {
			return nil, fmt.Errorf("spec.network.interfaces[%d]: the virtual machine has no network card with an address for "+
				"it in vCenter: add the card there, or delete the virtual machine: %w", i, failure.Unavailable)
		}
		all = append(all, settle(&vm.Spec.Network.Interfaces[i], cards[i].MAC))
	}
	return all, nil
}

// settle decides what a wish leaves open.
func settle(wanted *wish, mac string) Interface {
	made := Interface{
		Wish: wanted, Device: deviceName(wanted), MAC: strings.ToLower(mac),
		DHCP4: AsksByDHCP4(wanted), DHCP6: wanted.DHCP6,
	}
	for _, address := range wanted.Addresses {
		// What is no address is refused before.
		if prefix, err := netip.ParsePrefix(address); err == nil {
			made.Addresses = append(made.Addresses, prefix)
		}
	}
	if wanted.Gateway4 != noGateway {
		made.Gateway4 = wanted.Gateway4
	}
	if wanted.Gateway6 != noGateway {
		made.Gateway6 = wanted.Gateway6
	}
	return made
}

// AsksByDHCP4 says whether an interface asks for an IPv4 address by DHCP: as one does of which nothing else is said.
func AsksByDHCP4(wanted *vmopv1.VirtualMachineNetworkInterfaceSpec) bool {
	return wanted.DHCP4 || !wanted.DHCP6 && len(wanted.Addresses) == 0
}

// HostName is what a guest is called, without its domain.
func HostName(vm *vmopv1.VirtualMachine) string {
	if vm.Spec.Network != nil && vm.Spec.Network.HostName != "" {
		return vm.Spec.Network.HostName
	}
	return vm.Name
}

// DomainName is the domain that a guest's name is in, empty for none.
func DomainName(vm *vmopv1.VirtualMachine) string {
	if vm.Spec.Network == nil {
		return ""
	}
	return vm.Spec.Network.DomainName
}

// Nameservers are those that all interfaces share.
func Nameservers(vm *vmopv1.VirtualMachine) []string {
	if vm.Spec.Network == nil {
		return nil
	}
	return vm.Spec.Network.Nameservers
}

// SearchDomains are those that all interfaces share.
func SearchDomains(vm *vmopv1.VirtualMachine) []string {
	if vm.Spec.Network == nil {
		return nil
	}
	return vm.Spec.Network.SearchDomains
}

// Destination spells out where a route leads to: what "default" is, and a single address, not every guest knows.
func Destination(wanted vmopv1.VirtualMachineNetworkRouteSpec) string {
	if wanted.To == defaultRoute {
		if via, err := netip.ParseAddr(wanted.Via); err == nil && via.Is6() {
			return "::/0"
		}
		return "0.0.0.0/0"
	}
	if single, err := netip.ParseAddr(wanted.To); err == nil {
		return netip.PrefixFrom(single, single.BitLen()).String()
	}
	return wanted.To
}
