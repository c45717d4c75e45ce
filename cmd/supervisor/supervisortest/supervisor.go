// SPDX-License-Identifier: Apache-2.0

package supervisortest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/openpacific/pacific/cmd/supervisor/datadir"
	"github.com/openpacific/pacific/cmd/supervisor/ports"
	"github.com/openpacific/pacific/cmd/supervisor/process"
	"github.com/openpacific/pacific/pkg/apiserver"
	"github.com/openpacific/pacific/pkg/guestaddress"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
	"github.com/openpacific/pacific/pkg/waittest"
)

const (
	// interval is how often is looked whether the Supervisor is ready.
	interval = 25 * time.Millisecond
	// stopDeadline is how long it may take to end in order.
	stopDeadline = time.Minute
)

// Build returns the path of the binary that SUPERVISOR names. Without one it is built into the folder; the tests run in
// a folder beside the Supervisor's main package.
func Build(folder string) (string, error) {
	if binary := os.Getenv("SUPERVISOR"); binary != "" {
		return binary, nil
	}
	fmt.Println("building the Supervisor; SUPERVISOR=<binary> saves that")
	binary := filepath.Join(folder, "supervisor")
	if out, err := exec.Command("go", "build", "-o", binary, "..").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the Supervisor: %w\n%s", err, out)
	}
	return binary, nil
}

// Supervisor is one `supervisor up`. Its fields are set before Start.
type Supervisor struct {
	Binary string
	Path   string // folder of the commands that people type
	Dir    datadir.Dir
	Port   int // of kube-apiserver
	Guests guestaddress.Network
	Output waittest.Output

	process *os.Process
	exited  chan struct{}
	ending  error // set once exited is closed
}

// FreePort is one that nobody else gets as long as this process lives.
func FreePort() int {
	port, _, err := ports.Choose()
	if err != nil {
		panic(fmt.Sprintf("choose a port: %v", err))
	}
	return port
}

// guests is a network for simulated guests that hardly anybody else uses on this computer now.
func guests() guestaddress.Network {
	network, err := guestaddress.Parse(fmt.Sprintf("127.%d.0.0/16", 70+rand.IntN(180)))
	if err != nil {
		panic(err)
	}
	return network
}

// Start types `supervisor up`, which ends when the tests die.
func (s *Supervisor) Start(arguments ...string) error {
	arguments = append([]string{"up", "--data-dir", string(s.Dir), "--secure-port", strconv.Itoa(s.Port), "--login-port",
		"0", "--guest-network", s.Guests.String()}, arguments...)
	command := exec.Command(s.Binary, arguments...)
	command.Stdout, command.Stderr = &s.Output, &s.Output
	command.SysProcAttr = attributes()
	started := make(chan error, 1)
	s.exited = make(chan struct{})
	go func() {
		// The kernel ties the death signal to the thread that started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		s.process = command.Process
		started <- err
		if err == nil {
			s.ending = command.Wait()
			close(s.exited)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start the Supervisor: %w", err)
	}
	return nil
}

// Begin starts the Supervisor, once more where it was stopped, and waits until it is ready.
func (s *Supervisor) Begin(t *testing.T, arguments ...string) {
	t.Helper()
	s.Output.Reset()
	if err := s.Start(arguments...); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startDeadlineAlone)
	defer cancel()
	if err := s.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}

// WaitReady returns when the Supervisor says that it is ready, or why it will not be or is not by the end of ctx.
func (s *Supervisor) WaitReady(ctx context.Context) error {
	err := wait.PollUntilContextCancel(ctx, interval, true, func(context.Context) (bool, error) {
		select {
		case <-s.exited:
			return false, fmt.Errorf("it ended: %w", s.ending)
		default:
			return strings.Contains(s.Output.String(), "\nReady in "), nil
		}
	})
	if err != nil {
		return fmt.Errorf("wait for the Supervisor: %w\n%s", err, &s.Output)
	}
	return nil
}

// Stop types Ctrl-C and waits for the end of the Supervisor and of all its children.
func (s *Supervisor) Stop() error {
	status, err := s.Dir.ReadStatus()
	if err != nil {
		return err
	}
	select {
	case <-s.exited:
	default:
		_ = s.process.Signal(os.Interrupt)
	}
	select {
	case <-s.exited:
	case <-time.After(stopDeadline):
		_ = s.process.Kill()
		return fmt.Errorf("the Supervisor in %s does not stop:\n%s", s.Dir, &s.Output)
	}
	if s.ending != nil {
		return fmt.Errorf("the Supervisor in %s ended with %w:\n%s", s.Dir, s.ending, &s.Output)
	}
	for _, component := range status.Components {
		if component.PID > 0 && syscall.Kill(component.PID, 0) == nil {
			return fmt.Errorf("%s (pid %d) is left over", component.Name, component.PID)
		}
	}
	return nil
}

// Environment is the one in which kubectl finds this Supervisor.
func (s *Supervisor) Environment() []string {
	return append(os.Environ(), "KUBECONFIG="+s.Dir.AdminKubeconfig(),
		"KUBECACHEDIR="+filepath.Join(string(s.Dir), "kubecache"), "TERM=dumb", "EDITOR=false")
}

// Try types `supervisor …` and returns what it prints to both of its outputs.
func (s *Supervisor) Try(ctx context.Context, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, s.Binary, arguments...)
	command.Env = s.Environment()
	out, err := command.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%q: %w\n%s", arguments, err, out)
	}
	return string(out), err
}

// Component is one child as the Supervisor knows it.
func (s *Supervisor) Component(t *testing.T, name string) process.Status {
	t.Helper()
	status, err := s.Dir.ReadStatus()
	if err != nil {
		t.Fatal(err)
	}
	for _, component := range status.Components {
		if component.Name == name {
			return component
		}
	}
	t.Fatalf("the Supervisor has no component %s", name)
	return process.Status{}
}

// Kill does `kill -9` to a component.
func (s *Supervisor) Kill(t *testing.T, name string) {
	t.Helper()
	if err := syscall.Kill(s.Component(t, name).PID, syscall.SIGKILL); err != nil {
		t.Fatalf("kill %s: %v", name, err)
	}
}

// Log is what a component has logged.
func (s *Supervisor) Log(t *testing.T, component string) string {
	t.Helper()
	data, err := os.ReadFile(s.Dir.Log(component))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Config is the administrator's, without a limit to how often is asked.
func (s *Supervisor) Config(t *testing.T) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", s.Dir.AdminKubeconfig())
	if err != nil {
		t.Fatalf("read the administrator's kubeconfig: %v", err)
	}
	config.QPS = -1
	return config
}

// Kubectl types `kubectl …`, which must succeed.
func (s *Supervisor) Kubectl(t *testing.T, arguments ...string) string {
	t.Helper()
	out, err := s.Try(t.Context(), append([]string{"kubectl"}, arguments...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Installation is the id that the Supervisor prints of itself.
func (s *Supervisor) Installation(t *testing.T) string {
	t.Helper()
	out, err := s.Try(t.Context(), "status", "--data-dir", string(s.Dir))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out) {
		if id, found := strings.CutPrefix(line, "Installation "); found {
			return strings.TrimSpace(id)
		}
	}
	t.Fatalf("no installation in\n%s", out)
	return ""
}

// RecordKeys are those by which the Supervisor proves its records in vCenter.
func (s *Supervisor) RecordKeys(t *testing.T) *machine.Keys {
	t.Helper()
	options := apiserver.NewOptions().Records
	records := &ledger.Ledger{Client: s.Etcd(t, "vsphere-apiserver-etcd-client"), Prefix: options.Prefix}
	keys, err := records.RecordKeys(t.Context(), options.Key)
	if err != nil {
		t.Fatal(err)
	}
	return machine.NewKeys(keys[0].Bytes)
}
