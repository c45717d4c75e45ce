// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/openpacific/pacific/cmd/supervisor/datadir"
	"github.com/openpacific/pacific/cmd/supervisor/process"
	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
)

// supervisor is one `supervisor up`.
type supervisor struct {
	supervisortest.Supervisor
}

// newSupervisor chooses a data directory of that name and a free port.
func newSupervisor(name string) *supervisor {
	return &supervisor{supervisortest.Supervisor{
		Binary: tests.binary, Dir: datadir.Dir(filepath.Join(tests.folder, name)), Port: supervisortest.FreePort(),
	}}
}

// component is one child as the Supervisor knows it.
func (s *supervisor) component(t *testing.T, name string) process.Status {
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
	data, err := os.ReadFile(s.Dir.Log(component))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// config is that of the administrator.
func (s *supervisor) config(t *testing.T) *rest.Config {
	t.Helper()
	config, err := s.Config()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// kubectl types `kubectl …`, which must succeed.
func (s *supervisor) kubectl(t *testing.T, arguments ...string) string {
	t.Helper()
	out, err := s.Try(t.Context(), append([]string{"kubectl"}, arguments...)...)
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
