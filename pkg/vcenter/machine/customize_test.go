// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
)

// TestSpecification: a customisation in vCenter's types.
func TestSpecification(t *testing.T) {
	yes := types.NewBool(true)
	tests := map[string]struct {
		told facts.Customization
		want types.CustomizationSpec
	}{
		"Linux": {
			facts.Customization{
				Linux: &facts.LinuxPrep{HostName: "web", Domain: "lab.example.com", TimeZone: "Europe/Zurich", ClockUTC: yes,
					Password: "hush", ExpirePassword: true, Script: "#!/bin/sh"},
				Nameservers: []string{"192.0.2.53"}, SearchDomains: []string{"example.com"},
				Adapters: []facts.Adapter{
					{MAC: "00:50:56:80:00:01", Address4: netip.MustParsePrefix("192.0.2.7/26"), Gateway4: "192.0.2.1",
						Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8::7/64")}, Gateway6: "2001:db8::1"},
					{MAC: "00:50:56:80:00:02", DHCP4: true, DHCP6: true},
					{MAC: "00:50:56:80:00:03"},
				},
			},
			types.CustomizationSpec{
				Identity: &types.CustomizationLinuxPrep{HostName: &types.CustomizationFixedName{Name: "web"},
					Domain: "lab.example.com", TimeZone: "Europe/Zurich", HwClockUTC: yes, ScriptText: "#!/bin/sh",
					Password: &types.CustomizationPassword{Value: "hush", PlainText: true}, ResetPassword: yes},
				GlobalIPSettings: types.CustomizationGlobalIPSettings{DnsServerList: []string{"192.0.2.53"},
					DnsSuffixList: []string{"example.com"}},
				NicSettingMap: []types.CustomizationAdapterMapping{
					{MacAddress: "00:50:56:80:00:01", Adapter: types.CustomizationIPSettings{
						Ip: &types.CustomizationFixedIp{IpAddress: "192.0.2.7"}, SubnetMask: "255.255.255.192",
						Gateway: []string{"192.0.2.1"}, IpV6Spec: &types.CustomizationIPSettingsIpV6AddressSpec{
							Ip: []types.BaseCustomizationIpV6Generator{
								&types.CustomizationFixedIpV6{IpAddress: "2001:db8::7", SubnetMask: 64}},
							Gateway: []string{"2001:db8::1"}}}},
					{MacAddress: "00:50:56:80:00:02", Adapter: types.CustomizationIPSettings{
						Ip: &types.CustomizationDhcpIpGenerator{}, IpV6Spec: &types.CustomizationIPSettingsIpV6AddressSpec{
							Ip: []types.BaseCustomizationIpV6Generator{&types.CustomizationDhcpIpV6Generator{}}}}},
					{MacAddress: "00:50:56:80:00:03", Adapter: types.CustomizationIPSettings{Ip: &types.CustomizationDisableIpV4{}}},
				},
			},
		},
		"Windows": {
			facts.Customization{
				Windows: &facts.Sysprep{ComputerName: "WEB", FullName: "Jane", Organisation: "Shop", ProductID: "1234",
					Password: "hush", AutoLogon: true, AutoLogonCount: 2, TimeZone: 85, Domain: "example.com",
					DomainAdmin: "admin", DomainPassword: "hush too", DomainOU: "OU=Web", Commands: []string{"dir"},
					Script: "echo", ExpirePassword: true, License: &facts.License{Mode: "perServer", Users: 5}},
				Adapters: []facts.Adapter{{MAC: "00:50:56:80:00:01", DHCP4: true, Nameservers: []string{"192.0.2.53"}}},
			},
			types.CustomizationSpec{
				Identity: &types.CustomizationSysprep{
					GuiUnattended: types.CustomizationGuiUnattended{AutoLogon: true, AutoLogonCount: 2, TimeZone: 85,
						Password: &types.CustomizationPassword{Value: "hush", PlainText: true}},
					UserData: types.CustomizationUserData{FullName: "Jane", OrgName: "Shop", ProductId: "1234",
						ComputerName: &types.CustomizationFixedName{Name: "WEB"}},
					GuiRunOnce: &types.CustomizationGuiRunOnce{CommandList: []string{"dir"}},
					Identification: types.CustomizationIdentification{JoinDomain: "example.com", DomainAdmin: "admin",
						DomainAdminPassword: &types.CustomizationPassword{Value: "hush too", PlainText: true}, DomainOU: "OU=Web"},
					LicenseFilePrintData: &types.CustomizationLicenseFilePrintData{
						AutoMode: types.CustomizationLicenseDataModePerServer, AutoUsers: 5},
					ScriptText: "echo", ResetPassword: yes,
				},
				NicSettingMap: []types.CustomizationAdapterMapping{{MacAddress: "00:50:56:80:00:01",
					Adapter: types.CustomizationIPSettings{Ip: &types.CustomizationDhcpIpGenerator{},
						DnsServerList: []string{"192.0.2.53"}}}},
			},
		},
		"a workgroup, and nothing else": {
			facts.Customization{Windows: &facts.Sysprep{ComputerName: "WEB", Workgroup: "SHOP"}},
			types.CustomizationSpec{Identity: &types.CustomizationSysprep{
				UserData:       types.CustomizationUserData{ComputerName: &types.CustomizationFixedName{Name: "WEB"}},
				Identification: types.CustomizationIdentification{JoinWorkgroup: "SHOP"},
			}},
		},
		"an answer file": {
			facts.Customization{Answers: "<unattend/>"},
			types.CustomizationSpec{Identity: &types.CustomizationSysprepText{Value: "<unattend/>"}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, specification(test.told)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestKnown: what a vCenter would pass over is refused.
func TestKnown(t *testing.T) {
	unit := facts.Customization{Windows: &facts.Sysprep{DomainOU: "OU=Web"}}
	root := facts.Customization{Linux: &facts.LinuxPrep{Password: "hush"}}
	tests := []struct {
		told facts.Customization
		api  string
		want string
	}{
		{facts.Customization{Linux: &facts.LinuxPrep{Script: "true"}}, "6.5", ""},
		{unit, "8.0.2.0", ""},
		{unit, "8.0.1.0", "the customisation has an organisational unit, which vCenter knows since version 8.0.2, and this one is 8.0.1.0: " +
			"leave it out: invalid"},
		{root, "9.1.0.0", ""},
		{root, "8.0.3.0", "the customisation has a password for root, which vCenter knows since version 9.1, and this one is 8.0.3.0: " +
			"leave it out: invalid"},
	}
	for _, test := range tests {
		var got string
		if err := known(test.told, test.api); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.api, got, test.want)
		}
	}
}
