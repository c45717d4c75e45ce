// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/openpacific/pacific/cmd/supervisor/datadir"
	"github.com/openpacific/pacific/cmd/supervisor/process"
)

// supervisor is one `supervisor up`.
type supervisor struct {
	dir    datadir.Dir
	port   int
	output output

	process *os.Process
	exited  chan struct{}
	ending  error // set once exited is closed
}

// output is what a process prints, readable while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// newSupervisor chooses a data directory of that name and a free port.
func newSupervisor(name string) *supervisor {
	return &supervisor{dir: datadir.Dir(filepath.Join(tests.folder, name)), port: freePort()}
}

// freePort is one that nobody listens on now, outside the range from which ports of outgoing connections are taken.
func freePort() int {
	for {
		// At random, since several Supervisors may be looking at once.
		port := 20000 + rand.IntN(8000)
		if listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			_ = listener.Close()
			return port
		}
	}
}

// start types `supervisor up`.
func (s *supervisor) start(arguments ...string) error {
	arguments = append([]string{"up", "--data-dir", string(s.dir), "--secure-port", strconv.Itoa(s.port), "--login-port", "0"}, arguments...)
	command := exec.Command(tests.binary, arguments...)
	command.Stdout, command.Stderr = &s.output, &s.output
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

// stop types Ctrl-C and waits for the end of the Supervisor and of all its children.
func (s *supervisor) stop() error {
	status, err := s.dir.ReadStatus()
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
	case <-time.After(time.Minute):
		_ = s.process.Kill()
		return fmt.Errorf("the Supervisor in %s does not stop:\n%s", s.dir, s.output.String())
	}
	if s.ending != nil {
		return fmt.Errorf("the Supervisor in %s ended with %w:\n%s", s.dir, s.ending, s.output.String())
	}
	for _, component := range status.Components {
		if component.PID > 0 && syscall.Kill(component.PID, 0) == nil {
			return fmt.Errorf("%s (pid %d) is left over", component.Name, component.PID)
		}
	}
	return nil
}

// waitReady returns when the Supervisor says that it is ready.
func (s *supervisor) waitReady(ctx context.Context) error {
	return poll(ctx, func() error {
		select {
		case <-s.exited:
			return fatal{fmt.Errorf("the Supervisor ended: %w:\n%s", s.ending, s.output.String())}
		default:
		}
		if !strings.Contains(s.output.String(), "\nReady in ") {
			return fmt.Errorf("the Supervisor is not ready:\n%s", s.output.String())
		}
		return nil
	})
}

// component is one child as the Supervisor knows it.
func (s *supervisor) component(t *testing.T, name string) process.Status {
	t.Helper()
	status, err := s.dir.ReadStatus()
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

// kill does `kill -9` to a component.
func (s *supervisor) kill(t *testing.T, name string) {
	t.Helper()
	if err := syscall.Kill(s.component(t, name).PID, syscall.SIGKILL); err != nil {
		t.Fatalf("kill %s: %v", name, err)
	}
}

// log is what a component has logged.
func (s *supervisor) log(t *testing.T, component string) string {
	t.Helper()
	data, err := os.ReadFile(s.dir.Log(component))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// config is that of the administrator.
func (s *supervisor) config(t *testing.T) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", s.dir.AdminKubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	return config
}

// environment is the one in which kubectl finds this Supervisor.
func (s *supervisor) environment() []string {
	return append(os.Environ(), "KUBECONFIG="+s.dir.AdminKubeconfig(), "KUBECACHEDIR="+filepath.Join(string(s.dir), "kubecache"), "TERM=dumb", "EDITOR=false")
}

// try types `supervisor …` and returns what it prints to both of its outputs.
func (s *supervisor) try(ctx context.Context, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, tests.binary, arguments...)
	command.Env = s.environment()
	out, err := command.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%q: %w\n%s", arguments, err, out)
	}
	return string(out), err
}

// kubectl types `kubectl …`, which must succeed.
func (s *supervisor) kubectl(t *testing.T, arguments ...string) string {
	t.Helper()
	out, err := s.try(t.Context(), append([]string{"kubectl"}, arguments...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// fatal is an error after which there is no point in waiting any longer.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

// pollInterval is how often a condition is looked at.
const pollInterval = 25 * time.Millisecond

// poll calls f until it succeeds or ctx ends; then it returns f's last error.
func poll(ctx context.Context, f func() error) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := f()
		if err == nil || errors.As(err, &fatal{}) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}

// eventually fails the test unless f succeeds within the deadline. It returns how long that took.
func eventually(t *testing.T, deadline time.Duration, what string, f func(ctx context.Context) error) time.Duration {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	if err := poll(ctx, func() error { return f(ctx) }); err != nil {
		t.Fatalf("%s: not within %s: %v", what, deadline, err)
	}
	return time.Since(began)
}
