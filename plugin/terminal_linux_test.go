// SPDX-License-Identifier: Apache-2.0

package plugin_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openpacific/pacific/plugin/shell/shelltest"
	"github.com/openpacific/pacific/plugin/wcp/wcptest"
)

// start runs the plugin on a terminal.
func start(t *testing.T, terminal *shelltest.Terminal, world *wcptest.World, arguments ...string) *exec.Cmd {
	t.Helper()
	command := exec.Command("kubectl-vsphere", arguments...)
	home := t.TempDir()
	command.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home,
		"KUBECONFIG="+filepath.Join(home, "kubeconfig"),
		"HTTPS_PROXY="+world.Proxy(), "NO_PROXY=", "KUBECTL_VSPHERE_PASSWORD=")
	terminal.Start(command)
	return command
}

// newSupervisor serves a Supervisor at 10.0.1.10 whose logins wait for a word.
func newSupervisor(t *testing.T, world *wcptest.World) (*wcptest.Supervisor, chan struct{}) {
	t.Helper()
	goOn := make(chan struct{})
	supervisor := &wcptest.Supervisor{
		Users: map[string]string{"dev@vsphere.local": password}, Workloads: "[]", Expires: 4000000000,
		Answer: func(_ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/wcp/workloads" {
				select {
				case <-goOn:
				case <-r.Context().Done():
				}
			}
			return false
		},
	}
	serve(t, world, "10.0.1.10", wcptest.NewAuthority(t, "CA"), supervisor)
	return supervisor, goOn
}

// TestTerminal is a login as a person sees it: questions, a password that is not
// shown, a line about the step that takes long, which goes away again.
func TestTerminal(t *testing.T) {
	world, terminal := wcptest.NewWorld(t), shelltest.New(t)
	_, goOn := newSupervisor(t, world)
	command := start(t, terminal, world, "login", "--server=10.0.1.10", "--vsphere-username=dev@vsphere.local")
	terminal.Expect("(yes/no/fingerprint): ")
	terminal.Type("yes\n")
	terminal.Expect("Password: ")
	terminal.AwaitEcho(false)
	terminal.Type(password + "\n")
	terminal.Expect("\r\x1b[KAsking 10.0.1.10 for your namespaces... 0 s")
	close(goOn)
	terminal.Expect("To change context")
	if err := command.Wait(); err != nil {
		t.Fatalf("login: %v\n%s", err, terminal.Text())
	}
	if strings.Contains(terminal.Text(), password) {
		t.Errorf("the terminal shows the password:\n%s", terminal.Text())
	}
	if !strings.Contains(terminal.Text(), "\r\x1b[KLogged in successfully.") {
		t.Errorf("the line about the step is not taken back:\n%q", terminal.Text())
	}
	terminal.AwaitEcho(true)
}

// TestInterruptedPassword ends a login by Ctrl-C: the terminal is as it was, and
// the server has got no password.
func TestInterruptedPassword(t *testing.T) {
	world, terminal := wcptest.NewWorld(t), shelltest.New(t)
	supervisor, _ := newSupervisor(t, world)
	command := start(t, terminal, world, "login", "--server=10.0.1.10", "--vsphere-username=dev@vsphere.local",
		"--insecure-skip-tls-verify")
	terminal.Expect("Password: ")
	terminal.AwaitEcho(false)
	terminal.Type(password[:4] + "\x03")
	terminal.Expect("error: interrupted")
	_ = command.Wait()
	if code := command.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	if !terminal.Echoes() {
		t.Error("the terminal does not show what is typed any more")
	}
	if got := supervisor.Requests(); len(got) != 1 {
		t.Errorf("the server was asked %q", got)
	}
}

// TestProgressOfPower shows on a terminal what is in the way of a machine, and takes it back at the end.
func TestProgressOfPower(t *testing.T) {
	world, terminal := wcptest.NewWorld(t), shelltest.New(t)
	authority := wcptest.NewAuthority(t, "CA")
	supervisor := &wcptest.Supervisor{Users: map[string]string{"dev@vsphere.local": password},
		Workloads: `[{"namespace":"team-a","master_host":"10.0.1.10"}]`, Expires: 4000000000}
	const web = "/apis/vmoperator.vmware.com/v1alpha5/namespaces/team-a/virtualmachines/web"
	api := serve(t, world, "10.0.1.10", authority, supervisor)
	copying := map[string]any{"type": "VirtualMachineCreated", "status": "False", "reason": "CopyingDisks",
		"message": "42 % are copied"}
	api.Objects = map[string]map[string]any{web: {"metadata": map[string]any{"name": "web", "uid": "1"},
		"spec": map[string]any{}, "status": map[string]any{"powerState": "PoweredOff", "conditions": []any{copying}}}}
	api.Becomes = map[string]map[string]any{web: {"status": map[string]any{"powerState": "PoweredOn"}}}
	home := t.TempDir()
	ca := filepath.Join(home, "ca.pem")
	if err := os.WriteFile(ca, authority.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := login(t, world, home, "10.0.1.10", "--certificate-authority="+ca,
		"--insecure-skip-tls-verify=false").CombinedOutput(); err != nil {
		t.Fatalf("login: %v\n%s", err, out)
	}
	command := exec.Command("kubectl-vsphere", "vm", "power", "on", "web", "-n", "team-a", "--context", "team-a")
	command.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "KUBECONFIG="+filepath.Join(home, "kubeconfig"),
		"HTTPS_PROXY="+world.Proxy(), "NO_PROXY=")
	terminal.Start(command)
	terminal.Expect("\r\x1b[Kweb: power on... ")
	terminal.Expect(" s 42 % are copied")
	terminal.Expect("\r\x1b[Kweb is powered on")
	if err := command.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, terminal.Text())
	}
}
