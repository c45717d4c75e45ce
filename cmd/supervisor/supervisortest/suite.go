// SPDX-License-Identifier: Apache-2.0

package supervisortest

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
	"k8s.io/klog/v2"
	crlog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/openpacific/pacific/cmd/supervisor/datadir"
)

const (
	// startDeadline is how long the shared Supervisor may take to be ready, and startDeadlineAlone one of a test's own,
	// since others are started at the same time.
	startDeadline      = 2 * time.Minute
	startDeadlineAlone = 3 * time.Minute
)

// ClusterLibrary is the content library that counts as given to all in the Supervisor that tests share. It is not there
// before a test makes it.
const ClusterLibrary = "Everybody's images"

// Suite is what the tests of a package share: the commands, a folder, and a Supervisor for those that break nothing.
type Suite struct {
	// Folder is for everything that is made. It is removed at the end unless a test failed.
	Folder string
	// Path is the folder of the commands kubectl, supervisor and kubectl-vsphere.
	Path string

	binary string
	once   sync.Once
	shared *Supervisor
	err    error
}

// Main is what a package's TestMain does: it runs the tests and ends the process.
func (s *Suite) Main(m *testing.M) {
	flag.Parse()
	klog.SetLogger(logr.Discard())
	crlog.SetLogger(logr.Discard())
	code, err := s.run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func (s *Suite) run(m *testing.M) (code int, err error) {
	if s.Folder, err = os.MkdirTemp("", "pacific-test-"); err != nil {
		return 1, err
	}
	if err := s.commands(); err != nil {
		return 1, err
	}
	code = m.Run()
	if s.shared != nil {
		if err := s.shared.Stop(); err != nil {
			return 1, err
		}
	}
	if code != 0 {
		fmt.Println("what is left of the failed run, logs included:", s.Folder)
		return code, nil
	}
	return 0, os.RemoveAll(s.Folder)
}

// commands makes what a user has in PATH. Called by the name kubectl, the Supervisor's binary is kubectl.
func (s *Suite) commands() (err error) {
	if s.binary, err = Build(s.Folder); err != nil {
		return err
	}
	s.Path = filepath.Join(s.Folder, "path")
	if err := os.Mkdir(s.Path, 0o700); err != nil {
		return err
	}
	for _, name := range []string{"kubectl", "supervisor"} {
		if err := os.Symlink(s.binary, filepath.Join(s.Path, name)); err != nil {
			return err
		}
	}
	plugin := exec.Command("go", "build", "-o", filepath.Join(s.Path, "kubectl-vsphere"),
		"github.com/openpacific/pacific/cmd/kubectl-vsphere")
	plugin.Stdout, plugin.Stderr = os.Stdout, os.Stderr
	if err := plugin.Run(); err != nil {
		return fmt.Errorf("build the plugin: %w", err)
	}
	return nil
}

// New chooses a data directory of that name, and a free port, for a Supervisor that is not started yet.
func (s *Suite) New(name string) *Supervisor {
	return &Supervisor{Binary: s.binary, Path: s.Path, Dir: datadir.Dir(filepath.Join(s.Folder, name)), Port: FreePort(),
		Guests: guests()}
}

// Running returns the Supervisor on a simulated vCenter that tests share which break nothing.
func (s *Suite) Running(t *testing.T) *Supervisor {
	t.Helper()
	s.once.Do(func() {
		began := time.Now()
		running := s.New("shared")
		if s.err = running.Start("--sim", "--cluster-content-library="+ClusterLibrary); s.err != nil {
			return
		}
		s.shared = running
		ctx, cancel := context.WithTimeout(context.Background(), startDeadline)
		defer cancel()
		s.err = running.WaitReady(ctx)
		fmt.Printf("the shared Supervisor was ready after %.1f s\n", time.Since(began).Seconds())
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.shared
}
