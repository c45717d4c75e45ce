// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap/secret"
)

// asked is a machine of that spec, in YAML.
func asked(t *testing.T, spec string) *vmopv1.VirtualMachine {
	t.Helper()
	vm := machine()
	vm.Spec.Bootstrap = nil
	if err := yaml.UnmarshalStrict([]byte(spec), &vm.Spec); err != nil {
		t.Fatal(err)
	}
	return vm
}

// comparePrefixes compares addresses by what they are.
var comparePrefixes = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })

const linuxSpec = `
network:
  hostName: www
  domainName: lab.example.com
  nameservers: [192.0.2.53]
  searchDomains: [example.com]
  interfaces:
  - {name: eth0, addresses: [192.0.2.7/26, "2001:db8::7/64"], gateway4: 192.0.2.1, gateway6: "2001:db8::1"}
  - {name: eth1, addresses: [198.51.100.7/24], gateway4: None, dhcp6: true}
bootstrap:
  linuxPrep:
    hardwareClockIsUTC: true
    timeZone: Europe/Zurich
    password: {name: root}
    expirePasswordAfterNextLogin: true
    scriptText: {from: {name: scripts, key: prep}}
`

const windowsSpec = `
network: {domainName: example.com, nameservers: [192.0.2.53], interfaces: [{name: eth0, nameservers: [192.0.2.54]}, {name: eth1}]}
bootstrap:
  sysprep:
    sysprep:
      guiRunOnce: {commands: [dir, cls]}
      guiUnattended: {autoLogon: true, autoLogonCount: 2, password: {name: admin, key: ""}}
      identification: {domainAdmin: jane, domainAdminPassword: {name: domain, key: ""}, domainOU: OU=Web}
      licenseFilePrintData: {autoMode: perServer, autoUsers: 5}
      userData: {fullName: Jane, orgName: Shop, productID: {name: product, key: ""}}
      expirePasswordAfterNextLogin: true
      scriptText: {value: echo}
`

// TestCustomization: what vCenter is to set in a guest.
func TestCustomization(t *testing.T) {
	tests := map[string]struct {
		spec string
		want *facts.Customization
	}{
		"Linux": {linuxSpec, &facts.Customization{
			Linux: &facts.LinuxPrep{HostName: "www", Domain: "lab.example.com", TimeZone: "Europe/Zurich", ClockUTC: ptr.To(true),
				Password: "hush", ExpirePassword: true, Script: "#!/bin/sh\n"},
			Nameservers: []string{"192.0.2.53"}, SearchDomains: []string{"example.com"},
			Adapters: []facts.Adapter{
				{MAC: "00:50:56:8a:00:01", Address4: netip.MustParsePrefix("192.0.2.7/26"), Gateway4: "192.0.2.1",
					Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8::7/64")}, Gateway6: "2001:db8::1"},
				{MAC: "00:50:56:8a:00:02", Address4: netip.MustParsePrefix("198.51.100.7/24"), DHCP6: true},
				{MAC: "00:50:56:8a:00:03", DHCP4: true}, // which somebody added in vCenter
			}}},
		"the least of it": {"bootstrap: {linuxPrep: {}}", &facts.Customization{
			Linux: &facts.LinuxPrep{HostName: "web"},
			Adapters: []facts.Adapter{{MAC: "00:50:56:8a:00:01", DHCP4: true}, {MAC: "00:50:56:8a:00:02", DHCP4: true},
				{MAC: "00:50:56:8a:00:03", DHCP4: true}}}},
		"not now": {"bootstrap: {linuxPrep: {customizeAtNextPowerOn: false}}", nil},
		"Windows": {windowsSpec, &facts.Customization{
			Windows: &facts.Sysprep{ComputerName: "web", FullName: "Jane", Organisation: "Shop", ProductID: "1234", Password: "hush",
				ExpirePassword: true, AutoLogon: true, AutoLogonCount: 2, TimeZone: 85, Domain: "example.com", DomainAdmin: "jane",
				DomainPassword: "hush too", DomainOU: "OU=Web", Commands: []string{"dir", "cls"}, Script: "echo",
				License: &facts.License{Mode: "perServer", Users: 5}},
			Nameservers: []string{"192.0.2.53"},
			Adapters: []facts.Adapter{{MAC: "00:50:56:8a:00:01", DHCP4: true, Nameservers: []string{"192.0.2.54"}},
				{MAC: "00:50:56:8a:00:02", DHCP4: true, Nameservers: []string{"192.0.2.53"}}, {MAC: "00:50:56:8a:00:03", DHCP4: true}}}},
		"an answer file": {`{bootstrap: {sysprep: {rawSysprep: {name: answers, key: ""}}}, network: {disabled: true}}`,
			&facts.Customization{Answers: "<ComputerName>web</ComputerName>{}",
				Adapters: []facts.Adapter{{MAC: "00:50:56:8a:00:01", DHCP4: true}, {MAC: "00:50:56:8a:00:02", DHCP4: true},
					{MAC: "00:50:56:8a:00:03", DHCP4: true}}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			vm := asked(t, test.spec)
			if name == "an answer file" {
				vm.Spec.Network.Interfaces = nil
			}
			if got := refusals(vm); len(got) > 0 {
				t.Fatal(got)
			}
			b := bootstrap.Bootstrap{Secrets: secrets{"team-a/root/password": []byte("hush\n"), "team-a/scripts/prep": []byte("#!/bin/sh\n"),
				"team-a/admin/password": []byte("hush"), "team-a/domain/domain_admin_password": []byte("hush too"),
				"team-a/product/product_id": []byte("1234\r\n"),
				"team-a/answers/unattend":   []byte(`<ComputerName>{{ .V1alpha2.VM.Name }}</ComputerName>\{\}`)}}
			got, err := b.Tell(t.Context(), vm, cards(3))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(facts.Told{Customization: test.want}, got, comparePrefixes); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestBrokenCustomization: what is wrong is said without what is in a Secret.
func TestBrokenCustomization(t *testing.T) {
	const raw = `bootstrap: {sysprep: {rawSysprep: {name: answers, key: k}}}`
	for name, test := range map[string]struct {
		spec    string
		secrets secrets
		kind    failure.Kind
		says    string
	}{
		"no password": {linuxSpec, nil, failure.NotFound,
			`spec.bootstrap.linuxPrep.password: there is no Secret "root" with a key "password" in the namespace "team-a": create it`},
		"answers in UTF-16": {raw, secrets{"team-a/answers/k": []byte("\xff\xfeh\x00u\x00s\x00h\x00")}, failure.Invalid,
			`spec.bootstrap.sysprep.rawSysprep: the key "k" of the Secret "answers" is no text in UTF-8`},
		"no answers": {raw, nil, failure.NotFound, `spec.bootstrap.sysprep.rawSysprep: there is no Secret "answers" with a key "k"`},
		"empty":      {raw, secrets{"team-a/answers/k": []byte(" \n")}, failure.Invalid, `the key "k" of the Secret "answers" is empty`},
		"a template": {raw, secrets{"team-a/answers/k": []byte("{{ .hush }}")}, failure.Invalid,
			`spec.bootstrap.sysprep.rawSysprep: the key "k" of the Secret "answers" is a template that cannot be filled in`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := (&bootstrap.Bootstrap{Secrets: test.secrets}).Tell(t.Context(), asked(t, test.spec), cards(2))
			if !errors.Is(err, test.kind) || !strings.Contains(fmt.Sprint(err), test.says) || strings.Contains(fmt.Sprint(err), "hush") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestCustomizationRefusals(t *testing.T) {
	const full = "userData: {fullName: J, orgName: S}"
	tests := []struct {
		name, spec string
		want       []string
	}{
		{"all of them", "bootstrap: {cloudInit: {}, linuxPrep: {}, sysprep: {rawSysprep: {name: a, key: b}}, vAppConfig: {}}", []string{
			"spec.bootstrap.linuxPrep: Forbidden: cannot be used together with cloudInit",
			"spec.bootstrap.sysprep: Forbidden: cannot be used together with cloudInit",
			"spec.bootstrap.vAppConfig: Forbidden: cannot be used together with cloudInit",
			"spec.bootstrap.sysprep: Forbidden: cannot be used together with linuxPrep"}},
		{"two that go together", "bootstrap: {linuxPrep: {}, vAppConfig: {rawProperties: a}}", nil},
		{"Linux", `{network: {hostName: 192.0.2.7, interfaces: [{name: eth0, addresses: [192.0.2.7/26, 192.0.2.8/26]}]}, bootstrap: {linuxPrep:
			{timeZone: "Europe Zurich", customizeAtNextPowerOn: true, password: {name: ""}, scriptText: {value: a, from: {name: b}}}}}`, []string{
			"spec.bootstrap.linuxPrep.password.name: Required value: name the Secret",
			"spec.bootstrap.linuxPrep.scriptText.from.key: Required value: name the key in the Secret",
			`spec.bootstrap.linuxPrep.timeZone: Invalid value: "Europe Zurich": has to be a time zone, such as Europe/Sofia`,
			"spec.bootstrap.linuxPrep.customizeAtNextPowerOn: Forbidden: is not supported yet: leave it out, and the guest is customised " +
				"before it is powered on first",
			"spec.bootstrap.linuxPrep.scriptText.value: Forbidden: cannot be given together with from",
			`spec.network.hostName: Invalid value: "192.0.2.7": with spec.bootstrap.linuxPrep it has to be at most 63 letters, digits and ` +
				`dashes, of which one is no digit; where it is left out it is the virtual machine's name`,
			"spec.network.interfaces[0].addresses: Forbidden: spec.bootstrap.linuxPrep sets one IPv4 address of an interface: leave the " +
				"others out, or use cloudInit"}},
		{"a script with colours", `bootstrap: {linuxPrep: {scriptText: {value: "echo \e[31m"}}}`, []string{
			`spec.bootstrap.linuxPrep.scriptText.value: Invalid value: "echo \x1b[31m": ` + secret.NoText}},
		{"neither form", "bootstrap: {sysprep: {}}", []string{"spec.bootstrap.sysprep.sysprep: Required value: give this, or rawSysprep"}},
		{"both forms", "bootstrap: {sysprep: {rawSysprep: {name: a, key: b}, sysprep: {" + full + "}}}", []string{
			"spec.bootstrap.sysprep.rawSysprep: Forbidden: cannot be given together with sysprep"}},
		{"a long name", "{network: {hostName: a-long-name-for-it}, bootstrap: {sysprep: {sysprep: {" + full + "}}}}", []string{
			`spec.network.hostName: Invalid value: "a-long-name-for-it": with spec.bootstrap.sysprep it has to be at most 15 letters, ` +
				`digits and dashes, of which one is no digit; where it is left out it is the virtual machine's name`}},
		{"a long name, told by nobody", "{network: {hostName: a-long-name-for-it}, bootstrap: {sysprep: {rawSysprep: {name: a, key: b}}}}", nil},
		{"Windows", `bootstrap: {sysprep: {sysprep: {userData: {fullName: "", orgName: ""}, guiUnattended: {timeZone: 999, autoLogon: true},
			licenseFilePrintData: {autoMode: free}}}}`, []string{
			"spec.bootstrap.sysprep.sysprep.userData.fullName: Required value: name the owner",
			"spec.bootstrap.sysprep.sysprep.userData.orgName: Required value: name the owner's organisation",
			"spec.bootstrap.sysprep.sysprep.guiUnattended.timeZone: Invalid value: 999: has to be one of Microsoft's numbers, such as 85 for UTC",
			"spec.bootstrap.sysprep.sysprep.guiUnattended.autoLogonCount: Invalid value: 0: has to be 1 or more with autoLogon",
			"spec.bootstrap.sysprep.sysprep.guiUnattended.password: Required value: nobody can be logged in without one: name a Secret, " +
				"or leave out autoLogon",
			`spec.bootstrap.sysprep.sysprep.licenseFilePrintData.autoMode: Unsupported value: "free": supported values: "perSeat", "perServer"`}},
		{"a workgroup and a domain", "{network: {domainName: example.com}, bootstrap: {sysprep: {sysprep: {" + full +
			", identification: {joinWorkgroup: W, domainAdmin: a}}}}}", []string{
			"spec.bootstrap.sysprep.sysprep.identification.domainAdmin: Forbidden: cannot be given together with joinWorkgroup",
			"spec.bootstrap.sysprep.sysprep.identification.joinWorkgroup: Forbidden: cannot be given together with spec.network.domainName, " +
				"which is the domain that the guest joins"}},
		{"a domain without an account", "{network: {domainName: example.com}, bootstrap: {sysprep: {sysprep: {" + full + "}}}}", []string{
			"spec.bootstrap.sysprep.sysprep.identification.domainAdmin: Required value: the guest joins the domain of " +
				"spec.network.domainName: name an account of it that may let it in",
			"spec.bootstrap.sysprep.sysprep.identification.domainAdminPassword: Required value: the guest joins the domain of " +
				"spec.network.domainName: name an account of it that may let it in"}},
		{"an account without a domain", "bootstrap: {sysprep: {sysprep: {" + full + ", identification: {domainOU: OU=Web}}}}", []string{
			"spec.bootstrap.sysprep.sysprep.identification.domainOU: Forbidden: needs the domain to join: set spec.network.domainName"}},
		{"properties", `bootstrap: {vAppConfig: {rawProperties: a, properties: [{key: ""}, {key: b, value: {value: a, from: {name: a, key: ""}}},
			{key: b, value: {value: "\u0001"}}]}}`, []string{
			"spec.bootstrap.vAppConfig.properties[1].value.from.key: Required value: name the key in the Secret",
			"spec.bootstrap.vAppConfig.rawProperties: Forbidden: cannot be given together with properties",
			"spec.bootstrap.vAppConfig.properties[0].key: Required value: name a property of the image",
			"spec.bootstrap.vAppConfig.properties[1].value.value: Forbidden: cannot be given together with from",
			`spec.bootstrap.vAppConfig.properties[2].key: Duplicate value: "b"`,
			`spec.bootstrap.vAppConfig.properties[2].value.value: Invalid value: "\x01": ` + secret.NoText}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, refusals(asked(t, test.spec))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
