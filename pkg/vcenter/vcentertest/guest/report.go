// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"net/netip"
	"slices"

	"github.com/vmware/govmomi/vim25/types"
)

// Machine is what a guest sees of its machine.
type Machine struct {
	Name, GuestID string
	ExtraConfig   map[string]string
	// Properties are those of the OVF environment.
	Properties map[string]string
	Adapters   []Adapter
	// Customized is what CustomizeVM_Task has set, nil where nothing was customised.
	Customized *Customized
	// Instance is what cloud-init has set up before, nil for nothing.
	Instance *Instance
}

// Adapter is a network adapter.
type Adapter struct {
	Key          int32
	MAC, Network string
	Connected    bool
}

// report is what a guest tells of itself.
type report struct {
	hostName string
	adapters []types.GuestNicInfo
	stack    types.GuestStackInfo
	first    string // address
	notes    []string
	instance *Instance // that cloud-init has set up by then
}

// defaultName is what a guest is called that nobody gave a name.
const defaultName = "localhost"

// start sets a guest up. Addresses that nobody set are leased.
func start(m *Machine, lease func(mac string) netip.Prefix) report {
	b, notes := readBootstrap(m)
	r := report{hostName: b.hostName, notes: notes, instance: b.settled(m), stack: types.GuestStackInfo{DnsConfig: &types.NetDnsConfigInfo{}}}
	if c := m.Customized; c != nil {
		// It goes over what else the guest is told, but for what it says nothing of.
		b.links = c.links
		if c.hostName != "" {
			r.hostName, r.stack.DnsConfig.DomainName = c.hostName, c.domain
		}
		r.stack.DnsConfig.IpAddress = append(r.stack.DnsConfig.IpAddress, c.nameservers...)
		r.stack.DnsConfig.SearchDomain = append(r.stack.DnsConfig.SearchDomain, c.search...)
	}
	if r.hostName == "" {
		r.hostName = defaultName
	}
	var gateways []string
	for i, adapter := range m.Adapters {
		info := types.GuestNicInfo{Network: adapter.Network, MacAddress: adapter.MAC, Connected: adapter.Connected,
			DeviceConfigId: adapter.Key}
		addresses, dhcp := addressesOf(m, &b, i)
		if l := b.linkOf(i, adapter.MAC); l != nil {
			gateways = append(gateways, l.gateways...)
			r.stack.DnsConfig.IpAddress = append(r.stack.DnsConfig.IpAddress, l.nameservers...)
			r.stack.DnsConfig.SearchDomain = append(r.stack.DnsConfig.SearchDomain, l.search...)
		}
		if adapter.Connected && dhcp {
			leased := lease(adapter.MAC)
			addresses = append(addresses, leased)
			gateways = append(gateways, leased.Masked().Addr().Next().String())
		}
		if adapter.Connected {
			show(&info, addresses, dhcp)
		}
		if r.first == "" && len(info.IpAddress) > 0 {
			r.first = info.IpAddress[0]
		}
		r.adapters = append(r.adapters, info)
	}
	r.stack.DnsConfig.HostName, r.stack.DnsConfig.Dhcp = r.hostName, len(r.stack.DnsConfig.IpAddress) == 0
	r.stack.IpRouteConfig = routes(gateways)
	return r
}

// addressesOf are those that are set for an adapter, and whether it asks for one by DHCP.
func addressesOf(m *Machine, b *bootstrap, index int) (addresses []netip.Prefix, dhcp bool) {
	l := b.linkOf(index, m.Adapters[index].MAC)
	if l == nil {
		return nil, len(b.links) == 0 // cloud-init leaves alone what it is not told about
	}
	return l.addresses, l.dhcp
}

func show(info *types.GuestNicInfo, addresses []netip.Prefix, dhcp bool) {
	if len(addresses) == 0 {
		return
	}
	info.IpConfig = &types.NetIpConfigInfo{Dhcp: &types.NetDhcpConfigInfo{Ipv4: &types.NetDhcpConfigInfoDhcpOptions{
		Enable: dhcp}}}
	for _, prefix := range addresses {
		info.IpAddress = append(info.IpAddress, prefix.Addr().String())
		info.IpConfig.IpAddress = append(info.IpConfig.IpAddress, types.NetIpConfigInfoIpAddress{
			IpAddress: prefix.Addr().String(), PrefixLength: int32(prefix.Bits()),
			State: string(types.NetIpConfigInfoIpAddressStatusPreferred),
		})
	}
}

func routes(gateways []string) *types.NetIpRouteConfigInfo {
	config := new(types.NetIpRouteConfigInfo)
	for _, gateway := range slices.Compact(gateways) {
		at, err := netip.ParseAddr(gateway)
		if err != nil {
			continue
		}
		network := "0.0.0.0"
		if at.Is6() {
			network = "::"
		}
		config.IpRoute = append(config.IpRoute, types.NetIpRouteConfigInfoIpRoute{
			Network: network, Gateway: types.NetIpRouteConfigInfoGateway{IpAddress: gateway, Device: "0"},
		})
	}
	return config
}

// changes are what vCenter shows of a guest that reports.
func (r *report) changes(m *Machine, heartbeat types.ManagedEntityStatus) []types.PropertyChange {
	const running = string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)
	changes := []types.PropertyChange{
		{Name: "guest.toolsRunningStatus", Val: running}, {Name: "summary.guest.toolsRunningStatus", Val: running},
		{Name: "guest.toolsStatus", Val: types.VirtualMachineToolsStatusToolsOk}, {Name: "summary.guest.toolsStatus",
			Val: types.VirtualMachineToolsStatusToolsOk},
		{Name: "guest.toolsVersion", Val: "12389"},
		{Name: "guest.toolsVersionStatus2", Val: string(types.VirtualMachineToolsVersionStatusGuestToolsCurrent)},
		{Name: "guest.guestState", Val: string(types.VirtualMachineGuestStateRunning)},
		{Name: "guest.guestOperationsReady", Val: true},
		{Name: "guest.hostName", Val: r.hostName}, {Name: "summary.guest.hostName", Val: r.hostName},
		{Name: "guest.net", Val: r.adapters}, {Name: "guest.ipStack", Val: []types.GuestStackInfo{r.stack}},
		{Name: "guest.ipAddress", Val: r.first}, {Name: "summary.guest.ipAddress", Val: r.first},
		{Name: "guestHeartbeatStatus", Val: heartbeat}, {Name: "summary.quickStats.guestHeartbeatStatus", Val: heartbeat},
	}
	if m.GuestID != "" {
		changes = append(changes, types.PropertyChange{Name: "guest.guestId", Val: m.GuestID})
	}
	return changes
}
