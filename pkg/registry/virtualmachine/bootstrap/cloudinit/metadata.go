// SPDX-License-Identifier: Apache-2.0

package cloudinit

import (
	"cmp"
	"strings"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/utils/ptr"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap/network"
)

// metadata is what cloud-init's VMware datasource is told of the machine itself.
type metadata struct {
	InstanceID    string `json:"instance-id"`
	LocalHostName string `json:"local-hostname"`
	HostName      string `json:"hostname"`
	// PublicKeys are a line each. Of the names for them that the datasource reads this is the one that it documents.
	PublicKeys    string   `json:"public-keys-data,omitempty"`
	WaitOnNetwork *wait    `json:"wait-on-network,omitempty"`
	Network       *netplan `json:"network,omitempty"`
}

// wait says for what kinds of address cloud-init waits before it goes on.
type wait struct {
	IPv4 bool `json:"ipv4"`
	IPv6 bool `json:"ipv6"`
}

// netplan is a network configuration of version 2.
type netplan struct {
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
	plan, err := networkOf(vm, cards)
	if err != nil {
		return metadata{}, err
	}
	name := network.HostName(vm)
	if domain := network.DomainName(vm); domain != "" {
		name += "." + domain
	}
	cloudInit := vm.Spec.Bootstrap.CloudInit
	said := metadata{
		InstanceID: cmp.Or(cloudInit.InstanceID, vm.Spec.BiosUUID), LocalHostName: name, HostName: name,
		PublicKeys: strings.Join(cloudInit.SSHAuthorizedKeys, "\n"), Network: plan,
	}
	if four, six := ptr.Deref(cloudInit.WaitOnNetwork4, false), ptr.Deref(cloudInit.WaitOnNetwork6, false); four || six {
		said.WaitOnNetwork = &wait{IPv4: four, IPv6: six}
	}
	return said, nil
}

// networkOf says how each network card is to be set up, nil for a machine without any. Cards that the spec does not ask
// for are left to the guest.
func networkOf(vm *vmopv1.VirtualMachine, cards []facts.Card) (*netplan, error) {
	interfaces, err := network.Interfaces(vm, cards)
	if err != nil || len(interfaces) == 0 {
		return nil, err
	}
	made := &netplan{Version: 2, Ethernets: map[string]ethernet{}}
	for _, settled := range interfaces {
		made.Ethernets[settled.Wish.Name] = ethernetOf(vm, settled)
	}
	return made, nil
}

func ethernetOf(vm *vmopv1.VirtualMachine, settled network.Interface) ethernet {
	wanted := settled.Wish
	made := ethernet{
		Match: match{MACAddress: settled.MAC}, SetName: settled.Device, DHCP4: settled.DHCP4, DHCP6: settled.DHCP6,
		Addresses: wanted.Addresses, Gateway4: settled.Gateway4, Gateway6: settled.Gateway6, MTU: ptr.Deref(wanted.MTU, 0),
	}
	names := nameservers{Addresses: wanted.Nameservers, Search: wanted.SearchDomains}
	cloudInit := vm.Spec.Bootstrap.CloudInit
	if len(names.Addresses) == 0 && ptr.Deref(cloudInit.UseGlobalNameserversAsDefault, true) {
		names.Addresses = network.Nameservers(vm)
	}
	if len(names.Search) == 0 && ptr.Deref(cloudInit.UseGlobalSearchDomainsAsDefault, true) {
		names.Search = network.SearchDomains(vm)
	}
	if len(names.Addresses) > 0 || len(names.Search) > 0 {
		made.Nameservers = &names
	}
	for _, wanted := range wanted.Routes {
		made.Routes = append(made.Routes, route{To: network.Destination(wanted), Via: wanted.Via, Metric: wanted.Metric})
	}
	return made
}
