// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	cachetesting "k8s.io/client-go/tools/cache/testing"
	"k8s.io/klog/v2/ktesting"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/waittest"
)

const (
	on        = vmopv1.VirtualMachinePowerStateOn
	off       = vmopv1.VirtualMachinePowerStateOff
	suspended = vmopv1.VirtualMachinePowerStateSuspended
)

// power is what a Controller asked of a Power.
type power struct {
	UID    types.UID
	Target vmopv1.VirtualMachinePowerState
	Mode   vmopv1.VirtualMachinePowerOpMode
	Asked  time.Time
}

// world is the outside of a Controller: it does what it is asked, unless a test
// says otherwise, and writes it down.
type world struct {
	source *cachetesting.FakeControllerSource

	lock       sync.Mutex
	machines   map[types.UID]*vmopv1.VirtualMachine
	asked      []power
	released   []types.UID
	paused     map[types.UID]bool
	conditions map[types.UID]metav1.Condition
	again      time.Duration // the answer of SetPower, which then changes nothing
	fail       error
}

func (w *world) SetPower(_ context.Context, uid types.UID, target vmopv1.VirtualMachinePowerState, mode vmopv1.VirtualMachinePowerOpMode, asked time.Time) (time.Duration, error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.asked = append(w.asked, power{uid, target, mode, asked})
	if w.fail != nil || w.again > 0 {
		return w.again, w.fail
	}
	vm := w.machines[uid].DeepCopy()
	vm.Status.PowerState = target
	w.machines[uid] = vm
	w.source.Modify(vm.DeepCopy())
	return 0, nil
}

func (w *world) Paused(uid types.UID) bool {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.paused[uid]
}

func (w *world) SetCondition(uid types.UID, condition metav1.Condition) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.conditions[uid] = condition
}

func (w *world) ClearCondition(uid types.UID, _ string) {
	w.lock.Lock()
	defer w.lock.Unlock()
	delete(w.conditions, uid)
}

func (w *world) RemoveFinalizer(_ context.Context, _, _ string, uid types.UID, finalizer string) error {
	w.lock.Lock()
	defer w.lock.Unlock()
	if finalizer != vmoperator.MachineFinalizer {
		return errors.New("removed somebody else's finalizer")
	}
	if slices.Contains(w.released, uid) { // it may be asked again before the controller sees that the machine is gone
		return nil
	}
	w.released = append(w.released, uid)
	w.source.Delete(w.machines[uid].DeepCopy())
	return nil
}

func (w *world) answer(again time.Duration, fail error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.again, w.fail = again, fail
}

func (w *world) read() (asked []power, released []types.UID, conditions int) {
	w.lock.Lock()
	defer w.lock.Unlock()
	return append([]power(nil), w.asked...), append([]types.UID(nil), w.released...), len(w.conditions)
}

func machine(name string, spec, status vmopv1.VirtualMachinePowerState, change func(*vmopv1.VirtualMachine)) *vmopv1.VirtualMachine {
	vm := &vmopv1.VirtualMachine{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: name, UID: types.UID(name), Finalizers: []string{vmoperator.MachineFinalizer}},
		Spec:       vmopv1.VirtualMachineSpec{PowerState: spec},
		Status:     vmopv1.VirtualMachineStatus{PowerState: status},
	}
	if change != nil {
		change(vm)
	}
	return vm
}

func deleting(vm *vmopv1.VirtualMachine) {
	vm.DeletionTimestamp = &metav1.Time{Time: time.Unix(1_800_000_000, 0)}
}

func start(t *testing.T, w *world, machines ...*vmopv1.VirtualMachine) *clocktesting.FakePassiveClock {
	t.Helper()
	w.source = cachetesting.NewFakeControllerSource()
	w.machines, w.conditions = map[types.UID]*vmopv1.VirtualMachine{}, map[types.UID]metav1.Condition{}
	for _, vm := range machines {
		w.machines[vm.UID] = vm
		w.source.Add(vm.DeepCopy())
	}
	logger, ctx := ktesting.NewTestContext(t)
	ctx, stop := context.WithCancel(ctx)
	clock := clocktesting.NewFakePassiveClock(time.Unix(1_800_000_000, 0))
	controller := &Controller{Machines: w.source, Releaser: w, Power: w, Conditions: w, Clock: clock, Logger: logger}
	done := make(chan error, 1)
	go func() { done <- controller.Run(ctx, 2) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return clock
}

// TestWhatIsAsked starts a controller on one machine that has work, and on one
// behind it that tells when the first was looked at.
func TestWhatIsAsked(t *testing.T) {
	tests := map[string]struct {
		machine      *vmopv1.VirtualMachine
		paused       bool
		wantAsked    []power
		wantReleased []types.UID
	}{
		"as declared":            {machine: machine("vm", on, on, nil)},
		"nothing declared":       {machine: machine("vm", "", off, nil)},
		"power on":               {machine: machine("vm", on, off, nil), wantAsked: []power{{UID: "vm", Target: on, Mode: "TrySoft"}}},
		"power off":              {machine: machine("vm", off, on, func(vm *vmopv1.VirtualMachine) { vm.Spec.PowerOffMode = "Hard" }), wantAsked: []power{{UID: "vm", Target: off, Mode: "Hard"}}},
		"suspend":                {machine: machine("vm", suspended, on, func(vm *vmopv1.VirtualMachine) { vm.Spec.SuspendMode = "Soft" }), wantAsked: []power{{UID: "vm", Target: suspended, Mode: "Soft"}}},
		"paused by annotation":   {machine: machine("vm", on, off, func(vm *vmopv1.VirtualMachine) { vm.Annotations = map[string]string{vmopv1.PauseAnnotation: ""} })},
		"paused by an admin":     {machine: machine("vm", on, off, nil), paused: true},
		"deleted while on":       {machine: machine("vm", on, on, deleting), wantAsked: []power{{UID: "vm", Target: off, Mode: "TrySoft"}}, wantReleased: []types.UID{"vm"}},
		"deleted while off":      {machine: machine("vm", on, off, deleting), wantReleased: []types.UID{"vm"}},
		"deleted, already free":  {machine: machine("vm", on, on, func(vm *vmopv1.VirtualMachine) { deleting(vm); vm.Finalizers = []string{"other"} })},
		"deleted while paused":   {machine: machine("vm", on, on, deleting), paused: true},
		"deleted while suspendd": {machine: machine("vm", "", suspended, deleting), wantReleased: []types.UID{"vm"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := &world{paused: map[types.UID]bool{"vm": test.paused}}
			start(t, w, test.machine)
			// Work is taken in order, so that once the second machine's is done the first has been looked at.
			w.lock.Lock()
			w.machines["behind"] = machine("behind", off, on, nil)
			w.source.Add(w.machines["behind"].DeepCopy())
			w.lock.Unlock()
			want := append(append([]power(nil), test.wantAsked...), power{UID: "behind", Target: off, Mode: "TrySoft"})
			waittest.Eventually(t, "everything asked and released", func() bool {
				asked, released, _ := w.read()
				return len(asked) >= len(want) && len(released) == len(test.wantReleased)
			})
			asked, released, _ := w.read()
			byUID := cmp.Transformer("byUID", func(all []power) map[types.UID]power {
				byUID := map[types.UID]power{}
				for _, one := range all {
					byUID[one.UID] = one
				}
				return byUID
			})
			if diff := cmp.Diff(want, asked, byUID); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.wantReleased, released); diff != "" {
				t.Errorf("released (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAGuestIsAskedOnceAndThenWaitedFor(t *testing.T) {
	w := &world{}
	w.answer(time.Millisecond, nil)
	clock := start(t, w, machine("vm", off, on, nil))
	waittest.Eventually(t, "asked three times", func() bool { asked, _, _ := w.read(); return len(asked) >= 3 })
	asked, _, _ := w.read()
	if !asked[0].Asked.IsZero() {
		t.Errorf("the first step says that the guest was asked at %v, want never", asked[0].Asked)
	}
	for _, later := range asked[1:] {
		if later.Asked != clock.Now() {
			t.Errorf("a later step says that the guest was asked at %v, want %v", later.Asked, clock.Now())
		}
	}
}

func TestAFailureIsShownAndTriedAgain(t *testing.T) {
	w := &world{}
	w.answer(0, errors.New("no host is compatible"))
	start(t, w, machine("vm", on, off, nil))
	waittest.Eventually(t, "the condition", func() bool { _, _, conditions := w.read(); return conditions == 1 })
	want := metav1.Condition{
		Type: vmopv1.VirtualMachinePowerStateSynced, Status: metav1.ConditionFalse, Reason: "PowerChangeFailed",
		Message: "no host is compatible", LastTransitionTime: metav1.NewTime(time.Unix(1_800_000_000, 0)),
	}
	w.lock.Lock()
	if diff := cmp.Diff(want, w.conditions["vm"]); diff != "" {
		t.Errorf("condition (-want +got):\n%s", diff)
	}
	w.lock.Unlock()

	w.answer(0, nil)
	waittest.Eventually(t, "powered on, and no condition", func() bool {
		w.lock.Lock()
		defer w.lock.Unlock()
		return w.machines["vm"].Status.PowerState == on && len(w.conditions) == 0
	})
}
