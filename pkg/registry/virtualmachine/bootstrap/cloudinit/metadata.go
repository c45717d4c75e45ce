// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/utils/ptr"

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

// metadata is what cloud-init's VMware datasource is told of the machine itself.
type metadata struct {
	InstanceID    string   `json:"instance-id"`
	LocalHostName string   `json:"local-hostname"`
	HostName      string   `json:"hostname"`
	PublicKeys    string   `json:"public-keys-data,omitempty"` // a line each
	WaitOnNetwork *wait    `json:"wait-on-network,omitempty"`
	Network       *network `json:"network,omitempty"`
}

// wait says for what kinds of address cloud-init waits before it goes on.
type wait struct {
	IPv4 bool `json:"ipv4"`
	IPv6 bool `json:"ipv6"`
}

// network is a network configuration of version 2, as netplan has it.
type network struct {
	Version   int                 `json:"version"`
	Ethernets map[string]ethernet `json:"ethernets"`
}

type ethernet struct {
	Match     match    `json:"match"`
	SetName   string   `json:"set-name"`
	DHCP4     bool     `json:"dhcp4"`
	DHCP6     bool     `json:"dhcp6"`
	Addresses []string `json:"addresses,omitempty"`
	// Netplan wants routes instead of gateways by now. Guests of all ages read these.
	Gateway4    string       `json:"gateway4,omitempty"`
	Gateway6    string       `json:"gateway6,omitempty"`
	MTU         int64        `json:"mtu,omitempty"`
	Nameservers *nameservers `json:"nameservers,omitempty"`
	Routes      []route      `json:"routes,omitempty"`
}

type match struct {
	MACAddress string `json:"macaddress"`
}

type nameservers struct {
	Addresses []string `json:"addresses,omitempty"`
	Search    []string `json:"search,omitempty"`
}

type route struct {
	To     string `json:"to"`
	Via    string `json:"via"`
	Metric int32  `json:"metric,omitempty"`
}

func metadataOf(vm *vmopv1.VirtualMachine, cards []facts.Card) (metadata, error) {
	network, err := networkOf(vm, cards)
	if err != nil {
		return metadata{}, err
	}
	name := hostName(vm)
	if vm.Spec.Network != nil && vm.Spec.Network.DomainName != "" {
		name += "." + vm.Spec.Network.DomainName
	}
	cloudInit := vm.Spec.Bootstrap.CloudInit
	said := metadata{
		InstanceID: cmp.Or(cloudInit.InstanceID, vm.Spec.BiosUUID), LocalHostName: name, HostName: name,
		PublicKeys: strings.Join(cloudInit.SSHAuthorizedKeys, "\n"), Network: network,
	}
	if four, six := ptr.Deref(cloudInit.WaitOnNetwork4, false), ptr.Deref(cloudInit.WaitOnNetwork6, false); four || six {
		said.WaitOnNetwork = &wait{IPv4: four, IPv6: six}
	}
	return said, nil
}

// hostName is what a guest is called, without its domain.
func hostName(vm *vmopv1.VirtualMachine) string {
	if vm.Spec.Network != nil && vm.Spec.Network.HostName != "" {
		return vm.Spec.Network.HostName
	}
	return vm.Name
}

// networkOf says how each network card is to be set up, nil for a machine without any. A card is known by its address.
// Cards that somebody added in vCenter come last, and are left to the guest.
func networkOf(vm *vmopv1.VirtualMachine, cards []facts.Card) (*network, error) {
	if vm.Spec.Network == nil || len(vm.Spec.Network.Interfaces) == 0 {
		return nil, nil
	}
	made := &network{Version: 2, Ethernets: map[string]ethernet{}}
	for i := range vm.Spec.Network.Interfaces {
		wanted := &vm.Spec.Network.Interfaces[i]
		if i >= len(cards) || cards[i].MAC == "" {
			return nil, fmt.Errorf("spec.network.interfaces[%d]: the virtual machine has no network card with an address for "+
				"it in vCenter: add the card there, or delete the virtual machine: %w", i, failure.Unavailable)
		}
		made.Ethernets[wanted.Name] = ethernetOf(vm, wanted, cards[i])
	}
	return made, nil
}

func ethernetOf(vm *vmopv1.VirtualMachine, wanted *wish, card facts.Card) ethernet {
	made := ethernet{
		Match: match{MACAddress: strings.ToLower(card.MAC)}, SetName: deviceName(wanted),
		DHCP4: wanted.DHCP4 || !wanted.DHCP6 && len(wanted.Addresses) == 0, DHCP6: wanted.DHCP6,
		Addresses: wanted.Addresses, MTU: ptr.Deref(wanted.MTU, 0),
	}
	if wanted.Gateway4 != noGateway {
		made.Gateway4 = wanted.Gateway4
	}
	if wanted.Gateway6 != noGateway {
		made.Gateway6 = wanted.Gateway6
	}
	names := nameservers{Addresses: wanted.Nameservers, Search: wanted.SearchDomains}
	cloudInit := vm.Spec.Bootstrap.CloudInit
	if len(names.Addresses) == 0 && ptr.Deref(cloudInit.UseGlobalNameserversAsDefault, true) {
		names.Addresses = vm.Spec.Network.Nameservers
	}
	if len(names.Search) == 0 && ptr.Deref(cloudInit.UseGlobalSearchDomainsAsDefault, true) {
		names.Search = vm.Spec.Network.SearchDomains
	}
	if len(names.Addresses) > 0 || len(names.Search) > 0 {
		made.Nameservers = &names
	}
	for _, wanted := range wanted.Routes {
		made.Routes = append(made.Routes, route{To: destination(wanted), Via: wanted.Via, Metric: wanted.Metric})
	}
	return made
}

// deviceName is what an interface is called in the guest.
func deviceName(wanted *wish) string {
	return cmp.Or(wanted.GuestDeviceName, wanted.Name)
}

// destination spells out where a route leads to: what "default" is, and a single address, not every guest knows.
func destination(wanted vmopv1.VirtualMachineNetworkRouteSpec) string {
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
