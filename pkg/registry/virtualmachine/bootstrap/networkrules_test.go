// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	vmopv1common "github.com/vmware-tanzu/vm-operator/api/v1alpha5/common"
	"k8s.io/utils/ptr"

	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap"
)

func TestNetworkRefusals(t *testing.T) {
	one := func(wanted nic) *netspec {
		wanted.Name = "eth0"
		return &netspec{Interfaces: []nic{wanted}}
	}
	tests := []struct {
		name    string
		network *netspec
		want    []string
	}{
		{"nothing", nil, nil},
		{"all that is good", &netspec{HostName: "Web-1", DomainName: "lab.example.com", Nameservers: []string{"192.0.2.53", "2001:db8::53"},
			SearchDomains: []string{"example.com", "_tcp.example.com"}, Interfaces: []nic{
				{Name: "eth0", Addresses: []string{"192.0.2.7/26", "2001:db8::7/64"}, Gateway4: "192.0.2.1", Gateway6: "None",
					MTU: ptr.To[int64](9000), Routes: []hop{{To: "default", Via: "192.0.2.1"}, {To: "2001:db8:1::/48", Via: "2001:db8::1", Metric: 3}}},
				{Name: "eth1", GuestDeviceName: "storage_0", DHCP4: true, DHCP6: true}, {Name: "eth2", DHCP4: true, Addresses: []string{"2001:db8::7/64"}},
				{Name: "eth3", Gateway4: "None"}}}, nil},
		{"symbols in a name", &netspec{HostName: "web✓"}, nil},
		{"an address as a name", &netspec{HostName: "192.0.2.7"}, nil},
		{"interfaces of no network", &netspec{Disabled: true, Interfaces: []nic{{Name: "eth0"}}}, []string{
			"spec.network.interfaces: Forbidden: cannot be given while spec.network.disabled is true"}},
		{"too many", &netspec{Interfaces: []nic{{Name: "ab"}, {Name: "ac"}, {Name: "ad"}, {Name: "ae"}, {Name: "af"}, {Name: "ag"},
			{Name: "ah"}, {Name: "ai"}, {Name: "aj"}, {Name: "ak"}, {Name: "al"}}}, []string{
			"spec.network.interfaces: Too many: 11: must have at most 10 items"}},
		{"names", &netspec{Interfaces: []nic{{}, {Name: "Eth0"}, {Name: "eth1"}, {Name: "eth1"}, {Name: "averyverylongname"}}}, []string{
			"spec.network.interfaces[0].name: Required value: such as eth0",
			`spec.network.interfaces[1].name: Invalid value: "Eth0": has to be two or more lower case letters and digits, such as eth0`,
			`spec.network.interfaces[3].name: Duplicate value: "eth1"`,
			`spec.network.interfaces[4].name: Invalid value: "averyverylongname": a guest knows no network device by more than 15 characters: ` +
				`give it a shorter guestDeviceName`}},
		{"devices", &netspec{Interfaces: []nic{{Name: "eth0", GuestDeviceName: "a b"}, {Name: "eth1"}, {Name: "eth2", GuestDeviceName: "eth1"}}}, []string{
			`spec.network.interfaces[0].guestDeviceName: Invalid value: "a b": has to be two or more letters, digits and underscores, such as eth0`,
			`spec.network.interfaces[2].guestDeviceName: Duplicate value: "eth1"`}},
		{"addresses", one(nic{Addresses: []string{"192.0.2.7", "x", "::ffff:192.0.2.7/120"}}), []string{
			`spec.network.interfaces[0].addresses[0]: Invalid value: "192.0.2.7": has to be an address with the length of its prefix, such as 192.0.2.10/24 or 2001:db8::a/64`,
			`spec.network.interfaces[0].addresses[1]: Invalid value: "x": has to be an address with the length of its prefix, such as 192.0.2.10/24 or 2001:db8::a/64`,
			`spec.network.interfaces[0].addresses[2]: Invalid value: "::ffff:192.0.2.7/120": has to be an address with the length of its prefix, such as 192.0.2.10/24 or 2001:db8::a/64`}},
		{"gateways without addresses", one(nic{Gateway4: "192.0.2.1", Gateway6: "2001:db8::1"}), []string{
			`spec.network.interfaces[0].gateway4: Invalid value: "192.0.2.1": needs an IPv4 address in addresses`,
			`spec.network.interfaces[0].gateway6: Invalid value: "2001:db8::1": needs an IPv6 address in addresses`}},
		{"gateways of the other kind", one(nic{Addresses: []string{"192.0.2.7/26", "2001:db8::7/64"}, Gateway4: "2001:db8::1", Gateway6: "192.0.2.1"}), []string{
			`spec.network.interfaces[0].gateway4: Invalid value: "2001:db8::1": has to be an IPv4 address, or None`,
			`spec.network.interfaces[0].gateway6: Invalid value: "192.0.2.1": has to be an IPv6 address, or None`}},
		{"gateways with DHCP", one(nic{DHCP4: true, DHCP6: true, Gateway4: "192.0.2.1", Gateway6: "None"}), []string{
			`spec.network.interfaces[0].gateway4: Invalid value: "192.0.2.1": cannot be used with dhcp4`,
			`spec.network.interfaces[0].gateway6: Invalid value: "None": cannot be used with dhcp6`}},
		{"DHCP with addresses", one(nic{DHCP4: true, DHCP6: true, Addresses: []string{"192.0.2.7/26", "2001:db8::7/64"}}), []string{
			"spec.network.interfaces[0].dhcp4: Invalid value: true: cannot be used with IPv4 addresses in addresses",
			"spec.network.interfaces[0].dhcp6: Invalid value: true: cannot be used with IPv6 addresses in addresses"}},
		{"MTU", one(nic{MTU: ptr.To[int64](67)}), []string{"spec.network.interfaces[0].mtu: Invalid value: 67: has to be from 68 to 65535"}},
		{"name servers", &netspec{Nameservers: []string{"dns"}, SearchDomains: []string{""}, Interfaces: []nic{
			{Name: "eth0", Nameservers: []string{"fe80::1%eth0"}, SearchDomains: []string{"a b"}}}}, []string{
			`spec.network.interfaces[0].nameservers[0]: Invalid value: "fe80::1%eth0": has to be an IPv4 or IPv6 address`,
			`spec.network.interfaces[0].searchDomains[0]: Invalid value: "a b": has to be a DNS domain, such as example.com`,
			`spec.network.nameservers[0]: Invalid value: "dns": has to be an IPv4 or IPv6 address`,
			`spec.network.searchDomains[0]: Invalid value: "": has to be a DNS domain, such as example.com`}},
		{"routes", one(nic{Routes: []hop{{To: "everywhere", Via: "192.0.2.1"}, {To: "default", Via: "x"}, {To: "198.51.100.0/24", Via: "2001:db8::1"},
			{To: "default", Via: "192.0.2.1", Metric: -1}}}), []string{
			`spec.network.interfaces[0].routes[0].to: Invalid value: "everywhere": has to be default, or an IPv4 or IPv6 network, such as 198.51.100.0/24`,
			`spec.network.interfaces[0].routes[1].via: Invalid value: "x": has to be an IPv4 or IPv6 address`,
			`spec.network.interfaces[0].routes[2]: Invalid value: "198.51.100.0/24 via 2001:db8::1": cannot mix IPv4 and IPv6`,
			"spec.network.interfaces[0].routes[3].metric: Invalid value: -1: has to be 1 or more"}},
		{"a host's name", &netspec{HostName: "my_host"}, []string{
			`spec.network.hostName: Invalid value: "my_host": has to be at most 63 letters, digits and dashes, and neither begin nor end with a dash`}},
		{"an address in a domain", &netspec{HostName: "192.0.2.7", DomainName: "example.com"}, []string{
			`spec.network.hostName: Invalid value: "192.0.2.7": cannot be an address together with domainName`}},
		{"a domain", &netspec{DomainName: "example.1"}, []string{
			`spec.network.domainName: Invalid value: "example.1": has to be a DNS domain, such as example.com`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			vm := machine()
			vm.Spec.Network = test.network
			if diff := cmp.Diff(test.want, refusals(vm)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	long := machine()
	long.Spec.Network = &netspec{HostName: strings.Repeat("a", 63), DomainName: strings.Repeat("b.", 100) + "com"}
	if got := refusals(long); len(got) != 1 || !strings.Contains(got[0], "with the host name it takes 267 characters, and 255 is the most") {
		t.Errorf("a long name: %q", got)
	}
}

// TestWhoTellsOfTheNetwork: what no provider of a machine tells its guest is refused.
func TestWhoTellsOfTheNetwork(t *testing.T) {
	const all = "hostName domainName nameservers searchDomains guestDeviceName addresses dhcp6 gateway4 gateway6 mtu interfaces.nameservers " +
		"routes interfaces.searchDomains"
	linux, windows := &vmopv1.VirtualMachineBootstrapLinuxPrepSpec{}, &vmopv1.VirtualMachineBootstrapSysprepSpec{
		RawSysprep: &vmopv1common.SecretKeySelector{Name: "web"}}
	properties := &vmopv1.VirtualMachineBootstrapVAppConfigSpec{}
	tests := map[string]struct {
		bootstrap *vmopv1.VirtualMachineBootstrapSpec
		refused   string
	}{
		"nobody":      {nil, all},
		"none":        {&vmopv1.VirtualMachineBootstrapSpec{}, all},
		"cloud-init":  {&vmopv1.VirtualMachineBootstrapSpec{CloudInit: &vmopv1.VirtualMachineBootstrapCloudInitSpec{}}, ""},
		"linuxPrep":   {&vmopv1.VirtualMachineBootstrapSpec{LinuxPrep: linux}, "guestDeviceName mtu interfaces.nameservers routes interfaces.searchDomains"},
		"sysprep":     {&vmopv1.VirtualMachineBootstrapSpec{Sysprep: windows}, "guestDeviceName mtu routes interfaces.searchDomains"},
		"vAppConfig":  {&vmopv1.VirtualMachineBootstrapSpec{VAppConfig: properties}, "searchDomains guestDeviceName dhcp6 gateway6 mtu interfaces.nameservers routes interfaces.searchDomains"},
		"two of them": {&vmopv1.VirtualMachineBootstrapSpec{Sysprep: windows, VAppConfig: properties}, "guestDeviceName mtu routes interfaces.searchDomains"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			vm := machine()
			vm.Spec.Bootstrap = test.bootstrap
			vm.Spec.Network = &netspec{HostName: "a", DomainName: "example.com", Nameservers: []string{"192.0.2.53"}, SearchDomains: []string{"a"},
				Interfaces: []nic{{Name: "eth0", DHCP4: true}, {Name: "eth1", GuestDeviceName: "ab", Addresses: []string{"192.0.2.7/24", "2001:db8::7/64"},
					Gateway4: "192.0.2.1", Gateway6: "None", MTU: ptr.To[int64](1500), Nameservers: []string{"192.0.2.53"},
					Routes: []hop{{To: "default", Via: "192.0.2.1"}}, SearchDomains: []string{"a"}}, {Name: "eth2", DHCP6: true}}}
			var got []string
			for _, refusal := range refusals(vm) {
				path, says, _ := strings.Cut(refusal, ": ")
				path = strings.TrimPrefix(path, "spec.network.")
				if rest, inner := strings.CutPrefix(path, "interfaces["); inner {
					_, path, _ = strings.Cut(rest, "].")
					if path == "nameservers" || path == "searchDomains" {
						path = "interfaces." + path
					}
				}
				if path == "dhcp6" && !strings.Contains(refusal, "interfaces[2]") || !strings.Contains(says, "Forbidden: is told to a guest by spec.bootstrap.") {
					t.Errorf("refused: %s", refusal)
				}
				got = append(got, path)
			}
			want := strings.Fields(test.refused)
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	vm := machine()
	vm.Spec.Bootstrap = nil
	vm.Spec.Network = &netspec{HostName: "a", Interfaces: []nic{{Name: "eth0", MTU: ptr.To[int64](1500)}}}
	want := []string{
		"spec.network.hostName: Forbidden: is told to a guest by spec.bootstrap.cloudInit, linuxPrep, sysprep or vAppConfig alone: set one of them, or leave this out",
		"spec.network.interfaces[0].mtu: Forbidden: is told to a guest by spec.bootstrap.cloudInit alone: set that, or leave this out"}
	if diff := cmp.Diff(want, refusals(vm)); diff != "" {
		t.Errorf("what it says (-want +got):\n%s", diff)
	}
}

// refusals are what is wrong with a machine, a line each.
func refusals(vm *vmopv1.VirtualMachine) (lines []string) {
	for _, refusal := range bootstrap.Validate(vm) {
		lines = append(lines, refusal.Error())
	}
	return lines
}
