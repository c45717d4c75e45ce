// SPDX-License-Identifier: Apache-2.0

package vcenter_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/fault"
	"github.com/openpacific/pacific/pkg/waittest"
)

// Machines of the inventory.
const web, db, cache = "team-a/web-1", "team-a/db-1", "team-b/cache-1"

// slowVCenter is one whose reconfigurations take 20 seconds of a time that the test has in its hands.
type slowVCenter struct {
	*vcentertest.VCenter
	t     *testing.T
	clock *clocktesting.FakeClock
	mu    sync.Mutex
	// started are the tasks that were started, in that order.
	started []types.ManagedObjectReference
}

func newSlowVCenter(t *testing.T) *slowVCenter {
	clock := clocktesting.NewFakeClock(time.Now())
	v := &slowVCenter{VCenter: vcentertest.Run(t, vcentertest.Options{Clock: clock}), t: t, clock: clock}
	v.AddFault(fault.Rule{Method: "ReconfigVM_Task", Shape: fault.Slow, Delay: 20 * time.Second})
	return v
}

// machine finds a machine.
func (v *slowVCenter) machine(ctx context.Context, client *vim25.Client,
	name string) (types.ManagedObjectReference, error) {
	found, err := object.NewSearchIndex(client).FindByInventoryPath(ctx, "DC0/vm/Namespaces/"+name)
	if err != nil {
		return types.ManagedObjectReference{}, err
	}
	return found.Reference(), nil
}

// reconfigure begins the slow task of a machine.
func (v *slowVCenter) reconfigure(name string) func(context.Context,
	*vim25.Client) (types.ManagedObjectReference, error) {
	return func(ctx context.Context, client *vim25.Client) (types.ManagedObjectReference, error) {
		ref, err := v.machine(ctx, client, name)
		if err != nil {
			return ref, err
		}
		answer, err := methods.ReconfigVM_Task(ctx, client, &types.ReconfigVM_Task{This: ref})
		if err != nil {
			return ref, err
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		v.started = append(v.started, answer.Returnval)
		return answer.Returnval, nil
	}
}

// rename is a task that takes no time.
func (v *slowVCenter) rename(name, to string) func(context.Context,
	*vim25.Client) (types.ManagedObjectReference, error) {
	return func(ctx context.Context, client *vim25.Client) (types.ManagedObjectReference, error) {
		ref, err := v.machine(ctx, client, name)
		if err != nil {
			return ref, err
		}
		answer, err := methods.Rename_Task(ctx, client, &types.Rename_Task{This: ref, NewName: to})
		if err != nil {
			return ref, err
		}
		return answer.Returnval, nil
	}
}

// pass lets time go by until something is so.
func (v *slowVCenter) pass(what string, so func() bool) {
	v.t.Helper()
	waittest.Eventually(v.t, what, func() bool {
		v.clock.Step(time.Second)
		return so()
	})
}

// outcome is what came of a RunTask.
type outcome struct {
	info *types.TaskInfo
	err  error
}

// begin runs a task in the background.
func (v *slowVCenter) begin(ctx context.Context, w *vcenter.Writer,
	start func(context.Context, *vim25.Client) (types.ManagedObjectReference, error),
	progress func(int32)) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		info, err := w.WatchTask(ctx, "act", start, progress)
		done <- outcome{info, err}
	}()
	return done
}

// followed waits until vCenter was asked to show so many tasks in views that were made so many times.
func (v *slowVCenter) followed(views, changes int) {
	v.t.Helper()
	waittest.Eventually(v.t, "the tasks are followed", func() bool {
		calls := v.Calls()
		return calls["CreateListView"] == views && calls["ModifyListView"] >= changes
	})
}

// forget has vCenter forget a task.
func (v *slowVCenter) forget(task types.ManagedObjectReference) {
	ctx := v.Simulator().Context
	ctx.Map.Remove(ctx, task)
}

func (v *slowVCenter) first() types.ManagedObjectReference {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.started[0]
}

// begun is how many tasks were started.
func (v *slowVCenter) begun() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.started)
}

func ignored(int32) {}

func ended(t *testing.T, o outcome) {
	t.Helper()
	if o.err != nil || o.info == nil || o.info.State != types.TaskInfoStateSuccess {
		t.Errorf("the task ended as %+v, %v", o.info, o.err)
	}
}

func isForgotten(t *testing.T, o outcome, task types.ManagedObjectReference) {
	t.Helper()
	want := "act: vCenter does not know task " + task.Value +
		" any more, so what became of it has to be looked up: try again"
	if !errors.Is(o.err, failure.Unavailable) || errors.Is(o.err, failure.NotFound) || o.err.Error() != want ||
		o.info == nil || o.info.Task != task {
		t.Errorf("RunTask() = %+v, %v; want %q", o.info, o.err, want)
	}
}

// TestProgressIsTold: how far a task is, is told as it moves.
func TestProgressIsTold(t *testing.T) {
	v := newSlowVCenter(t)
	w := writer(run(t, configFor(t, v.VCenter)))
	var mu sync.Mutex
	var seen []int32
	done := v.begin(t.Context(), w, v.reconfigure(web), func(percent int32) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, percent)
	})
	v.followed(1, 1)
	for _, percent := range []int32{5, 10, 15, 20} {
		v.clock.Step(time.Second)
		waittest.Eventually(t, "the progress is told", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return slices.Contains(seen, percent)
		})
	}
	v.pass("the task ends", func() bool { return len(done) == 1 })
	ended(t, <-done)
	if last := seen[len(seen)-1]; !slices.IsSorted(seen) || last != 100 {
		t.Errorf("the progress was told as %v", seen)
	}
}

// TestTasksAreFollowedTogether: however many tasks are waited for, vCenter is not asked for one of them, and the view
// is not changed again before its time.
func TestTasksAreFollowedTogether(t *testing.T) {
	v := newSlowVCenter(t)
	config := configFor(t, v.VCenter)
	clock := clocktesting.NewFakeClock(time.Now())
	config.Clock, config.KeepAlive = clock, time.Hour
	w := writer(run(t, config))
	ref := types.ManagedObjectReference{}
	var waits []<-chan outcome
	known := func(context.Context, *vim25.Client) (types.ManagedObjectReference, error) { return ref, nil }
	waits = append(waits, v.begin(t.Context(), w, v.reconfigure(web), ignored))
	v.followed(1, 1)
	ref = v.first()
	waits = append(waits, v.begin(t.Context(), w, v.reconfigure(db), ignored),
		v.begin(t.Context(), w, v.reconfigure(cache), ignored))
	for range 20 {
		waits = append(waits, v.begin(t.Context(), w, known, ignored))
	}
	waittest.Eventually(t, "all are waited for", func() bool { return v.begun() == 3 && clock.HasWaiters() })
	recording := v.Record()
	v.pass("the first task ends", func() bool { return len(waits[0]) == 1 })
	if got := v.Calls()["ModifyListView"]; got != 1 {
		t.Errorf("the view was changed %d times in no time", got)
	}
	waittest.Eventually(t, "the others are told", func() bool {
		clock.Step(100 * time.Millisecond)
		return !slices.ContainsFunc(waits, func(wait <-chan outcome) bool { return len(wait) == 0 })
	})
	for _, wait := range waits {
		ended(t, <-wait)
	}
	counts := recording.Counts()
	delete(counts, "WaitForUpdatesEx")
	if diff := cmp.Diff(map[string]int{"ModifyListView": 1}, counts); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// TestTaskThatEndedBefore: a task that was over before anybody could follow it is told like any other.
func TestTaskThatEndedBefore(t *testing.T) {
	v := newSlowVCenter(t)
	w := writer(run(t, configFor(t, v.VCenter)))
	info, err := w.RunTask(t.Context(), "act", func(ctx context.Context,
		client *vim25.Client) (types.ManagedObjectReference, error) {
		ref, err := v.rename(db, "db-2")(ctx, client)
		if err != nil {
			return ref, err
		}
		return ref, object.NewTask(client, ref).WaitEx(ctx)
	})
	ended(t, outcome{info, err})
}

// TestNobodyWaitsForOthers: neither another's slow task nor somebody who does not listen holds anybody up.
func TestNobodyWaitsForOthers(t *testing.T) {
	v := newSlowVCenter(t)
	w := writer(run(t, configFor(t, v.VCenter)))
	heard, listen := make(chan struct{}), make(chan struct{})
	defer close(listen)
	slow := v.begin(t.Context(), w, v.reconfigure(web), func(int32) {
		select {
		case heard <- struct{}{}:
		case <-listen:
		}
		<-listen
	})
	<-heard
	for _, name := range []string{"db-2", "db-1"} {
		info, err := w.RunTask(t.Context(), "act", v.rename(map[string]string{"db-2": db, "db-1": "team-a/db-2"}[name], name))
		ended(t, outcome{info, err})
	}
	if len(slow) != 0 {
		t.Error("the slow task has ended")
	}
}

// TestTasksOutliveLogins: with a login goes the view, and all who wait are in that of the next one.
func TestTasksOutliveLogins(t *testing.T) {
	for name, lose := range map[string]func(*slowVCenter) error{
		"the session ends": func(v *slowVCenter) error { v.TerminateSessions(); return nil },
		"vCenter restarts": func(v *slowVCenter) error { return v.Restart() },
	} {
		t.Run(name, func(t *testing.T) {
			v := newSlowVCenter(t)
			w := writer(run(t, configFor(t, v.VCenter)))
			waits := []<-chan outcome{v.begin(t.Context(), w, v.reconfigure(web), ignored),
				v.begin(t.Context(), w, v.reconfigure(db), ignored)}
			waittest.Eventually(t, "both have begun", func() bool { return v.begun() == 2 })
			v.followed(1, 1)
			if err := lose(v); err != nil {
				t.Fatal(err)
			}
			v.followed(2, 2)
			for _, wait := range waits {
				v.pass("the task ends", func() bool { return len(wait) == 1 })
				ended(t, <-wait)
			}
			if got := v.begun(); got != 2 {
				t.Errorf("%d tasks were begun", got)
			}
		})
	}
}

// TestForgottenTasks: a task that vCenter forgets while it is waited for has ended in a way that nobody knows.
func TestForgottenTasks(t *testing.T) {
	for name, lose := range map[string]func(*slowVCenter) error{
		"while it is followed": func(v *slowVCenter) error { v.forget(v.first()); return nil },
		"with a restart": func(v *slowVCenter) error {
			v.Stop()
			v.forget(v.first())
			return v.Restart()
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := newSlowVCenter(t)
			w := writer(run(t, configFor(t, v.VCenter)))
			lost := v.begin(t.Context(), w, v.reconfigure(web), ignored)
			v.followed(1, 1)
			kept := v.begin(t.Context(), w, v.reconfigure(db), ignored)
			v.followed(1, 2)
			if err := lose(v); err != nil {
				t.Fatal(err)
			}
			waittest.Eventually(t, "the loss is told", func() bool { return len(lost) == 1 })
			isForgotten(t, <-lost, v.first())
			v.pass("the other task ends", func() bool { return len(kept) == 1 })
			ended(t, <-kept)
		})
	}
}

// TestFailedWithoutAWord: a task that failed, of which vCenter does not say why, is a failure like others.
func TestFailedWithoutAWord(t *testing.T) {
	v := newSlowVCenter(t)
	w := writer(run(t, configFor(t, v.VCenter)))
	done := v.begin(t.Context(), w, v.reconfigure(web), ignored)
	v.followed(1, 1)
	ctx := v.Simulator().Context
	failed := ctx.Map.Get(v.first()).(*simulator.Task)
	ctx.WithLock(failed, func() {
		info := failed.Info
		info.State, info.Error = types.TaskInfoStateError, nil
		ctx.Update(failed, []types.PropertyChange{{Name: "info", Val: info, Op: types.PropertyChangeOpAssign}})
	})
	waittest.Eventually(t, "it is told", func() bool { return len(done) == 1 })
	o := <-done
	want := "act: task " + v.first().Value + " has failed, and vCenter does not say why: look at it in the vSphere Client"
	if o.info == nil || o.err == nil || o.err.Error() != want {
		t.Errorf("RunTask() = %+v, %v; want %q", o.info, o.err, want)
	}
}

// TestFollowingFails: what fails once on the way is made anew, and what the account may not do is told.
func TestFollowingFails(t *testing.T) {
	for _, method := range []string{"CreatePropertyCollector", "CreateListView", "CreateFilter", "ModifyListView",
		"WaitForUpdatesEx"} {
		for name, shape := range map[string]fault.Shape{"refused": fault.Refused, "no answer": fault.NoAnswer,
			"answer lost": fault.AnswerLost, "session ends": fault.SessionEnds} {
			t.Run(method+" "+name, func(t *testing.T) {
				t.Parallel()
				v := newSlowVCenter(t)
				v.AddFault(fault.Rule{Method: method, Shape: shape, Count: 1})
				w := writer(run(t, configFor(t, v.VCenter)))
				done := v.begin(t.Context(), w, v.reconfigure(web), ignored)
				v.pass("the task ends", func() bool { return len(done) == 1 })
				ended(t, <-done)
			})
		}
	}
	v := newSlowVCenter(t)
	v.AddFault(fault.Rule{Method: "CreateListView", Fault: &types.NoPermission{PrivilegeId: "System.View"}})
	w := writer(run(t, configFor(t, v.VCenter)))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	info, err := w.RunTask(ctx, "act", v.reconfigure(web))
	if info == nil || !errors.Is(err, failure.Forbidden) || !strings.Contains(err.Error(), info.Task.Value) {
		t.Errorf("RunTask() = %+v, %v", info, err)
	}
}

// TestTaskOutlivesTheReign: what was begun in a reign is waited for beyond it.
func TestTaskOutlivesTheReign(t *testing.T) {
	v := newSlowVCenter(t)
	var over atomic.Bool
	w := writer(run(t, configFor(t, v.VCenter)))
	w.Reign = reign{holds: func() error {
		if over.Load() {
			return errors.New("another process leads")
		}
		return nil
	}}
	done := v.begin(t.Context(), w, v.reconfigure(web), ignored)
	v.followed(1, 1)
	over.Store(true)
	v.pass("the task ends", func() bool { return len(done) == 1 })
	ended(t, <-done)
}

// TestNobodyWaitsAnyMore: whoever gives up learns which task goes on, and vCenter is not asked while nobody waits.
func TestNobodyWaitsAnyMore(t *testing.T) {
	v := newSlowVCenter(t)
	config := configFor(t, v.VCenter)
	config.KeepAlive = time.Hour
	w := writer(run(t, config))
	ctx, cancel := context.WithCancel(t.Context())
	done := v.begin(ctx, w, v.reconfigure(web), ignored)
	v.followed(1, 1)
	cancel()
	if o := <-done; !errors.Is(o.err, context.Canceled) || o.info == nil || o.info.Task != v.first() {
		t.Errorf("RunTask() = %+v, %v", o.info, o.err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	info, err := w.RunTask(ctx, "act", func(context.Context, *vim25.Client) (types.ManagedObjectReference, error) {
		return v.first(), nil
	})
	if want := "act: task " + v.first().Value + " is not finished yet; vCenter goes on with it"; err == nil ||
		!errors.Is(err, failure.Timeout) || err.Error() != want || info.Task != v.first() {
		t.Errorf("RunTask() = %+v, %v; want %q", info, err, want)
	}
	// A wait that is under way ends with the next news, and is the last.
	v.clock.Step(time.Second)
	info, err = w.RunTask(t.Context(), "act", v.rename(db, "db-2"))
	ended(t, outcome{info, err})
	recording := v.Record()
	v.pass("the task ends", func() bool {
		found := types.TaskInfo{}
		ctx := v.Simulator().Context
		task := ctx.Map.Get(v.first()).(*simulator.Task)
		ctx.WithLock(task, func() { found = task.Info })
		return found.State == types.TaskInfoStateSuccess
	})
	if calls := recording.Calls(); len(calls) > 0 {
		t.Errorf("while nobody waited vCenter was asked: %v", calls)
	}
}

// TestFollowingEnds: with Run ends what follows tasks, whoever still waits.
func TestFollowingEnds(t *testing.T) {
	v := newSlowVCenter(t)
	s, err := vcenter.NewSession(configFor(t, v.VCenter))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	waiting, giveUp := context.WithCancel(t.Context())
	done := v.begin(waiting, writer(s), v.reconfigure(web), ignored)
	v.followed(1, 1)
	cancel()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	stacks := make([]byte, 1<<20)
	if all := string(stacks[:runtime.Stack(stacks, true)]); strings.Contains(all, "vcenter.(*tasks).run") ||
		strings.Contains(all, "vcenter.(*taskStream)") {
		t.Errorf("something follows tasks yet:\n%s", all)
	}
	giveUp()
	if o := <-done; !errors.Is(o.err, context.Canceled) {
		t.Errorf("RunTask() = %+v, %v", o.info, o.err)
	}
}
