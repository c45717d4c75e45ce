// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"net/netip"
	"strings"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"

	"github.com/openpacific/pacific/pkg/facts"
)

// network tells the interfaces of the machine, by the names of those that are declared, and, where VMware Tools runs,
// their addresses. Addresses of a machine that is not running are those it once had, and are not shown.
func network(m *facts.Live, declared *facts.Cards, running bool) *vmopv1.VirtualMachineNetworkStatus {
	n := &vmopv1.VirtualMachineNetworkStatus{HostName: m.Guest.HostName}
	var cards []facts.Card
	if m.Hardware != nil {
		cards = m.Hardware.Cards
	}
	names := map[int32]string{}
	if declared != nil {
		for i, key := range declared.Match(cards) {
			names[key] = (*declared)[i].Name
		}
	}
	for _, card := range cards {
		status := vmopv1.VirtualMachineNetworkInterfaceStatus{Name: names[card.Key], DeviceKey: card.Key,
			IP: &vmopv1.VirtualMachineNetworkInterfaceIPStatus{MACAddr: card.MAC}}
		// Interfaces that only the guest knows, such as a container bridge, have the key -1 and are passed over.
		for i := range m.Guest.Interfaces {
			if m.Guest.Interfaces[i].Card == card.Key && running {
				observe(&status, &m.Guest.Interfaces[i])
			}
		}
		n.Interfaces = append(n.Interfaces, status)
	}
	if running {
		setPrimary(n, m.Guest.Address)
		for _, i := range n.Interfaces {
			for _, a := range i.IP.Addresses {
				setPrimary(n, a.Address)
			}
		}
	}
	if n.HostName == "" && n.PrimaryIP4 == "" && n.PrimaryIP6 == "" && len(n.Interfaces) == 0 {
		return nil
	}
	return n
}

// observe adds what the guest reports of one interface.
func observe(status *vmopv1.VirtualMachineNetworkInterfaceStatus, seen *facts.Interface) {
	if status.IP.MACAddr == "" {
		status.IP.MACAddr = seen.MAC
	}
	for _, a := range seen.Addresses {
		status.IP.Addresses = append(status.IP.Addresses,
			vmopv1.VirtualMachineNetworkInterfaceIPAddrStatus{Address: a.IP, Origin: a.Origin, State: a.State})
	}
	status.IP.AutoConfigurationEnabled = seen.Automatic
	if dhcp := seen.DHCP; dhcp != nil {
		status.IP.DHCP = &vmopv1.VirtualMachineNetworkDHCPStatus{}
		status.IP.DHCP.IP4.Enabled, status.IP.DHCP.IP6.Enabled = dhcp.V4, dhcp.V6
	}
	if dns := seen.DNS; dns != nil {
		status.DNS = &vmopv1.VirtualMachineNetworkDNSStatus{DHCP: dns.DHCP, HostName: dns.HostName,
			DomainName:  dns.DomainName,
			Nameservers: dns.Servers, SearchDomains: dns.SearchDomains}
	}
}

// setPrimary takes an address, with or without the length of its prefix, as the primary one of its family where there
// is none yet. Loopback and link-local addresses lead nowhere and do not count.
func setPrimary(n *vmopv1.VirtualMachineNetworkStatus, address string) {
	text, _, _ := strings.Cut(address, "/")
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() {
		return
	}
	ip = ip.Unmap()
	switch {
	case ip.Is4() && n.PrimaryIP4 == "":
		n.PrimaryIP4 = ip.String()
	case ip.Is6() && n.PrimaryIP6 == "":
		n.PrimaryIP6 = ip.String()
	}
}
