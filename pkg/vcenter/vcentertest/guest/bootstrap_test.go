// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/vim25/types"
)

func b64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func zipped(t *testing.T, text string) string {
	t.Helper()
	var buffer bytes.Buffer
	w := gzip.NewWriter(&buffer)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b64(buffer.String())
}

// TestStart: what a guest makes of what it is told.
func TestStart(t *testing.T) {
	const mac = "00:50:56:80:00:01"
	const plan = `{"version": 2, "ethernets": {"eth0": {"match": {"macaddress": "00:50:56:80:00:01"},
		"set-name": "eth0", "dhcp4": false, "addresses": ["192.0.2.7/26", {"2001:db8::7/64": {"label": "x"}}], "routes": [{"to": "default", "via": "192.0.2.1"}],
		"nameservers": {"addresses": ["192.0.2.53"], "search": ["example.test"]}}}}`
	tests := map[string]struct {
		extra, properties map[string]string
		customized        *types.CustomizationSpec
		want              string
	}{
		"nothing": {want: "localhost 10.66.0.9/16 gateway 10.66.0.1"},
		"metadata": {extra: map[string]string{"guestinfo.metadata": b64("instance-id: i-1\nlocal-hostname: web\n"),
			"guestinfo.metadata.encoding": "base64"},
			want: "web 10.66.0.9/16 gateway 10.66.0.1"},
		"static": {extra: map[string]string{"guestinfo.metadata": zipped(t, `{"local-hostname": "db", "network": `+plan+`}`), "guestinfo.metadata.encoding": "gzip+base64"},
			want: "db 192.0.2.7/26 2001:db8::7/64 gateway 192.0.2.1 dns 192.0.2.53 search example.test"},
		"encoded network": {extra: map[string]string{"guestinfo.metadata": `{"network": "` + zipped(t, plan) + `", "network.encoding": "gzip+base64"}`},
			want: "localhost 192.0.2.7/26 2001:db8::7/64 gateway 192.0.2.1 dns 192.0.2.53 search example.test"},
		"network in network": {extra: map[string]string{"guestinfo.metadata": `{"network": {"network": {"version": 2, "ethernets": {"eth0": {"dhcp4": true}}}}}`},
			want: "localhost 10.66.0.9/16 gateway 10.66.0.1"},
		"of another adapter": {extra: map[string]string{"guestinfo.metadata": `{"network": {"ethernets": {"x": {"match": {"macaddress": "00:50:56:80:00:02"}, "dhcp4": true}}}}`},
			want: "localhost"},
		"user data": {extra: map[string]string{"guestinfo.metadata": "local-hostname: a",
			"guestinfo.userdata": b64("#cloud-config\nfqdn: b.example.test\n"), "guestinfo.userdata.encoding": "b64"},
			want: "b 10.66.0.9/16 gateway 10.66.0.1"},
		"a script": {extra: map[string]string{"guestinfo.userdata": "#!/bin/sh\nhostname: c\n"},
			want: "localhost 10.66.0.9/16 gateway 10.66.0.1"},
		"property": {properties: map[string]string{"hostname": "d", "user-data": b64("#cloud-config\n{}")},
			want: "d 10.66.0.9/16 gateway 10.66.0.1"},
		"broken": {extra: map[string]string{"guestinfo.metadata": "%%%", "guestinfo.metadata.encoding": "base64",
			"guestinfo.userdata": "x", "guestinfo.userdata.encoding": "rot13"},
			want: "localhost 10.66.0.9/16 gateway 10.66.0.1 notes guestinfo.metadata guestinfo.userdata"},
		"customised": {extra: map[string]string{"guestinfo.metadata": "local-hostname: e"},
			customized: &types.CustomizationSpec{
				Identity: &types.CustomizationLinuxPrep{HostName: &types.CustomizationFixedName{Name: "f"}, Domain: "example.test"},
				GlobalIPSettings: types.CustomizationGlobalIPSettings{DnsServerList: []string{"192.0.2.53"},
					DnsSuffixList: []string{"example.test"}},
				NicSettingMap: []types.CustomizationAdapterMapping{
					{MacAddress: "00:50:56:80:00:02", Adapter: types.CustomizationIPSettings{Ip: &types.CustomizationDhcpIpGenerator{}}},
					{MacAddress: mac, Adapter: types.CustomizationIPSettings{
						Ip: &types.CustomizationFixedIp{IpAddress: "192.0.2.9"}, SubnetMask: "255.255.255.192", Gateway: []string{"192.0.2.1"},
						IpV6Spec: &types.CustomizationIPSettingsIpV6AddressSpec{Ip: []types.BaseCustomizationIpV6Generator{
							&types.CustomizationFixedIpV6{IpAddress: "2001:db8::9", SubnetMask: 64}}, Gateway: []string{"2001:db8::1"}},
					}}}},
			want: "f 192.0.2.9/26 2001:db8::9/64 gateway 192.0.2.1 gateway 2001:db8::1 dns 192.0.2.53 search example.test"},
		"customised, DHCP": {customized: &types.CustomizationSpec{
			Identity: &types.CustomizationSysprep{UserData: types.CustomizationUserData{
				ComputerName: &types.CustomizationFixedName{Name: "g"}}},
			NicSettingMap: []types.CustomizationAdapterMapping{{Adapter: types.CustomizationIPSettings{
				Ip: &types.CustomizationDhcpIpGenerator{}, DnsServerList: []string{"192.0.2.54"}}}}},
			want: "g 10.66.0.9/16 gateway 10.66.0.1 dns 192.0.2.54"},
		"customised, of a text, without addresses": {customized: &types.CustomizationSpec{
			Identity: &types.CustomizationSysprepText{Value: "<unattend><component><ComputerName> h </ComputerName></component></unattend>"},
			NicSettingMap: []types.CustomizationAdapterMapping{{Adapter: types.CustomizationIPSettings{
				Ip: &types.CustomizationDisableIpV4{}}}}},
			want: "h"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := &Machine{ExtraConfig: test.extra, Properties: test.properties,
				Adapters: []Adapter{{Key: 4000, MAC: mac, Network: "VM Network", Connected: true}}}
			if test.customized != nil {
				m.Customized = customized(test.customized)
			}
			r := start(m, func(string) netip.Prefix { return netip.MustParsePrefix("10.66.0.9/16") })
			if diff := cmp.Diff(test.want, told(r)); diff != "" {
				t.Errorf("it reports (-want +got):\n%s", diff)
			}
		})
	}
}

// told is a report in one line.
func told(r report) string {
	line := r.hostName
	for _, adapter := range r.adapters {
		if adapter.IpConfig == nil {
			continue
		}
		for _, address := range adapter.IpConfig.IpAddress {
			line += fmt.Sprintf(" %s/%d", address.IpAddress, address.PrefixLength)
		}
	}
	for _, route := range r.stack.IpRouteConfig.IpRoute {
		line += " gateway " + route.Gateway.IpAddress
	}
	for _, server := range r.stack.DnsConfig.IpAddress {
		line += " dns " + server
	}
	for _, domain := range r.stack.DnsConfig.SearchDomain {
		line += " search " + domain
	}
	for n, note := range r.notes {
		if n == 0 {
			line += " notes"
		}
		what, _, _ := strings.Cut(note, ":")
		line += " " + what
	}
	return line
}

// TestNextStart: cloud-init sets up the network when an instance starts first, and later only where its user data says so.
func TestNextStart(t *testing.T) {
	plan := func(id, address string) string {
		return fmt.Sprintf(`{"instance-id": %q, "network": {"ethernets": {"eth0": {"addresses": [%q]}}}}`, id, address)
	}
	lease := func(string) netip.Prefix { return netip.MustParsePrefix("10.66.0.9/16") }
	for name, test := range map[string]struct {
		then, now, userData string
		want                string
	}{
		"the same":        {plan("i-1", "192.0.2.7/24"), plan("i-1", "192.0.2.7/24"), "", "192.0.2.7"},
		"another address": {plan("i-1", "192.0.2.7/24"), plan("i-1", "192.0.2.8/24"), "", "192.0.2.7"},
		"and user data says so": {plan("i-1", "192.0.2.7/24"), plan("i-1", "192.0.2.8/24"),
			"#cloud-config\nupdates: {network: {when: [boot]}}", "192.0.2.8"},
		"of another instance":     {plan("i-1", "192.0.2.7/24"), plan("i-2", "192.0.2.8/24"), "", "192.0.2.8"},
		"it was told nothing yet": {"", plan("i-1", "192.0.2.8/24"), "", "192.0.2.8"},
	} {
		m := &Machine{ExtraConfig: map[string]string{metadataKey: test.then, "guestinfo.userdata": test.userData},
			Adapters: []Adapter{{Key: 4000, MAC: "00:50:56:80:00:01", Connected: true}}}
		m.Instance = start(m, lease).instance
		m.ExtraConfig[metadataKey] = test.now
		for range 2 {
			r := start(m, lease)
			if m.Instance = r.instance; r.first != test.want {
				t.Errorf("%s: it has %s, want %s", name, r.first, test.want)
			}
		}
	}
}

// TestWithoutPasswords: what is kept of a customisation has no password, and the request stays as it is.
func TestWithoutPasswords(t *testing.T) {
	secret := &types.CustomizationPassword{Value: "s3cret", PlainText: true}
	for _, identity := range []types.BaseCustomizationIdentitySettings{
		&types.CustomizationLinuxPrep{Domain: "kept", Password: secret},
		&types.CustomizationSysprep{GuiUnattended: types.CustomizationGuiUnattended{Password: secret},
			Identification: types.CustomizationIdentification{DomainAdmin: "kept", DomainAdminPassword: secret}},
		&types.CustomizationSysprepText{Value: "<a><AdministratorPassword><Value>s3cret</Value>\n<PlainText/>" +
			"</AdministratorPassword><ComputerName>kept</ComputerName></a>"},
	} {
		text := func(spec types.CustomizationSpec) string {
			var b bytes.Buffer
			if err := types.NewJSONEncoder(&b).Encode(spec); err != nil {
				t.Fatal(err)
			}
			return b.String()
		}
		whole := types.CustomizationSpec{Identity: identity}
		if kept := text(WithoutPasswords(whole)); strings.Contains(kept, "s3cret") || !strings.Contains(kept, "kept") {
			t.Errorf("%T: %s", identity, kept)
		}
		if !strings.Contains(text(whole), "s3cret") {
			t.Errorf("%T: the request is changed", identity)
		}
	}
}
