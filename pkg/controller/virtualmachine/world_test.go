// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	cachetesting "k8s.io/client-go/tools/cache/testing"
	"k8s.io/klog/v2/ktesting"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

const (
	on        = vmopv1.VirtualMachinePowerStateOn
	off       = vmopv1.VirtualMachinePowerStateOff
	suspended = vmopv1.VirtualMachinePowerStateSuspended
)

// act is what a Controller did to a machine of vCenter.
type act struct{ Machine, Verb string }

// world is the outside of a Controller, vCenter included: it does what it is asked, unless a test says otherwise, and
// writes it down.
type world struct {
	source *cachetesting.FakeControllerSource

	lock     sync.Mutex
	machines map[string]*vmopv1.VirtualMachine // as they are served, by name
	// inVCenter are the facts, as vCenter has them, of those that are not as they are served any more.
	inVCenter   map[string]facts.Machine
	made        map[string]bool
	noTools     bool
	asking      map[string]string
	wentBack    map[string]bool
	paused      map[string]bool
	terminating bool
	// ending is the verb of the machine vm after which the Namespace is terminating.
	ending   string
	deaf     bool // guests do not do what they are asked for
	fail     error
	failVerb map[string]error

	sizes     map[string]sized
	drives    map[string]driven
	wires     map[string]wired
	tries     int                   // to change cards
	heads     map[string]facts.Head // those of records that were changed
	restarted map[string]bool       // as vCenter's events tell

	acts       []act
	released   []string
	withdrawn  []string
	conditions map[string]metav1.Condition
	yard
	records map[facts.ID]facts.Head // in which there is a deletion that is over
	more    chan struct{}
}

// seen are the facts that a machine is served by.
func (w *world) seen(vm *vmopv1.VirtualMachine) facts.Machine {
	m := facts.Machine{
		ID: facts.ID{Type: "VirtualMachine", Value: vm.Name}, Name: vm.Name, InstanceUUID: string(vm.UID),
		PowerState: live[vm.Status.PowerState],
		Head:       &facts.Head{UID: string(vm.UID), Sequence: 1}, ToolsRunning: !w.noTools, Question: w.asking[vm.Name],
	}
	if head, amended := w.heads[vm.Name]; amended {
		m.Head = &head
	}
	m.Head.Paused = vmoperator.PausedByUser(vm.Annotations)
	if w.paused[vm.Name] {
		m.PauseOption = "true"
	}
	m.Head.Sequence += w.rounds
	m.Head.Build, m.Build = w.left[vm.Name], w.left[vm.Name]
	m.Home = "[" + w.store + "] " + vm.Name + "/"
	return m
}

func (w *world) Find(namespace, name string) (Machine, bool) {
	w.lock.Lock()
	defer w.lock.Unlock()
	vm, found := w.machines[name]
	if !found || vm.Namespace != namespace {
		return Machine{}, false
	}
	size := w.sizes[name]
	return Machine{Object: vm.DeepCopy(), Facts: w.seen(vm), Made: w.made[name], WentBack: w.wentBack[name],
		Controllers: w.controllers, Linked: w.linked, Wanted: size.wanted, Size: size.is, CPUHotAdd: size.hot, Restart: w.heads[name].Restart,
		Drives: w.drives[name].wanted, Cdroms: w.drives[name].has, Links: w.wires[name].wanted, Cards: w.wires[name].has,
		Retells: w.wires[name].retells, Untold: w.wires[name].untold}, true
}

// do carries out a verb after which the machine is in a power state.
func (w *world) do(verb string, id facts.ID, still func(facts.Machine) error,
	state vmopv1.VirtualMachinePowerState) error {
	w.lock.Lock()
	defer w.lock.Unlock()
	vm, found := w.machines[id.Value]
	if !found {
		return failure.NotFound
	}
	now, moved := w.inVCenter[id.Value]
	if !moved {
		now = w.seen(vm)
	}
	if err := still(now); err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	if w.fail != nil {
		return w.fail
	}
	if err := w.failVerb[verb]; err != nil {
		return err
	}
	w.acts = append(w.acts, act{id.Value, verb})
	w.terminating = w.terminating || verb == w.ending && id.Value == "vm"
	if state == "" || w.deaf && strings.HasSuffix(verb, "guest") {
		return nil
	}
	vm = vm.DeepCopy()
	vm.Status.PowerState = state
	w.machines[id.Value] = vm
	w.source.Modify(vm.DeepCopy())
	return nil
}

func (w *world) PowerOn(_ context.Context, id facts.ID, still func(facts.Machine) error) error {
	return w.do("power on", id, still, on)
}

func (w *world) PowerOff(_ context.Context, id facts.ID, still func(facts.Machine) error) error {
	return w.do("power off", id, still, off)
}

func (w *world) Suspend(_ context.Context, id facts.ID, still func(facts.Machine) error) error {
	return w.do("suspend", id, still, suspended)
}

func (w *world) ShutdownGuest(_ context.Context, id facts.ID, still func(facts.Machine) error) error {
	return w.do("shut down the guest", id, still, off)
}

func (w *world) StandbyGuest(_ context.Context, id facts.ID, still func(facts.Machine) error) error {
	return w.do("suspend the guest", id, still, suspended)
}

func (w *world) Amend(_ context.Context, id facts.ID, amend func(facts.Machine) (facts.Head, error)) error {
	w.lock.Lock()
	defer w.lock.Unlock()
	now, found := w.inVCenter[id.Value]
	if vm := w.machines[id.Value]; !found && vm != nil {
		now, found = w.seen(vm), true
	}
	if !found {
		return failure.NotFound
	}
	if err := w.failVerb["amend"]; err != nil {
		return err
	}
	head, err := amend(now)
	if err != nil {
		return err
	}
	if w.inVCenter != nil {
		now.Head = &head
		w.inVCenter[id.Value] = now
	} else {
		head.Sequence = now.Head.Sequence + 1
		w.heads[id.Value] = head
	}
	w.acts = append(w.acts, act{id.Value, "amend"})
	return nil
}

func (w *world) Withdraw(_, name string, _ types.UID) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.withdrawn = append(w.withdrawn, name)
}

func (w *world) Withdrawn() map[facts.ID]facts.Head {
	w.lock.Lock()
	defer w.lock.Unlock()
	return maps.Clone(w.records)
}

func (w *world) Withdrawals() <-chan struct{} { return w.more }

func (w *world) Forget(id facts.ID) {
	w.lock.Lock()
	defer w.lock.Unlock()
	delete(w.records, id)
}

func (w *world) Terminating(context.Context, string) (bool, error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.terminating, nil
}

func (w *world) SetCondition(_, name string, _ types.UID, condition metav1.Condition) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.conditions[name] = condition
	w.say(condition)
}

func (w *world) ClearCondition(_, name string, _ types.UID, conditionType string) {
	w.lock.Lock()
	defer w.lock.Unlock()
	if w.conditions[name].Type == conditionType {
		delete(w.conditions, name)
	}
}

func (w *world) Release(_ context.Context, _, name string, uid types.UID) error {
	w.lock.Lock()
	defer w.lock.Unlock()
	// It may be asked again before the controller sees that the machine is gone.
	if vm := w.machines[name]; vm != nil && vm.UID == uid {
		w.released = append(w.released, name)
		delete(w.machines, name)
		w.source.Delete(vm.DeepCopy())
	}
	return nil
}

func (w *world) failing(fail error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.fail = fail
}

func (w *world) read() (acts []act, released []string, conditions int) {
	w.lock.Lock()
	defer w.lock.Unlock()
	return slices.Clone(w.acts), slices.Clone(w.released), len(w.conditions)
}

func machine(name string, spec, status vmopv1.VirtualMachinePowerState,
	change func(*vmopv1.VirtualMachine)) *vmopv1.VirtualMachine {
	vm := &vmopv1.VirtualMachine{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: name, UID: types.UID("uid-" + name),
			Finalizers: []string{vmoperator.MachineFinalizer}},
		Spec:   vmopv1.VirtualMachineSpec{PowerState: spec},
		Status: vmopv1.VirtualMachineStatus{PowerState: status},
	}
	if change != nil {
		change(vm)
	}
	return vm
}

func deleting(vm *vmopv1.VirtualMachine) {
	vm.DeletionTimestamp = &metav1.Time{Time: time.Unix(1_800_000_000, 0)}
}

// allowed is being deleted, and may be though Pacific did not make it.
func allowed(vm *vmopv1.VirtualMachine) {
	deleting(vm)
	vm.Annotations = map[string]string{vsphere.ReclaimPolicyAnnotation: vsphere.ReclaimDelete}
}

func start(t *testing.T, w *world, machines ...*vmopv1.VirtualMachine) *clocktesting.FakePassiveClock {
	t.Helper()
	w.source = cachetesting.NewFakeControllerSource()
	w.machines, w.conditions = map[string]*vmopv1.VirtualMachine{}, map[string]metav1.Condition{}
	w.more = make(chan struct{}, 1)
	for _, vm := range machines {
		w.machines[vm.Name] = vm
		w.source.Add(vm.DeepCopy())
	}
	logger, ctx := ktesting.NewTestContext(t)
	ctx, stop := context.WithCancel(ctx)
	clock := clocktesting.NewFakePassiveClock(time.Unix(1_800_000_000, 0))
	controller := &Controller{Served: w.source, Releaser: w, Machines: w, Verbs: w, Namespaces: w, Clock: clock,
		Builder: w, Sources: w, Cache: w, Guests: w, Restarts: w, Logger: logger}
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
