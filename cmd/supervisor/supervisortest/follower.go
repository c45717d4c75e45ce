// SPDX-License-Identifier: Apache-2.0

package supervisortest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

// Follower applies the events of a watch to what was listed before it, and finds what cannot be.
type Follower struct {
	Objects map[string]*unstructured.Unstructured // by name

	t       *testing.T
	client  dynamic.ResourceInterface
	watcher *Watcher
}

// Follow lists the machines of a namespace and watches from there on.
func (s *Supervisor) Follow(t *testing.T, namespace string) *Follower {
	t.Helper()
	client := s.Dynamic(t).Resource(Machines).Namespace(namespace)
	list, err := client.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f := &Follower{t: t, client: client, Objects: map[string]*unstructured.Unstructured{}}
	for i := range list.Items {
		f.Objects[list.Items[i].GetName()] = &list.Items[i]
	}
	w, err := client.Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	f.watcher = &Watcher{t: t, events: w.ResultChan(), last: Version(t, list)}
	return f
}

// Until reads events until the follower's objects are as wanted.
func (f *Follower) Until(what string, done func(map[string]*unstructured.Unstructured) bool) {
	f.t.Helper()
	for !done(f.Objects) {
		f.step(what)
	}
}

func (f *Follower) step(what string) {
	f.t.Helper()
	select {
	case event, open := <-f.watcher.events:
		object, ok := event.Object.(*unstructured.Unstructured)
		if !open || !ok || event.Type == watch.Error {
			f.t.Fatalf("%s: the watch ended with %v", what, event.Object)
		}
		f.apply(event.Type, object)
	case <-time.After(30 * time.Second):
		f.t.Fatalf("%s: no event for 30 s; known are %v", what, Power(f.Objects))
	}
}

func (f *Follower) apply(kind watch.EventType, object *unstructured.Unstructured) {
	f.t.Helper()
	name := object.GetName()
	if now := Version(f.t, object); now <= f.watcher.last {
		f.t.Errorf("%s %s: resourceVersion %d after %d", kind, name, now, f.watcher.last)
	} else {
		f.watcher.last = now
	}
	known := f.Objects[name]
	switch {
	case kind == watch.Added && known != nil:
		f.t.Errorf("ADDED %s, which was there", name)
	case kind != watch.Added && known == nil:
		f.t.Errorf("%s %s, which was not there", kind, name)
	case kind == watch.Modified && known.GetUID() != object.GetUID():
		f.t.Errorf("MODIFIED %s changes its uid", name)
	case kind == watch.Modified:
		before, after := known.DeepCopy(), object.DeepCopy()
		before.SetResourceVersion("")
		after.SetResourceVersion("")
		if equality.Semantic.DeepEqual(before.Object, after.Object) {
			f.t.Errorf("MODIFIED %s without a change", name)
		}
	}
	if f.Objects[name] = object; kind == watch.Deleted {
		delete(f.Objects, name)
	}
}

// Agrees holds what the follower knows against a list.
func (f *Follower) Agrees() {
	f.t.Helper()
	list, err := f.client.List(f.t.Context(), metav1.ListOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	listed := map[string]*unstructured.Unstructured{}
	for i := range list.Items {
		listed[list.Items[i].GetName()] = &list.Items[i]
	}
	if diff := cmp.Diff(listed, f.Objects); diff != "" {
		f.t.Errorf("what the watch has told (-list +watch):\n%s", diff)
	}
}

// Power is the power state by name.
func Power(objects map[string]*unstructured.Unstructured) map[string]string {
	states := map[string]string{}
	for name, object := range objects {
		states[name], _, _ = unstructured.NestedString(object.Object, "status", "powerState")
	}
	return states
}
