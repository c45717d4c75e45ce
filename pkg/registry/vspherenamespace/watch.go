// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"context"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
)

// filtered shows of a watch what somebody may see. What they may see no longer
// goes for them as if it were deleted, and what they may see from now on comes as
// if it were new. Both show with the object's next change: one of its access is
// such a change.
type filtered struct {
	from   watch.Interface
	result chan watch.Event
	done   chan struct{}
	stop   func()
}

func filter(ctx context.Context, from watch.Interface, shown map[string]bool, sees func(*v1alpha1.Namespace) (bool, error)) watch.Interface {
	f := &filtered{from: from, result: make(chan watch.Event), done: make(chan struct{})}
	f.stop = sync.OnceFunc(func() {
		close(f.done)
		from.Stop()
	})
	go f.run(ctx, shown, sees)
	return f
}

// Stop implements watch.Interface.
func (f *filtered) Stop() { f.stop() }

// ResultChan implements watch.Interface.
func (f *filtered) ResultChan() <-chan watch.Event { return f.result }

func (f *filtered) run(ctx context.Context, shown map[string]bool, sees func(*v1alpha1.Namespace) (bool, error)) {
	defer close(f.result)
	defer f.Stop()
	for event := range f.from.ResultChan() {
		event, passes, err := decide(event, shown, sees)
		if err != nil {
			// To go on would be to lose an event: whoever watches starts again.
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

func decide(event watch.Event, shown map[string]bool, sees func(*v1alpha1.Namespace) (bool, error)) (watch.Event, bool, error) {
	object := event.Object
	if wrapped, ok := object.(runtime.CacheableObject); ok {
		object = wrapped.GetObject()
	}
	namespace, ok := object.(*v1alpha1.Namespace)
	if !ok || event.Type == watch.Bookmark || event.Type == watch.Error {
		return event, true, nil
	}
	before := shown[namespace.Name]
	if event.Type == watch.Deleted {
		delete(shown, namespace.Name)
		return event, before, nil
	}
	now, err := sees(namespace)
	switch {
	case err != nil:
		return event, false, err
	case now && !before:
		shown[namespace.Name] = true
		event.Type = watch.Added
	case !now && before:
		delete(shown, namespace.Name)
		event.Type = watch.Deleted
	}
	return event, now || before, nil
}

func statusOf(err error) runtime.Object {
	if status, ok := err.(apierrors.APIStatus); ok {
		told := status.Status()
		return &told
	}
	told := apierrors.NewInternalError(err).Status()
	return &told
}
