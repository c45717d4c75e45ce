// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// Filter is a watch that shows of another one what somebody may see. shown is given
// each event, its object taken out of what the watch cache wraps it in, and returns
// the event to show in its place, or false for none; it must not change the object,
// which others watch too. With its error the watch ends, after an event that tells
// the error: to go on would be to lose an event.
func Filter(ctx context.Context, from watch.Interface, shown func(
	watch.Event) (watch.Event, bool, error)) watch.Interface {
	f := &filter{from: from, result: make(chan watch.Event), done: make(chan struct{})}
	f.stop = sync.OnceFunc(func() {
		close(f.done)
		from.Stop()
	})
	go f.run(ctx, shown)
	return f
}

type filter struct {
	from   watch.Interface
	result chan watch.Event
	done   chan struct{}
	stop   func()
}

// Stop implements watch.Interface.
func (f *filter) Stop() { f.stop() }

// ResultChan implements watch.Interface.
func (f *filter) ResultChan() <-chan watch.Event { return f.result }

func (f *filter) run(ctx context.Context, shown func(watch.Event) (watch.Event, bool, error)) {
	defer close(f.result)
	defer f.Stop()
	for event := range f.from.ResultChan() {
		if wrapped, ok := event.Object.(runtime.CacheableObject); ok {
			event.Object = wrapped.GetObject()
		}
		event, passes, err := shown(event)
		if err != nil {
			event, passes = watch.Event{Type: watch.Error, Object: statusOf(err)}, true
		}
		if !passes {
			continue
		}
		select {
		case f.result <- event:
		case <-f.done:
			return
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

func statusOf(err error) runtime.Object {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		status = apierrors.NewInternalError(err)
	}
	told := status.Status()
	return &told
}
