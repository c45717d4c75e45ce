// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2/ktesting"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/facts"
)

func (w *world) PromoteDisks(ctx context.Context, id facts.ID, progress func(int32), still func(facts.Machine) error) error {
	if _, err := w.begin(id, still); err != nil {
		return err
	}
	w.lock.Lock()
	promoting := w.promoting
	w.lock.Unlock()
	if promoting != nil {
		if err := promoting(ctx, progress); err != nil {
			return err
		}
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	w.linked, w.promoted = false, w.promoted+1
	return nil
}

// TestPromote: the disks of a machine that was asked for linked come to stand by themselves in the power state that is
// declared for that, and not before, nor where somebody asked that it be left alone.
func TestPromote(t *testing.T) {
	full := errors.New("the datastore is full")
	was := func(state vmopv1.VirtualMachinePowerState, mode vmopv1.VirtualMachinePromoteDisksMode) *vmopv1.VirtualMachine {
		return machine("vm", state, state, func(vm *vmopv1.VirtualMachine) {
			vm.Annotations = map[string]string{vmoperator.FastDeployAnnotation: "linked"}
			vm.Spec.PromoteDisksMode = mode
		})
	}
	const online, offline, disabled = vmopv1.VirtualMachinePromoteDisksModeOnline,
		vmopv1.VirtualMachinePromoteDisksModeOffline, vmopv1.VirtualMachinePromoteDisksModeDisabled
	for name, test := range map[string]struct {
		vm       *vmopv1.VirtualMachine
		change   func(*world)
		promoted int
		fails    error
		says     string
	}{
		"on":               {vm: was(on, ""), promoted: 1},
		"on, as declared":  {vm: was(on, online), promoted: 1},
		"off":              {vm: was(off, "")},
		"off, as declared": {vm: was(off, offline), promoted: 1},
		"on, to be off":    {vm: was(on, offline)},
		"not at all":       {vm: was(on, disabled)},
		"not linked":       {vm: was(on, ""), change: func(w *world) { w.linked = false }},
		"nobody asked":     {vm: machine("vm", on, on, nil)},
		"somebody else's":  {vm: was(on, ""), change: func(w *world) { w.made["vm"] = false }},
		"paused":           {vm: was(on, ""), change: func(w *world) { w.paused["vm"] = true }},
		"not made yet":     {vm: was(on, ""), change: func(w *world) { w.left["vm"] = copies(1) }},
		"being customised": {vm: func() *vmopv1.VirtualMachine {
			vm := was(on, "")
			vm.Status.Conditions = []metav1.Condition{{Type: vmopv1.GuestCustomizationCondition,
				Status: metav1.ConditionFalse, Reason: vmopv1.GuestCustomizationRunningReason}}
			return vm
		}()},
		"it fails": {vm: was(on, ""), change: func(w *world) {
			w.promoting = func(context.Context, func(int32)) error { return full }
		}, fails: full, says: vmoperator.PromotionFailedReason + ": the datastore is full"},
		"it tells how far it is": {vm: was(on, ""), change: func(w *world) {
			w.promoting = func(_ context.Context, progress func(int32)) error {
				progress(40)
				return full
			}
		}, fails: full, says: vmoperator.PromotionFailedReason + ": the datastore is full"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newYard(nil)
			delete(w.left, "vm")
			w.linked = true
			if test.change != nil {
				test.change(w)
			}
			hall(t, w, test.vm)
			logger, _ := ktesting.NewTestContext(t)
			p := newPromotions(&Controller{Machines: w, Promoter: w, Logger: logger,
				Clock: clocktesting.NewFakePassiveClock(test.vm.CreationTimestamp.Time)})
			_, err := p.sync(t.Context(), test.vm.Namespace+"/vm")
			if !errors.Is(err, test.fails) {
				t.Errorf("got %v, want %v", err, test.fails)
			}
			told := w.conditions["vm"]
			said := ""
			if told.Reason != "" {
				said = told.Reason + ": " + told.Message
			}
			if diff := cmp.Diff(test.says, said); diff != "" || w.promoted != test.promoted {
				t.Errorf("promoted %d times, want %d; said (-want +got):\n%s", w.promoted, test.promoted, diff)
			}
		})
	}
}

// TestPromotionEnds: the promotion of a machine whose deletion is asked for ends at once.
func TestPromotionEnds(t *testing.T) {
	w := newYard(nil)
	delete(w.left, "vm")
	w.linked = true
	vm := machine("vm", on, on, func(vm *vmopv1.VirtualMachine) {
		vm.Annotations = map[string]string{vmoperator.FastDeployAnnotation: "linked"}
	})
	hall(t, w, vm)
	begun := make(chan struct{})
	w.promoting = func(ctx context.Context, _ func(int32)) error {
		close(begun)
		<-ctx.Done()
		return context.Cause(ctx)
	}
	logger, _ := ktesting.NewTestContext(t)
	p := newPromotions(&Controller{Machines: w, Promoter: w, Logger: logger})
	ended := make(chan error, 1)
	go func() {
		_, err := p.sync(t.Context(), vm.Namespace+"/vm")
		ended <- err
	}()
	<-begun
	going := vm.DeepCopy()
	deleting(going)
	p.see(going)
	if err := <-ended; err != nil {
		t.Errorf("got %v", err)
	}
}
