// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"errors"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/openpacific/pacific/pkg/apis/topology/v1alpha1"
)

// followed is a watch of availability zones, each as somebody is shown it.
type followed struct {
	from   watch.Interface
	result chan watch.Event
	done   chan struct{}
	stop   func()
}

func follow(ctx context.Context, from watch.Interface, shown func(*v1alpha1.AvailabilityZone) (*v1alpha1.AvailabilityZone, error)) watch.Interface {
	f := &followed{from: from, result: make(chan watch.Event), done: make(chan struct{})}
	f.stop = sync.OnceFunc(func() {
		close(f.done)
		from.Stop()
	})
	go f.run(ctx, shown)
	return f
}

// Stop implements watch.Interface.
func (f *followed) Stop() { f.stop() }

// ResultChan implements watch.Interface.
func (f *followed) ResultChan() <-chan watch.Event { return f.result }

func (f *followed) run(ctx context.Context, shown func(*v1alpha1.AvailabilityZone) (*v1alpha1.AvailabilityZone, error)) {
	defer close(f.result)
	defer f.Stop()
	for event := range f.from.ResultChan() {
		object := event.Object
		if wrapped, ok := object.(runtime.CacheableObject); ok {
			object = wrapped.GetObject()
		}
		var err error
		if zone, ok := object.(*v1alpha1.AvailabilityZone); ok {
			if zone, err = shown(zone); err != nil {
				// To go on would be to lose an event: whoever watches starts again.
				event = watch.Event{Type: watch.Error, Object: statusOf(err)}
			} else {
				event.Object = zone
			}
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
