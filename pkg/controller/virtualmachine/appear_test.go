// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"sync/atomic"
	"testing"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	cachetesting "k8s.io/client-go/tools/cache/testing"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/waittest"
)

// tardy is a world that shows later what is done to its machine.
type tardy struct {
	*world
	done atomic.Bool
}

func (w *tardy) PowerOn(context.Context, facts.ID, func(facts.Machine) error) error {
	w.done.Store(true)
	return nil
}

// TestWhatIsDoneAppearsFirst: a machine is not looked at again before it shows what was done to it.
func TestWhatIsDoneAppearsFirst(t *testing.T) {
	w := &tardy{world: &world{}}
	c := alone(w.world, machine("vm", on, off, nil))
	c.Verbs = w
	var ended atomic.Bool
	go func() {
		m, _ := w.Find("team-a", "vm")
		if _, err := c.sync(t.Context(), m); err != nil {
			t.Error(err)
		}
		ended.Store(true)
	}()
	waittest.Eventually(t, "it is powered on", w.done.Load)
	if ended.Load() {
		t.Error("it was left while it is served as off")
	}
	w.serve(func(vm *vmopv1.VirtualMachine) { vm.Status.PowerState = on },
		func(*cachetesting.FakeControllerSource, *vmopv1.VirtualMachine) {})
	waittest.Eventually(t, "it is left", ended.Load)
}
