// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	cachetesting "k8s.io/client-go/tools/cache/testing"
	"k8s.io/klog/v2/ktesting"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/waittest"
)

// yard is where a world makes machines to their end.
type yard struct {
	left        map[string]*facts.Build // what is left to be made, by machine
	rounds      uint64                  // how often something was made, and so was noted in a record
	store       string                  // the datastore that their files lie on
	controllers []facts.Controller
	// copying is what copying a disk comes to, and finishing what finishing does. Nil: it is done.
	copying   func(ctx context.Context, progress func(int32)) error
	finishing func() error
	noSecret  error
	// customizing is what customising a guest comes to.
	customizing error
	forbidden   string // a file that no disk may be a copy of

	customized []string // by the host names
	copied     []string
	from       []string // what was copied
	// keeping is what keeping a disk comes to, kept how many are kept now, and doubted what may be gone.
	keeping func(ctx context.Context, progress func(int32)) error
	kept    int
	doubted []string
	// linked says that disks stand on others, promoting is what promoting them comes to, and promoted how often it was done.
	linked    bool
	promoting func(ctx context.Context, progress func(int32)) error
	promoted  int
	finished  []facts.Attachment
	told      map[string]string
	private   bool     // what guests are told has Secrets in it
	said      []string // what was said of it being made, but for what was said already
}

func (w *world) say(condition metav1.Condition) {
	if condition.Type != vmopv1.VirtualMachineConditionCreated && condition.Type != vmopv1.GuestCustomizationCondition {
		return
	}
	said := condition.Reason + ": " + condition.Message
	if len(w.said) == 0 || w.said[len(w.said)-1] != said {
		w.said = append(w.said, said)
	}
}

// begin is how a verb begins: with a machine that is to be as it was.
func (w *world) begin(id facts.ID, still func(facts.Machine) error) (facts.Machine, error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	vm, found := w.machines[id.Value]
	if !found {
		return facts.Machine{}, failure.NotFound
	}
	now, moved := w.inVCenter[id.Value]
	if !moved {
		now = w.seen(vm)
	}
	return now, still(now)
}

func (w *world) CopyDisk(ctx context.Context, id facts.ID, number int, from string, progress func(int32),
	still func(facts.Machine) error) error {
	now, err := w.begin(id, still)
	if err != nil {
		return err
	}
	w.lock.Lock()
	copying := w.copying
	w.copied, w.from = append(w.copied, now.DiskFile(number)), append(w.from, from)
	w.lock.Unlock()
	if copying == nil {
		return nil
	}
	return copying(ctx, progress)
}

func (w *world) Finish(_ context.Context, id facts.ID, disks []facts.Attachment, guest facts.Told,
	still func(facts.Machine) error) error {
	if _, err := w.begin(id, still); err != nil {
		return err
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	if w.finishing != nil {
		if err := w.finishing(); err != nil {
			return err
		}
	}
	w.finished, w.told = disks, guest.Options
	w.rounds++
	if w.left[id.Value] = w.left[id.Value].Assemble(); w.left[id.Value] == nil {
		delete(w.left, id.Value)
	}
	return nil
}

func (w *world) Customize(_ context.Context, id facts.ID, customization facts.Customization,
	still func(facts.Machine) error) error {
	if _, err := w.begin(id, still); err != nil {
		return err
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	w.customized = append(w.customized, customization.Linux.HostName)
	if w.customizing != nil {
		return w.customizing
	}
	delete(w.left, id.Value)
	return nil
}

func (w *world) Origin(_ *vmopv1.VirtualMachine, file string) (facts.Origin, error) {
	if file == w.forbidden {
		return facts.Origin{}, failure.Forbidden
	}
	return facts.Origin{File: file}, nil
}

// Keep has a copy of everything at once, unless a test says otherwise.
func (w *world) Keep(ctx context.Context, datastore string, origin facts.Origin,
	progress func(int32)) (string, func(), error) {
	w.lock.Lock()
	keeping := w.keeping
	w.lock.Unlock()
	if keeping != nil {
		if err := keeping(ctx, progress); err != nil {
			return "", nil, err
		}
	}
	w.lock.Lock()
	w.kept++
	w.lock.Unlock()
	return strings.Replace(origin.File, "[library]", "["+datastore+"] cache/", 1), sync.OnceFunc(func() {
		w.lock.Lock()
		defer w.lock.Unlock()
		w.kept--
	}), nil
}

func (w *world) Doubt(file string) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.doubted = append(w.doubted, file)
}

func (w *world) Tell(_ context.Context, vm *vmopv1.VirtualMachine, _ []facts.Card) (facts.Told, error) {
	return facts.Told{Options: map[string]string{"guestinfo.userdata": "x"},
		Customization: &facts.Customization{Linux: &facts.LinuxPrep{HostName: vm.Name}}}, w.noSecret
}

func (w *world) Private(*vmopv1.VirtualMachine) bool { return w.private }

// shell is a machine that Pacific made, of which some disks are left to be made.
func shell(name string, change func(*vmopv1.VirtualMachine)) *vmopv1.VirtualMachine {
	return machine(name, on, off, func(vm *vmopv1.VirtualMachine) {
		vm.Status.Conditions = []metav1.Condition{
			{Type: vmopv1.VirtualMachineConditionCreated, Status: metav1.ConditionFalse}}
		if change != nil {
			change(vm)
		}
	})
}

func copies(count int) *facts.Build {
	build := &facts.Build{}
	for number := range count {
		from := fmt.Sprintf("[library] disk-%d.vmdk", number)
		build.Disks = append(build.Disks, facts.BuildDisk{From: from, Capacity: 1 << 30})
	}
	return build
}

// newYard has one machine, vm, whose disks are left to be made.
func newYard(build *facts.Build) *world {
	w := &world{made: map[string]bool{"vm": true}, inVCenter: map[string]facts.Machine{}, paused: map[string]bool{},
		wentBack: map[string]bool{}}
	w.left, w.store = map[string]*facts.Build{"vm": build}, "nfs"
	w.controllers = []facts.Controller{{Key: 1000, Kind: facts.ControllerSCSI}}
	return w
}

// hall makes machines of a world by hand.
func hall(t *testing.T, w *world, vm *vmopv1.VirtualMachine) *builds {
	t.Helper()
	w.machines, w.conditions = map[string]*vmopv1.VirtualMachine{vm.Name: vm}, map[string]metav1.Condition{}
	logger, _ := ktesting.NewTestContext(t)
	return newBuilds(&Controller{Machines: w, Builder: w, Sources: w, Cache: w, Promoter: w, Guests: w, Logger: logger,
		Clock: clocktesting.NewFakePassiveClock(time.Unix(1_800_000_000, 0))})
}

const first, second = "[nfs] vm/vm-uid-vm.vmdk", "[nfs] vm/vm-uid-vm_1.vmdk"

func TestBuild(t *testing.T) {
	both := &facts.Build{Disks: []facts.BuildDisk{{From: "[library] disk-0.vmdk", Capacity: 2 << 30}, {Capacity: 1 << 30}}}
	away := errors.New("vCenter is away")
	tests := map[string]struct {
		build    *facts.Build
		machine  *vmopv1.VirtualMachine
		change   func(*world)
		copied   []string
		finished []facts.Attachment
		// customized are the machines whose guests were to be.
		customized []string
		fails      error
		said       []string
	}{
		"to its end": {copied: []string{first}, finished: []facts.Attachment{
			{File: first, Capacity: 2 << 30, Controller: 1000},
			{File: second, Capacity: 1 << 30, Create: true, Controller: 1000, Unit: 1}}},
		"paused by an admin": {change: func(w *world) { w.paused["vm"] = true }},
		"paused by a user": {machine: shell("vm",
			func(vm *vmopv1.VirtualMachine) { vm.Annotations = map[string]string{vmopv1.PauseAnnotation: ""} })},
		"went back":              {change: func(w *world) { w.wentBack["vm"] = true }},
		"made by somebody else":  {change: func(w *world) { w.made["vm"] = false }},
		"its deletion asked for": {machine: shell("vm", deleting)},
		"made already":           {change: func(w *world) { delete(w.left, "vm") }},
		"paused meanwhile": {change: func(w *world) {
			w.inVCenter["vm"] = facts.Machine{ID: facts.ID{Type: "VirtualMachine", Value: "vm"}, InstanceUUID: "uid-vm",
				PauseOption: "true"}
		}, fails: errMoved},
		"more disks than places": {build: copies(16), fails: failure.Invalid, said: []string{"BuildFailed: its image " +
			"has 16 disks, and 15 is the most: delete the virtual machine, and make it of another image: invalid"}},
		"no controller": {change: func(w *world) { w.controllers = nil }, fails: failure.Invalid,
			said: []string{"BuildFailed: it has no SCSI controller that disks could be at: add one in vCenter, or delete the " +
				"virtual machine: invalid"}},
		"a copy that fails": {change: func(w *world) {
			w.copying = func(context.Context, func(int32)) error { return away }
		}, copied: []string{first}, fails: away, said: []string{"BuildFailed: vCenter is away"}},
		"no Secret": {change: func(w *world) { w.noSecret = failure.NotFound },
			fails: failure.NotFound, said: []string{"BuildFailed: not found"}},
		"a copy of what is another's": {change: func(w *world) { w.forbidden = "[library] disk-0.vmdk" },
			fails: failure.Forbidden, said: []string{"BuildFailed: forbidden"}},
		// Somebody makes it one in vCenter, after it was decided on.
		"a copy of something else by now": {change: func(w *world) {
			now := w.seen(shell("vm", nil))
			now = now.Left(copies(2))
			w.inVCenter["vm"] = now
		}, fails: errMoved},
		"with a customisation": {build: &facts.Build{Disks: both.Disks[1:], Customize: true}, customized: []string{"vm"},
			finished: []facts.Attachment{{File: first, Capacity: 1 << 30, Create: true, Controller: 1000}}},
		"a customisation alone": {build: &facts.Build{Customize: true, Assembled: true}, customized: []string{"vm"}},
		"a customisation that fails": {build: &facts.Build{Customize: true, Assembled: true},
			change: func(w *world) { w.customizing = failure.Invalid }, customized: []string{"vm"}, fails: failure.Invalid,
			said: []string{"GuestCustomizationFailed: invalid", "BuildFailed: invalid"}},
		// The server writes its label at that moment, say: that passes.
		"met somebody else": {change: func(w *world) {
			w.finishing = func() error { return failure.Conflict }
		}, copied: []string{first}, fails: failure.Conflict},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.build == nil {
				test.build = both
			}
			w := newYard(test.build)
			if test.change != nil {
				test.change(w)
			}
			if test.machine == nil {
				test.machine = shell("vm", nil)
			}
			again, err := hall(t, w, test.machine).sync(t.Context(), "team-a/vm")
			if !errors.Is(err, test.fails) || again > 0 {
				t.Errorf("got %v, again after %v; want %v", err, again, test.fails)
			}
			if diff := cmp.Diff(test.copied, w.copied); diff != "" {
				t.Errorf("copied (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.finished, w.finished); diff != "" {
				t.Errorf("its disks (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.said, w.said); diff != "" {
				t.Errorf("said (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.customized, w.customized); diff != "" {
				t.Errorf("customised (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPlacesOfDisks leaves out the controller's own.
func TestPlacesOfDisks(t *testing.T) {
	w := newYard(copies(15))
	if _, err := hall(t, w, shell("vm", nil)).sync(t.Context(), "team-a/vm"); err != nil {
		t.Fatal(err)
	}
	var units []int32
	for _, disk := range w.finished {
		units = append(units, disk.Unit)
	}
	if want := []int32{0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15}; !slices.Equal(units, want) {
		t.Errorf("the places are %v, want %v", units, want)
	}
}

// TestCopiedOnce has a machine made in two attempts, and looks at what is copied in the second.
func TestCopiedOnce(t *testing.T) {
	away := errors.New("vCenter is away")
	tests := map[string]struct {
		fails  error
		secret bool
		change func(*world)
		copied []string
	}{
		"a Secret that went meanwhile": {fails: failure.NotFound, secret: true, copied: []string{first, second}},
		"nothing":                      {fails: away, copied: []string{first, second}},
		"a file that is gone":          {fails: failure.NotFound, copied: []string{first, second, first, second}},
		"files that were moved": {fails: away, change: func(w *world) { w.store = "new" },
			copied: []string{first, second, "[new] vm/vm-uid-vm.vmdk", "[new] vm/vm-uid-vm_1.vmdk"}},
		"what was paused meanwhile": {fails: errMoved, copied: []string{first, second}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newYard(copies(2))
			b := hall(t, w, shell("vm", nil))
			w.finishing = func() error { return test.fails }
			if test.secret {
				w.copying = func(context.Context, func(int32)) error {
					w.noSecret = test.fails
					return nil
				}
			}
			if _, err := b.sync(t.Context(), "team-a/vm"); !errors.Is(err, test.fails) {
				t.Fatal(err)
			}
			w.finishing, w.noSecret, w.copying = nil, nil, nil
			if test.change != nil {
				test.change(w)
			}
			if test.fails == errMoved {
				w.paused["vm"] = true
				if _, err := b.sync(t.Context(), "team-a/vm"); err != nil || w.finished != nil {
					t.Fatalf("while it is paused: %v", err)
				}
				w.paused["vm"] = false
			}
			if _, err := b.sync(t.Context(), "team-a/vm"); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.copied, w.copied); diff != "" {
				t.Errorf("copied (-want +got):\n%s", diff)
			}
			if len(w.finished) != 2 || w.finished[1].File != w.copied[len(w.copied)-1] {
				t.Errorf("its disks are %v", w.finished)
			}
		})
	}
}

// TestFailingAgainIsNoNews has a copy fail at the same point time and again: each change of what is said is an Event
// and a line in somebody's watch, and without a pause between them vCenter copies all day.
func TestFailingAgainIsNoNews(t *testing.T) {
	w := newYard(copies(1))
	vm := shell("vm", nil)
	b := hall(t, w, vm)
	reach := int32(0)
	w.copying = func(_ context.Context, progress func(int32)) error {
		for percent := int32(0); percent <= reach; percent += 2 {
			progress(percent)
		}
		return failure.ResourceExhausted
	}
	for _, reach = range []int32{12, 12, 8, 12, 20} {
		if _, err := b.sync(t.Context(), "team-a/vm"); !errors.Is(err, failure.ResourceExhausted) {
			t.Fatal(err)
		}
		b.see(vm)
		if waiting := b.queue.Len(); waiting > 0 {
			t.Errorf("after a failure it is tried at once again")
			return
		}
	}
	failed := "BuildFailed: " + failure.ResourceExhausted.Error()
	want := []string{"CopyingDisks: disk 1 of 1 is being copied: 6 %",
		"CopyingDisks: disk 1 of 1 is being copied: 12 %", failed, "CopyingDisks: disk 1 of 1 is being copied: 18 %", failed}
	if diff := cmp.Diff(want, w.said); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
	// Somebody who changes it wants to see what comes of that.
	vm.Generation++
	b.see(vm)
	if waiting := b.queue.Len(); waiting != 1 {
		t.Errorf("it was changed and %d wait", waiting)
	}
}

// running starts a controller on the machine vm, whose first copy lasts until it is ended.
func running(t *testing.T, w *world) (began, ended chan struct{}) {
	t.Helper()
	began, ended = make(chan struct{}), make(chan struct{})
	w.copying = func(ctx context.Context, progress func(int32)) error {
		w.lock.Lock()
		w.copying = nil
		w.lock.Unlock()
		close(began)
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	}
	start(t, w, shell("vm", nil))
	await(t, began, "the copy begins")
	return began, ended
}

func await(t *testing.T, done <-chan struct{}, what string) {
	t.Helper()
	waittest.Within(t, time.Minute, what, func(context.Context) error {
		select {
		case <-done:
			return nil
		default:
			return errors.New("not yet")
		}
	})
}

// serve has a machine be served otherwise than before.
func (w *world) serve(change func(*vmopv1.VirtualMachine),
	how func(*cachetesting.FakeControllerSource, *vmopv1.VirtualMachine)) {
	w.lock.Lock()
	defer w.lock.Unlock()
	vm := w.machines["vm"].DeepCopy()
	change(vm)
	w.machines["vm"] = vm
	how(w.source, vm.DeepCopy())
}

func TestDeletionEndsTheCopy(t *testing.T) {
	w := newYard(copies(1))
	_, ended := running(t, w)
	w.serve(deleting, func(source *cachetesting.FakeControllerSource, vm *vmopv1.VirtualMachine) {
		source.Modify(vm)
	})
	await(t, ended, "the copy ends")
	waittest.Within(t, time.Minute, "it is let go of", func(context.Context) error {
		if _, released, _ := w.read(); len(released) != 1 {
			return fmt.Errorf("let go of are %v", released)
		}
		return nil
	})
	w.lock.Lock()
	defer w.lock.Unlock()
	if len(w.said) > 0 || w.finished != nil || len(w.copied) != 1 {
		t.Errorf("said %v, made %v of %v", w.said, w.finished, w.copied)
	}
}

// TestSecretsStayInTheirNamespace: a machine that was moved to another namespace before it was made is told no Secrets of
// that one, whoever has written to it there, and is made when it was moved back.
func TestSecretsStayInTheirNamespace(t *testing.T) {
	elsewhere := facts.ID{Type: facts.TypeFolder, Value: "group-b"}
	for name, test := range map[string]struct {
		head    facts.Head
		private bool
		refused bool
	}{
		"moved":                        {facts.Head{Origin: elsewhere}, true, true},
		"nothing to be told":           {facts.Head{Origin: elsewhere}, false, false},
		"of a time without the origin": {facts.Head{Folder: elsewhere}, true, true},
		"where it was asked for":       {facts.Head{}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newYard(copies(1))
			w.private = test.private
			head := test.head
			head.UID, head.Sequence = "uid-vm", 1
			w.heads = map[string]facts.Head{"vm": head}
			_, err := hall(t, w, shell("vm", nil)).sync(t.Context(), "team-a/vm")
			if errors.Is(err, failure.Forbidden) != test.refused || (len(w.finished) == 0) != test.refused {
				t.Errorf("made is %v: %v", w.finished, err)
			}
			if test.refused && len(w.copied) > 0 {
				t.Errorf("%v was copied", w.copied)
			}
		})
	}
}

// TestMovedWhileItIsCopied moves a machine to another namespace: there it is made to its end, whatever of the move is
// seen first, and by one attempt at a time.
func TestMovedWhileItIsCopied(t *testing.T) {
	elsewhere := func(vm *vmopv1.VirtualMachine) { vm.Namespace = "team-b" }
	for name, move := range map[string]func(*cachetesting.FakeControllerSource, *vmopv1.VirtualMachine){
		"comes, then goes": func(source *cachetesting.FakeControllerSource, vm *vmopv1.VirtualMachine) {
			source.Add(vm)
			source.Delete(shell("vm", nil))
		},
		"goes, then comes": func(source *cachetesting.FakeControllerSource, vm *vmopv1.VirtualMachine) {
			source.Delete(shell("vm", nil))
			source.Add(vm)
		},
		"nobody tells that it goes": func(source *cachetesting.FakeControllerSource, vm *vmopv1.VirtualMachine) {
			source.Add(vm)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newYard(copies(1))
			_, ended := running(t, w)
			w.serve(elsewhere, move)
			await(t, ended, "the copy ends")
			waittest.Within(t, time.Minute, "it is made to its end", func(context.Context) error {
				w.lock.Lock()
				defer w.lock.Unlock()
				if len(w.finished) != 1 {
					return fmt.Errorf("said is %v", w.said)
				}
				return nil
			})
			w.lock.Lock()
			defer w.lock.Unlock()
			if diff := cmp.Diff([]string{first, first}, w.copied); diff != "" {
				t.Errorf("copied (-want +got):\n%s", diff)
			}
		})
	}
}
