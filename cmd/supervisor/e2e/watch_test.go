// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/vim25/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

var machines = vmopv1.GroupVersion.WithResource("virtualmachines")

func (s *supervisor) dynamic(t *testing.T) dynamic.Interface {
	t.Helper()
	return dynamic.NewForConfigOrDie(s.config(t))
}

// watcher reads a watch and keeps what came.
type watcher struct {
	t      *testing.T
	events <-chan watch.Event
	last   uint64
}

// watch follows the machines of a namespace from their present state on.
func (s *supervisor) watch(t *testing.T, namespace string) *watcher {
	t.Helper()
	client := s.dynamic(t).Resource(machines).Namespace(namespace)
	list, err := client.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := client.Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return &watcher{t: t, events: w.ResultChan(), last: version(t, list)}
}

func version(t *testing.T, object metav1.Common) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(object.GetResourceVersion(), 10, 64)
	if err != nil {
		t.Fatalf("resourceVersion: %v", err)
	}
	return n
}

// next returns one event, whose version must be above those before it.
func (w *watcher) next(deadline time.Duration) (watch.EventType, *vmopv1.VirtualMachine) {
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
		if now := version(w.t, object); now <= w.last {
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

// until reads events until one is what is wanted, and returns that. All before it must be modifications: vCenter may
// tell of one change in several steps.
func (w *watcher) until(kind watch.EventType, name string, wanted func(*vmopv1.VirtualMachine) bool) *vmopv1.VirtualMachine {
	w.t.Helper()
	for {
		got, vm := w.next(20 * time.Second)
		if got == kind && vm.Name == name && (wanted == nil || wanted(vm)) {
			return vm
		}
		if got != watch.Modified {
			w.t.Fatalf("got %s %s while waiting for %s %s", got, vm.Name, kind, name)
		}
	}
}

func TestWatchFollowsVCenter(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.admin(t)
	here, there := a.namespace(s, "watch-here"), a.namespace(s, "watch-there")
	w, other := s.watch(t, here), s.watch(t, there)

	vm := a.create(here, "web", poweredOff)
	added := w.until(watch.Added, "web", nil)
	a.power(vm, poweredOn)
	on := w.until(watch.Modified, "web", func(vm *vmopv1.VirtualMachine) bool {
		return vm.Status.PowerState == vmopv1.VirtualMachinePowerStateOn
	})
	if on.UID != added.UID {
		t.Errorf("uid %s became %s", added.UID, on.UID)
	}
	if err := vcentertest.SetGuestIP(t.Context(), vm, "10.40.0.7"); err != nil {
		t.Fatal(err)
	}
	w.until(watch.Modified, "web", func(vm *vmopv1.VirtualMachine) bool {
		return vm.Status.Network != nil && vm.Status.Network.PrimaryIP4 == "10.40.0.7"
	})
	a.reconfigure(vm, types.VirtualMachineConfigSpec{MemoryMB: 8192})
	w.until(watch.Modified, "web", func(vm *vmopv1.VirtualMachine) bool {
		return vm.Status.Hardware.Memory.Total.String() == "8Gi"
	})

	// Another name in vCenter is another object of the same uid.
	a.rename(vm, "front")
	w.until(watch.Deleted, "web", nil)
	if renamed := w.until(watch.Added, "front", nil); renamed.UID != added.UID {
		t.Errorf("renamed: uid %s became %s", added.UID, renamed.UID)
	}

	// Moved to another folder, it leaves one namespace and comes to the other.
	a.move(vm, there)
	w.until(watch.Deleted, "front", nil)
	if moved := other.until(watch.Added, "front", nil); moved.UID != added.UID || moved.Namespace != there {
		t.Errorf("moved: uid %s became %s in %s", added.UID, moved.UID, moved.Namespace)
	}
	a.power(vm, poweredOff)
	other.until(watch.Modified, "front", func(vm *vmopv1.VirtualMachine) bool {
		return vm.Status.PowerState == vmopv1.VirtualMachinePowerStateOff
	})
	a.destroy(vm)
	gone := other.until(watch.Deleted, "front", nil)
	if gone.Status.PowerState != vmopv1.VirtualMachinePowerStateOff {
		t.Errorf("deleted in its last state %s", gone.Status.PowerState)
	}
	list, err := s.dynamic(t).Resource(machines).Namespace(there).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 0 {
		t.Errorf("left in %s: %v, %v", there, list, err)
	}
}

// latencyGoal is what the project promises on the simulator.
const latencyGoal = 250 * time.Millisecond

func TestPowerOffIsSoonAtAWatcher(t *testing.T) {
	s := running(t)
	a := s.admin(t)
	namespace := a.namespace(s, "latency")
	vm := a.create(namespace, "web", poweredOn)
	eventually(t, 20*time.Second, "the machine", func(ctx context.Context) error {
		_, err := s.dynamic(t).Resource(machines).Namespace(namespace).Get(ctx, "web", metav1.GetOptions{})
		return err
	})
	w := s.watch(t, namespace)
	var taken []time.Duration
	for range 9 {
		began := time.Now()
		if _, err := vm.PowerOff(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.until(watch.Modified, "web", func(vm *vmopv1.VirtualMachine) bool {
			return vm.Status.PowerState == vmopv1.VirtualMachinePowerStateOff
		})
		taken = append(taken, time.Since(began).Round(time.Millisecond/10))
		a.power(vm, poweredOn)
		w.until(watch.Modified, "web", func(vm *vmopv1.VirtualMachine) bool {
			return vm.Status.PowerState == vmopv1.VirtualMachinePowerStateOn
		})
	}
	slices.Sort(taken)
	median := taken[len(taken)/2]
	fmt.Printf("power-off in vCenter to watcher: median %s of %v\n", median, taken)
	if median >= latencyGoal {
		t.Errorf("a power-off takes %s (median of %v): at most %s is promised", median, taken, latencyGoal)
	}
}

// TestWatchIsExact holds what watchers see against what is there: from any version on, the events lead to the list.
func TestWatchIsExact(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.admin(t)
	namespace := a.namespace(s, "exact")
	w := s.watch(t, namespace)
	state := map[string]string{}
	vm := a.create(namespace, "one", poweredOff)
	a.create(namespace, "two", poweredOn)
	a.rename(vm, "three")
	third := a.create(namespace, "last", poweredOff)
	a.power(third, poweredOn)
	for state["last"] != "PoweredOn" || state["two"] != "PoweredOn" {
		kind, vm := w.next(20 * time.Second)
		_, known := state[vm.Name]
		switch {
		case kind == watch.Added && known:
			t.Errorf("ADDED twice: %s", vm.Name)
		case kind != watch.Added && !known:
			t.Errorf("%s of the unknown %s", kind, vm.Name)
		}
		if state[vm.Name] = string(vm.Status.PowerState); kind == watch.Deleted {
			delete(state, vm.Name)
		}
	}
	list, err := s.dynamic(t).Resource(machines).Namespace(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for _, item := range list.Items {
		listed[item.GetName()], _, _ = unstructured.NestedString(item.Object, "status", "powerState")
	}
	if diff := cmp.Diff(listed, state); diff != "" {
		t.Errorf("what the watch tells (-list +watch):\n%s", diff)
	}
}
