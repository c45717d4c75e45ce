// SPDX-License-Identifier: Apache-2.0

package slow

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/utils/clock"
)

// perStart is more tasks than there are from one start of vCenter to the next.
const perStart = 1_000_000

// steps is in how many steps the progress of a task moves.
const steps = 20

// Work is what a task does. Only End is required.
type Work struct {
	// About is the object that the task is about, and Method the one that started it, such as PowerOnVM_Task.
	About  mo.Reference
	Method string
	// User is who called it.
	User string
	// Takes is how long it takes until its end.
	Takes time.Duration
	// Begin is done at once, End after the time, with what the task results in. Undo is done when it was cancelled before.
	Begin func() types.BaseMethodFault
	End   func() (types.AnyType, types.BaseMethodFault)
	Undo  func()
}

// Tasks are those of one vCenter.
type Tasks struct {
	clock clock.WithTicker

	mu      sync.Mutex
	made    int
	running map[types.ManagedObjectReference]*running // by task
	closed  chan struct{}
	ended   sync.WaitGroup
}

type running struct {
	about     types.ManagedObjectReference
	cancelled chan struct{}
	time      clock.Ticker // nil for none
	// late is that it cannot be cancelled any more, or was already.
	late bool
}

// New returns tasks that take their time by a clock. Their identifiers are not those of tasks of another start, which
// are counted from 0.
func New(clock clock.WithTicker, start int) *Tasks {
	return &Tasks{clock: clock, made: (start + 1) * perStart,
		running: map[types.ManagedObjectReference]*running{}, closed: make(chan struct{})}
}

// Close ends all tasks where they are, and waits for that.
func (t *Tasks) Close() {
	t.mu.Lock()
	select {
	case <-t.closed:
	default:
		close(t.closed)
	}
	t.mu.Unlock()
	t.ended.Wait()
}

// On is a task that is about an object and runs.
func (t *Tasks) On(object types.ManagedObjectReference) (task types.ManagedObjectReference, found bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ref, r := range t.running {
		if r.about == object {
			return ref, true
		}
	}
	return task, false
}

// Start begins a task in the inventory that ctx has, and returns it.
func (t *Tasks) Start(ctx *simulator.Context, work Work) types.ManagedObjectReference {
	about := work.About.Reference()
	task := new(simulator.Task)
	r := &running{about: about, cancelled: make(chan struct{})}
	t.mu.Lock()
	t.made++
	task.Self = types.ManagedObjectReference{Type: "Task", Value: fmt.Sprintf("task-%d", t.made)}
	t.running[task.Self] = r
	t.mu.Unlock()

	now := t.clock.Now()
	task.Info = types.TaskInfo{
		Key: task.Self.Value, Task: task.Self, Name: work.Method, DescriptionId: descriptionID(about.Type, work.Method),
		Entity: &about, EntityName: about.Value, State: types.TaskInfoStateRunning, Cancelable: true,
		Reason: &types.TaskReasonUser{UserName: work.User}, QueueTime: now, StartTime: &now,
	}
	own := &simulator.Context{Context: ctx.Context, Map: ctx.Map, Session: ctx.Session}
	ctx.WithLock(work.About, func() { // where the simulator notes the task
		if entity, ok := work.About.(mo.Entity); ok {
			task.Info.EntityName = entity.Entity().Name
		}
		ctx.Map.Put(task)
	})
	if work.Takes > 0 {
		// Now, so that whoever has the clock in their hands knows that the time runs.
		r.time = t.clock.NewTicker(max(work.Takes/steps, time.Nanosecond))
	}
	t.ended.Go(func() { t.run(own, task, r, work) })
	return task.Self
}

func (t *Tasks) run(ctx *simulator.Context, task *simulator.Task, r *running, work Work) {
	var result types.AnyType
	var fault types.BaseMethodFault
	if r.time != nil {
		defer r.time.Stop()
	}
	if work.Begin != nil {
		fault = work.Begin()
	}
	cancelled := false
	if r.time != nil && fault == nil {
		if cancelled = !t.wait(ctx, task, r); cancelled {
			fault = new(types.RequestCanceled)
		}
	}
	t.mu.Lock()
	r.late = true
	select {
	case <-r.cancelled: // in the last moment
		cancelled, fault = true, new(types.RequestCanceled)
	default:
	}
	t.mu.Unlock()
	switch {
	case cancelled && work.Undo != nil:
		work.Undo()
	case fault == nil:
		result, fault = work.End()
	}
	t.mu.Lock()
	delete(t.running, task.Self)
	t.mu.Unlock()
	t.end(ctx, task, result, fault, cancelled)
}

// wait has the progress move until the time is over. It says whether the task was left alone.
func (t *Tasks) wait(ctx *simulator.Context, task *simulator.Task, r *running) bool {
	for n := 1; n <= steps; n++ {
		select {
		case <-r.time.C():
		case <-r.cancelled:
			return false
		case <-t.closed:
			return false
		}
		ctx.Map.AtomicUpdate(ctx, task, []types.PropertyChange{{Name: "info.progress", Val: int32(n * 100 / steps)}})
	}
	return true
}

func (t *Tasks) end(ctx *simulator.Context, task *simulator.Task, result types.AnyType, fault types.BaseMethodFault,
	cancelled bool) {
	now := t.clock.Now()
	changes := []types.PropertyChange{
		{Name: "info.completeTime", Val: now}, {Name: "info.cancelable", Val: false},
		{Name: "info.cancelled", Val: cancelled},
	}
	if fault == nil {
		changes = append(changes, types.PropertyChange{Name: "info.progress", Val: int32(100)},
			types.PropertyChange{Name: "info.result", Val: result},
			types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateSuccess})
	} else {
		changes = append(changes,
			types.PropertyChange{Name: "info.error", Val: types.LocalizedMethodFault{Fault: fault,
				LocalizedMessage: fmt.Sprintf("%T", fault)}},
			types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateError})
	}
	ctx.Map.AtomicUpdate(ctx, task, changes)
}

// Cancel ends a task before its time. It fails where that cannot be: NotSupported for one that is not of this package.
func (t *Tasks) Cancel(task *simulator.Task, done bool) types.BaseMethodFault {
	if done {
		return new(types.InvalidState)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.running[task.Self]
	if r == nil || r.late {
		return new(types.NotSupported)
	}
	r.late = true
	close(r.cancelled)
	return nil
}

// descriptionID is how a task says what it does, such as VirtualMachine.powerOn.
func descriptionID(kind, method string) string {
	name := strings.TrimSuffix(method, "_Task")
	switch name {
	case "PowerOnVM", "PowerOffVM", "SuspendVM", "ResetVM":
		name = strings.TrimSuffix(name, "VM")
	}
	name = strings.Replace(name, "VM", "Vm", 1)
	return kind + "." + strings.ToLower(name[:1]) + name[1:]
}
