// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/vim25/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

func TestWatchFollowsVCenter(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	here, there := a.Namespace("watch-here"), a.Namespace("watch-there")
	w, other := s.Watch(t, here), s.Watch(t, there)

	vm := a.Create(here, "web", supervisortest.PoweredOff)
	added := w.Until(watch.Added, "web", nil)
	a.Reconfigure(vm, types.VirtualMachineConfigSpec{MemoryMB: 8192})
	w.Until(watch.Modified, "web", func(vm *vmopv1.VirtualMachine) bool {
		return vm.Status.Hardware.Memory.Total.String() == "8Gi"
	})
	a.Power(vm, supervisortest.PoweredOn)
	on := w.Until(watch.Modified, "web", func(vm *vmopv1.VirtualMachine) bool {
		return vm.Status.PowerState == vmopv1.VirtualMachinePowerStateOn
	})
	if on.UID != added.UID {
		t.Errorf("uid %s became %s", added.UID, on.UID)
	}
	if err := vcentertest.SetGuestIP(t.Context(), vm, "10.40.0.7"); err != nil {
		t.Fatal(err)
	}
	w.Until(watch.Modified, "web", func(vm *vmopv1.VirtualMachine) bool {
		return vm.Status.Network != nil && vm.Status.Network.PrimaryIP4 == "10.40.0.7"
	})

	// Another name in vCenter is another object of the same uid.
	a.Rename(vm, "front")
	w.Until(watch.Deleted, "web", nil)
	if renamed := w.Until(watch.Added, "front", nil); renamed.UID != added.UID {
		t.Errorf("renamed: uid %s became %s", added.UID, renamed.UID)
	}

	// Moved to another folder, it leaves one namespace and comes to the other.
	a.Move(vm, there)
	w.Until(watch.Deleted, "front", nil)
	if moved := other.Until(watch.Added, "front", nil); moved.UID != added.UID || moved.Namespace != there {
		t.Errorf("moved: uid %s became %s in %s", added.UID, moved.UID, moved.Namespace)
	}
	a.Power(vm, supervisortest.PoweredOff)
	other.Until(watch.Modified, "front", func(vm *vmopv1.VirtualMachine) bool {
		return vm.Status.PowerState == vmopv1.VirtualMachinePowerStateOff
	})
	a.Destroy(vm)
	gone := other.Until(watch.Deleted, "front", nil)
	if gone.Status.PowerState != vmopv1.VirtualMachinePowerStateOff {
		t.Errorf("deleted in its last state %s", gone.Status.PowerState)
	}
	list, err := s.Dynamic(t).Resource(supervisortest.Machines).Namespace(there).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 0 {
		t.Errorf("left in %s: %v, %v", there, list, err)
	}
}

// latencyGoal is what the project promises on the simulator.
const latencyGoal = 250 * time.Millisecond

func TestPowerOffIsSoonAtAWatcher(t *testing.T) {
	s := running(t)
	a := s.Admin(t)
	namespace := a.Namespace("latency")
	vm := a.Create(namespace, "web", supervisortest.PoweredOn)
	waittest.Within(t, 20*time.Second, "the machine", func(ctx context.Context) error {
		_, err := s.Dynamic(t).Resource(supervisortest.Machines).Namespace(namespace).Get(ctx, "web", metav1.GetOptions{})
		return err
	})
	w := s.Watch(t, namespace)
	var taken []time.Duration
	for range 9 {
		began := time.Now()
		if _, err := vm.PowerOff(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.Until(watch.Modified, "web", func(vm *vmopv1.VirtualMachine) bool {
			return vm.Status.PowerState == vmopv1.VirtualMachinePowerStateOff
		})
		taken = append(taken, time.Since(began).Round(time.Millisecond/10))
		a.Power(vm, supervisortest.PoweredOn)
		w.Until(watch.Modified, "web", func(vm *vmopv1.VirtualMachine) bool {
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
	a := s.Admin(t)
	namespace := a.Namespace("exact")
	w := s.Watch(t, namespace)
	state := map[string]string{}
	vm := a.Create(namespace, "one", supervisortest.PoweredOff)
	a.Create(namespace, "two", supervisortest.PoweredOn)
	a.Rename(vm, "three")
	third := a.Create(namespace, "last", supervisortest.PoweredOff)
	a.Power(third, supervisortest.PoweredOn)
	for state["last"] != "PoweredOn" || state["two"] != "PoweredOn" {
		kind, vm := w.Next(20 * time.Second)
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
	list, err := s.Dynamic(t).Resource(supervisortest.Machines).Namespace(namespace).List(t.Context(),
		metav1.ListOptions{})
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
