// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"slices"
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
)

// sized is how large a machine is to be, and is.
type sized struct {
	wanted *facts.Size
	is     facts.Size
	hot    bool // CPUs can be added while it is on
	keeps  bool // whatever it is made
}

func (w *world) Resize(_ context.Context, id facts.ID, size facts.Size, still func(facts.Machine) error) error {
	if err := w.do("resize", id, still, ""); err != nil {
		return err
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	if now := w.sizes[id.Value]; !now.keeps {
		now.is = size
		w.sizes[id.Value] = now
	}
	return nil
}

func (w *world) Reset(_ context.Context, id facts.ID, still func(facts.Machine) error) error {
	return w.restart("reset", id, still)
}

func (w *world) RebootGuest(_ context.Context, id facts.ID, still func(facts.Machine) error) error {
	return w.restart("reboot the guest", id, still)
}

func (w *world) restart(verb string, id facts.ID, still func(facts.Machine) error) error {
	err := w.do(verb, id, still, "")
	w.lock.Lock()
	defer w.lock.Unlock()
	if err == nil || errors.Is(err, failure.Timeout) { // the answer is lost
		w.restarted[id.Value] = true
	}
	return err
}

func (w *world) Now(context.Context) (time.Time, int32, error) {
	return time.Unix(1_900_000_000, 0), 7, nil
}

func (w *world) Restarted(_ context.Context, id facts.ID, since time.Time, after int32) (bool, error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.restarted[id.Value] && since.Equal(time.Unix(1_900_000_000, 0)) && after == 7, nil
}

// alone is a Controller that nobody runs, with one machine.
func alone(w *world, vm *vmopv1.VirtualMachine) *Controller {
	w.source = cachetesting.NewFakeControllerSource()
	w.machines = map[string]*vmopv1.VirtualMachine{vm.Name: vm}
	w.conditions, w.heads, w.restarted = map[string]metav1.Condition{}, map[string]facts.Head{}, map[string]bool{}
	return &Controller{Machines: w, Verbs: w, Namespaces: w, Releaser: w, Restarts: w, Sources: w, Guests: w,
		Clock: clocktesting.NewFakePassiveClock(time.Unix(1_800_000_000, 0)),
		asked: map[types.UID]asking{}, tried: map[types.UID]map[string]attempt{}}
}

func verbs(acts []act) (list []string) {
	for _, one := range acts {
		list = append(list, one.Verb)
	}
	return list
}

func TestSize(t *testing.T) {
	small, large := facts.Size{CPUs: 2, MemoryMB: 4096}, facts.Size{CPUs: 4, MemoryMB: 4096}
	more := facts.Size{CPUs: 2, MemoryMB: 8192}
	// Somebody gave it a limit and a reservation in vCenter, and its class says nothing of such.
	limited, unsaid := small, small
	limited.CPU, limited.Memory = facts.Allocation{Limit: 1000, Reservation: 500}, facts.Allocation{Limit: -1, Reservation: 4096}
	unsaid.CPU = facts.Allocation{Limit: facts.Unsaid, Reservation: facts.Unsaid}
	unsaid.Memory = unsaid.CPU
	enlarged := unsaid
	enlarged.CPUs = 4
	for name, test := range map[string]struct {
		spec, status vmopv1.VirtualMachinePowerState
		size         sized
		fail         error
		passes       int
		want         []string
		condition    string
		err          bool
	}{
		"as declared":                {spec: on, status: on, size: sized{wanted: &small, is: small}},
		"nobody declared its limits": {spec: on, status: on, size: sized{wanted: &unsaid, is: limited}},
		"larger, with its limits": {spec: off, status: off, size: sized{wanted: &enlarged, is: limited},
			want: []string{"resize"}},
		"nobody declared": {spec: on, status: off, size: sized{is: small}, want: []string{"power on"}},
		"off": {spec: off, status: off, size: sized{wanted: &large, is: small},
			want: []string{"resize"}},
		"before it is powered on": {spec: on, status: off, size: sized{wanted: &large, is: small},
			want: []string{"resize", "power on"}},
		"smaller before power on": {spec: on, status: off, size: sized{wanted: &small, is: large},
			want: []string{"resize", "power on"}},
		"on": {spec: on, status: on, size: sized{wanted: &large, is: small}},
		"on, CPUs can be added": {spec: on, status: on, size: sized{wanted: &large, is: small, hot: true},
			want: []string{"resize"}},
		"on, CPUs are not taken":  {spec: on, status: on, size: sized{wanted: &small, is: large, hot: true}},
		"on, memory is not added": {spec: on, status: on, size: sized{wanted: &more, is: small, hot: true}},
		"suspended":               {spec: suspended, status: suspended, size: sized{wanted: &large, is: small}},
		"suspended, CPUs could be added": {spec: suspended, status: suspended,
			size: sized{wanted: &large, is: small, hot: true}},
		"vCenter tells none so far": {spec: off, status: off, size: sized{wanted: &large}},
		"refused, and powered on all the same": {spec: on, status: off, size: sized{wanted: &large, is: small},
			fail: failure.Forbidden, want: []string{"power on"}, condition: "ResizeFailed", err: true},
		"undone each time": {spec: off, status: off, size: sized{wanted: &large, is: small, keeps: true}, passes: 3,
			want: []string{"resize"}, condition: reasonKept},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{sizes: map[string]sized{"vm": test.size}, failVerb: map[string]error{"resize": test.fail}}
			c := alone(w, machine("vm", test.spec, test.status, nil))
			for range max(1, test.passes) {
				m, _ := w.Find("team-a", "vm")
				if _, err := c.sync(t.Context(), m); (err != nil) != test.err {
					t.Errorf("%v", err)
				}
			}
			acts, _, _ := w.read()
			if diff := cmp.Diff(test.want, verbs(acts)); diff != "" {
				t.Errorf("done (-want +got):\n%s", diff)
			}
			if got := w.conditions["vm"].Reason; got != test.condition {
				t.Errorf("condition %q, want %q", got, test.condition)
			}
		})
	}
}

// TestRestart restarts a machine once for each time that somebody asks, whatever dies or is lost in between.
func TestRestart(t *testing.T) {
	const wanted = "2027-01-01T00:00:00Z"
	asks := func(mode vmopv1.VirtualMachinePowerOpMode) func(*vmopv1.VirtualMachine) {
		return func(vm *vmopv1.VirtualMachine) { vm.Spec.NextRestartTime, vm.Spec.RestartMode = wanted, mode }
	}
	for name, test := range map[string]struct {
		machine *vmopv1.VirtualMachine
		noTools bool
		fail    map[string]error
		// passes are made by a Controller each, which remembers nothing; fail counts for the first alone.
		passes int
		want   []string
	}{
		"hard": {machine: machine("vm", on, on, asks("Hard")), want: []string{"amend", "reset", "amend"}},
		"soft": {machine: machine("vm", on, on, asks("Soft")),
			want: []string{"amend", "reboot the guest", "amend"}},
		"try soft": {machine: machine("vm", on, on, asks("TrySoft")),
			want: []string{"amend", "reboot the guest", "amend"}},
		"try soft, no tools": {machine: machine("vm", on, on, asks("")), noTools: true,
			want: []string{"amend", "reset", "amend"}},
		"try soft, refused": {machine: machine("vm", on, on, asks("")),
			fail: map[string]error{"reboot the guest": failure.Invalid}, want: []string{"amend", "reset", "amend"}},
		"once": {machine: machine("vm", on, on, asks("Hard")), passes: 3,
			want: []string{"amend", "reset", "amend"}},
		"not while it is off": {machine: machine("vm", off, off, asks("Hard"))},
		"to be powered on does": {machine: machine("vm", on, off, asks("Hard")), passes: 3,
			want: []string{"amend", "power on", "amend"}},
		"the answer is lost": {machine: machine("vm", on, on, asks("Hard")), passes: 2,
			fail: map[string]error{"reset": failure.Timeout}, want: []string{"amend", "amend"}},
		"refused, and tried again": {machine: machine("vm", on, on, asks("Hard")), passes: 2,
			fail: map[string]error{"reset": failure.Forbidden}, want: []string{"amend", "reset", "amend"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{noTools: test.noTools, failVerb: test.fail}
			c := alone(w, test.machine)
			for range max(1, test.passes) {
				m, _ := w.Find("team-a", "vm")
				if _, err := c.sync(t.Context(), m); err != nil && w.failVerb == nil {
					t.Errorf("%v", err)
				}
				if w.machines["vm"].Status.PowerState == on && slices.Contains(verbs(w.acts), "power on") {
					w.restarted["vm"] = true // as vCenter's events tell
				}
				if restart := w.heads["vm"].Restart; restart.Done {
					vm := w.machines["vm"].DeepCopy()
					at, _ := time.Parse(time.RFC3339, restart.Wanted)
					vm.Status.LastRestartTime = &metav1.Time{Time: at}
					w.machines["vm"] = vm
				}
				w.failVerb = nil
				c = &Controller{Machines: w, Verbs: w, Namespaces: w, Releaser: w, Restarts: w, Clock: c.Clock,
					asked: map[types.UID]asking{}, tried: map[types.UID]map[string]attempt{}}
			}
			acts, _, _ := w.read()
			if diff := cmp.Diff(test.want, verbs(acts)); diff != "" {
				t.Errorf("done (-want +got):\n%s", diff)
			}
			if len(test.want) == 0 {
				return
			}
			if diff := cmp.Diff(facts.Restart{Wanted: wanted, Since: time.Unix(1_900_000_000, 0).UTC(), Event: 7, Done: true},
				w.heads["vm"].Restart); diff != "" {
				t.Errorf("written down (-want +got):\n%s", diff)
			}
			if test.passes > 1 && w.conditions["vm"].Type != "" && test.passes > 2 {
				t.Errorf("condition %v", w.conditions["vm"])
			}
		})
	}
}
