// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	cachetesting "k8s.io/client-go/tools/cache/testing"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/waittest"
)

// TestWhatIsDone starts a controller on one machine that has work, and on one behind it that tells when the first was
// looked at.
func TestWhatIsDone(t *testing.T) {
	hard := func(vm *vmopv1.VirtualMachine) {
		vm.Spec.PowerOffMode, vm.Spec.SuspendMode = vmopv1.VirtualMachinePowerOpModeHard, vmopv1.VirtualMachinePowerOpModeHard
	}
	tests := map[string]struct {
		machine       *vmopv1.VirtualMachine
		world         *world
		want          []string
		released      []string
		withdrawn     []string
		wantCondition string
	}{
		"as declared":      {machine: machine("vm", on, on, nil)},
		"nothing declared": {machine: machine("vm", "", off, nil)},
		"power on":         {machine: machine("vm", on, off, nil), want: []string{"power on"}},
		"power off":        {machine: machine("vm", off, on, nil), want: []string{"shut down the guest"}},
		"power off hard":   {machine: machine("vm", off, on, hard), want: []string{"power off"}},
		"power off, no tools": {machine: machine("vm", off, on, nil), world: &world{noTools: true},
			want: []string{"power off"}},
		"power off, suspended": {machine: machine("vm", off, suspended, nil), want: []string{"power off"}},
		"suspend":              {machine: machine("vm", suspended, on, nil), want: []string{"suspend the guest"}},
		"suspend hard":         {machine: machine("vm", suspended, on, hard), want: []string{"suspend"}},
		"suspend what is off": {machine: machine("vm", suspended, off, nil),
			wantCondition: "it is powered off, and only one that runs can be suspended: invalid"},
		"paused by annotation": {machine: machine("vm", on, off,
			func(vm *vmopv1.VirtualMachine) { vm.Annotations = map[string]string{vmopv1.PauseAnnotation: ""} })},
		"another's, to be made by its own word": {machine: machine("vm", on, off, nil),
			world: &world{yard: yard{left: map[string]*facts.Build{"vm": {}}}}, want: []string{"power on"}},
		"to be made": {machine: machine("vm", on, off, nil),
			world: &world{made: map[string]bool{"vm": true}, yard: yard{left: map[string]*facts.Build{"vm": {}}}}},
		"gone back": {machine: machine("vm", on, off, nil), world: &world{wentBack: map[string]bool{"vm": true}}},
		"deleted, gone back": {machine: machine("vm", "", off, deleting),
			world: &world{made: map[string]bool{"vm": true}, wentBack: map[string]bool{"vm": true}}},
		"waiting for an answer": {machine: machine("vm", on, off, nil),
			world: &world{asking: map[string]string{"vm": "moved or copied?"}}},
		"deleted, waiting for an answer": {machine: machine("vm", "", off, deleting),
			world: &world{made: map[string]bool{"vm": true}, asking: map[string]string{"vm": "moved or copied?"}}},
		"paused by an admin": {machine: machine("vm", on, off, nil),
			world: &world{paused: map[string]bool{"vm": true}}},
		"deleted while on": {machine: machine("vm", on, on, deleting),
			world: &world{made: map[string]bool{"vm": true}}, want: []string{"shut down the guest"}, released: []string{"vm"}},
		"deleted while off": {machine: machine("vm", on, off, deleting),
			world: &world{made: map[string]bool{"vm": true}}, released: []string{"vm"}},
		"deleted, already free": {machine: machine("vm", on, on,
			func(vm *vmopv1.VirtualMachine) { deleting(vm); vm.Finalizers = []string{"other"} })},
		"deleted while paused": {machine: machine("vm", on, on, deleting),
			world: &world{made: map[string]bool{"vm": true}, paused: map[string]bool{"vm": true}}},
		"deleted, suspended": {machine: machine("vm", "", suspended, deleting),
			world: &world{made: map[string]bool{"vm": true}}, released: []string{"vm"}},
		"adopted, allowed":               {machine: machine("vm", "", off, allowed), released: []string{"vm"}},
		"adopted, kept now":              {machine: machine("vm", "", on, deleting), withdrawn: []string{"vm"}},
		"adopted, Namespace terminating": {machine: machine("vm", "", on, allowed), world: &world{terminating: true}},
		"adopted, Namespace terminating meanwhile": {machine: machine("vm", "", on,
			func(vm *vmopv1.VirtualMachine) { allowed(vm); hard(vm) }),
			world: &world{ending: "power off"}, want: []string{"power off"}},
		"made, Namespace terminating": {machine: machine("vm", "", off, deleting),
			world: &world{made: map[string]bool{"vm": true}, terminating: true}, released: []string{"vm"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := test.world
			if w == nil {
				w = &world{}
			}
			start(t, w, test.machine)
			// Work is taken in order, so that once the second machine's is done the first has been looked at.
			w.lock.Lock()
			w.machines["behind"] = machine("behind", off, on, hard)
			w.source.Add(w.machines["behind"].DeepCopy())
			w.lock.Unlock()
			conditions := 0
			if test.wantCondition != "" {
				conditions = 1
			}
			waittest.Eventually(t, "everything done and released", func() bool {
				acts, released, got := w.read()
				return len(acts) > len(test.want) && len(released) == len(test.released) && got == conditions
			})
			acts, released, _ := w.read()
			want := map[act]bool{{"behind", "power off"}: true}
			for _, verb := range test.want {
				want[act{"vm", verb}] = true
			}
			got := map[act]bool{}
			for _, one := range acts {
				got[one] = true
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("done (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.released, released); diff != "" {
				t.Errorf("released (-want +got):\n%s", diff)
			}
			w.lock.Lock()
			defer w.lock.Unlock()
			if diff := cmp.Diff(test.withdrawn, w.withdrawn); diff != "" {
				t.Errorf("withdrawn (-want +got):\n%s", diff)
			}
			if got := w.conditions["vm"].Message; got != test.wantCondition {
				t.Errorf("condition %q, want %q", got, test.wantCondition)
			}
		})
	}
}

// TestVCenterHasTheLastWord: what was decided by what is served is not done to a machine that is something else by now.
func TestVCenterHasTheLastWord(t *testing.T) {
	vm := machine("vm", "", on, allowed)
	for name, change := range map[string]func(*facts.Machine){
		"moved":        func(m *facts.Machine) { m.Folders = []facts.ID{{Type: "Folder", Value: "elsewhere"}} },
		"paused":       func(m *facts.Machine) { m.PauseOption = "true" },
		"no record":    func(m *facts.Machine) { m.Head = nil },
		"a template":   func(m *facts.Machine) { m.Template = true },
		"another uuid": func(m *facts.Machine) { m.InstanceUUID = "other" },
		"powered off":  func(m *facts.Machine) { m.PowerState = facts.PoweredOff },
	} {
		w := &world{source: cachetesting.NewFakeControllerSource(), machines: map[string]*vmopv1.VirtualMachine{"vm": vm}}
		now := w.seen(vm)
		change(&now)
		w.inVCenter = map[string]facts.Machine{"vm": now}
		c := &Controller{Machines: w, Verbs: w, Namespaces: w, Releaser: w,
			Clock: clocktesting.NewFakePassiveClock(time.Now()), asked: map[types.UID]asking{}}
		m, _ := w.Find("team-a", "vm")
		if again, err := c.sync(t.Context(), m); !errors.Is(err, errMoved) || again != 0 {
			t.Errorf("%s: come again after %s, %v", name, again, err)
		}
		if acts, released, conditions := w.read(); len(acts) > 0 || len(released) > 0 || conditions > 0 {
			t.Errorf("%s: done %v, released %v, %d conditions", name, acts, released, conditions)
		}
	}
}

// TestAGuestIsAskedOnceAndThenWaitedFor, with mode TrySoft for five minutes.
func TestAGuestIsAskedOnceAndThenWaitedFor(t *testing.T) {
	vm := machine("vm", off, on, nil)
	w := &world{source: cachetesting.NewFakeControllerSource(), machines: map[string]*vmopv1.VirtualMachine{"vm": vm},
		deaf: true}
	clock := clocktesting.NewFakePassiveClock(time.Unix(1_800_000_000, 0))
	c := &Controller{Machines: w, Verbs: w, Namespaces: w, Releaser: w, Clock: clock, asked: map[types.UID]asking{}}
	for _, step := range []struct {
		after, again time.Duration
		want         []act
	}{
		{0, softPoll, []act{{"vm", "shut down the guest"}}},
		{softPoll, softPoll, []act{{"vm", "shut down the guest"}}},
		{SoftTimeout - softPoll - time.Second, time.Second, []act{{"vm", "shut down the guest"}}},
		{time.Second, 0, []act{{"vm", "shut down the guest"}, {"vm", "power off"}}},
	} {
		clock.SetTime(clock.Now().Add(step.after))
		m, _ := w.Find("team-a", "vm")
		again, err := c.sync(t.Context(), m)
		if err != nil || again != step.again {
			t.Errorf("after %s: come again after %s, %v, want %s", step.after, again, err, step.again)
		}
		acts, _, _ := w.read()
		if diff := cmp.Diff(step.want, acts); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", step.after, diff)
		}
	}
}

// TestWhatLastsIsTriedEverMoreRarely: each attempt is calls to vCenter, or a task of it.
func TestWhatLastsIsTriedEverMoreRarely(t *testing.T) {
	lost := failureOf("the disk web.vmdk", failure.NotFound)
	for name, w := range map[string]*world{
		"a file of the machine is missing": {fail: lost},
		"vCenter tells no configuration": {inVCenter: map[string]facts.Machine{
			"vm": {ID: facts.ID{Type: "VirtualMachine", Value: "vm"}}}},
	} {
		vm := machine("vm", on, off, nil)
		w.source, w.machines = cachetesting.NewFakeControllerSource(), map[string]*vmopv1.VirtualMachine{"vm": vm}
		w.conditions = map[string]metav1.Condition{}
		c := &Controller{Machines: w, Verbs: w, Namespaces: w, Releaser: w,
			Clock: clocktesting.NewFakePassiveClock(time.Now()), asked: map[types.UID]asking{}}
		m, _ := w.Find("team-a", "vm")
		// An error has the queue wait twice as long each time.
		if again, err := c.sync(t.Context(), m); err == nil || again != 0 {
			t.Errorf("%s: come again after %s, %v", name, again, err)
		}
		_, _, conditions := w.read()
		if want := map[bool]int{true: 1}[w.fail != nil]; conditions != want {
			t.Errorf("%s: %d conditions, want %d", name, conditions, want)
		}
	}
}

// TestALostAnswerIsAskedForAgain, and when the guest cannot be asked then, it has its time as if it had been.
func TestALostAnswerIsAskedForAgain(t *testing.T) {
	lost, no := failureOf("the connection was reset", failure.Unavailable),
		failureOf("VMware Tools are not running", failure.Conflict)
	w := &world{source: cachetesting.NewFakeControllerSource(),
		machines:   map[string]*vmopv1.VirtualMachine{"vm": machine("vm", off, on, nil)},
		conditions: map[string]metav1.Condition{}, failVerb: map[string]error{}}
	clock := clocktesting.NewFakePassiveClock(time.Unix(1_800_000_000, 0))
	c := &Controller{Machines: w, Verbs: w, Namespaces: w, Releaser: w, Clock: clock, asked: map[types.UID]asking{}}
	for i, step := range []struct {
		after, again time.Duration
		asking, err  error
		want         []act
	}{
		{0, 0, lost, failure.Unavailable, nil},
		{2 * SoftTimeout, 0, lost, failure.Unavailable, nil}, // vCenter was away
		{time.Second, 0, lost, failure.Unavailable, nil},
		{time.Second, softPoll, no, nil, nil},
		{SoftTimeout - time.Second, time.Second, no, nil, nil},
		{time.Second, 0, no, nil, []act{{"vm", "power off"}}},
	} {
		clock.SetTime(clock.Now().Add(step.after))
		w.failVerb["shut down the guest"] = step.asking
		m, _ := w.Find("team-a", "vm")
		again, err := c.sync(t.Context(), m)
		acts, _, _ := w.read()
		if diff := cmp.Diff(step.want, acts); diff != "" || again != step.again || !errors.Is(err, step.err) {
			t.Errorf("step %d: come again after %s, %v, done (-want +got):\n%s", i, again, err, diff)
		}
	}
}

// TestAGuestHasItsTimeForEachWish: what it was asked for before, or before somebody paused the machine, does not count.
func TestAGuestHasItsTimeForEachWish(t *testing.T) {
	for name, between := range map[string]func(w *world, sync func()){
		"another wish": func(w *world, _ func()) { w.machines["vm"] = machine("vm", suspended, on, nil) },
		"a pause": func(w *world, sync func()) {
			w.paused["vm"] = true
			sync()
			w.paused["vm"] = false
		},
	} {
		w := &world{source: cachetesting.NewFakeControllerSource(),
			machines: map[string]*vmopv1.VirtualMachine{"vm": machine("vm", off, on, nil)},
			paused:   map[string]bool{}, deaf: true}
		clock := clocktesting.NewFakePassiveClock(time.Unix(1_800_000_000, 0))
		c := &Controller{Machines: w, Verbs: w, Namespaces: w, Releaser: w, Clock: clock, asked: map[types.UID]asking{}}
		sync := func() {
			m, _ := w.Find("team-a", "vm")
			if _, err := c.sync(t.Context(), m); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		sync()
		clock.SetTime(clock.Now().Add(2 * SoftTimeout))
		between(w, sync)
		sync()
		acts, _, _ := w.read()
		if len(acts) != 2 || !strings.HasSuffix(acts[0].Verb, "guest") || !strings.HasSuffix(acts[1].Verb, "guest") {
			t.Errorf("%s: done %v", name, acts)
		}
	}
}

func failureOf(what string, kind error) error { return fmt.Errorf("%s: %w", what, kind) }

// TestAGuestThatMayHaveBeenAskedIsNotSwitchedOff, with mode TrySoft: only a no of vCenter says that it cannot be asked.
func TestAGuestThatMayHaveBeenAskedIsNotSwitchedOff(t *testing.T) {
	for name, test := range map[string]struct {
		asking error
		off    bool
	}{
		"no answer":      {asking: failureOf("the connection was reset", failure.Unavailable)},
		"none in time":   {asking: failureOf("vCenter did not answer in time", failure.Timeout)},
		"a changed one":  {asking: failureOf("moved", errMoved)},
		"broken off":     {asking: context.Canceled},
		"no tools":       {asking: failureOf("VMware Tools are not running", failure.Conflict), off: true},
		"not supported":  {asking: failureOf("not supported", failure.Invalid), off: true},
		"something else": {asking: errors.New("the guest does not want to"), off: true},
	} {
		vm := machine("vm", off, on, nil)
		w := &world{source: cachetesting.NewFakeControllerSource(), machines: map[string]*vmopv1.VirtualMachine{"vm": vm},
			conditions: map[string]metav1.Condition{}, failVerb: map[string]error{"shut down the guest": test.asking}}
		c := &Controller{Machines: w, Verbs: w, Namespaces: w, Releaser: w,
			Clock: clocktesting.NewFakePassiveClock(time.Now()), asked: map[types.UID]asking{}}
		m, _ := w.Find("team-a", "vm")
		again, err := c.sync(t.Context(), m)
		var want []act
		if test.off {
			want = []act{{"vm", "power off"}}
		}
		acts, _, _ := w.read()
		if diff := cmp.Diff(want, acts); diff != "" || again != 0 || (err == nil) != test.off {
			t.Errorf("%s: come again after %s, %v, done (-want +got):\n%s", name, again, err, diff)
		}
	}
}

func TestAFailureIsShownAndTriedAgain(t *testing.T) {
	w := &world{fail: errors.New("no host is compatible")}
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

	w.failing(nil)
	waittest.Eventually(t, "powered on, and no condition", func() bool {
		w.lock.Lock()
		defer w.lock.Unlock()
		return w.machines["vm"].Status.PowerState == on && len(w.conditions) == 0
	})
}

// TestAFailureIsOverWithItsCause: also on a machine that is left alone when nothing is declared any more, for nobody
// looks at it again when that ends.
func TestAFailureIsOverWithItsCause(t *testing.T) {
	for name, leave := range map[string]func(*vmopv1.VirtualMachine){
		"as it is": nil,
		"paused":   func(vm *vmopv1.VirtualMachine) { vm.Annotations = map[string]string{vmopv1.PauseAnnotation: "true"} },
	} {
		vm := machine("vm", off, off, leave)
		w := &world{machines: map[string]*vmopv1.VirtualMachine{"vm": vm},
			conditions: map[string]metav1.Condition{"vm": {Type: vmopv1.VirtualMachinePowerStateSynced,
				Reason: "PowerChangeFailed"}}}
		c := &Controller{Machines: w, Verbs: w, Namespaces: w, Releaser: w, asked: map[types.UID]asking{}}
		m, _ := w.Find("team-a", "vm")
		if again, err := c.sync(t.Context(), m); err != nil || again != 0 {
			t.Errorf("%s: come again after %s, %v", name, again, err)
		}
		if acts, _, conditions := w.read(); len(acts) != 0 || conditions != 0 {
			t.Errorf("%s: done %v, and %d conditions are left", name, acts, conditions)
		}
	}
}

// TestDeletionsThatAreOverAreTakenOut of the records of machines, wherever they lie now.
func TestDeletionsThatAreOverAreTakenOut(t *testing.T) {
	id := func(name string) facts.ID { return facts.ID{Type: "VirtualMachine", Value: name} }
	deletion := time.Unix(1_700_000_000, 0).UTC()
	head := func(name string) facts.Head {
		return facts.Head{UID: name, Sequence: 4, Namespace: "team-a", Name: name, Deletion: deletion}
	}
	in := func(name string, change func(*facts.Machine)) facts.Machine {
		h := head(name)
		m := facts.Machine{ID: id(name), InstanceUUID: name, Head: &h}
		if change != nil {
			change(&m)
		}
		return m
	}
	w := &world{
		records: map[facts.ID]facts.Head{
			id("left"): head("left"), id("gone"): head("gone"), id("template"): head("template"),
			id("rewritten"): head("rewritten"),
			id("emptied"):   head("emptied"), id("done"): head("done"),
		},
		inVCenter: map[string]facts.Machine{
			"left":      in("left", nil),
			"template":  in("template", func(m *facts.Machine) { m.Template = true }),
			"rewritten": in("rewritten", func(m *facts.Machine) { m.Head.Sequence = 5 }),
			"emptied":   in("emptied", func(m *facts.Machine) { m.Head = nil }),
			"done":      in("done", func(m *facts.Machine) { m.Head.Sequence, m.Head.Deletion = 5, time.Time{} }),
		},
	}
	start(t, w)
	waittest.Eventually(t, "it is withdrawn", func() bool {
		acts, _,
			_ := w.read()
		return len(acts) == 1 && len(w.Withdrawn()) == 2
	})
	acts, _, _ := w.read()
	if diff := cmp.Diff([]act{{"left", "amend"}}, acts); diff != "" {
		t.Errorf("done (-want +got):\n%s", diff)
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	want := head("left")
	want.Deletion = time.Time{}
	if diff := cmp.Diff(&want, w.inVCenter["left"].Head); diff != "" {
		t.Errorf("the record (-want +got):\n%s", diff)
	}
}
