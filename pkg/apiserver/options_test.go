// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
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
		"a password in the URL": {options: with(func(o *VCenterOptions) { o.URL = "https://user:secret@vcenter.example.com" }), want: []string{
			"--vcenter must not hold a user or password, which any user of this machine could read: put them into the file of --vcenter-credentials",
		}},
		"an unreadable URL with a password": {options: with(func(o *VCenterOptions) { o.URL = "https://user:secret@vcenter.example.com:port" }), want: []string{
			"--vcenter is not a URL: give one such as https://vcenter.example.com",
		}},
		"plain HTTP": {options: with(func(o *VCenterOptions) { o.URL = "http://vcenter.example.com" }), want: []string{
			`--vcenter "http://vcenter.example.com": the scheme must be https`,
		}},
		"a missing file": {options: with(func(o *VCenterOptions) { o.CAFile = missing }), want: []string{
			"--vcenter-ca: open " + missing + ": no such file or directory",
		}},
		"insecure and a CA": {options: with(func(o *VCenterOptions) { o.InsecureSkipTLSVerify, o.Thumbprint = true, "ab" }), want: []string{
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
			"neither --etcd-servers nor --data-dir is set: give the endpoints of an etcd, or a folder on a volume for an etcd inside this process",
		}},
		"both": {options: RecordsOptions{DataDir: "/data", Servers: []string{"https://etcd:2379"}}, want: []string{
			"--etcd-servers and --data-dir exclude each other: drop one",
		}},
		"half a client certificate": {options: RecordsOptions{DataDir: "/data", CertFile: os.Args[0]}, want: []string{
			"--etcd-certfile and --etcd-keyfile go together: set both or none",
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
