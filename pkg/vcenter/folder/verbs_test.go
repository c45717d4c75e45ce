// SPDX-License-Identifier: Apache-2.0

package folder_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/folder"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// lab is a vCenter with the verbs, and a VI admin who does what she likes.
type lab struct {
	t       *testing.T
	vcenter *vcentertest.VCenter
	verbs   *folder.Verbs
	writer  *vcenter.Writer
	finder  *find.Finder
	about   string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	v := vcentertest.Run(t, vcentertest.Options{Inventory: vcentertest.Sample})
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
	writer := &vcenter.Writer{Session: session, Reign: vcentertest.Reign{}, Following: vcentertest.Following}
	return &lab{
		t: t, vcenter: v, verbs: &folder.Verbs{Session: session, Writer: writer}, writer: writer,
		finder: find.NewFinder(client.Client, false), about: client.ServiceContent.About.InstanceUuid,
	}
}

// id is the one of whatever lies at a path.
func (l *lab) id(path string) facts.ID {
	l.t.Helper()
	found, err := l.finder.ManagedObjectList(l.t.Context(), path)
	if err != nil || len(found) != 1 {
		l.t.Fatalf("%s: %v, %v", path, found, err)
	}
	ref := found[0].Object.Reference()
	return facts.ID{VCenter: l.about, Type: ref.Type, Value: ref.Value}
}

// here says whether a folder lies at a path.
func (l *lab) here(path string) bool {
	l.t.Helper()
	_, err := l.finder.Folder(l.t.Context(), path)
	var missing *find.NotFoundError
	if err != nil && !errors.As(err, &missing) {
		l.t.Fatal(err)
	}
	return err == nil
}

func (l *lab) move(path, into string) {
	l.t.Helper()
	target, err := l.finder.Folder(l.t.Context(), into)
	if err != nil {
		l.t.Fatal(err)
	}
	id := l.id(path)
	task, err := target.MoveInto(l.t.Context(), []types.ManagedObjectReference{{Type: id.Type, Value: id.Value}})
	if err == nil {
		err = task.Wait(l.t.Context())
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

const (
	namespaces = "/DC0/vm/Namespaces"
	backup     = "/DC0/vm/Infrastructure/Backup"
)

// What there is in vCenter is told as it is, whatever anybody knew before.
func TestWhatThereIs(t *testing.T) {
	l := newLab(t)
	root := l.id(namespaces)
	now, err := l.verbs.Named(t.Context(), l.id("/DC0/vm/Infrastructure"), "Backup")
	want := facts.Container{
		Entity: facts.Entity{ID: l.id(backup), Name: "Backup", Parent: l.id("/DC0/vm/Infrastructure")},
		Inside: []facts.ID{l.id(backup + "/backup-proxy")},
	}
	if diff := cmp.Diff(want, now); diff != "" || err != nil {
		t.Errorf("%v, contents (-want +got):\n%s", err, diff)
	}
	if _, err := l.verbs.Named(t.Context(), root, "nobody"); !errors.Is(err, failure.NotFound) {
		t.Errorf("a folder that is not there: %v", err)
	}
	way, err := l.verbs.Lineage(t.Context(), l.id(namespaces+"/team-a"))
	lineage := facts.Lineage{
		Entity:        facts.Entity{ID: l.id(namespaces + "/team-a"), Name: "team-a", Parent: root},
		HoldsMachines: true, Above: []facts.ID{root, l.id("/DC0/vm")}, Datacenter: l.id("/DC0"),
	}
	if diff := cmp.Diff(lineage, way); diff != "" || err != nil {
		t.Errorf("%v, where it lies (-want +got):\n%s", err, diff)
	}
	if hosts, err := l.verbs.Lineage(t.Context(), l.id("/DC0/host")); hosts.HoldsMachines || err != nil {
		t.Errorf("a folder of hosts: %+v, %v", hosts, err)
	}
	nowhere := facts.ID{VCenter: l.about, Type: facts.TypeFolder, Value: "group-v4711"}
	if _, err := l.verbs.Lineage(t.Context(), nowhere); !errors.Is(err, failure.NotFound) {
		t.Errorf("where a folder lies that is not there: %v", err)
	}
}

func TestCreate(t *testing.T) {
	l := newLab(t)
	id, err := l.verbs.Create(t.Context(), l.id(namespaces), "team-c")
	if err != nil || id != l.id(namespaces+"/team-c") {
		t.Errorf("created as %v: %v", id, err)
	}
	if _, err := l.verbs.Create(t.Context(), l.id(namespaces), "team-c"); !errors.Is(err, failure.AlreadyExists) {
		t.Errorf("once more: %v", err)
	}
}

// What is not wanted any more by what vCenter says in that moment is not done.
func TestStill(t *testing.T) {
	l := newLab(t)
	changed := errors.New("changed")
	id, root := l.id(backup), l.id(namespaces)
	var seen facts.Lineage
	err := l.verbs.Move(t.Context(), id, root, func(now facts.Lineage) error {
		seen = now
		return changed
	})
	if !errors.Is(err, changed) || seen.Name != "Backup" || len(seen.Above) != 2 || !l.here(backup) {
		t.Errorf("not moved: %v, seen %+v", err, seen)
	}
	err = l.verbs.Move(t.Context(), id, root, func(facts.Lineage) error { return nil })
	if err != nil || !l.here(namespaces+"/Backup") {
		t.Errorf("moved: %v", err)
	}
	var inside facts.Container
	err = l.verbs.Destroy(t.Context(), id, func(now facts.Container) error {
		inside = now
		return changed
	})
	if !errors.Is(err, changed) || inside.Empty() || inside.Parent != root || !l.here(namespaces+"/Backup") {
		t.Errorf("not destroyed: %v, seen %+v", err, inside)
	}
}

// A machine that comes into a folder while that is being destroyed keeps its files.
func TestDestroyKeepsWhatComesIn(t *testing.T) {
	l := newLab(t)
	id, err := l.verbs.Create(t.Context(), l.id(namespaces), "team-c")
	if err != nil {
		t.Fatal(err)
	}
	recording := l.vcenter.Record()
	err = l.verbs.Destroy(t.Context(), id, func(now facts.Container) error {
		if !now.Empty() {
			t.Errorf("something lies in it: %+v", now)
		}
		l.move(namespaces+"/team-a/batch-1", namespaces+"/team-c")
		return nil
	})
	if err != nil || l.here(namespaces+"/team-c") {
		t.Errorf("destroyed: %v", err)
	}
	for method, want := range map[string]int{"UnregisterAndDestroy_Task": 1, "Destroy_Task": 0} {
		if got := recording.Counts()[method]; got != want {
			t.Errorf("%d calls of %s, want %d", got, method, want)
		}
	}
	err = l.verbs.Destroy(t.Context(), id, func(facts.Container) error { return nil })
	if !errors.Is(err, failure.NotFound) {
		t.Errorf("once more: %v", err)
	}
}

// An id of another vCenter may be that of anything in this one, and nothing is done where nothing may be.
func TestNothingIsDone(t *testing.T) {
	l := newLab(t)
	root := l.id(namespaces)
	asked := func() error {
		t.Error("asked whether it is still wanted")
		return nil
	}
	act := func(kind failure.Kind, root, id facts.ID) {
		t.Helper()
		_, created := l.verbs.Create(t.Context(), root, "team-c")
		moved := l.verbs.Move(t.Context(), id, root, func(facts.Lineage) error { return asked() })
		destroyed := l.verbs.Destroy(t.Context(), id, func(facts.Container) error { return asked() })
		for verb, err := range map[string]error{"create": created, "move": moved, "destroy": destroyed} {
			if !errors.Is(err, kind) {
				t.Errorf("%s: %v, want %v", verb, err, kind)
			}
		}
	}
	elsewhere := func(id facts.ID) facts.ID { return facts.ID{VCenter: "another", Type: id.Type, Value: id.Value} }
	id := l.id(backup)
	calls := l.vcenter.Calls()
	act(failure.Conflict, elsewhere(root), elsewhere(id))
	l.writer.Following = func() error { return errors.New("the namespaces folder was renamed") }
	act(failure.Unavailable, root, id)
	for _, method := range []string{"CreateFolder", "MoveIntoFolder_Task", "UnregisterAndDestroy_Task"} {
		if got := l.vcenter.Calls()[method] - calls[method]; got != 0 {
			t.Errorf("%d calls of %s", got, method)
		}
	}
}
