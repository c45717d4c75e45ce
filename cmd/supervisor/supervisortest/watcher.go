// SPDX-License-Identifier: Apache-2.0

package supervisortest

import (
	"testing"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// Watcher reads a watch and keeps what came.
type Watcher struct {
	t      *testing.T
	events <-chan watch.Event
	last   uint64
}

// Watch follows the machines of a namespace from their present state on.
func (s *Supervisor) Watch(t *testing.T, namespace string) *Watcher {
	t.Helper()
	client := s.Dynamic(t).Resource(Machines).Namespace(namespace)
	list, err := client.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := client.Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return &Watcher{t: t, events: w.ResultChan(), last: Version(t, list)}
}

// Next returns one event, whose version must be above those before it.
func (w *Watcher) Next(deadline time.Duration) (watch.EventType, *vmopv1.VirtualMachine) {
	w.t.Helper()
	timer := time.NewTimer(deadline)
	defer timer.Stop()
	select {
	case event, open := <-w.events:
		if !open {
			w.t.Fatal("the watch ended")
		}
		object, ok := event.Object.(*unstructured.Unstructured)
		if !ok || event.Type == watch.Error {
			w.t.Fatalf("the watch ended with %v", event.Object)
		}
		if now := Version(w.t, object); now <= w.last {
			w.t.Errorf("resourceVersion %d after %d", now, w.last)
		} else {
			w.last = now
		}
		vm := &vmopv1.VirtualMachine{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, vm); err != nil {
			w.t.Fatal(err)
		}
		return event.Type, vm
	case <-timer.C:
		w.t.Fatalf("no event within %s", deadline)
	}
	return "", nil
}

// Until reads events until one is what is wanted, and returns that. All before it must be modifications: vCenter may
// tell of one change in several steps.
func (w *Watcher) Until(kind watch.EventType, name string,
	wanted func(*vmopv1.VirtualMachine) bool) *vmopv1.VirtualMachine {
	w.t.Helper()
	for {
		got, vm := w.Next(20 * time.Second)
		if got == kind && vm.Name == name && (wanted == nil || wanted(vm)) {
			return vm
		}
		if got != watch.Modified {
			w.t.Fatalf("got %s %s while waiting for %s %s", got, vm.Name, kind, name)
		}
	}
}
