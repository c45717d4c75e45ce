// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/plugin/shell/shelltest"
)

// TestALoginByFingerprint logs in on a terminal without an authority, as somebody does
// who has just been told the address, and uses what that has left.
func TestALoginByFingerprint(t *testing.T) {
	t.Parallel()
	const name = "dev-a@vsphere.local"
	s := running(t)
	for _, auth := range []string{"token", "exec"} {
		t.Run(auth, func(t *testing.T) {
			t.Parallel()
			p, terminal := s.Person(t, name), shelltest.New(t)
			command := p.Command(t, "", "vsphere", "login", "--server", strings.TrimPrefix(s.LoginURL(t), "https://"), "-u",
				name, "--auth", auth)
			terminal.Start(command)
			terminal.Expect("(yes/no/fingerprint): ")
			terminal.Type("what?\n")
			terminal.Expect("Type yes, no or the fingerprint: ")
			terminal.Type("y\n")
			terminal.Expect("Password: ")
			terminal.AwaitEcho(false)
			terminal.Type(vcentertest.SamplePassword + "\n")
			terminal.Expect("To change context")
			if err := command.Wait(); err != nil {
				t.Fatalf("login: %v\n%s", err, terminal.Text())
			}
			if text := terminal.Text(); strings.Contains(text, vcentertest.SamplePassword) ||
				strings.Count(text, "(yes/no/fingerprint)") != 1 {
				t.Errorf("the terminal shows:\n%s", text)
			}
			if config, err := os.ReadFile(p.Kubeconfig); err != nil || strings.Contains(string(config), "insecure") {
				t.Errorf("%v; the kubeconfig is:\n%s", err, config)
			}
			if out, err := p.Types(t, "", "--context", "team-a", "get", "vm"); err != nil || !strings.Contains(out, "web-1") {
				t.Errorf("get vm with what the login has left: %v\n%s", err, out)
			}
		})
	}
}
