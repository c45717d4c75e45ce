// SPDX-License-Identifier: Apache-2.0

package up

import (
	"slices"
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/cmd/supervisor/datadir"
	"github.com/openpacific/pacific/cmd/supervisor/pki"
)

// TestFlagsReachVSphereAPIServer: what somebody says to `supervisor up` of vCenter and of logging in is said to the
// server.
func TestFlagsReachVSphereAPIServer(t *testing.T) {
	options := DefaultOptions()
	flags := pflag.NewFlagSet("up", pflag.ContinueOnError)
	options.AddFlags(flags)
	given := []string{
		"--login-default-domain=corp.example.com", "--login-domain-aliases=CORP=corp.example.com,LAB=lab.example.com",
		"--namespaces-folder=/DC0/vm/K8s", "--namespaces-folder-id=group-v42", "--zone-clusters=a,b",
		"--installation-id=8e0a3f3e-8c6c-4a3e-9f0e-111111111111", "--record-key=2",
	}
	if err := flags.Parse(given); err != nil {
		t.Fatal(err)
	}
	dir := datadir.Dir(t.TempDir())
	if err := dir.Create(); err != nil {
		t.Fatal(err)
	}
	store := pki.Store{Dir: dir.PKI(), Clock: clock.RealClock{}}
	authorities, _, err := openAuthorities(store, dir, false)
	if err != nil {
		t.Fatal(err)
	}
	certificates, _, err := issue(store, authorities, []string{"localhost"})
	if err != nil {
		t.Fatal(err)
	}
	p := &plan{options: options, dir: dir, ports: datadir.Ports{}, certificates: certificates}
	command, err := p.vsphereAPIServer()
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range given {
		if !slices.Contains(command.Args, flag) {
			t.Errorf("%s is not among %q", flag, command.Args)
		}
	}
}
