// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"k8s.io/klog/v2"
	crlog "sigs.k8s.io/controller-runtime/pkg/log"
)

// suite is what the tests of this package share. TestMain sets it before any of them runs.
type suite struct {
	folder string // for everything that is made; removed at the end unless a test failed
	binary string
	path   string // folder of the commands kubectl and supervisor

	once   sync.Once
	shared *supervisor
	err    error
}

var tests suite

func TestMain(m *testing.M) {
	flag.Parse()
	klog.SetLogger(logr.Discard())
	crlog.SetLogger(logr.Discard())
	code, err := tests.run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func (s *suite) run(m *testing.M) (code int, err error) {
	if s.folder, err = os.MkdirTemp("", "pacific-e2e-"); err != nil {
		return 1, err
	}
	if s.binary, err = supervisortest.Build(s.folder); err != nil {
		return 1, err
	}
	s.path = filepath.Join(s.folder, "path")
	if err := os.Mkdir(s.path, 0o700); err != nil {
		return 1, err
	}
	// Called by the name kubectl, the binary is kubectl.
	for _, name := range []string{"kubectl", "supervisor"} {
		if err := os.Symlink(s.binary, filepath.Join(s.path, name)); err != nil {
			return 1, err
		}
	}
	plugin := exec.Command("go", "build", "-o", filepath.Join(s.path, "kubectl-vsphere"), "github.com/openpacific/pacific/cmd/kubectl-vsphere")
	plugin.Stdout, plugin.Stderr = os.Stdout, os.Stderr
	if err := plugin.Run(); err != nil {
		return 1, fmt.Errorf("build the plugin: %w", err)
	}
	code = m.Run()
	if s.shared != nil {
		if err := s.shared.Stop(); err != nil {
			return 1, err
		}
	}
	if code != 0 {
		fmt.Println("what is left of the failed run, logs included:", s.folder)
		return code, nil
	}
	return 0, os.RemoveAll(s.folder)
}

// running returns the Supervisor on a simulated vCenter that tests share which break nothing.
func running(t *testing.T) *supervisor {
	t.Helper()
	tests.once.Do(func() {
		began := time.Now()
		s := newSupervisor("shared")
		if tests.err = s.Start("--sim"); tests.err != nil {
			return
		}
		tests.shared = s
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		tests.err = s.WaitReady(ctx)
		fmt.Printf("the shared Supervisor was ready after %.1f s\n", time.Since(began).Seconds())
	})
	if tests.err != nil {
		t.Fatal(tests.err)
	}
	return tests.shared
}
