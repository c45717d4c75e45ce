// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap/secret"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap/vapp"
)

const propertiesSpec = `
network:
  nameservers: [192.0.2.53, 192.0.2.54]
  interfaces:
  - {name: eth0, addresses: [192.0.2.7/26, "2001:db8::7/64", 192.0.2.8/26], gateway4: 192.0.2.1}
  - {name: eth1}
bootstrap:
  vAppConfig:
    properties:
    - {key: hostname, value: {value: "{{ .V1alpha1.VM.Name }}"}}
    - {key: password, value: {from: {name: values, key: password}}}
    - {key: size, value: {}}
`

func TestProperties(t *testing.T) {
	b := bootstrap.Bootstrap{Secrets: secrets{"team-a/values/password": []byte("hush\n"), "team-a/values/ip": []byte("{{ V1alpha3_FirstIP }}")}}
	for name, test := range map[string]struct {
		spec string
		want facts.Told
	}{
		"one by one": {propertiesSpec, facts.Told{Properties: map[string]string{"hostname": "web", "password": "hush"}}},
		"all of a Secret": {strings.Split(propertiesSpec, "properties:")[0] + "rawProperties: values",
			facts.Told{Properties: map[string]string{"ip": "192.0.2.7/26", "password": "hush"}}},
	} {
		t.Run(name, func(t *testing.T) {
			vm := asked(t, test.spec)
			if got := refusals(vm); len(got) > 0 {
				t.Fatal(got)
			}
			got, err := b.Tell(t.Context(), vm, cards(2))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	b.Secrets = secrets{"team-a/values/password": []byte("{{ hush }}")}
	_, err := b.Tell(t.Context(), asked(t, propertiesSpec), cards(2))
	if !errors.Is(err, failure.Invalid) || !strings.Contains(fmt.Sprint(err), `properties[1].value.from: the key "password" of the `+
		`Secret "values" is a template that cannot be filled in`) || strings.Contains(fmt.Sprint(err), "hush") {
		t.Errorf("a broken template: %v", err)
	}
}

// TestTemplates: what vm-operator's templates have, at each version.
func TestTemplates(t *testing.T) {
	templates, err := vapp.NewTemplates(asked(t, propertiesSpec), cards(2))
	if err != nil {
		t.Fatal(err)
	}
	for version := 1; version <= 5; version++ {
		for template, want := range map[string]string{
			"{{ Vn_FirstIP }}":                                                                "192.0.2.7/26",
			"{{ Vn_FirstNicMacAddr }}":                                                        "00-50-56-8a-00-01",
			"{{ Vn_FirstIPFromNIC 0 }}":                                                       "192.0.2.7/26",
			"{{ Vn_IPsFromNIC 0 }}":                                                           "[192.0.2.7/26 192.0.2.8/26]",
			`{{ Vn_FormatNameservers -1 "," }}`:                                               "192.0.2.53,192.0.2.54",
			`{{ Vn_FormatNameservers 1 ";" }}`:                                                "192.0.2.53",
			"{{ Vn_SubnetMask Vn_FirstIP }}":                                                  "255.255.255.192",
			`{{ Vn_IP "192.0.2.9" }}`:                                                         "192.0.2.9/24",
			`{{ Vn_FormatIP Vn_FirstIP "" }}`:                                                 "192.0.2.7",
			`{{ Vn_FormatIP Vn_FirstIP "/16" }}`:                                              "192.0.2.7/16",
			`{{ Vn_FormatIP "192.0.2.9" "255.255.0.0" }}`:                                     "192.0.2.9/16",
			`{{ Vn_FormatIP "2001:db8::9/64" "/48" }}`:                                        "2001:db8::9/48",
			"{{ (index .Vn.Net.Devices 0).Gateway4 }}":                                        "192.0.2.1",
			"{{ (index (index .Vn.Net.Devices 0).IPAddresses 1) }}":                           "192.0.2.8/26",
			"{{ (index .Vn.Net.Nameservers 1) }}":                                             "192.0.2.54",
			"{{ .Vn.VM.Namespace }}/{{ .Vn.VM.Name }}":                                        "team-a/web",
			"{{ range $i, $d := .Vn.Net.Devices }}{{ $i }}{{ len $d.IPAddresses }} {{ end }}": "02 10 ",
			`{{ printf "%05d" 7 | print }}\{\{ Vn_FirstIP \}\}`:                               "00007{{ Vn_FirstIP }}",
		} {
			template := strings.ReplaceAll(template, "Vn", fmt.Sprintf("V1alpha%d", version))
			want := strings.ReplaceAll(want, "Vn", fmt.Sprintf("V1alpha%d", version))
			if got, err := templates.Fill(template); err != nil || got != want {
				t.Errorf("%s is %q, %v; want %q", template, got, err, want)
			}
		}
	}
}

// TestTemplatesEnd: nobody's template goes on for ever, nor fills the server's memory.
func TestTemplatesEnd(t *testing.T) {
	templates, err := vapp.NewTemplates(asked(t, propertiesSpec), cards(2))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ template, says string }{
		"a number":   {"{{ range 1000000000000 }}{{ end }}", "a int cannot be gone through"},
		"in an if":   {"{{ if true }}{{ range 1000000000000 }}{{ end }}{{ end }}", "a int cannot be gone through"},
		"in an else": {"{{ with false }}{{ else }}{{ range 1000000000000 }}{{ end }}{{ end }}", "a int cannot be gone through"},
		"within each other": {strings.Repeat("{{ range $.V1alpha1.Net.Devices }}{{ range $.V1alpha1.Net.Nameservers }}", 8) +
			strings.Repeat("{{ end }}{{ end }}", 8), "its loops go round more than 256 times"},
		"doubled":           {`{{ $x := "0123456789" }}` + strings.Repeat("{{ $x = print $x $x }}", 40), "a function makes more than 65536 bytes"},
		"formatted":         {`{{ printf "%999999d" 1 }}`, `the width in "%999999d" is too large`},
		"formatted by name": {`{{ printf "%*d" 999999 1 }}`, `the width in "%*d" is too large`},
		"printed": {`{{ $x := "` + strings.Repeat("x", 60000) + `" }}` + strings.Repeat("{{ $x }}", 20),
			"it comes to more than 1048576 bytes"},
		"itself":         {`{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}`, "define, block and template cannot be used"},
		"what is it not": {`{{ template "value" . }}`, "define, block and template cannot be used"},
		"long":           {"{{ 1 }}" + strings.Repeat(" ", 200000), "a template may have 131072"},
		"no interface":   {"{{ V1alpha1_FirstIPFromNIC 2 }}", "there is no interface 2: there are 2"},
		"DHCP":           {"{{ V1alpha1_FirstIPFromNIC 1 }}", "spec.network.interfaces[1] has no IPv4 address that is known beforehand: give it addresses"},
		"no version":     {"{{ .V1alpha9.VM.Name }}", "V1alpha9"},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := templates.Fill(test.template); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %.20q, %v; want %s", got, err, test.says)
			}
		})
	}
}

// TestFits: what an image cannot be told is refused before anything is made of it.
// However many templates a machine has, as a Secret with thousands of keys: what comes of all of them is bounded.
func TestAllTemplatesEnd(t *testing.T) {
	templates, err := vapp.NewTemplates(asked(t, propertiesSpec), cards(2))
	if err != nil {
		t.Fatal(err)
	}
	values, err := secret.Read(t.Context(), many(5000), "team-a",
		vapp.References(&vapp.Config{RawProperties: "many"}))
	if err != nil {
		t.Fatal(err)
	}
	filled, err := vapp.Values(&vapp.Config{RawProperties: "many"}, templates, values)
	if err == nil {
		t.Errorf("%d templates were filled in", len(filled))
	}
}

// many is a Secret with so many keys, each a template that comes to 999 bytes.
type many int

func (m many) Data(context.Context, string, string) (map[string][]byte, error) {
	data := map[string][]byte{}
	for i := range int(m) {
		data[fmt.Sprint("key-", i)] = []byte(`{{ printf "%999d" 1 }}`)
	}
	return data, nil
}

func TestFits(t *testing.T) {
	image := []facts.Property{{Key: "hostname", Type: "string", UserConfigurable: true}, {Key: "port", Type: "int", UserConfigurable: true},
		{Key: "version", Type: "string"}}
	property := func(key, value string) string {
		return fmt.Sprintf("bootstrap: {vAppConfig: {properties: [{key: %s, value: {value: %q}}]}}", key, value)
	}
	for name, test := range map[string]struct{ spec, guest, says string }{
		"a value":          {property("hostname", "a"), "ubuntu64Guest", ""},
		"a template":       {property("hostname", "{{ V1alpha5_FirstNicMacAddr }}"), "ubuntu64Guest", ""},
		"a broken one":     {property("hostname", "{{ .Net }}"), "", "spec.bootstrap.vAppConfig.properties[0].value.value: the template cannot be filled in: "},
		"no such property": {property("name", "a"), "", `spec.bootstrap.vAppConfig.properties[0].key: there is no property "name": there are hostname, port`},
		"nobody's":         {property("version", "2"), "", `properties[0].key: the property "version" is not for people to set`},
		"another type":     {property("port", "http"), "", `properties[0].value.value: the property "port" has to be an integer`},
		"Linux":            {"bootstrap: {linuxPrep: {}}", "ubuntu64Guest", ""},
		"no Linux":         {"bootstrap: {linuxPrep: {}}", "windows2019srv_64Guest", "spec.bootstrap.linuxPrep: the guest is windows2019srv_64Guest, which is Windows: use sysprep"},
		"Windows":          {"bootstrap: {sysprep: {rawSysprep: {name: a, key: b}}}", "windows2019srv_64Guest", ""},
		"no Windows":       {"bootstrap: {sysprep: {rawSysprep: {name: a, key: b}}}", "ubuntu64Guest", "spec.bootstrap.sysprep: the guest is ubuntu64Guest, which is not Windows"},
		"nothing":          {"{}", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := bootstrap.Fits(asked(t, test.spec), test.guest, image)
			if (err == nil) != (test.says == "") || err != nil && (!errors.Is(err, failure.Invalid) || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("got %v, want %s", err, test.says)
			}
		})
	}
}
