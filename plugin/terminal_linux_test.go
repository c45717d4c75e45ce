// SPDX-License-Identifier: Apache-2.0

package plugin_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/openpacific/pacific/plugin/wcp/wcptest"
)

// terminal is a pseudo-terminal and what was written to it.
type terminal struct {
	t             *testing.T
	master, slave *os.File

	mu     sync.Mutex // guards output
	output bytes.Buffer
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	terminal := &terminal{t: t, master: master, slave: slave}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			terminal.mu.Lock()
			terminal.output.Write(buffer[:n])
			terminal.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		slave.Close() // the last one: the reader's read fails
		<-done
		master.Close()
	})
	return terminal
}

func (t *terminal) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.output.String()
}

// expect waits until the terminal shows a text.
func (t *terminal) expect(text string) {
	t.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if strings.Contains(t.text(), text) {
			return
		}
	}
	t.t.Fatalf("the terminal does not show %q but:\n%s", text, t.text())
}

func (t *terminal) write(text string) {
	t.t.Helper()
	if _, err := t.master.WriteString(text); err != nil {
		t.t.Fatal(err)
	}
}

// echoes says whether the terminal shows what is typed.
func (t *terminal) echoes() bool {
	t.t.Helper()
	state, err := unix.IoctlGetTermios(int(t.slave.Fd()), unix.TCGETS)
	if err != nil {
		t.t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

func (t *terminal) awaitEcho(wanted bool) {
	t.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if t.echoes() == wanted {
			return
		}
	}
	t.t.Fatalf("echo of the terminal is %v", !wanted)
}

// start runs the plugin on the terminal.
func (t *terminal) start(world *wcptest.World, arguments ...string) *exec.Cmd {
	t.t.Helper()
	command := exec.Command("kubectl-vsphere", arguments...)
	home := t.t.TempDir()
	command.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "KUBECONFIG="+filepath.Join(home, "kubeconfig"),
		"HTTPS_PROXY="+world.Proxy(), "NO_PROXY=", "KUBECTL_VSPHERE_PASSWORD=")
	command.Stdin, command.Stdout, command.Stderr = t.slave, t.slave, t.slave
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := command.Start(); err != nil {
		t.t.Fatal(err)
	}
	t.t.Cleanup(func() { _ = command.Process.Kill() })
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
	world.Serve("10.0.1.10:443", wcptest.NewAuthority(t, "CA").Issue(t, "10.0.1.10"), supervisor)
	return supervisor, goOn
}

// TestTerminal is a login as a person sees it: questions, a password that is not
// shown, a line about the step that takes long, which goes away again.
func TestTerminal(t *testing.T) {
	world, terminal := wcptest.NewWorld(t), newTerminal(t)
	_, goOn := newSupervisor(t, world)
	command := terminal.start(world, "login", "--server=10.0.1.10", "--vsphere-username=dev@vsphere.local")
	terminal.expect("(yes/no): ")
	terminal.write("yes\n")
	terminal.expect("Password: ")
	terminal.awaitEcho(false)
	terminal.write(password + "\n")
	terminal.expect("\r\x1b[KAsking 10.0.1.10 for your namespaces... 0 s")
	close(goOn)
	terminal.expect("To change context")
	if err := command.Wait(); err != nil {
		t.Fatalf("login: %v\n%s", err, terminal.text())
	}
	if strings.Contains(terminal.text(), password) {
		t.Errorf("the terminal shows the password:\n%s", terminal.text())
	}
	if !strings.Contains(terminal.text(), "\r\x1b[KLogged in successfully.") {
		t.Errorf("the line about the step is not taken back:\n%q", terminal.text())
	}
	terminal.awaitEcho(true)
}

// TestInterruptedPassword ends a login by Ctrl-C: the terminal is as it was, and
// the server has got no password.
func TestInterruptedPassword(t *testing.T) {
	world, terminal := wcptest.NewWorld(t), newTerminal(t)
	supervisor, _ := newSupervisor(t, world)
	command := terminal.start(world, "login", "--server=10.0.1.10", "--vsphere-username=dev@vsphere.local", "--insecure-skip-tls-verify")
	terminal.expect("Password: ")
	terminal.awaitEcho(false)
	terminal.write(password[:4] + "\x03")
	terminal.expect("error: interrupted")
	_ = command.Wait()
	if code := command.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	if !terminal.echoes() {
		t.Error("the terminal does not show what is typed any more")
	}
	if got := supervisor.Requests(); len(got) != 1 {
		t.Errorf("the server was asked %q", got)
	}
}
