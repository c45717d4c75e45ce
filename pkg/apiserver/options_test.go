// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

func errorTexts(errors []error) []string {
	texts := []string{}
	for _, err := range errors {
		texts = append(texts, err.Error())
	}
	return texts
}

func TestVCenterOptions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials.yaml")
	if err := os.WriteFile(file, []byte("username: u\npassword: p\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	good := VCenterOptions{URL: "https://vcenter.example.com", CredentialsFile: file, NamespacesFolder: "Namespaces"}
	with := func(change func(*VCenterOptions)) VCenterOptions {
		options := good
		change(&options)
		return options
	}
	tests := map[string]struct {
		options VCenterOptions
		want    []string
	}{
		"good": {options: good},
		"nothing set": {options: VCenterOptions{}, want: []string{
			"--vcenter is not set: give the URL of vCenter, such as https://vcenter.example.com",
			"--vcenter-credentials is not set: give a YAML file with the keys username and password",
			"--namespaces-folder is empty: give the VM folder whose child folders are the namespaces",
		}},
		"a password in the URL": {options: with(func(o *VCenterOptions) {
			o.URL = "https://user:secret@vcenter.example.com"
		}), want: []string{
			"--vcenter must not hold a user or password, which any user of this machine could read: put them into the file of " +
				"--vcenter-credentials",
		}},
		"an unreadable URL with a password": {options: with(func(o *VCenterOptions) {
			o.URL = "https://user:secret@vcenter.example.com:port"
		}), want: []string{
			"--vcenter is not a URL: give one such as https://vcenter.example.com",
		}},
		"plain HTTP": {options: with(func(o *VCenterOptions) { o.URL = "http://vcenter.example.com" }), want: []string{
			`--vcenter "http://vcenter.example.com": the scheme must be https`,
		}},
		"a missing file": {options: with(func(o *VCenterOptions) { o.CAFile = missing }), want: []string{
			"--vcenter-ca: open " + missing + ": no such file or directory",
		}},
		"insecure and a CA": {options: with(func(o *VCenterOptions) { o.InsecureSkipTLSVerify, o.Thumbprint = true, "ab" }),
			want: []string{
				"--vcenter-insecure-skip-tls-verify contradicts --vcenter-ca and --vcenter-thumbprint: drop one",
			}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			want := append([]string{}, test.want...)
			if diff := cmp.Diff(want, errorTexts(test.options.validate())); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRecordsOptions(t *testing.T) {
	tests := map[string]struct {
		options RecordsOptions
		want    []string
	}{
		"inside the process": {options: RecordsOptions{DataDir: "/data"}},
		"external":           {options: RecordsOptions{Servers: []string{"https://etcd:2379"}}},
		"neither": {options: RecordsOptions{}, want: []string{
			"neither --etcd-servers nor --data-dir is set: give the endpoints of an etcd, or a folder on a volume for an etcd " +
				"inside this process",
		}},
		"both": {options: RecordsOptions{DataDir: "/data", Servers: []string{"https://etcd:2379"}}, want: []string{
			"--etcd-servers and --data-dir exclude each other: drop one",
		}},
		"half a client certificate": {options: RecordsOptions{DataDir: "/data", CertFile: os.Args[0]}, want: []string{
			"--etcd-certfile and --etcd-keyfile go together: set both or none",
		}},
		"a key in a folder": {options: RecordsOptions{DataDir: "/data", Key: "a/b"}, want: []string{
			`--record-key: "a/b" is not up to 63 letters in lower case, digits and dashes, such as 2: invalid`,
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			want := append([]string{}, test.want...)
			if test.options.Key == "" {
				test.options.Key = NewOptions().Records.Key
			}
			if diff := cmp.Diff(want, errorTexts(test.options.validate())); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoginOptions(t *testing.T) {
	good := LoginOptions{BindAddress: "0.0.0.0", Port: 443,
		Issuer: "https://login.example.com/openidconnect/vsphere.local"}
	with := func(change func(*LoginOptions)) LoginOptions {
		options := good
		change(&options)
		return options
	}
	missing := filepath.Join(t.TempDir(), "missing")
	tests := map[string]struct {
		options LoginOptions
		want    []string
	}{
		"good":             {options: good},
		"no login service": {options: LoginOptions{TrustedProxies: []string{"nonsense"}}},
		"nothing set": {options: LoginOptions{Port: -1}, want: []string{
			"--login-port -1 is not a port: give one from 1 to 65535, or 0 for no login service",
			`--login-bind-address "" is not an IP address`,
			`--login-issuer "": give the https URL at which kube-apiserver reaches the login service, with a path and ` +
				`without a slash at its end`,
		}},
		"a missing file": {options: with(func(o *LoginOptions) { o.KubeAPICAFile = missing }), want: []string{
			"--login-kube-api-ca: open " + missing + ": no such file or directory",
		}},
		"aliases": {options: with(func(o *LoginOptions) {
			o.DomainAliases = map[string]string{"CORP": "corp.example.com", "corp": "Corp.example.com",
				"example.com": "corp.example.com"}
		})},
		"broken aliases": {options: with(func(o *LoginOptions) {
			o.DomainAliases = map[string]string{"": "a.test", "B": "", `C\d`: "c.test", "E": "e.test", "e": "other.test"}
		}), want: []string{
			"--login-domain-aliases =a.test: give an alias and a domain, as CORP=corp.example.com",
			"--login-domain-aliases B=: give an alias and a domain, as CORP=corp.example.com",
			`--login-domain-aliases C\d=c.test: give an alias and a domain, as CORP=corp.example.com`,
			"--login-domain-aliases: e is the alias of two domains, e.test and other.test: drop one",
		}},
		"proxies": {options: with(func(o *LoginOptions) {
			o.TrustedProxies = []string{"10.0.0.0/8", "192.0.2.1",
				"2001:db8::/32", "::1"}
		})},
		"broken proxies": {options: with(func(o *LoginOptions) {
			o.TrustedProxies = []string{"proxy.example.com", "10.0.0.0/99"}
		}), want: []string{
			`--login-trusted-proxies "proxy.example.com": give addresses or CIDRs, as 10.0.0.0/8`,
			`--login-trusted-proxies "10.0.0.0/99": give addresses or CIDRs, as 10.0.0.0/8`,
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			want := append([]string{}, test.want...)
			if diff := cmp.Diff(want, errorTexts(test.options.validate())); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLoginFlags reads the flags as an administrator writes them.
func TestLoginFlags(t *testing.T) {
	var options LoginOptions
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	options.addFlags(flags)
	if err := flags.Parse([]string{
		"--login-domain-aliases=CORP=corp.example.com,example.com=Corp.example.com", "--login-domain-aliases=LAB=lab.test",
		"--login-trusted-proxies=10.0.0.0/8,192.0.2.1", "--login-trusted-proxies=::ffff:192.0.2.2",
	}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"corp": "corp.example.com", "example.com": "corp.example.com", "lab": "lab.test"}
	if diff := cmp.Diff(want, options.domainAliases()); diff != "" {
		t.Errorf("aliases (-want +got):\n%s", diff)
	}
	proxies := []string{}
	for _, prefix := range options.trustedProxies() {
		proxies = append(proxies, prefix.String())
	}
	if diff := cmp.Diff([]string{"10.0.0.0/8", "192.0.2.1/32", "192.0.2.2/32"}, proxies); diff != "" {
		t.Errorf("proxies (-want +got):\n%s", diff)
	}
}
