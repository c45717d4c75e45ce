// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/failure"
)

// errForgotten says that vCenter does not know a task any more.
var errForgotten = errors.New("vCenter does not know the task")

// tasks are those of vCenter's that somebody waits for, whoever started them. Session.Run follows all of them with one
// view and one wait for updates, so that it makes no difference to vCenter how many there are and how long they take.
//
// A wait is there from add until the task's end was told, or until drop. What lies in vCenter for it (stream) comes
// and goes with logins: whoever waits notices nothing of that.
type tasks struct {
	session *Session
	// modified is when the view was changed last. It belongs to run's goroutine.
	modified time.Time
	// more yields after a wait was added.
	more chan struct{}

	mu    sync.Mutex // Guards what follows.
	waits map[types.ManagedObjectReference][]*taskWait
	// view is what the present view shows, with what was told of it last: nil for nothing yet.
	view map[types.ManagedObjectReference]*types.TaskInfo
}

// taskWait is of one who waits for a task.
type taskWait struct {
	task types.ManagedObjectReference
	// told holds the newest that is known of the task. Nobody has to take it.
	told chan taskNews
}

// taskNews is how a task is, or why that cannot be told. The last of a task is its end, or has an error.
type taskNews struct {
	info *types.TaskInfo
	err  error
}

func (n taskNews) last() bool {
	return n.err != nil || n.info.State == types.TaskInfoStateSuccess || n.info.State == types.TaskInfoStateError
}

func newTasks(s *Session) *tasks {
	return &tasks{session: s, more: make(chan struct{}, 1), waits: map[types.ManagedObjectReference][]*taskWait{}}
}

// add begins a wait, which ends by itself with the task.
func (t *tasks) add(task types.ManagedObjectReference) *taskWait {
	w := &taskWait{task: task, told: make(chan taskNews, 1)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if info := t.view[task]; info != nil {
		// vCenter tells it only once.
		w.told <- taskNews{info: info}
		if (taskNews{info: info}).last() {
			return w
		}
	}
	t.waits[task] = append(t.waits[task], w)
	signal(t.more)
	return w
}

// drop ends a wait.
func (t *tasks) drop(w *taskWait) {
	t.mu.Lock()
	defer t.mu.Unlock()
	waits := t.waits[w.task]
	for i := range waits {
		if waits[i] == w {
			waits = append(waits[:i], waits[i+1:]...)
			break
		}
	}
	if t.waits[w.task] = waits; len(waits) == 0 {
		delete(t.waits, w.task)
	}
}

// tell tells all who wait for a task, none of whom it waits for.
func (t *tasks) tell(task types.ManagedObjectReference, news taskNews) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, shown := t.view[task]; shown {
		t.view[task] = news.info
	}
	for _, w := range t.waits[task] {
		select {
		case <-w.told: // what is older
		default:
		}
		w.told <- news
	}
	if news.last() {
		delete(t.waits, task)
	}
}

// tellAll tells everybody why nothing can be told.
func (t *tasks) tellAll(err error) {
	t.mu.Lock()
	waited := make([]types.ManagedObjectReference, 0, len(t.waits))
	for task := range t.waits {
		waited = append(waited, task)
	}
	t.mu.Unlock()
	for _, task := range waited {
		t.tell(task, taskNews{err: err})
	}
}

// waited says whether anybody waits.
func (t *tasks) waited() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.waits) > 0
}

// shows says whether the view shows a task that somebody waits for.
func (t *tasks) shows() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for task := range t.view {
		if len(t.waits[task]) > 0 {
			return true
		}
	}
	return false
}

// show empties the list of what the view shows, and forgets what was told of it.
func (t *tasks) show() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.view = map[types.ManagedObjectReference]*types.TaskInfo{}
}

// difference is what the view is to show besides, and what not any more.
func (t *tasks) difference() (add, remove []types.ManagedObjectReference) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for task := range t.waits {
		if _, shown := t.view[task]; !shown {
			add = append(add, task)
		}
	}
	for task := range t.view {
		if len(t.waits[task]) == 0 {
			remove = append(remove, task)
		}
	}
	return add, remove
}

// change notes what the view shows besides and not any more.
func (t *tasks) change(add, remove []types.ManagedObjectReference) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, task := range add {
		t.view[task] = nil
	}
	for _, task := range remove {
		delete(t.view, task)
	}
}

// run follows the tasks that are waited for until ctx ends, over any number of logins. While nobody waits it does
// nothing.
func (t *tasks) run(ctx context.Context) {
	retry, said := NewRetry(), ""
	for ctx.Err() == nil {
		if !t.waited() {
			select {
			case <-t.more:
			case <-ctx.Done():
			}
			continue
		}
		connection, err := t.session.Connect(ctx)
		if err != nil {
			continue // ctx has ended
		}
		told, err := t.follow(ctx, connection)
		if told {
			retry, said = NewRetry(), ""
		}
		if ctx.Err() != nil || connection.Err() != nil {
			continue
		}
		err = Translate(err)
		if errors.Is(err, failure.Forbidden) {
			t.tellAll(err) // Asking again would not help.
		}
		if message := err.Error(); message != said {
			said = message
			t.session.config.Logger.Error(err, "Could not follow vCenter's tasks, trying again")
		}
		timer := t.session.config.Clock.NewTimer(retry.Step())
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// signal leaves a word for whoever takes it, unless there is one already.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
