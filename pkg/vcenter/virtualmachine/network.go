// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"net/netip"
	"strconv"
	"strings"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/vim25/types"
)

// network tells the interfaces of the machine and, where VMware Tools runs, their addresses. Addresses of a machine that is not
// running are those it once had, and are not shown.
func network(p properties, d *hardwareSurvey, running bool) *vmopv1.VirtualMachineNetworkStatus {
	n := &vmopv1.VirtualMachineNetworkStatus{HostName: p.text(pathGuestHostName)}
	nics := p.nics()
	for _, card := range d.cards {
		status := vmopv1.VirtualMachineNetworkInterfaceStatus{DeviceKey: card.key,
			IP: &vmopv1.VirtualMachineNetworkInterfaceIPStatus{MACAddr: card.mac}}
		// Interfaces that only the guest knows, such as a container bridge, have the key -1 and are passed over.
		for i := range nics {
			if nics[i].DeviceConfigId == card.key && running {
				observe(&status, &nics[i])
			}
		}
		n.Interfaces = append(n.Interfaces, status)
	}
	if running {
		setPrimary(n, p.text(pathGuestIP))
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
func observe(status *vmopv1.VirtualMachineNetworkInterfaceStatus, nic *types.GuestNicInfo) {
	if status.IP.MACAddr == "" {
		status.IP.MACAddr = nic.MacAddress
	}
	if config := nic.IpConfig; config != nil {
		for _, a := range config.IpAddress {
			address := a.IpAddress
			if a.PrefixLength > 0 {
				address += "/" + strconv.Itoa(int(a.PrefixLength))
			}
			// The lifetime is left out: it changes with every lease and tells nothing.
			status.IP.Addresses = append(status.IP.Addresses,
				vmopv1.VirtualMachineNetworkInterfaceIPAddrStatus{Address: address, Origin: a.Origin, State: a.State})
		}
		status.IP.AutoConfigurationEnabled = config.AutoConfigurationEnabled
		if dhcp := config.Dhcp; dhcp != nil {
			status.IP.DHCP = &vmopv1.VirtualMachineNetworkDHCPStatus{}
			if dhcp.Ipv4 != nil {
				status.IP.DHCP.IP4.Enabled = dhcp.Ipv4.Enable
			}
			if dhcp.Ipv6 != nil {
				status.IP.DHCP.IP6.Enabled = dhcp.Ipv6.Enable
			}
		}
	}
	if len(status.IP.Addresses) == 0 {
		for _, address := range nic.IpAddress {
			status.IP.Addresses = append(status.IP.Addresses, vmopv1.VirtualMachineNetworkInterfaceIPAddrStatus{Address: address})
		}
	}
	if dns := nic.DnsConfig; dns != nil {
		status.DNS = &vmopv1.VirtualMachineNetworkDNSStatus{DHCP: dns.Dhcp, HostName: dns.HostName, DomainName: dns.DomainName,
			Nameservers: dns.IpAddress, SearchDomains: dns.SearchDomain}
	}
}

// setPrimary takes an address, with or without the length of its prefix, as the primary one of its family where there is none yet.
// Loopback and link-local addresses lead nowhere and do not count.
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
