// SPDX-License-Identifier: Apache-2.0

package up

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValidateNamesEveryMistake(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("username: a\npassword: b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	with := func(change func(*Options)) Options {
		o := DefaultOptions()
		change(&o)
		return o
	}
	vcenter := func(url string) Options {
		return with(func(o *Options) { o.VCenter, o.VCenterCredentials = url, file })
	}
	for name, test := range map[string]struct {
		options Options
		want    []string // the beginning of each line
	}{
		"simulated": {options: with(func(o *Options) { o.Sim = true })},
		"real":      {options: vcenter("https://vcenter.example.com/sdk")},
		"nothing said": {
			options: DefaultOptions(),
			want:    []string{"no vCenter is named: give --vcenter URL and --vcenter-credentials FILE, or --sim"},
		},
		"everything wrong at once": {
			options: Options{Sim: true, DataDir: file, BindAddress: "localhost", SecurePort: 70000, VCenterCredentials: file,
				VCenterCA: file, VCenterThumbprint: "ab"},
			want: []string{
				"--data-dir " + file + " is not a folder: name a folder",
				`--bind-address "localhost" is not an IP address: give one`,
				"--secure-port 70000 is not a port: give a number",
				"--vcenter-credentials has no meaning without --vcenter: leave it out",
				"--vcenter-ca has no meaning without --vcenter: leave it out",
				"--vcenter-thumbprint has no meaning without --vcenter: leave it out",
			},
		},
		"both": {
			options: with(func(o *Options) {
				o.Sim, o.VCenter, o.VCenterCredentials = true, "https://vcenter.example.com",
					file
			}),
			want: []string{"--sim and --vcenter exclude each other: leave out --sim to run on https://vcenter.example.com"},
		},
		"password in the URL": {
			options: vcenter("https://root:secret@vcenter.example.com"),
			want:    []string{"--vcenter https://root:xxxxx@vcenter.example.com holds a user name: leave it out"},
		},
		"not https": {options: vcenter("http://vcenter.example.com"),
			want: []string{"--vcenter http://vcenter.example.com is not an https URL: give one"}},
		"host alone": {options: vcenter("vcenter.example.com"),
			want: []string{"--vcenter vcenter.example.com is not an https URL: give one"}},
		"path": {options: vcenter("https://vcenter.example.com/ui"),
			want: []string{"--vcenter https://vcenter.example.com/ui has the path /ui: give host and port alone"}},
		"no credentials": {options: with(func(o *Options) { o.VCenter = "https://v" }),
			want: []string{"--vcenter needs --vcenter-credentials: a YAML file"}},
		"missing credentials": {
			options: with(func(o *Options) { o.VCenter, o.VCenterCredentials = "https://v", filepath.Join(dir, "none") }),
			want:    []string{"--vcenter-credentials cannot be read: open " + filepath.Join(dir, "none")},
		},
		"trust": {
			options: with(func(o *Options) {
				o.VCenter, o.VCenterCredentials, o.VCenterCA, o.VCenterThumbprint = "https://v", file, file, "12:34"
			}),
			want: []string{
				"--vcenter-ca and --vcenter-thumbprint exclude each other: give",
				"--vcenter-ca " + file + " holds no certificate",
				`--vcenter-thumbprint "12:34" is not a SHA-256 thumbprint: give 64`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			if err := test.options.Validate(); err != nil {
				got = strings.Split(err.Error(), "\n")
				if strings.Contains(err.Error(), "secret") {
					t.Errorf("the message holds the password: %v", err)
				}
			}
			for i, line := range got {
				if i < len(test.want) && strings.HasPrefix(line, test.want[i]) {
					got[i] = test.want[i]
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}
