// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/openpacific/pacific/cmd/supervisor/component"
	"github.com/openpacific/pacific/cmd/supervisor/datadir"
)

// stopTimeout is how long a Supervisor has to stop in order.
const stopTimeout = 30 * time.Second

// supervisor is `supervisor up` with a synthetic inventory, in a process of its own.
type supervisor struct {
	command *exec.Cmd
	dir     datadir.Dir
	started time.Time
	ended   chan error
	config  *rest.Config
	status  datadir.Status
}

// launch starts it and waits until it is ready.
func launch(ctx context.Context, executable string, dir datadir.Dir, port, machines int, profile bool,
	out io.Writer) (*supervisor, error) {
	s := &supervisor{dir: dir, ended: make(chan error, 1)}
	s.command = exec.Command(executable, "up", "--sim", "--data-dir="+string(dir), "--secure-port="+strconv.Itoa(port),
		"--login-port=0",
		"--synthetic-machines="+strconv.Itoa(machines), "--profiling="+strconv.FormatBool(profile))
	s.command.Stdout, s.command.Stderr = out, out
	// A Ctrl-C in the terminal is ours alone: we stop it in our turn.
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.started = time.Now()
	if err := s.command.Start(); err != nil {
		return nil, fmt.Errorf("start the Supervisor: %w", err)
	}
	go func() { s.ended <- s.command.Wait() }()
	if err := s.await(ctx); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *supervisor) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case err := <-s.ended:
			s.ended <- err
			return fmt.Errorf("the Supervisor ended before it was ready: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("wait for the Supervisor: %w", ctx.Err())
		case <-ticker.C:
		}
		status, err := s.dir.ReadStatus()
		if err != nil {
			return err
		}
		if status.Ready && status.PID == s.command.Process.Pid {
			s.status = status
			s.config, err = clientcmd.BuildConfigFromFlags("", s.dir.AdminKubeconfig())
			return err
		}
	}
}

// stop ends it, and everything that it started.
func (s *supervisor) stop() {
	_ = s.command.Process.Signal(os.Interrupt)
	select {
	case <-s.ended:
	case <-time.After(stopTimeout):
		_ = s.command.Process.Kill()
		<-s.ended
	}
}

// startOf is how long a component took from its start to its readiness.
func (s *supervisor) startOf(name string) time.Duration {
	for _, c := range s.status.Components {
		if c.Name == name {
			return c.ReadyAt.Sub(c.StartedAt)
		}
	}
	return 0
}

// servers are the processes that serve the one side or the other, or keep for them.
func servers() []string {
	return []string{component.VSphereAPIServer, component.KubeAPIServer, component.Etcd}
}

func (s *supervisor) processes() (processes, error) {
	found := processes{}
	for _, c := range s.status.Components {
		for _, name := range servers() {
			if c.Name == name {
				found[name] = c.PID
			}
		}
	}
	if len(found) != len(servers()) {
		return nil, fmt.Errorf("the Supervisor runs %s, want %s", fmt.Sprint(found), strings.Join(servers(), ", "))
	}
	return found, nil
}

// check says which component died in the meantime, which would spoil what was measured.
func (s *supervisor) check() error {
	status, err := s.dir.ReadStatus()
	if err != nil {
		return err
	}
	for _, c := range status.Components {
		if c.Restarts > 0 {
			return fmt.Errorf("%s was started again during the run: %s", c.Name, c.Reason)
		}
	}
	return nil
}

// direct is the address of vsphere-apiserver, without the aggregator.
func (s *supervisor) direct() (string, error) {
	ports, err := s.dir.ReadPorts()
	if err != nil {
		return "", err
	}
	return "https://127.0.0.1:" + strconv.Itoa(ports[component.VSphereAPIServer]), nil
}
