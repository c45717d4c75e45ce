// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/fault"
	"github.com/openpacific/pacific/pkg/waittest"
)

// lab is a vCenter with the verbs, and a VI admin who does what she likes.
type lab struct {
	t       *testing.T
	vcenter *vcentertest.VCenter
	verbs   *machine.Verbs
	finder  *find.Finder
	about   string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	v := vcentertest.Run(t, vcentertest.Options{})
	session, err := vcenter.NewSession(vcenter.Config{
		URL: v.URL(), CredentialsFile: v.CredentialsFile(t), CAFile: v.CAFile(t), Logger: klog.Background(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- session.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-done
	})
	client, err := v.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, vcenter: v, finder: find.NewFinder(client.Client, false),
		about: client.ServiceContent.About.InstanceUuid}
	root := l.folder("/DC0/vm/Namespaces")
	l.verbs = &machine.Verbs{
		Writer: &vcenter.Writer{Session: session, Reign: vcentertest.Reign{}, Following: vcentertest.Following},
		Root:   func() facts.ID { return root },
		Keys:   keys(),
	}
	return l
}

func (l *lab) id(ref types.ManagedObjectReference) facts.ID {
	return facts.ID{VCenter: l.about, Type: ref.Type, Value: ref.Value}
}

func (l *lab) folder(path string) facts.ID {
	l.t.Helper()
	folder, err := l.finder.Folder(l.t.Context(), path)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.id(folder.Reference())
}

func (l *lab) vm(path string) *object.VirtualMachine {
	l.t.Helper()
	vm, err := l.finder.VirtualMachine(l.t.Context(), path)
	if err != nil {
		l.t.Fatal(err)
	}
	return vm
}

func (l *lab) do(task *object.Task, err error) {
	l.t.Helper()
	if err == nil {
		err = task.Wait(l.t.Context())
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) set(vm *object.VirtualMachine, key, value string) {
	l.t.Helper()
	l.do(vm.Reconfigure(l.t.Context(), types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
		&types.OptionValue{Key: key, Value: value},
	}}))
}

func (l *lab) move(vm *object.VirtualMachine, path string) {
	l.t.Helper()
	folder, err := l.finder.Folder(l.t.Context(), path)
	if err != nil {
		l.t.Fatal(err)
	}
	l.do(folder.MoveInto(l.t.Context(), []types.ManagedObjectReference{vm.Reference()}))
}

// now is a machine as a verb shows it.
func (l *lab) now(id facts.ID) facts.Machine {
	l.t.Helper()
	var seen facts.Machine
	enough := errors.New("seen enough")
	err := l.verbs.Destroy(l.t.Context(), id, func(now facts.Machine) error {
		seen = now
		return enough
	})
	if !errors.Is(err, enough) {
		l.t.Fatal(err)
	}
	return seen
}

func wanted(facts.Machine) error { return nil }

// TestStillSeesWhatThereIs in vCenter, whatever anybody knew before.
func TestStillSeesWhatThereIs(t *testing.T) {
	l := newLab(t)
	vm := l.vm("/DC0/vm/Namespaces/team-a/web-1")
	id, root := l.id(vm.Reference()), l.folder("/DC0/vm/Namespaces")
	got := l.now(id)
	if got.InstanceUUID == "" || got.ChangeVersion == "" || got.Home != "[datastore-1] web-1/" {
		t.Errorf("it has no instanceUuid, changeVersion or home: %+v", got)
	}
	want := facts.Machine{ID: id, Name: "web-1", Folders: []facts.ID{l.folder("/DC0/vm/Namespaces/team-a"), root},
		PowerState: facts.PoweredOn, Connected: true, ToolsRunning: true}
	plain := cmpopts.IgnoreFields(facts.Machine{}, "InstanceUUID", "ChangeVersion", "Home")
	if diff := cmp.Diff(want, got, plain); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// A folder deeper, off, paused, renamed, with a record.
	deep, err := l.finder.Folder(t.Context(), "/DC0/vm/Namespaces/team-b")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := deep.CreateFolder(t.Context(), "deep"); err != nil {
		t.Fatal(err)
	}
	l.move(vm, "/DC0/vm/Namespaces/team-b/deep")
	l.do(vm.PowerOff(t.Context()))
	l.do(vm.Rename(t.Context(), "other"))
	l.set(vm, facts.PauseKey, "True")
	head := facts.Head{Installation: "here", UID: got.InstanceUUID, Sequence: 3, Namespace: "team-b", Name: "web",
		Deletion: time.Unix(1_700_000_000, 0).UTC()}
	value, err := keys().Encode(head, []byte("body"))
	if err != nil {
		t.Fatal(err)
	}
	l.set(vm, facts.RecordKey, value)
	want = facts.Machine{ID: id, Name: "other",
		Folders:     []facts.ID{l.folder("/DC0/vm/Namespaces/team-b/deep"), l.folder("/DC0/vm/Namespaces/team-b"), root},
		PauseOption: "True", Head: &head, PowerState: facts.PoweredOff, Connected: true}
	if diff := cmp.Diff(want, l.now(id), plain); diff != "" {
		t.Errorf("after changes (-want +got):\n%s", diff)
	}

	// Outside, and with a record that cannot be read.
	l.move(vm, "/DC0/vm")
	l.set(vm, facts.RecordKey, "v1:old")
	if got := l.now(id); len(got.Folders) > 0 || got.Head != nil || got.HeadError == nil {
		t.Errorf("outside of the namespaces folder, with an older record: %+v", got)
	}
	// As a template.
	if err := vm.MarkAsTemplate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := l.now(id); !got.Template {
		t.Errorf("as a template: %+v", got)
	}
}

// TestWhatIsNotStillWantedIsNotDone: no verb calls vCenter to act when still refuses, and all tell why.
func TestWhatIsNotStillWantedIsNotDone(t *testing.T) {
	l := newLab(t)
	id := l.id(l.vm("/DC0/vm/Namespaces/team-a/web-1").Reference())
	gone := facts.ID{VCenter: l.about, Type: "VirtualMachine", Value: "vm-none"}
	elsewhere := id
	elsewhere.VCenter = "another"
	no := failure.Kind("not any more")
	for verb, act := range l.acts() {
		for name, test := range map[string]struct {
			id   facts.ID
			want error
		}{"refused": {id, no}, "gone": {gone, failure.NotFound}, "another vCenter": {elsewhere, failure.Conflict}} {
			before := l.vcenter.Calls()
			asked := 0
			err := act(t.Context(), test.id, func(facts.Machine) error { asked++; return no })
			if !errors.Is(err, test.want) || (asked > 0) != (test.want == no) {
				t.Errorf("%s, %s: %v, still was asked %d times", verb, name, err, asked)
			}
			after := l.vcenter.Calls()
			for _, read := range []string{"RetrievePropertiesEx", "Login", "RetrieveServiceContent"} {
				delete(before, read)
				delete(after, read)
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("%s, %s: vCenter was called (-before +after):\n%s", verb, name, diff)
			}
		}
	}
}

// acts are all the verbs.
func (l *lab) acts() map[string]func(context.Context, facts.ID, machine.Still) error {
	return map[string]func(context.Context, facts.ID, machine.Still) error{
		"power on": l.verbs.PowerOn, "power off": l.verbs.PowerOff, "suspend": l.verbs.Suspend,
		"shut down": l.verbs.ShutdownGuest, "stand by": l.verbs.StandbyGuest, "destroy": l.verbs.Destroy,
		"reset": l.verbs.Reset, "reboot": l.verbs.RebootGuest,
		"resize": func(ctx context.Context, id facts.ID, still machine.Still) error {
			return l.verbs.Resize(ctx, id, facts.Size{CPUs: 8}, still)
		},
		"record": func(ctx context.Context, id facts.ID, still machine.Still) error {
			return l.verbs.WriteRecord(ctx, id, facts.Head{UID: "u"}, nil, still)
		},
		"amend": func(ctx context.Context, id facts.ID, still machine.Still) error {
			return l.verbs.Amend(ctx, id, func(now facts.Machine) (facts.Head, error) { return facts.Head{}, still(now) })
		},
	}
}

func TestPower(t *testing.T) {
	l := newLab(t)
	id := l.id(l.vm("/DC0/vm/Namespaces/team-a/web-1").Reference())
	for _, step := range []struct {
		verb string
		want string
	}{
		{"power on", facts.PoweredOn}, {"suspend", facts.Suspended}, {"suspend", facts.Suspended},
		{"power off", facts.PoweredOff},
		{"power off", facts.PoweredOff}, {"power on", facts.PoweredOn}, {"shut down", facts.PoweredOff},
		{"power on", facts.PoweredOn},
		{"stand by", facts.Suspended}, {"power on", facts.PoweredOn},
	} {
		if err := l.acts()[step.verb](t.Context(), id, wanted); err != nil {
			t.Fatalf("%s: %v", step.verb, err)
		}
		waittest.Eventually(t, step.verb, func() bool { return l.now(id).PowerState == step.want }) // a guest takes its time
	}
	l.vcenter.AddFault(vcentertest.Fault{Method: "ShutdownGuest", Fault: &types.ToolsUnavailable{}})
	if err := l.verbs.ShutdownGuest(t.Context(), id, wanted); !errors.Is(err, failure.Conflict) {
		t.Errorf("without tools: %v", err)
	}
	if err := l.verbs.Destroy(t.Context(), id, wanted); !errors.Is(err, failure.Conflict) {
		t.Errorf("destroy what is on: %v", err)
	}
	if err := l.verbs.PowerOff(t.Context(), id, wanted); err != nil {
		t.Fatal(err)
	}
	if err := l.verbs.Destroy(t.Context(), id, wanted); err != nil {
		t.Fatal(err)
	}
	if err := l.verbs.Destroy(t.Context(), id, wanted); !errors.Is(err, failure.NotFound) {
		t.Errorf("destroy what is gone: %v", err)
	}
}

func TestRecordsAreWrittenUnderTheVersionThatWasShown(t *testing.T) {
	l := newLab(t)
	vm := l.vm("/DC0/vm/Namespaces/team-a/web-1")
	id := l.id(vm.Reference())
	head := facts.Head{Installation: "here", UID: l.now(id).InstanceUUID, Sequence: 1, Namespace: "team-a", Name: "web",
		Deletion: time.Unix(1_700_000_000, 0).UTC()}
	err := l.verbs.Amend(t.Context(), id, func(facts.Machine) (facts.Head, error) { return head, nil })
	if !errors.Is(err, failure.Conflict) {
		t.Errorf("amend a record that is not there: %v", err)
	}
	if err := l.verbs.WriteRecord(t.Context(), id, head, []byte("the body"), wanted); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&head, l.now(id).Head); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	// Somebody is faster, between the decision and the act.
	err = l.verbs.WriteRecord(t.Context(), id, facts.Head{UID: "late"}, nil, func(facts.Machine) error {
		l.set(vm, "guestinfo.other", "x")
		return nil
	})
	if !errors.Is(err, failure.Conflict) {
		t.Errorf("a write over somebody else's: %v", err)
	}
	err = l.verbs.Amend(t.Context(), id, func(now facts.Machine) (facts.Head, error) {
		amended := *now.Head
		amended.Deletion = time.Time{}
		return amended, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := head
	want.Deletion, want.Sequence = time.Time{}, 2
	if diff := cmp.Diff(&want, l.now(id).Head); diff != "" {
		t.Errorf("amended (-want +got):\n%s", diff)
	}
	if got := keys().Decode(l.option(vm, facts.RecordKey)); string(got.Body) != "the body" || got.Err != nil {
		t.Errorf("the body is %q, %v", got.Body, got.Err)
	}
	if got := l.option(vm, machine.NamespacedNameKey); got != "team-a/web" {
		t.Errorf("%s is %q", machine.NamespacedNameKey, got)
	}
	err = l.verbs.WriteRecord(t.Context(), id, head, make([]byte, 2<<20), wanted)
	if !errors.Is(err, failure.Invalid) || !strings.Contains(err.Error(), "too large") {
		t.Errorf("a record that is too large: %v", err)
	}
}

// TestNoticeInTheNotes: with the first record comes a sentence in the machine's notes, beside what is there. It comes
// once, and the record does not need it.
func TestNoticeInTheNotes(t *testing.T) {
	l := newLab(t)
	notes := func(vm *object.VirtualMachine) string {
		var props mo.VirtualMachine
		if err := vm.Properties(t.Context(), vm.Reference(), []string{"config"}, &props); err != nil {
			t.Fatal(err)
		}
		return props.Config.Annotation
	}
	write := func(vm *object.VirtualMachine, sequence uint64) {
		t.Helper()
		if err := l.verbs.WriteRecord(t.Context(), l.id(vm.Reference()), facts.Head{UID: "u", Sequence: sequence}, nil,
			wanted); err != nil {
			t.Fatal(err)
		}
	}
	web, db := l.vm("/DC0/vm/Namespaces/team-a/web-1"), l.vm("/DC0/vm/Namespaces/team-a/db-1")
	l.do(web.Reconfigure(t.Context(), types.VirtualMachineConfigSpec{Annotation: "Ask Jo first."}))
	write(web, 1)
	first := notes(web)
	if !strings.HasPrefix(first, "Ask Jo first.\n") || !strings.Contains(first, "set "+facts.PauseKey+" to true") {
		t.Errorf("the notes are %q", first)
	}
	l.do(web.Reconfigure(t.Context(), types.VirtualMachineConfigSpec{Annotation: "Jo took it out."}))
	write(web, 2)
	if got := notes(web); got != "Jo took it out." {
		t.Errorf("with the second record the notes are %q", got)
	}

	denied := &types.NoPermission{PrivilegeId: "VirtualMachine.Config.Annotation"}
	l.vcenter.AddFault(vcentertest.Fault{Method: "ReconfigVM_Task", Fault: denied, Count: 1})
	write(db, 1)
	if got := notes(db); got != "" || l.now(l.id(db.Reference())).Head == nil {
		t.Errorf("where the notes may not be written they are %q, and the record is %v", got,
			l.now(l.id(db.Reference())).Head)
	}
}

func (l *lab) option(vm *object.VirtualMachine, key string) string {
	l.t.Helper()
	var props mo.VirtualMachine
	if err := vm.Properties(l.t.Context(), vm.Reference(), []string{"config.extraConfig"}, &props); err != nil {
		l.t.Fatal(err)
	}
	value, _ := object.OptionValueList(props.Config.ExtraConfig).GetString(key)
	return value
}

// TestNobodyWaitsForAnAnswerToAChange: a machine that asks something when it is configured, as whether a drive is taken away
// that its guest has locked, keeps no caller, who is told what it asks.
func TestNobodyWaitsForAnAnswerToAChange(t *testing.T) {
	l := newLab(t)
	id := l.id(l.vm("/DC0/vm/Namespaces/team-a/web-1").Reference())
	l.verbs.Asks = func(ctx context.Context, _ facts.ID) string {
		err := waittest.Poll(ctx, func() error {
			if calls := l.vcenter.Calls(); calls["ReconfigVM_Task"] == 0 || calls["ModifyListView"] == 0 {
				return errors.New("nobody waits for its task yet")
			}
			return nil
		})
		if err != nil {
			return ""
		}
		return "Disconnect anyway?"
	}
	l.vcenter.AddFault(vcentertest.Fault{Method: "ReconfigVM_Task", Shape: fault.Slow, Delay: time.Minute})
	err := l.verbs.Resize(t.Context(), id, facts.Size{CPUs: 2, MemoryMB: 1024}, wanted)
	if !errors.Is(err, failure.Conflict) || !strings.Contains(fmt.Sprint(err), "Disconnect anyway?") {
		t.Errorf("while it waits: %v", err)
	}
}

// TestNobodyWaitsForAnAnswer: a machine that waits for somebody's answer keeps no caller, and does what it was asked
// for once it has been answered.
func TestNobodyWaitsForAnAnswer(t *testing.T) {
	l := newLab(t)
	vm := l.vm("/DC0/vm/Namespaces/team-a/web-1")
	id := l.id(vm.Reference())
	asks := make(chan string, 1)
	l.verbs.Asks = func(ctx context.Context, _ facts.ID) string {
		select {
		case question := <-asks:
			return question
		case <-ctx.Done():
			return ""
		}
	}
	// It asks as the task begins, and so after it was read.
	err := l.verbs.PowerOff(t.Context(), id, func(facts.Machine) error {
		if err := l.vcenter.Ask(vm.Reference(), "Moved or copied?"); err != nil {
			t.Error(err)
		}
		time.AfterFunc(100*time.Millisecond, func() { asks <- "Moved or copied?" })
		return nil
	})
	if !errors.Is(err, failure.Conflict) || !strings.Contains(err.Error(), "Moved or copied?") {
		t.Errorf("while it waits: %v", err)
	}
	if got := l.now(id); got.Question != "Moved or copied?" || got.PowerState != facts.PoweredOn {
		t.Errorf("while it waits: %+v", got)
	}
	// What begins meanwhile does not even call.
	before := l.vcenter.Calls()["PowerOffVM_Task"]
	if err := l.verbs.PowerOff(t.Context(), id, wanted); !errors.Is(err, failure.Conflict) ||
		!strings.Contains(err.Error(), "Moved or copied?") {
		t.Errorf("once more: %v", err)
	}
	if after := l.vcenter.Calls()["PowerOffVM_Task"]; after != before {
		t.Errorf("%d calls", after-before)
	}
	if err := vm.Answer(t.Context(), "1", "0"); err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "the task to go on", func() bool { return l.now(id).PowerState == facts.PoweredOff })
}
