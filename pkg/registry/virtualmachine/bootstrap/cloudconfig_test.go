// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	vmopv1cloudinit "github.com/vmware-tanzu/vm-operator/api/v1alpha5/cloudinit"
	"sigs.k8s.io/yaml"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap"
)

// wished is a machine of which a manifest says what cloud-init is to do.
func wished(t *testing.T, cloudInit string) *vmopv1.VirtualMachine {
	t.Helper()
	vm := machine()
	vm.Spec.Bootstrap.CloudInit = &vmopv1.VirtualMachineBootstrapCloudInitSpec{}
	if err := yaml.UnmarshalStrict([]byte(cloudInit), vm.Spec.Bootstrap.CloudInit); err != nil {
		t.Fatal(err)
	}
	return vm
}

const fullCloudConfig = `cloudConfig:
  timezone: Europe/Sofia
  defaultUserEnabled: true
  ssh_pwauth: false
  users:
  - name: jane
    uid: 1000000001
    gecos: Jane
    groups: [sudo, users]
    inactive: 5
    lock_passwd: false
    passwd: {name: people, key: jane}
    ssh_authorized_keys: [ssh-ed25519 AAAA]
    sudo: ALL=(ALL) NOPASSWD:ALL
  - name: bob
    hashed_passwd: {name: other, key: bob}
  runcmd:
  - "ls -al"
  - [echo, "Hello, world."]
  write_files:
  - path: /etc/motd
    content: |
      yes
    permissions: "0644"
    append: true
  - path: /etc/key
    content: {name: people, key: binary}
    owner: root:root
    defer: true
  - path: /etc/packed
    encoding: gzip
    content: {name: people, key: binary}
  - path: /etc/empty
`

func TestCloudConfig(t *testing.T) {
	b := bootstrap.Bootstrap{Secrets: secrets{"team-a/people/jane": []byte("$6$jane\n"), "team-a/other/bob": []byte("$6$bob"),
		"team-a/people/binary": {0xff, 0xfe, 0}}}
	vm := wished(t, fullCloudConfig)
	if got := refusals(vm); len(got) > 0 {
		t.Fatal(got)
	}
	options := told(t, b, vm, cards(1))
	got := decoded(t, options, "guestinfo.userdata")
	want := `## template: jinja
#cloud-config

runcmd:
- ls -al
- - echo
  - Hello, world.
ssh_pwauth: false
timezone: Europe/Sofia
users:
- default
- gecos: Jane
  groups:
  - sudo
  - users
  inactive: "5"
  lock_passwd: false
  name: jane
  passwd: $6$jane
  ssh_authorized_keys:
  - ssh-ed25519 AAAA
  sudo: ALL=(ALL) NOPASSWD:ALL
  uid: 1000000001
- hashed_passwd: $6$bob
  name: bob
write_files:
- append: true
  content: |
    yes
  path: /etc/motd
  permissions: "0644"
- content: //4A
  defer: true
  encoding: base64
  owner: root:root
  path: /etc/key
- content: //4A
  encoding: gzip+base64
  path: /etc/packed
- path: /etc/empty
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("user data (-want +got):\n%s", diff)
	}
	names := bootstrap.SecretsOf(&vm.Spec)
	slices.Sort(names)
	if diff := cmp.Diff([]string{"other", "people"}, names); diff != "" {
		t.Errorf("Secrets (-want +got):\n%s", diff)
	}
}

// TestUserData: what becomes of user data, short of what is wrong with it.
func TestUserData(t *testing.T) {
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	if _, err := writer.Write([]byte("#cloud-config\n")); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	encoded := []byte(base64.StdEncoding.EncodeToString(packed.Bytes()) + "\n")
	const raw = "rawCloudConfig: {name: web, key: mine}"
	tests := []struct {
		name, cloudInit string
		secrets         secrets
		want            string // "" for none
	}{
		{"nothing", "{}", nil, ""},
		{"an empty cloud-config", "cloudConfig: {runcmd: null}", nil, ""},
		{"the default user, by name", "cloudConfig: {defaultUserEnabled: true, users: [{name: default}, {name: a}]}", nil,
			"## template: jinja\n#cloud-config\n\nusers:\n- default\n- name: a\n"},
		{"plain", raw, secrets{"team-a/web/mine": []byte("#cloud-config\n")}, "#cloud-config\n"},
		{"base64", raw, secrets{"team-a/web/mine": []byte("I2Nsb3VkLWNvbmZpZwo=")}, "#cloud-config\n"},
		{"gzip and base64", raw, secrets{"team-a/web/mine": encoded}, "#cloud-config\n"},
		{"gzip", raw, secrets{"team-a/web/mine": packed.Bytes()}, "#cloud-config\n"},
		{"the usual key", raw, secrets{"team-a/web/user-data": []byte("#a"), "team-a/web/value": []byte("#b")}, "#a"},
		{"the key of Cluster API", raw, secrets{"team-a/web/value": []byte("#b")}, "#b"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			vm := wished(t, test.cloudInit)
			if got := refusals(vm); len(got) > 0 {
				t.Fatal(got)
			}
			options := told(t, bootstrap.Bootstrap{Secrets: test.secrets}, vm, cards(1))
			if _, found := options["guestinfo.userdata"]; !found && test.want == "" {
				return
			}
			if got := decoded(t, options, "guestinfo.userdata"); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestSecretsAreCounted: whoever names very many Secrets has the cluster asked about no more than can be told.
func TestSecretsAreCounted(t *testing.T) {
	for count, want := range map[int][]string{64: nil, 65: {"spec.bootstrap: Forbidden: names more than 64 Secrets: put what the guest is told into fewer"},
		20_000: {"spec.bootstrap: Forbidden: names more than 64 Secrets: put what the guest is told into fewer"}} {
		vm := wished(t, "cloudConfig: {}")
		for i := range count {
			vm.Spec.Bootstrap.CloudInit.CloudConfig.WriteFiles = append(vm.Spec.Bootstrap.CloudInit.CloudConfig.WriteFiles,
				vmopv1cloudinit.WriteFile{Path: fmt.Sprint("/", i), Content: json.RawMessage(fmt.Sprintf(`{"name":"s%d","key":"k"}`, i))})
		}
		if got := len(bootstrap.SecretsOf(&vm.Spec)); got != min(count, 65) {
			t.Errorf("of %d Secrets %d are asked about", count, got)
		}
		if diff := cmp.Diff(want, refusals(vm)); diff != "" {
			t.Errorf("%d (-want +got):\n%s", count, diff)
		}
	}
}

// TestOneSecretIsMeant: the Secret that a guest is told is the one of which it was asked whether whoever named it may get
// it, which is before the spec is normalised.
func TestOneSecretIsMeant(t *testing.T) {
	const refused = "spec.bootstrap.cloudInit.cloudConfig.write_files[0].content: Forbidden: has to be a text, or name and key of a Secret"
	b := bootstrap.Bootstrap{Secrets: secrets{"team-a/hers/k": []byte("hush"), "team-a/mine/k": []byte("ours")}}
	for content, want := range map[string][]string{
		`{"name":"mine","key":"k"}`:                 nil,
		`{"name":"hers","name":"mine","key":"k"}`:   nil,
		`{"name":"hers","Name":"mine","key":"k"}`:   {refused},
		`{"name":5,"name":"hers","key":"k"}`:        {refused},
		`{"NAME":"hers","key":"k"}`:                 {refused},
		`{"name":"mine","key":"k","optional":true}`: {refused},
	} {
		vm := wished(t, "cloudConfig: {write_files: [{path: /a}]}")
		vm.Spec.Bootstrap.CloudInit.CloudConfig.WriteFiles[0].Content = json.RawMessage(content)
		asked := bootstrap.SecretsOf(&vm.Spec)
		bootstrap.Normalise(&vm.Spec)
		if diff := cmp.Diff(want, refusals(vm)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", content, diff)
		}
		if told := bootstrap.SecretsOf(&vm.Spec); !slices.Equal(asked, told) {
			t.Errorf("%s: asked is for %q, told is %q", content, asked, told)
		}
		got, err := b.Tell(t.Context(), vm, cards(1))
		if err == nil && strings.Contains(decoded(t, got.Options, "guestinfo.userdata"), "hush") {
			t.Errorf("%s tells a Secret of somebody else's", content)
		}
	}
}

// TestEveryCharacterArrives: what JSON lets stand as it is and YAML does not, and what ends a line in YAML alone, is in the
// password and in the file that a guest reads.
func TestEveryCharacterArrives(t *testing.T) {
	for _, text := range []string{"a\x7fb", "a\u0085b", "a\u0090b", "a\u2028b", "\ufeffa", "a\ufffdb", "a: b\t# c\nd", "\U0010ffff", "{{a}}"} {
		vm := wished(t, "cloudConfig: {users: [{name: a, passwd: {name: s, key: k}}], write_files: [{path: /a, content: {name: s, key: k}}]}")
		options := told(t, bootstrap.Bootstrap{Secrets: secrets{"team-a/s/k": []byte(text)}}, vm, cards(1))
		var got struct {
			Users []struct{ Passwd string }
			Files []struct{ Content string } `json:"write_files"`
		}
		if err := yaml.Unmarshal([]byte(decoded(t, options, "guestinfo.userdata")), &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got.Users[0].Passwd != text || got.Files[0].Content != text {
			t.Errorf("%q arrives as %+v", text, got)
		}
	}
}

func TestBrokenUserData(t *testing.T) {
	tests := []struct {
		name, cloudInit string
		secrets         secrets
		kind            failure.Kind
		says            string
	}{
		{"no password", "cloudConfig: {users: [{name: a, passwd: {name: people, key: a}}]}", nil, failure.NotFound,
			`spec.bootstrap.cloudInit.cloudConfig.users[0].passwd: there is no Secret "people" with a key "a" in the namespace "team-a": create it`},
		{"no content", "cloudConfig: {write_files: [{path: /a, content: {name: files, key: a}}]}", nil, failure.NotFound,
			`spec.bootstrap.cloudInit.cloudConfig.write_files[0].content: there is no Secret "files" with a key "a"`},
		{"a password that is no text", "cloudConfig: {users: [{name: a, passwd: {name: people, key: a}}]}",
			secrets{"team-a/people/a": []byte("hush\xe9")}, failure.Invalid,
			`spec.bootstrap.cloudInit.cloudConfig.users[0].passwd: the key "a" of the Secret "people" is no text in UTF-8`},
		{"another encoding", "cloudConfig: {write_files: [{path: /a, encoding: b64, content: {name: files, key: a}}]}",
			secrets{"team-a/files/a": []byte("hush\xff")}, failure.Invalid, "write_files[0].content: it is not encoded as b64"},
		{"damaged", "rawCloudConfig: {name: web, key: a}", secrets{"team-a/web/a": []byte("\x1f\x8bhush")}, failure.Invalid,
			`spec.bootstrap.cloudInit.rawCloudConfig: the key "a" of the Secret "web": it is compressed, and damaged`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := (&bootstrap.Bootstrap{Secrets: test.secrets}).Tell(t.Context(), wished(t, test.cloudInit), cards(1))
			if !errors.Is(err, test.kind) || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "hush") ||
				got.Options != nil {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestCloudInitRefusals(t *testing.T) {
	const at = "spec.bootstrap.cloudInit."
	tests := []struct {
		name, cloudInit string
		want            []string
	}{
		{"nothing", "{}", nil},
		{"both forms", "{cloudConfig: {}, rawCloudConfig: {name: a, key: b}}", []string{
			at + "rawCloudConfig: Forbidden: cannot be given together with cloudConfig"}},
		{"half a Secret", "{rawCloudConfig: {name: '', key: ''}}", []string{at + "rawCloudConfig.name: Required value: name the Secret",
			at + "rawCloudConfig.key: Required value: name the key in the Secret, such as user-data"}},
		{"users", `{cloudConfig: {users: [{name: ""}, {name: a}, {name: a}, {name: default}, {name: b, passwd: {name: s, key: ""},
			hashed_passwd: {name: "", key: k}}, {name: c, ssh_redirect_user: true, ssh_import_id: [x]}]}}`, []string{
			at + "cloudConfig.users[4].passwd.key: Required value: name the key in the Secret",
			at + "cloudConfig.users[4].hashed_passwd.name: Required value: name the Secret",
			at + "cloudConfig.users[0].name: Required value: name the user",
			at + `cloudConfig.users[2].name: Duplicate value: "a"`,
			at + `cloudConfig.users[3].name: Invalid value: "default": has to be the first of the users`,
			at + "cloudConfig.users[4].hashed_passwd: Forbidden: cannot be given together with passwd",
			at + "cloudConfig.users[5].ssh_redirect_user: Forbidden: cannot be given together with ssh_authorized_keys or ssh_import_id"}},
		{"the default user", `{cloudConfig: {users: [{name: default, uid: 5}]}}`, []string{
			at + `cloudConfig.users[0]: Invalid value: "default": is the image's own user, of whom nothing can be said but the name`}},
		{"no list of commands", `{cloudConfig: {runcmd: ls}}`, []string{at + `cloudConfig.runcmd: Invalid value: "\"ls\"": has to be a list`}},
		{"commands", `{cloudConfig: {runcmd: [ls, [ls, -l], 5, [ls, 5], [], null]}}`, []string{
			at + "cloudConfig.runcmd[2]: Invalid value: 5: has to be a text, or a list of texts",
			at + `cloudConfig.runcmd[3]: Invalid value: ["ls",5]: has to be a text, or a list of texts`,
			at + "cloudConfig.runcmd[4]: Invalid value: []: has to be a text, or a list of texts",
			at + "cloudConfig.runcmd[5]: Invalid value: null: has to be a text, or a list of texts"}},
		{"files", `{cloudConfig: {write_files: [{path: ""}, {path: /a}, {path: /a, encoding: rot13}, {path: /b, content: [hush]},
			{path: /c, content: {name: s}}]}}`, []string{
			at + "cloudConfig.write_files[4].content.key: Required value: name the key in the Secret",
			at + "cloudConfig.write_files[0].path: Required value: such as /etc/motd",
			at + `cloudConfig.write_files[2].path: Duplicate value: "/a"`,
			at + `cloudConfig.write_files[2].encoding: Unsupported value: "rot13": supported values: "b64", "base64", "gz", "gzip", ` +
				`"gz+b64", "gz+base64", "gzip+b64", "gzip+base64", "text/plain"`,
			at + "cloudConfig.write_files[3].content: Forbidden: has to be a text, or name and key of a Secret"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, refusals(wished(t, test.cloudInit))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What is for all interfaces is refused where no interface is to have it.
func TestGlobalsForNobody(t *testing.T) {
	vm := wished(t, "{useGlobalNameserversAsDefault: false, useGlobalSearchDomainsAsDefault: false}")
	vm.Spec.Network.Nameservers, vm.Spec.Network.SearchDomains = []string{"192.0.2.53"}, []string{"example.com"}
	want := []string{
		"spec.network.nameservers: Forbidden: are told to no guest while spec.bootstrap.cloudInit.useGlobalNameserversAsDefault is false",
		"spec.network.searchDomains: Forbidden: are told to no guest while spec.bootstrap.cloudInit.useGlobalSearchDomainsAsDefault is false"}
	if diff := cmp.Diff(want, refusals(vm)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	options := told(t, bootstrap.Bootstrap{}, vm, cards(1))
	if strings.Contains(decoded(t, options, "guestinfo.metadata"), "nameservers") {
		t.Errorf("%v", options)
	}
}

func TestWaitOnNetwork(t *testing.T) {
	for cloudInit, want := range map[string]any{
		"{waitOnNetwork4: true}":                         map[string]any{"ipv4": true, "ipv6": false},
		"{waitOnNetwork4: true, waitOnNetwork6: true}":   map[string]any{"ipv4": true, "ipv6": true},
		"{waitOnNetwork4: false, waitOnNetwork6: false}": nil,
	} {
		options := told(t, bootstrap.Bootstrap{}, wished(t, cloudInit), cards(1))
		var got map[string]any
		if err := json.Unmarshal([]byte(decoded(t, options, "guestinfo.metadata")), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got["wait-on-network"]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", cloudInit, diff)
		}
	}
}
