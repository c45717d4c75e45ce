// SPDX-License-Identifier: Apache-2.0

package identity

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
	"k8s.io/klog/v2"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/waittest"
)

var created = time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)

func folderID(value string) facts.ID {
	return facts.ID{VCenter: "vc", Type: facts.TypeFolder, Value: value}
}

func machineID(value string) facts.ID {
	return facts.ID{VCenter: "vc", Type: facts.TypeMachine, Value: value}
}

func who(name string) facts.Identity {
	recorded := strings.HasPrefix(name, "recorded")
	return facts.Identity{UID: "uid-" + name, Name: name, Created: created, Recorded: recorded}
}

// kept are documents in an etcd, as the server keeps them. It notes what is written.
type kept struct {
	*ledger.Documents
	mu     sync.Mutex
	writes []string
	// before is called before each write, and after is called after it.
	before, after func()
}

func (k *kept) List(ctx context.Context) (map[string]Document, error) {
	listed, err := k.Documents.List(ctx)
	documents := map[string]Document{}
	for id, document := range listed {
		documents[id] = Document(document)
	}
	return documents, err
}

func (k *kept) Put(ctx context.Context, id string, value []byte, revision int64) (int64, error) {
	k.note("put " + id)
	defer k.after()
	return k.Documents.Put(ctx, id, value, revision)
}

func (k *kept) Delete(ctx context.Context, id string, revision int64) error {
	k.note("delete " + id)
	defer k.after()
	return k.Documents.Delete(ctx, id, revision)
}

func (k *kept) note(write string) {
	k.before()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.writes = append(k.writes, write)
}

// take returns the writes since it was called last.
func (k *kept) take() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	writes := k.writes
	k.writes = nil
	slices.Sort(writes)
	return writes
}

// stored are the ids of the documents.
func (k *kept) stored(t *testing.T) []string {
	t.Helper()
	listed, err := k.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for id := range listed {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// etcd is one for a test.
func etcd(t *testing.T) *ledger.Embedded {
	t.Helper()
	server, err := ledger.Embed(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return server
}

// replica is a Memory of a process that has taken a term.
type replica struct {
	*Memory
	t      *testing.T
	kept   *kept
	ledger *ledger.Ledger
	clock  *testingclock.FakeClock
}

// standby makes a replica that has taken no term.
func standby(t *testing.T, server *ledger.Embedded) *replica {
	t.Helper()
	clock := testingclock.NewFakeClock(created)
	records := &ledger.Ledger{Client: server.Client(), Prefix: "/pacific", Clock: clock}
	k := &kept{Documents: &ledger.Documents{Ledger: records, Kind: "identities"}, before: func() {}, after: func() {}}
	return &replica{Memory: New(k, clock, klog.Background()), t: t, kept: k, ledger: records, clock: clock}
}

// lead makes a replica that leads, and has read what is kept.
func lead(t *testing.T, server *ledger.Embedded) *replica {
	t.Helper()
	r := standby(t, server)
	r.begin()
	return r
}

// begin takes the lead.
func (r *replica) begin() {
	r.t.Helper()
	if _, err := r.ledger.NewTerm(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	if err := r.Restore(r.t.Context(), "vc"); err != nil {
		r.t.Fatal(err)
	}
}

// run runs it until the test ends.
func (r *replica) run() {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.Run(ctx)
	}()
	r.t.Cleanup(func() {
		stop()
		<-done
	})
}

// pass lets time go by when somebody waits for that.
func (r *replica) pass(d time.Duration) {
	r.t.Helper()
	waittest.Eventually(r.t, "somebody waits", r.clock.HasWaiters)
	r.clock.Step(d)
}

// round lets as much time go by as passes from one write to the next, and returns the writes.
func (r *replica) round() []string {
	r.t.Helper()
	r.pass(settling)
	waittest.Eventually(r.t, "it has written", r.clock.HasWaiters)
	return r.kept.take()
}

func (r *replica) write() error {
	r.t.Helper()
	return r.Memory.write(r.t.Context())
}

func TestManyChangesAreOneWrite(t *testing.T) {
	r := lead(t, etcd(t))
	r.run()
	if got := r.round(); len(got) > 0 {
		t.Errorf("before anything was noted: %q", got)
	}
	r.pass(resting)
	r.Note(machineID("vm-0"), folderID("a"), who("first"))
	// So that those that follow ask for a write of their own.
	waittest.Eventually(t, "it is to be written", r.clock.HasWaiters)
	for i := range 1000 {
		r.Note(machineID(fmt.Sprintf("vm-%d", i%10)), folderID("a"), who(fmt.Sprintf("name-%d", i)))
		r.clock.Step(time.Millisecond)
	}
	if got := r.kept.take(); len(got) > 0 {
		t.Errorf("at once: %q", got)
	}
	if diff := cmp.Diff([]string{"put vc/Folder/a/0"}, r.round()); diff != "" {
		t.Errorf("after a thousand changes in a second (-want +got):\n%s", diff)
	}
	for i := range 10 {
		r.Note(machineID(fmt.Sprintf("vm-%d", i)), folderID("a"), who(fmt.Sprintf("name-%d", 990+i)))
	}
	r.pass(resting)
	if got := r.round(); len(got) > 0 {
		t.Errorf("after nothing has changed: %q", got)
	}
	r.pass(resting)
	r.Note(machineID("vm-1"), folderID("a"), who("other"))
	r.Note(machineID("vm-1"), folderID("a"), who("name-991"))
	if got := r.round(); len(got) > 0 {
		t.Errorf("after a change that was taken back: %q", got)
	}
	r.pass(resting)
	r.Note(machineID("vm-1"), folderID("a"), who("other"))
	r.Note(machineID("vm-2"), folderID("b"), who("moved"))
	if diff := cmp.Diff([]string{"put vc/Folder/a/0", "put vc/Folder/b/0"}, r.round()); diff != "" {
		t.Errorf("after a move (-want +got):\n%s", diff)
	}
}

func TestWhatIsRememberedOutlivesTheProcess(t *testing.T) {
	server := etcd(t)
	first := lead(t, server)
	notes := map[string]facts.Identity{
		"vm-1": who("web"), "vm-2": who("recorded-db"),
		"vm-3": {UID: "u", Name: "old-one"}, // vCenter does not know since when it is there
	}
	for id, identity := range notes {
		first.Note(machineID(id), folderID("a"), identity)
	}
	first.Note(machineID("vm-4"), folderID("b"), who("gone-later"))
	if err := first.write(); err != nil {
		t.Fatal(err)
	}
	first.kept.take()

	second := lead(t, server)
	for id, want := range notes {
		got, found := second.Recall(machineID(id), folderID("a"))
		if diff := cmp.Diff(want, got); diff != "" || !found {
			t.Errorf("%s, found %t (-want +got):\n%s", id, found, diff)
		}
	}
	if got, found := second.Recall(machineID("vm-1"), folderID("b")); found {
		t.Errorf("in another folder it is %+v", got)
	}
	elsewhere := facts.ID{VCenter: "other", Type: facts.TypeMachine, Value: "vm-1"}
	if got, found := second.Recall(elsewhere, folderID("a")); found {
		t.Errorf("in another vCenter it is %+v", got)
	}
	for id, identity := range notes {
		second.Note(machineID(id), folderID("a"), identity)
	}
	if err := second.write(); err != nil || len(second.kept.take()) > 0 {
		t.Errorf("the same was written again, or not at all: %v", err)
	}
	second.Keep(func(id facts.ID) bool { return id != machineID("vm-4") })
	if err := second.write(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"delete vc/Folder/b/0"}, second.kept.take()); diff != "" {
		t.Errorf("of the folder that has gone (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"vc/Folder/a/0"}, second.kept.stored(t)); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}
}

// What vCenter tells wins over what was remembered, whenever the one and the other come.
func TestNotes(t *testing.T) {
	x, a, b := machineID("vm-1"), folderID("a"), folderID("b")
	unserved := func(uid string) facts.Identity { return facts.Identity{UID: uid, Created: created} }
	for name, test := range map[string]struct {
		note func(*Memory)
		want map[facts.ID]string // the name by folder
	}{
		"nothing":           {func(*Memory) {}, map[facts.ID]string{a: "web"}},
		"another name":      {func(m *Memory) { m.Note(x, a, who("db")) }, map[facts.ID]string{a: "db"}},
		"another folder":    {func(m *Memory) { m.Note(x, b, who("web")) }, map[facts.ID]string{b: "web"}},
		"no folder":         {func(m *Memory) { m.Note(x, facts.ID{}, facts.Identity{}) }, nil},
		"no name yet":       {func(m *Memory) { m.Note(x, a, unserved("uid-web")) }, map[facts.ID]string{a: "web"}},
		"no name elsewhere": {func(m *Memory) { m.Note(x, b, unserved("uid-web")) }, nil},
		"another machine":   {func(m *Memory) { m.Note(x, a, unserved("other")) }, nil},
		"not there":         {func(m *Memory) { m.Keep(func(facts.ID) bool { return false }) }, nil},
		"a machine beside": {func(m *Memory) { m.Note(machineID("vm-2"), a, who("db")) },
			map[facts.ID]string{a: "web"}},
		"taken away, and again": {func(m *Memory) {
			m.Note(x, facts.ID{}, facts.Identity{})
			m.Note(x, a, who("db"))
		}, map[facts.ID]string{a: "db"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := New(nil, testingclock.NewFakeClock(created), klog.Background())
			m.Note(x, a, who("web"))
			test.note(m)
			var got map[facts.ID]string
			for _, folder := range []facts.ID{a, b} {
				if identity, found := m.Recall(x, folder); found {
					got = map[facts.ID]string{folder: identity.Name}
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A standby hears of everything and writes nothing. When it comes to lead, what it heard counts more than what it
// reads.
func TestAStandbyWritesNothing(t *testing.T) {
	server := etcd(t)
	leader, other := lead(t, server), standby(t, server)
	leader.Note(machineID("vm-1"), folderID("a"), who("before"))
	leader.Note(machineID("vm-2"), folderID("a"), who("untold"))
	leader.Note(machineID("vm-3"), folderID("c"), who("moves"))
	if err := leader.write(); err != nil {
		t.Fatal(err)
	}
	other.Note(machineID("vm-1"), folderID("a"), who("after"))
	other.Note(machineID("vm-3"), folderID("b"), who("moves"))
	if err := other.write(); !errors.Is(err, failure.Unavailable) {
		t.Errorf("without the lead: %v", err)
	}
	if diff := cmp.Diff([]string{"vc/Folder/a/0", "vc/Folder/c/0"}, other.kept.stored(t)); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}
	other.begin()
	want := map[string]string{"vm-1 in a": "after", "vm-2 in a": "untold", "vm-3 in b": "moves"}
	if diff := cmp.Diff(want, other.all()); diff != "" {
		t.Errorf("remembered (-want +got):\n%s", diff)
	}
	if err := other.write(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, lead(t, server).all()); diff != "" {
		t.Errorf("written down (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"vc/Folder/a/0", "vc/Folder/b/0"}, other.kept.stored(t)); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}
}

// all are the names of all machines that are remembered.
func (r *replica) all() map[string]string {
	names := map[string]string{}
	for id, known := range r.machines {
		names[id.Value+" in "+known.folder.id.Value] = known.Name
	}
	return names
}

// A lead that is lost while something is being written is lost for that too.
func TestALostLeadWritesNothing(t *testing.T) {
	server := etcd(t)
	r := lead(t, server)
	r.Note(machineID("vm-1"), folderID("a"), who("before"))
	if err := r.write(); err != nil {
		t.Fatal(err)
	}
	r.Note(machineID("vm-1"), folderID("a"), who("after"))
	next := standby(t, server)
	r.kept.before = sync.OnceFunc(next.begin)
	if err := r.write(); !errors.Is(err, failure.Unavailable) {
		t.Errorf("after the lead was lost: %v", err)
	}
	if got, _ := next.Recall(machineID("vm-1"), folderID("a")); got.Name != "before" {
		t.Errorf("who leads next reads %q", got.Name)
	}
	if err := r.write(); !errors.Is(err, failure.Unavailable) {
		t.Errorf("once more: %v", err)
	}
}

// An etcd that did what it was asked and did not say so is asked what there is.
func TestAnUnsureWriteIsMadeGood(t *testing.T) {
	server := etcd(t)
	r := lead(t, server)
	r.Note(machineID("vm-1"), folderID("a"), who("before"))
	if err := r.write(); err != nil {
		t.Fatal(err)
	}
	written := r.stored["vc/Folder/a/0"]
	r.Note(machineID("vm-1"), folderID("a"), who("between"))
	if err := r.write(); err != nil {
		t.Fatal(err)
	}
	r.stored["vc/Folder/a/0"] = written // as if that had not been told
	r.Note(machineID("vm-1"), folderID("a"), who("after"))
	r.run()
	r.pass(settling)
	r.pass(settling)
	waittest.Eventually(t, "it is written", func() bool {
		page := pages(t, r.kept)
		return len(page) == 1 && page[0].Machines[0].Name == "after"
	})
}

// pages are the documents.
func pages(t *testing.T, k *kept) []*page {
	t.Helper()
	listed, err := k.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []*page
	for _, document := range listed {
		p, err := decode(document.Value)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// Documents of another vCenter, and those that cannot be read, are left alone.
func TestWhatIsNotOurs(t *testing.T) {
	server := etcd(t)
	r := lead(t, server)
	const other = `{"version":1,"folder":"other/Folder/a","machines":[{"id":"vm-1","uid":"u","name":"other"}]}`
	for id, value := range map[string]string{
		"other/Folder/a/0": other, "vc/Folder/later/0": `{"version":2}`, "vc/Folder/broken/0": "{",
		"vc/Folder/lacking/0": `{"version":1,"folder":"vc/Folder/lacking","machines":[{"id":"vm-1","name":"web"}]}`,
	} {
		if _, err := r.kept.Documents.Put(t.Context(), id, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Restore(t.Context(), "vc"); err != nil {
		t.Fatal(err)
	}
	if len(r.machines) > 0 {
		t.Errorf("remembered: %v", r.machines)
	}
	r.Note(machineID("vm-1"), folderID("broken"), who("web"))
	r.Keep(func(id facts.ID) bool { return id == machineID("vm-1") })
	if err := r.write(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"put vc/Folder/broken/0"}, r.kept.take()); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	if listed, err := r.kept.List(t.Context()); err != nil || string(listed["other/Folder/a/0"].Value) != other {
		t.Errorf("the other vCenter's: %s, %v", listed["other/Folder/a/0"].Value, err)
	}
}

// The documents of a folder stay small whatever lies in it, and at no moment a machine is missing from them that was in
// them before.
func TestLargeFolders(t *testing.T) {
	const limit = 1 << 20 // etcd takes half as much again
	r := lead(t, etcd(t))
	a := folderID("group-v1234")
	name := func(i int) string { return fmt.Sprintf("machine-%05d", i) }
	steady := 0
	r.kept.after = func() {
		seen := map[string]bool{}
		for _, p := range pages(t, r.kept) {
			for _, row := range p.Machines {
				seen[row.Name] = true
			}
		}
		for i := range steady {
			if !seen[name(i)] {
				t.Fatalf("%s is missing", name(i))
			}
		}
	}
	before := 0
	for _, step := range []struct{ machines, documents int }{
		{1000, 1}, {1001, 2}, {5000, 8}, {2000, 2}, {10, 1}, {0, 0},
	} {
		steady = min(before, step.machines)
		for i := before; i < step.machines; i++ {
			identity := who(name(i))
			identity.UID = fmt.Sprintf("5037a9f4-3d0e-4a3c-8d0a-0e4c%08d", i)
			r.Note(machineID(fmt.Sprintf("vm-%d", 100+i)), a, identity)
		}
		for i := step.machines; i < before; i++ {
			r.Note(machineID(fmt.Sprintf("vm-%d", 100+i)), facts.ID{}, facts.Identity{})
		}
		before = step.machines
		if err := r.write(); err != nil {
			t.Fatal(err)
		}
		listed, err := r.kept.List(t.Context())
		if err != nil || len(listed) != step.documents {
			t.Errorf("%d documents for %d machines, want %d: %v", len(listed), step.machines, step.documents, err)
		}
		for id, document := range listed {
			if step.machines == 1000 {
				t.Logf("%s has %d bytes for %d machines", id, len(document.Value), step.machines)
			}
			if len(document.Value) > limit/4 {
				t.Errorf("%s has %d bytes of %d machines", id, len(document.Value), step.machines)
			}
		}
	}
	r.kept.after = func() {}
	for i := range 10_000 {
		r.Note(machineID(fmt.Sprintf("vm-%d", i)), a, who(fmt.Sprintf("recorded-%0244d", i)))
	}
	if err := r.write(); err != nil {
		t.Fatal(err)
	}
	listed, err := r.kept.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for id, document := range listed {
		if len(document.Value) > limit {
			t.Errorf("%s has %d bytes with the longest names", id, len(document.Value))
		}
	}
}

// BenchmarkNote10k is what a change of a machine costs of which nothing is to be remembered, among 10,000.
func BenchmarkNote10k(b *testing.B) {
	m := New(nil, testingclock.NewFakeClock(created), klog.Background())
	ids := make([]facts.ID, 10_000)
	names := make([]facts.Identity, len(ids))
	for i := range ids {
		ids[i], names[i] = machineID(fmt.Sprintf("vm-%d", i)), who(fmt.Sprintf("machine-%d", i))
		m.Note(ids[i], folderID("a"), names[i])
	}
	a := folderID("a")
	for i := 0; b.Loop(); i++ {
		m.Note(ids[i%len(ids)], a, names[i%len(ids)])
	}
}
