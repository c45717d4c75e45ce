// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/vim25/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/livestore"
	"github.com/openpacific/pacific/pkg/namespace"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/projected"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
)

const keyPrefix = "/virtualmachines/"

// into shows machines to a recorder under the keys that they have in a store.
func into(r *recorder) projected.Sink[vmopv1.VirtualMachine] {
	return registry.Into[vmopv1.VirtualMachine]{Mirror: r, Prefix: strings.TrimSuffix(keyPrefix, "/")}
}

// recorder is a Mirror that notes what it is told, a line per change.
type recorder struct {
	objects map[string]*vmopv1.VirtualMachine
	log     []string
}

func (r *recorder) Replace(objects map[string]runtime.Object) {
	r.objects = map[string]*vmopv1.VirtualMachine{}
	for k, o := range objects {
		r.objects[k] = o.(*vmopv1.VirtualMachine)
	}
	r.log = append(r.log, fmt.Sprintf("replace %d", len(objects)))
}

func (r *recorder) Apply(changes []livestore.Change) {
	for _, c := range changes {
		if c.Object == nil {
			delete(r.objects, c.Key)
			r.log = append(r.log, "- "+strings.TrimPrefix(c.Key, keyPrefix))
			continue
		}
		o := c.Object.(*vmopv1.VirtualMachine)
		r.objects[c.Key] = o
		r.log = append(r.log, fmt.Sprintf("+ %s %s", strings.TrimPrefix(c.Key, keyPrefix), o.UID))
	}
}

func (r *recorder) keys() []string {
	var keys []string
	for k := range r.objects {
		keys = append(keys, strings.TrimPrefix(k, keyPrefix))
	}
	slices.Sort(keys)
	return keys
}

func (r *recorder) take() []string {
	log := r.log
	slices.Sort(log)
	r.log = nil
	return log
}

func slug(name, id string) string { return namespace.Slug(name, "vm", id, 0, 253) }

func TestNames(t *testing.T) {
	long, longer := strings.Repeat("a", 253), strings.Repeat("a", 254)
	template := vm("vm-9", "template", "a", machine.PathTemplate, true)
	p, mirror := newTestProjector()
	p.Apply(initial(
		vm("vm-1", "web", "a"), vm("vm-2", "Web Server", "a"), vm("vm-3", "web", "deep"), vm("vm-4", "web.example.com", "b"),
		vm("vm-5", long, "b"), vm("vm-6", longer, "b"), vm("vm-7", "日本語", "b"), vm("vm-8", "a%2fb", "b"),
		template, vm("vm-10", "outside", "elsewhere"), vm("vm-11", "in-the-root", "root"),
		vm("vm-12", "no-uuid", "a", machine.PathInstanceUUID, nil),
	))
	want := []string{
		"team-a/web", "team-a/" + slug("Web Server", "vm-2"), "team-a/" + slug("web", "vm-3"), "team-b/web.example.com",
		"team-b/" + long, "team-b/" + slug(longer, "vm-6"), "team-b/" + slug("", "vm-7"), "team-b/" + slug("a/b", "vm-8"),
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, mirror.keys()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestChanges follows one inventory through what happens to it.
func TestChanges(t *testing.T) {
	p, mirror := newTestProjector()
	p.Apply(initial(vm("vm-1", "web", "a"), vm("vm-2", "db", "a"), vm("vm-3", "deep-one", "deep"),
		vm("vm-4", "other", "b", machine.PathHost, ref(TypeHost, "host-2"))))
	mirror.take()
	deep := slug("deep-one", "vm-3")
	removed := func(kind, id string) inventory.Update {
		return inventory.Update{Removed: []types.ManagedObjectReference{ref(kind, id)}}
	}
	host := inventory.Object{Ref: ref(TypeHost, "host-2"),
		Properties: map[string]any{machine.PathName: "renamed", machine.PathParent: ref(TypeCluster, "domain-c1")}}
	cluster := inventory.Object{Ref: ref(TypeCluster, "domain-c1"), Properties: map[string]any{machine.PathName: "zone-1"}}
	for _, step := range []struct {
		name   string
		update inventory.Update
		want   []string
	}{
		{"nothing visible", changed(vm("vm-1", "web", "a", machine.PathChangeVersion, "2")), nil},
		{"power", changed(vm("vm-1", "web", "a", machine.PathPowerState, types.VirtualMachinePowerStatePoweredOff)),
			[]string{"+ team-a/web uid-vm-1"}},
		{"rename", changed(vm("vm-1", "www", "a")), []string{"+ team-a/www uid-vm-1", "- team-a/web"}},
		{"swap of names", changed(vm("vm-1", "db", "a"), vm("vm-2", "www", "a")),
			[]string{"+ team-a/db uid-vm-1", "+ team-a/www uid-vm-2"}},
		{"move to another namespace", changed(vm("vm-2", "www", "b")), []string{"+ team-b/www uid-vm-2", "- team-a/www"}},
		{"move to a deeper folder", changed(vm("vm-2", "www", "deep")),
			[]string{"+ team-a/" + slug("www", "vm-2") + " uid-vm-2", "- team-b/www"}},
		{"removal", removed(TypeVirtualMachine, "vm-2"), []string{"- team-a/" + slug("www", "vm-2")}},
		{"host renamed", changed(host), []string{"+ team-b/other uid-vm-4"}},
		{"cluster renamed", changed(cluster), []string{"+ team-a/" + deep + " uid-vm-3", "+ team-a/db uid-vm-1",
			"+ team-b/other uid-vm-4"}},
		{"deeper folder moved", changed(folder("deep", "Deep", "b")),
			[]string{"+ team-b/" + deep + " uid-vm-3", "- team-a/" + deep}},
		{"namespace folder renamed", changed(folder("b", "team-c", "root")),
			[]string{"+ team-c/" + deep + " uid-vm-3", "+ team-c/other uid-vm-4", "- team-b/" + deep, "- team-b/other"}},
		{"folder moved out", changed(folder("b", "team-c", "elsewhere")), []string{"- team-c/" + deep, "- team-c/other"}},
		{"folder back", changed(folder("b", "team-b", "root")),
			[]string{"+ team-b/" + deep + " uid-vm-3", "+ team-b/other uid-vm-4"}},
		{"made a template", changed(vm("vm-1", "db", "a", machine.PathTemplate, true)), []string{"- team-a/db"}},
		{"and a machine again", changed(vm("vm-1", "db", "a")), []string{"+ team-a/db uid-vm-1"}},
		{"another uid", changed(vm("vm-1", "db", "a", machine.PathInstanceUUID, "new")), []string{"+ team-a/db new"}},
		{"host gone", removed(TypeHost, "host-2"), []string{"+ team-b/other uid-vm-4"}},
		{"configuration unreadable", changed(inventory.Object{Ref: vmRef("vm-4"), Properties: map[string]any{
			machine.PathName: "other", machine.PathParent: ref(TypeFolder, "b"),
			machine.PathConnectionState: types.VirtualMachineConnectionStateInaccessible}}),
			[]string{"+ team-b/other uid-vm-4"}},
		{"namespaces folder replaced", inventory.Update{NamespacesFolder: ref(TypeFolder, "root2")},
			[]string{"- team-a/db", "- team-b/" + deep, "- team-b/other"}},
	} {
		p.Apply(step.update)
		slices.Sort(step.want)
		if diff := cmp.Diff(step.want, mirror.take()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	second := &recorder{}
	p.Apply(inventory.Update{NamespacesFolder: ref(TypeFolder, "root")})
	p.Machines().Attach(into(second))
	if diff := cmp.Diff(mirror.objects, second.objects); diff != "" {
		t.Errorf("a mirror attached late has something else (-first +second):\n%s", diff)
	}
}

func TestClash(t *testing.T) {
	meta := func(id string) types.OptionValue {
		m := Metadata{Head: facts.Head{UID: "uid-" + id, Name: "web"}}
		return encoded(t, m)
	}
	old := vm("vm-1", "web", "a", machine.PathCreateDate, created.Add(-time.Hour))
	managed := vm("vm-2", "Something", "a", machine.PathRecord, meta("vm-2"))
	other := vm("vm-3", "web", "a")
	p, mirror := newTestProjector()
	p.Apply(initial(old, managed, other))
	want := []string{"team-a/" + slug("web", "vm-1"), "team-a/" + slug("web", "vm-3"), "team-a/web"}
	slices.Sort(want)
	if diff := cmp.Diff(want, mirror.keys()); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	if o := mirror.objects[keyPrefix+"team-a/web"]; o.UID != "uid-vm-2" {
		t.Errorf("the managed machine should have the name, but %s has", o.UID)
	}
	o := mirror.objects[keyPrefix+"team-a/"+slug("web", "vm-1")]
	i := slices.IndexFunc(o.Status.Conditions, func(c metav1.Condition) bool { return c.Type == NameUniqueCondition })
	if i < 0 || o.Status.Conditions[i].Status != "False" || !strings.Contains(o.Status.Conditions[i].Message, `"web"`) {
		t.Errorf("no condition that says so: %+v", o.Status.Conditions)
	}
	mirror.take()
	// The holder goes: the older of the others takes its name, and the condition goes.
	p.Apply(inventory.Update{Removed: []types.ManagedObjectReference{vmRef("vm-2")}})
	if diff := cmp.Diff([]string{"+ team-a/web uid-vm-1", "- team-a/" + slug("web", "vm-1")}, mirror.take()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNamesDependOnTheSetAlone applies random changes, and after each compares with a Projector that sees the outcome
// at once.
func TestNamesDependOnTheSetAlone(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{"web", "db", "Web", slug("Web", "vm-3"), slug("web", "vm-5"), slug("web", "vm-1")}
	p, mirror := newTestProjector()
	p.Apply(initial())
	live := map[string]inventory.Object{}
	for step := range 800 {
		id := fmt.Sprintf("vm-%d", random.IntN(8))
		if _, there := live[id]; there && random.IntN(3) == 0 {
			delete(live, id)
			p.Apply(inventory.Update{Removed: []types.ManagedObjectReference{vmRef(id)}})
		} else {
			o := vm(id, names[random.IntN(len(names))], []string{"a", "a", "deep", "b"}[random.IntN(4)],
				machine.PathCreateDate, created.Add(time.Duration(random.IntN(3))*time.Hour))
			if random.IntN(3) == 0 {
				o.Properties[machine.PathRecord] = encoded(t, Metadata{
					Head: facts.Head{UID: "uid-" + id, Name: names[[]int{0, 1, 3, 4, 5}[random.IntN(5)]]}})
			}
			live[id] = o
			p.Apply(changed(o))
		}
		fresh, whole := newTestProjector()
		fresh.Apply(initial(slices.Collect(maps.Values(live))...))
		if diff := cmp.Diff(uids(whole), uids(mirror)); diff != "" {
			t.Fatalf("step %d (-at once +by changes):\n%s", step, diff)
		}
		if len(mirror.objects) != len(live) {
			t.Fatalf("step %d: %d of %d machines are served", step, len(mirror.objects), len(live))
		}
	}
}

func uids(r *recorder) map[string]string {
	m := map[string]string{}
	for k, o := range r.objects {
		m[k] = string(o.UID)
	}
	return m
}

func TestDetached(t *testing.T) {
	ours := Metadata{Head: facts.Head{UID: "uid-vm-2", Name: "made", Created: true}}
	p, mirror := newTestProjector()
	p.SetDetached(map[string]bool{"b": true})
	p.Apply(initial(vm("vm-1", "found", "a"), vm("vm-2", "made", "a", machine.PathRecord, encoded(t, ours)),
		vm("vm-3", "hidden", "b")))
	if diff := cmp.Diff([]string{"team-a/found", "team-a/made"}, mirror.keys()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	p.SetDetached(map[string]bool{"a": true})
	if diff := cmp.Diff([]string{"team-a/made", "team-b/hidden"}, mirror.keys()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !p.Created("team-a", "made", "uid-vm-2") || p.Created("team-a", "made", "uid-vm-1") ||
		p.Created("team-b", "hidden", "uid-vm-3") || p.Created("team-a", "none", "uid-vm-2") {
		t.Error("Created is wrong about who made what")
	}
}

func TestConditionTimesAndOverlay(t *testing.T) {
	p, mirror := newTestProjector()
	p.Apply(initial(vm("vm-1", "web", "a")))
	at := func(conditionType string) (metav1.ConditionStatus, time.Time) {
		for _, c := range mirror.objects[keyPrefix+"team-a/web"].Status.Conditions {
			if c.Type == conditionType {
				return c.Status, c.LastTransitionTime.Time
			}
		}
		return "", time.Time{}
	}
	expect := func(step, conditionType string, status metav1.ConditionStatus, when time.Time) {
		t.Helper()
		if s, w := at(conditionType); s != status || !w.Equal(when) {
			t.Errorf("%s: %s is %s since %s, want %s since %s", step, conditionType, s, w, status, when)
		}
	}
	start := created.Truncate(time.Second)
	p.Apply(changed(vm("vm-1", "web", "a", machine.PathToolsRunning, "guestToolsRunning")))
	expect("tools started", vmopv1.VirtualMachineToolsCondition, "True", now)
	expect("tools started", vmopv1.VirtualMachineConditionCreated, "True", start)

	mirror.take()
	failed := metav1.Condition{Type: vmopv1.VirtualMachinePowerStateSynced, Status: "False", Reason: "PowerOnFailed",
		Message: "no host"}
	p.SetCondition("team-a", "web", "uid-vm-1", failed)
	p.SetCondition("team-a", "web", "uid-vm-1", failed)
	expect("overlay", vmopv1.VirtualMachinePowerStateSynced, "False", now)
	p.ClearCondition("team-a", "web", "uid-vm-1", vmopv1.VirtualMachinePowerStateSynced)
	p.ClearCondition("team-a", "web", "uid-vm-1", vmopv1.VirtualMachinePowerStateSynced)
	expect("overlay cleared", vmopv1.VirtualMachinePowerStateSynced, "", time.Time{})
	if diff := cmp.Diff([]string{"+ team-a/web uid-vm-1", "+ team-a/web uid-vm-1"}, mirror.take()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWait(t *testing.T) {
	p, _ := newTestProjector()
	p.Apply(initial(vm("vm-1", "web", "a")))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	result := make(chan error)
	go func() {
		result <- p.Wait(ctx, facts.ID{Type: TypeVirtualMachine, Value: "vm-1"},
			func(s State, found bool) bool { return found && s.ChangeVersion == "2" })
	}()
	go p.Apply(changed(vm("vm-1", "web", "a", machine.PathChangeVersion, "2")))
	if err := <-result; err != nil {
		t.Errorf("wait for a version: %v", err)
	}
	go func() {
		result <- p.Wait(ctx, facts.ID{Type: TypeVirtualMachine, Value: "vm-1"},
			func(_ State, found bool) bool { return !found })
	}()
	go p.Apply(inventory.Update{Removed: []types.ManagedObjectReference{vmRef("vm-1")}})
	if err := <-result; err != nil {
		t.Errorf("wait for the end: %v", err)
	}
	short, stop := context.WithTimeout(ctx, time.Millisecond)
	defer stop()
	if err := p.Wait(short, facts.ID{Type: TypeVirtualMachine, Value: "vm-1"},
		func(State, bool) bool { return false }); err == nil {
		t.Error("no error although it never came true")
	}
}
