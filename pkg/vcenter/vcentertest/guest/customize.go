// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"net"
	"net/netip"
	"regexp"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

// Customized is what a customisation sets in a guest.
type Customized struct {
	spec             *types.CustomizationSpec // it was made of
	hostName, domain string
	links            []link
	// nameservers and search are of all adapters.
	nameservers, search []string
}

// computerName is where an answer file for Windows says what the guest is called.
var computerName = regexp.MustCompile(`<ComputerName>([^<]*)</ComputerName>`)

// passwords are in an answer file for Windows.
var passwords = regexp.MustCompile(`(?s)<([A-Za-z]*Password)>.*?</[A-Za-z]*Password>`)

// WithoutPasswords is a customisation without the passwords in it, which nothing here needs, so that they are nowhere
// kept.
func WithoutPasswords(spec types.CustomizationSpec) types.CustomizationSpec {
	switch identity := spec.Identity.(type) {
	case *types.CustomizationLinuxPrep:
		copied := *identity
		copied.Password = nil
		spec.Identity = &copied
	case *types.CustomizationSysprep:
		copied := *identity
		copied.GuiUnattended.Password, copied.Identification.DomainAdminPassword = nil, nil
		spec.Identity = &copied
	case *types.CustomizationSysprepText:
		spec.Identity = &types.CustomizationSysprepText{Value: passwords.ReplaceAllString(identity.Value, "<$1/>")}
	}
	return spec
}

// customized is what a guest makes of a customisation.
func customized(spec *types.CustomizationSpec) *Customized {
	c := &Customized{spec: spec, nameservers: spec.GlobalIPSettings.DnsServerList, search: spec.GlobalIPSettings.DnsSuffixList}
	switch identity := spec.Identity.(type) {
	case *types.CustomizationLinuxPrep:
		c.hostName, c.domain = fixed(identity.HostName), identity.Domain
	case *types.CustomizationSysprep:
		c.hostName, c.domain = fixed(identity.UserData.ComputerName), identity.Identification.JoinDomain
		c.nameservers = nil // which Windows has for each adapter
	case *types.CustomizationSysprepText:
		if found := computerName.FindStringSubmatch(identity.Value); found != nil {
			c.hostName = strings.TrimSpace(found[1])
		}
		c.nameservers = nil
	}
	for i, setting := range spec.NicSettingMap {
		c.links = append(c.links, settings(i, setting))
	}
	return c
}

func fixed(name types.BaseCustomizationName) string {
	if given, ok := name.(*types.CustomizationFixedName); ok {
		return given.Name
	}
	return ""
}

// settings are those of one adapter.
func settings(index int, setting types.CustomizationAdapterMapping) link {
	adapter := setting.Adapter
	l := link{name: nameOf(index), mac: strings.ToLower(setting.MacAddress), nameservers: adapter.DnsServerList}
	switch ip := adapter.Ip.(type) {
	case *types.CustomizationDhcpIpGenerator:
		l.dhcp = true
	case *types.CustomizationFixedIp:
		if at, err := netip.ParseAddr(ip.IpAddress); err == nil {
			l.addresses = append(l.addresses, netip.PrefixFrom(at, bits(adapter.SubnetMask)))
		}
		l.gateways = adapter.Gateway
	}
	if six := adapter.IpV6Spec; six != nil {
		for _, ip := range six.Ip {
			if ip, ok := ip.(*types.CustomizationFixedIpV6); ok {
				if at, err := netip.ParseAddr(ip.IpAddress); err == nil {
					l.addresses = append(l.addresses, netip.PrefixFrom(at, int(ip.SubnetMask)))
				}
			}
		}
		l.gateways = append(l.gateways[:len(l.gateways):len(l.gateways)], six.Gateway...)
	}
	return l
}

// bits is how long the prefix is that a mask of IPv4 stands for.
func bits(mask string) int {
	four := net.ParseIP(mask).To4()
	if four == nil {
		return 24
	}
	ones, _ := net.IPMask(four).Size()
	return ones
}
