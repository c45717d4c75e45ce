// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// State is where a child is in its life.
type State string

const (
	// Waiting: not started yet.
	Waiting State = "Waiting"
	// Starting: running, and not ready since it was started.
	Starting State = "Starting"
	// Ready: running, and its last probe succeeded.
	Ready State = "Ready"
	// NotReady: running, was ready, and its probes fail now.
	NotReady State = "NotReady"
	// BackingOff: it died and waits for its next start.
	BackingOff State = "BackingOff"
	// Stopping: it has been asked to stop.
	Stopping State = "Stopping"
	// Stopped: it has been stopped for good.
	Stopped State = "Stopped"
)

// Command says what a child is.
type Command struct {
	// Name is how people know the child.
	Name string
	// Path and Args are the program and its arguments (without argv[0]).
	Path string
	Args []string
	// Env is added to the environment of this process.
	Env []string
	// LogFile takes its standard output and standard error.
	LogFile string
	// Probe returns nil when the child does its work, else why not. Without one a running child counts as ready.
	Probe func(ctx context.Context) error
	// Grace is how long the child has between SIGTERM and SIGKILL.
	Grace time.Duration
}

// Status is a child as it is now.
type Status struct {
	Name      string    `json:"name"`
	State     State     `json:"state"`
	PID       int       `json:"pid,omitempty"`
	Restarts  int       `json:"restarts"`
	StartedAt time.Time `json:"startedAt,omitzero"`
	ReadyAt   time.Time `json:"readyAt,omitzero"`
	// Reason is why the child is not ready, or how it ended last.
	Reason  string `json:"reason,omitempty"`
	LogFile string `json:"logFile"`
}

// Timing holds the pace of supervision. The zero value of a field means its default.
type Timing struct {
	// FirstDelay is the pause before the first restart; every further one doubles from SecondDelay to MaxDelay, with
	// jitter.
	FirstDelay, SecondDelay, MaxDelay time.Duration
	// Steady is how long a child has to run for its next death to count as a first one again.
	Steady time.Duration
	// ProbeInterval is the pace of probes until the child is ready, SteadyProbeInterval the pace after that.
	ProbeInterval, SteadyProbeInterval time.Duration
	// ProbeTimeout bounds one probe.
	ProbeTimeout time.Duration
}

// DefaultTiming is what `supervisor up` uses.
func DefaultTiming() Timing {
	return Timing{
		FirstDelay: 50 * time.Millisecond, SecondDelay: 500 * time.Millisecond, MaxDelay: 30 * time.Second,
		Steady:        20 * time.Second,
		ProbeInterval: 100 * time.Millisecond, SteadyProbeInterval: 3 * time.Second, ProbeTimeout: 2 * time.Second,
	}
}

// Child supervises one process. Make it with New.
type Child struct {
	command Command
	timing  Timing
	changed func(Status)

	mu     sync.Mutex
	status Status
	ready  chan struct{} // closed when the child was ready for the first time
}

// New returns a child that Run will start. changed, when not nil, is told every change of its status, in order and
// from one goroutine at a time; it must not block for long.
func New(command Command, timing Timing, changed func(Status)) *Child {
	if changed == nil {
		changed = func(Status) {}
	}
	return &Child{
		command: command,
		timing:  timing,
		changed: changed,
		status:  Status{Name: command.Name, State: Waiting, LogFile: command.LogFile},
		ready:   make(chan struct{}),
	}
}

// Name is the command's name.
func (c *Child) Name() string { return c.command.Name }

// Ready is closed when the child was ready for the first time.
func (c *Child) Ready() <-chan struct{} { return c.ready }

// Status returns the child as it is now.
func (c *Child) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Kill sends SIGKILL to the child's process group now. It does not wait, and Run would start the child again: for the
// impatient end of a shutdown only.
func (c *Child) Kill() {
	if pid := c.Status().PID; pid > 0 {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
}

// Run keeps the child running until ctx is done, then stops it and returns once it is gone. Death of the child is not
// an error; that it cannot be started at all (no such program, no log file) is retried like a death.
func (c *Child) Run(ctx context.Context) {
	// The kernel ties the death signal of a child to the thread that forked it: this goroutine keeps that thread
	// until the child is gone.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	backoff := c.backoff()
	for first := true; ; {
		began := time.Now()
		reason := c.runOnce(ctx)
		if ctx.Err() != nil {
			c.set(func(s *Status) { s.State, s.PID, s.Reason = Stopped, 0, reason })
			return
		}
		if time.Since(began) >= c.timing.Steady {
			first, backoff = true, c.backoff()
		}
		delay := wait.Jitter(c.timing.FirstDelay, 0.5)
		if !first {
			delay = backoff.Step()
		}
		first = false
		c.set(func(s *Status) { s.State, s.PID, s.Reason = BackingOff, 0, reason })
		select {
		case <-ctx.Done():
			c.set(func(s *Status) { s.State = Stopped })
			return
		case <-time.After(delay):
		}
		c.set(func(s *Status) { s.Restarts++ })
	}
}

func (c *Child) backoff() wait.Backoff {
	return wait.Backoff{Duration: c.timing.SecondDelay, Factor: 2, Jitter: 0.2, Steps: 64, Cap: c.timing.MaxDelay}
}

// runOnce starts the child, probes it, and returns how it ended.
func (c *Child) runOnce(ctx context.Context) string {
	log, err := os.OpenFile(c.command.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Sprintf("cannot open its log: %v", err)
	}
	defer log.Close()

	cmd := exec.Command(c.command.Path, c.command.Args...)
	cmd.Env = append(os.Environ(), c.command.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = attributes()
	if err := cmd.Start(); err != nil {
		return fmt.Sprintf("cannot start: %v", err)
	}
	c.set(func(s *Status) {
		s.State, s.PID, s.StartedAt, s.ReadyAt, s.Reason = Starting, cmd.Process.Pid, time.Now(), time.Time{}, ""
	})

	exited := make(chan error, 1)
	var goroutines sync.WaitGroup
	defer goroutines.Wait()
	goroutines.Go(func() { exited <- cmd.Wait() })
	probing, stopProbing := context.WithCancel(ctx)
	defer stopProbing()
	goroutines.Go(func() { c.probe(probing) })

	select {
	case err := <-exited:
		return ending(err)
	case <-ctx.Done():
	}
	c.set(func(s *Status) { s.State, s.Reason = Stopping, "" })
	_ = cmd.Process.Signal(syscall.SIGTERM)
	grace := time.NewTimer(c.command.Grace)
	defer grace.Stop()
	select {
	case <-exited:
		return ""
	case <-grace.C:
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	<-exited
	return fmt.Sprintf("killed: it had not stopped %s after SIGTERM", c.command.Grace)
}

// probe keeps the status at what the probe says until ctx is done.
func (c *Child) probe(ctx context.Context) {
	for failures := 0; ; failures++ {
		err := c.probeOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		// The longer it takes, the less there is to gain from asking often.
		interval := min(c.timing.ProbeInterval*time.Duration(50+failures)/50, c.timing.SteadyProbeInterval)
		if err == nil {
			failures, interval = 0, c.timing.SteadyProbeInterval
			c.set(func(s *Status) {
				if s.State != Starting && s.State != NotReady {
					return
				}
				s.State, s.ReadyAt, s.Reason = Ready, time.Now(), ""
			})
		} else {
			c.set(func(s *Status) {
				switch s.State {
				case Ready:
					s.State, s.Reason = NotReady, err.Error()
				case Starting, NotReady:
					s.Reason = err.Error()
				}
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait.Jitter(interval, 0.1)):
		}
	}
}

func (c *Child) probeOnce(ctx context.Context) error {
	if c.command.Probe == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.timing.ProbeTimeout)
	defer cancel()
	return c.command.Probe(ctx)
}

// set changes the status and tells of it when something is different. The observer is called with the lock held, so
// that it sees changes in order: it must not call back.
func (c *Child) set(change func(*Status)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.status
	change(&c.status)
	if c.status == before {
		return
	}
	if c.status.State == Ready && before.State != Ready {
		select {
		case <-c.ready:
		default:
			close(c.ready)
		}
	}
	c.changed(c.status)
}

func ending(err error) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "exited: exit status 0"
	case errors.As(err, &exit):
		return "exited: " + exit.String()
	default:
		return err.Error()
	}
}
