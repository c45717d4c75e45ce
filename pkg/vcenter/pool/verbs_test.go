// SPDX-License-Identifier: Apache-2.0

package pool_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/pool"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// lab is a vCenter with the verbs.
type lab struct {
	t       *testing.T
	vcenter *vcentertest.VCenter
	verbs   *pool.Verbs
	writer  *vcenter.Writer
	client  *vim25.Client
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
		t: t, vcenter: v, verbs: &pool.Verbs{Session: session, Writer: writer}, writer: writer,
		client: client.Client, about: client.ServiceContent.About.InstanceUuid,
	}
}

// id is the one of whatever lies at a path.
func (l *lab) id(path string) facts.ID {
	l.t.Helper()
	found, err := find.NewFinder(l.client, false).ManagedObjectList(l.t.Context(), path)
	if err != nil || len(found) != 1 {
		l.t.Fatalf("%s: %v, %v", path, found, err)
	}
	ref := found[0].Object.Reference()
	return facts.ID{VCenter: l.about, Type: ref.Type, Value: ref.Value}
}

func (l *lab) config(id facts.ID) types.ResourceConfigSpec {
	l.t.Helper()
	var read mo.ResourcePool
	ref := types.ManagedObjectReference{Type: id.Type, Value: id.Value}
	if err := property.DefaultCollector(l.client).RetrieveOne(l.t.Context(), ref, []string{"config"}, &read); err != nil {
		l.t.Fatal(err)
	}
	return read.Config
}

const root = "/DC0/host/cluster-a/Resources"

var (
	cpu    = facts.Allocation{Limit: 4000, Reservation: 100}
	memory = facts.Allocation{Limit: -1, Reservation: 512}
)

func wanted(facts.Container) error { return nil }

func TestCreateAndLimit(t *testing.T) {
	l := newLab(t)
	id, err := l.verbs.Create(t.Context(), l.id(root), "team-c", cpu, memory)
	if err != nil || id != l.id(root+"/team-c") {
		t.Fatalf("created as %v: %v", id, err)
	}
	has := func(what string, cpu, memory facts.Allocation) {
		t.Helper()
		config := l.config(id)
		for _, part := range []struct {
			want facts.Allocation
			got  types.ResourceAllocationInfo
		}{{cpu, config.CpuAllocation}, {memory, config.MemoryAllocation}} {
			if *part.got.Limit != part.want.Limit || *part.got.Reservation != part.want.Reservation ||
				!*part.got.ExpandableReservation || part.got.Shares.Level != types.SharesLevelNormal {
				t.Errorf("%s: %+v, want %+v", what, part.got, part.want)
			}
		}
	}
	has("created", cpu, memory)
	if err := l.verbs.Limit(t.Context(), id, memory, cpu, wanted); err != nil {
		t.Fatal(err)
	}
	has("limited otherwise", memory, cpu)
	if _, err := l.verbs.Create(t.Context(), l.id(root), "team-c", cpu, memory); !errors.Is(err, failure.AlreadyExists) {
		t.Errorf("once more: %v", err)
	}
}

// What there is in vCenter is told as it is, whatever anybody knew before.
func TestWhatThereIs(t *testing.T) {
	l := newLab(t)
	team := l.id(root + "/team-a")
	now, err := l.verbs.Named(t.Context(), l.id(root), "team-a")
	if err != nil || now.Entity != (facts.Entity{ID: team, Name: "team-a", Parent: l.id(root)}) || now.Empty() {
		t.Errorf("%+v, %v", now, err)
	}
	if _, err := l.verbs.Named(t.Context(), l.id(root), "nobody"); !errors.Is(err, failure.NotFound) {
		t.Errorf("a pool that is not there: %v", err)
	}
	inner, err := l.verbs.Create(t.Context(), team, "inner", cpu, memory)
	if err != nil {
		t.Fatal(err)
	}
	if now, err := l.verbs.Named(t.Context(), l.id(root), "team-a"); err != nil || !slices.Contains(now.Inside, inner) {
		t.Errorf("with a pool in it: %+v, %v", now, err)
	}
	machines, err := l.verbs.Machines(t.Context(), l.id(root))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]facts.ID{}
	for _, machine := range machines {
		found[machine.Name] = machine.Parent
	}
	team1, team2 := l.id("/DC0/vm/Namespaces/team-a"), l.id("/DC0/vm/Namespaces/team-b")
	want := map[string]facts.ID{
		"web-1": team1, "db-1": team1, "build-1": team1, "cache-1": team2, "queue-1": team2,
		"rhel-9-golden": l.id("/DC0/vm/Templates"), "jumpbox": l.id("/DC0/vm"), "backup-proxy": l.id("/DC0/vm/Infrastructure/Backup"),
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("machines and where they lie (-want +got):\n%s", diff)
	}
	if machines, err := l.verbs.Machines(t.Context(), inner); len(machines) > 0 || err != nil {
		t.Errorf("in an empty one: %v, %v", machines, err)
	}
}

// What is not wanted any more by what vCenter says in that moment is not done.
func TestStill(t *testing.T) {
	l := newLab(t)
	id, err := l.verbs.Create(t.Context(), l.id(root), "team-c", cpu, memory)
	if err != nil {
		t.Fatal(err)
	}
	changed := errors.New("changed")
	want, before := facts.Entity{ID: id, Name: "team-c", Parent: l.id(root)}, l.config(id)
	for verb, act := range map[string]func(still func(facts.Container) error) error{
		"limit": func(still func(facts.Container) error) error {
			return l.verbs.Limit(t.Context(), id, memory, cpu, still)
		},
		"destroy": func(still func(facts.Container) error) error { return l.verbs.Destroy(t.Context(), id, still) },
	} {
		var seen facts.Container
		err := act(func(now facts.Container) error {
			seen = now
			return changed
		})
		if diff := cmp.Diff(before, l.config(id)); !errors.Is(err, changed) || seen.Entity != want || diff != "" {
			t.Errorf("%s: %v, seen %+v, limits (-before +after):\n%s", verb, err, seen, diff)
		}
	}
	if err := l.verbs.Destroy(t.Context(), id, wanted); err != nil {
		t.Error(err)
	}
	if err := l.verbs.Destroy(t.Context(), id, wanted); !errors.Is(err, failure.NotFound) {
		t.Errorf("once more: %v", err)
	}
}

// An id of another vCenter may be that of anything in this one, and nothing is done where nothing may be.
func TestNothingIsDone(t *testing.T) {
	l := newLab(t)
	act := func(kind failure.Kind, parent, id facts.ID) {
		t.Helper()
		_, created := l.verbs.Create(t.Context(), parent, "team-c", cpu, memory)
		still := func(facts.Container) error {
			t.Error("asked whether it is still wanted")
			return nil
		}
		limited := l.verbs.Limit(t.Context(), id, cpu, memory, still)
		destroyed := l.verbs.Destroy(t.Context(), id, still)
		for verb, err := range map[string]error{"create": created, "limit": limited, "destroy": destroyed} {
			if !errors.Is(err, kind) {
				t.Errorf("%s: %v, want %v", verb, err, kind)
			}
		}
	}
	parent, id := l.id(root), l.id(root+"/team-a")
	before, calls := l.config(id), l.vcenter.Calls()
	act(failure.Conflict, facts.ID{VCenter: "another", Type: parent.Type, Value: parent.Value},
		facts.ID{VCenter: "another", Type: id.Type, Value: id.Value})
	l.writer.Following = func() error { return errors.New("the namespaces folder was renamed") }
	act(failure.Unavailable, parent, id)
	for _, method := range []string{"CreateResourcePool", "UpdateConfig", "Destroy_Task"} {
		if got := l.vcenter.Calls()[method] - calls[method]; got != 0 {
			t.Errorf("%d calls of %s", got, method)
		}
	}
	if diff := cmp.Diff(before, l.config(id)); diff != "" {
		t.Errorf("limits (-before +after):\n%s", diff)
	}
}
