// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

func named(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// wrapped is how the watch cache hands out an object.
type wrapped struct{ *corev1.ConfigMap }

func (w wrapped) CacheEncode(runtime.Identifier, func(runtime.Object, io.Writer) error, io.Writer) error {
	return errors.New("not encoded here")
}

var _ runtime.CacheableObject = wrapped{}

func (w wrapped) GetObject() runtime.Object { return w.ConfigMap }

// shown shows what is not hidden, as it is called, and fails at what is broken.
func shown(event watch.Event) (watch.Event, bool, error) {
	object, ok := event.Object.(*corev1.ConfigMap)
	if !ok {
		return event, true, nil
	}
	switch object.Name {
	case "broken":
		return event, true, errors.New("nobody can say")
	case "hidden":
		return event, false, nil
	case "lost":
		event.Type = watch.Deleted
	}
	return event, true, nil
}

func TestFilter(t *testing.T) {
	from := watch.NewFakeWithChanSize(10, false)
	from.Add(named("a"))
	from.Modify(named("hidden"))
	from.Modify(wrapped{named("b")})
	from.Modify(named("lost"))
	from.Action(watch.Bookmark, &metav1.Status{})
	from.Add(named("broken"))
	from.Add(named("c"))
	var got []watch.Event
	for event := range Filter(t.Context(), from, shown).ResultChan() {
		got = append(got, event)
	}
	want := []watch.Event{
		{Type: watch.Added, Object: named("a")},
		{Type: watch.Modified, Object: named("b")},
		{Type: watch.Deleted, Object: named("lost")},
		{Type: watch.Bookmark, Object: &metav1.Status{}},
		{Type: watch.Error, Object: &metav1.Status{
			Status: "Failure", Message: "Internal error occurred: nobody can say", Reason: metav1.StatusReasonInternalError,
			Code:    500,
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Message: "nobody can say"}}},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if !from.IsStopped() {
		t.Error("the watch below goes on")
	}
}

// A watcher that is gone without having read what came leaves nothing running:
// synctest fails when something is.
func TestFilterStops(t *testing.T) {
	for name, stop := range map[string]func(watch.Interface, context.CancelFunc){
		"stopped": func(w watch.Interface, _ context.CancelFunc) { w.Stop(); w.Stop() },
		"ended":   func(_ watch.Interface, cancel context.CancelFunc) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				from := watch.NewFake()
				events := Filter(ctx, from, shown)
				from.Modify(named("a"))
				stop(events, cancel)
				synctest.Wait()
				if _, open := <-events.ResultChan(); open {
					t.Error("there is an event after the end")
				}
				if !from.IsStopped() {
					t.Error("the watch below goes on")
				}
			})
		})
	}
}
