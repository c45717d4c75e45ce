// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/pkg/waittest"
)

// quick is a pace for tests.
func quick() Timing {
	return Timing{
		FirstDelay: time.Millisecond, SecondDelay: 5 * time.Millisecond, MaxDelay: 20 * time.Millisecond, Steady: time.Hour,
		ProbeInterval: 2 * time.Millisecond, SteadyProbeInterval: 2 * time.Millisecond, ProbeTimeout: time.Second,
	}
}

// recorder keeps every status that children had.
type recorder struct {
	mu   sync.Mutex
	seen []Status
}

func (r *recorder) note(s Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, s)
}

// list returns "name state" for every change of state.
func (r *recorder) list(keep ...State) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var result []string
	for _, s := range r.seen {
		for _, state := range keep {
			line := s.Name + " " + string(s.State)
			if s.State == state && (len(result) == 0 || result[len(result)-1] != line) {
				result = append(result, line)
			}
		}
	}
	return result
}

func role(t *testing.T, name string) Command {
	t.Helper()
	return Command{
		Name: name, Path: os.Args[0], Env: []string{roleVariable + "=" + name},
		LogFile: filepath.Join(t.TempDir(), name+".log"), Grace: 10 * time.Second,
	}
}

func logHolds(t *testing.T, file, text string) func() bool {
	return func() bool {
		data, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return strings.Contains(string(data), text)
	}
}

func TestKilledChildIsStartedAgain(t *testing.T) {
	var seen recorder
	command := role(t, "obedient")
	command.Probe = func(context.Context) error {
		if !logHolds(t, command.LogFile, "started")() {
			return errors.New("has not said that it started")
		}
		return nil
	}
	child := New(command, quick(), seen.note)
	var group Group
	defer group.Stop()
	group.Start(child)
	<-child.Ready()
	first := child.Status()

	child.Kill()
	waittest.Eventually(t, "ready again", func() bool {
		s := child.Status()
		return s.State == Ready &&
			s.PID != first.PID
	})
	second := child.Status()
	if second.Restarts != 1 {
		t.Errorf("restarts = %d, want 1", second.Restarts)
	}
	if second.Reason != "" {
		t.Errorf("a ready child gives the reason %q", second.Reason)
	}
	want := []string{"obedient BackingOff"}
	if diff := cmp.Diff(want, seen.list(BackingOff)); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}

	waittest.Eventually(t, "the second one has started", func() bool {
		data, err := os.ReadFile(command.LogFile)
		return err == nil && strings.Count(string(data), "obedient: started") == 2
	})
	group.Stop()
	waittest.Eventually(t, "its last words", logHolds(t, command.LogFile, "obedient: stopped"))
	last := child.Status()
	if diff := cmp.Diff(Status{Name: "obedient", State: Stopped, Restarts: 1, StartedAt: last.StartedAt,
		ReadyAt: last.ReadyAt,
		LogFile: command.LogFile}, last); diff != "" {
		t.Errorf("status after the end (-want +got):\n%s", diff)
	}
}

func TestFirstRestartIsImmediate(t *testing.T) {
	timing := DefaultTiming()
	timing.SteadyProbeInterval = timing.ProbeInterval
	timing.SecondDelay, timing.MaxDelay = time.Hour, time.Hour // None but the first is waited for here.
	child := New(role(t, "obedient"), timing, nil)
	var group Group
	defer group.Stop()
	group.Start(child)
	<-child.Ready()
	pid := child.Status().PID
	child.Kill()
	waittest.Eventually(t, "another process", func() bool { now := child.Status().PID; return now != pid && now != 0 })
}

func TestFailingChildBacksOff(t *testing.T) {
	timing := quick()
	timing.SecondDelay, timing.MaxDelay = 20*time.Millisecond, 40*time.Millisecond
	command := role(t, "failing")
	var seen recorder
	child := New(command, timing, seen.note)
	var group Group
	began := time.Now()
	group.Start(child)
	waittest.Eventually(t, "four restarts", func() bool { return child.Status().Restarts >= 4 })
	took := time.Since(began)
	group.Stop()
	// 1 ms, then at least 20 ms, 40 ms and 40 ms.
	if took < 100*time.Millisecond {
		t.Errorf("four restarts took %s: it does not back off", took)
	}
	for _, status := range seen.seen {
		if status.State == BackingOff && status.Reason != "exited: exit status 3" {
			t.Errorf("reason = %q", status.Reason)
		}
	}
	if diff := cmp.Diff([]string{"failing: no such luck"}, Tail(command.LogFile, 1)); diff != "" {
		t.Errorf("end of the log (-want +got):\n%s", diff)
	}
}

func TestStubbornChildIsKilled(t *testing.T) {
	command := role(t, "stubborn")
	command.Grace = 20 * time.Millisecond
	child := New(command, quick(), nil)
	var group Group
	group.Start(child)
	waittest.Eventually(t, "it ignores SIGTERM", logHolds(t, command.LogFile, "started"))
	pid := child.Status().PID
	group.Stop()
	if diff := cmp.Diff("killed: it had not stopped 20ms after SIGTERM", child.Status().Reason); diff != "" {
		t.Errorf("reason (-want +got):\n%s", diff)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there: %v", pid, err)
	}
}

func TestGroupStopsInReverseOrder(t *testing.T) {
	var seen recorder
	var group Group
	for _, name := range []string{"first", "second", "third"} {
		command := role(t, "obedient")
		command.Name = name
		child := New(command, quick(), seen.note)
		group.Start(child)
		waittest.Eventually(t, name+" started", logHolds(t, command.LogFile, "started"))
	}
	group.Stop()
	want := []string{"third Stopping", "third Stopped", "second Stopping", "second Stopped", "first Stopping",
		"first Stopped"}
	if diff := cmp.Diff(want, seen.list(Stopping, Stopped)); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestProbeIsFollowed(t *testing.T) {
	var seen recorder
	var mu sync.Mutex
	failure := errors.New("vCenter is away")
	set := func(err error) { mu.Lock(); failure = err; mu.Unlock() }
	command := role(t, "obedient")
	command.Probe = func(context.Context) error { mu.Lock(); defer mu.Unlock(); return failure }
	child := New(command, quick(), seen.note)
	var group Group
	defer group.Stop()
	group.Start(child)
	state := func(state State, reason string) func() bool {
		return func() bool { s := child.Status(); return s.State == state && s.Reason == reason }
	}
	waittest.Eventually(t, "starting, with the reason", state(Starting, "vCenter is away"))
	set(nil)
	waittest.Eventually(t, "ready", state(Ready, ""))
	set(errors.New("away again"))
	waittest.Eventually(t, "not ready, with the reason", state(NotReady, "away again"))
	set(nil)
	waittest.Eventually(t, "ready again", state(Ready, ""))
	if got := child.Status().Restarts; got != 0 {
		t.Errorf("a child that is not ready was restarted %d times", got)
	}
}

func TestMissingProgramIsRetriedAndToldOf(t *testing.T) {
	command := role(t, "obedient")
	command.Path = filepath.Join(t.TempDir(), "missing")
	child := New(command, quick(), nil)
	var group Group
	group.Start(child)
	waittest.Eventually(t, "two restarts", func() bool { return child.Status().Restarts >= 2 })
	group.Stop()
	if got := child.Status().Reason; !strings.HasPrefix(got, "cannot start: ") {
		t.Errorf("reason = %q", got)
	}
}

// No child may outlive its parent, however that ends.
func TestChildDiesWithItsParent(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), roleVariable+"=parent",
		"PACIFIC_PROCESS_TEST_LOG="+filepath.Join(t.TempDir(), "child.log"))
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("pid of the child: %v", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	waittest.Eventually(t, "the child is gone", func() bool { return gone(pid) })
}

// gone also counts a process that nobody has collected yet.
func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	return strings.HasPrefix(rest, "Z")
}

func TestRotateKeepsThePreviousLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	if err := Rotate(path); err != nil {
		t.Fatalf("without a log: %v", err)
	}
	for _, content := range []string{"one\n", "two\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Rotate(path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the log is still there: %v", err)
	}
	previous, err := os.ReadFile(path + ".1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("two\n", string(previous)); diff != "" {
		t.Errorf("previous log (-want +got):\n%s", diff)
	}
}

func TestTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	for _, test := range []struct {
		content string
		want    []string
	}{
		{"", nil},
		{"a\n", []string{"a"}},
		{"a\nb\nc\n", []string{"b", "c"}},
		{strings.Repeat("x\n", 20<<10) + "b\nc", []string{"b", "c"}},
	} {
		if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, Tail(path, 2)); diff != "" {
			t.Errorf("Tail of %d bytes (-want +got):\n%s", len(test.content), diff)
		}
	}
}
