// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/klog/v2"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/namespace"
	"github.com/openpacific/pacific/pkg/vcenter/identity"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
)

func machineID(value string) facts.ID { return facts.ID{Type: TypeVirtualMachine, Value: value} }

func folderID(value string) facts.ID { return facts.ID{Type: TypeFolder, Value: value} }

func newMemory() *identity.Memory {
	return identity.New(nil, testingclock.NewFakeClock(now), klog.Background())
}

// restarted is a Projector of a process that has just begun, with what those before it remembered.
func restarted(memory Memory) (*fed, *recorder) {
	p := newFed(Config{Clock: testingclock.NewFakePassiveClock(now), Memory: memory})
	r := &recorder{}
	p.Machines().Attach(into(r))
	return p, r
}

// veiled is a machine of which vCenter tells no configuration.
func veiled(o inventory.Object) inventory.Object {
	told := inventory.Object{Ref: o.Ref, Properties: map[string]any{}}
	for path, value := range o.Properties {
		if !strings.HasPrefix(path, "config.") {
			told.Properties[path] = value
		}
	}
	told.Properties[machine.PathConnectionState] = types.VirtualMachineConnectionStateInaccessible
	return told
}

func allVeiled(objects []inventory.Object) []inventory.Object {
	var list []inventory.Object
	for _, o := range objects {
		list = append(list, veiled(o))
	}
	return list
}

// population is one of each sort of name.
func population(t *testing.T) []inventory.Object {
	older := created.Add(-time.Hour)
	recorded := func(id, name string) types.OptionValue {
		return encoded(t, Metadata{Head: facts.Head{UID: "uid-" + id, Name: name}})
	}
	return []inventory.Object{
		vm("vm-1", "web", "a"), vm("vm-2", "Web Server", "a"), vm("vm-3", "web", "deep"),
		vm("vm-4", "called otherwise", "a", machine.PathRecord, recorded("vm-4", "recorded")),
		vm("vm-5", "db", "b", machine.PathCreateDate, older),
		vm("vm-6", "wants-db", "b", machine.PathRecord, recorded("vm-6", "db")),
		vm("vm-7", "old", "b", machine.PathCreateDate, nil),
	}
}

func TestWhoIsRememberedIsServed(t *testing.T) {
	memory, objects := newMemory(), population(t)
	before, mirror := restarted(memory)
	before.Apply(initial(objects...))
	want := mirror.objects

	after, mirror := restarted(memory)
	after.Apply(initial(allVeiled(objects)...))
	if diff := cmp.Diff(uids(&recorder{objects: want}), uids(mirror)); diff != "" {
		t.Fatalf("after a restart (-before +after):\n%s", diff)
	}
	for key, got := range mirror.objects {
		if !got.CreationTimestamp.Equal(&want[key].CreationTimestamp) ||
			got.Status.PowerState != vmopv1.VirtualMachinePowerStateOn ||
			got.Status.NodeName != "esx-1.example.com" || !slices.Equal(got.Finalizers, want[key].Finalizers) ||
			got.Status.InstanceUUID != string(got.UID) {
			t.Errorf("%s: %+v %+v", key, got.ObjectMeta, got.Status)
		}
		said := map[string]string{}
		for _, c := range got.Status.Conditions {
			said[c.Type] = string(c.Status) + " " + c.Reason
		}
		if said[ConfigurationReadableCondition] != "False ConfigurationUnavailable" ||
			said[vmopv1.VirtualMachineReconcileReady] != "False VirtualMachineDisconnected" {
			t.Errorf("%s: conditions %v", key, said)
		}
	}
	mirror.take()
	after.Apply(changed(objects...))
	var told []string
	for key, object := range want {
		told = append(told, "+ "+strings.TrimPrefix(key, keyPrefix)+" "+string(object.UID))
	}
	slices.Sort(told)
	if diff := cmp.Diff(told, mirror.take()); diff != "" {
		t.Errorf("once vCenter tells it again (-want +got):\n%s", diff)
	}
	for key, got := range mirror.objects {
		for i := range got.Status.Conditions { // the only trace is when they changed
			got.Status.Conditions[i].LastTransitionTime = want[key].Status.Conditions[i].LastTransitionTime
		}
		if diff := cmp.Diff(want[key], got); diff != "" {
			t.Errorf("%s (-before +after):\n%s", key, diff)
		}
	}
}

// TestWhatVCenterTellsWins: a machine of which no configuration was told at the start, and what happens to it then.
func TestWhatVCenterTellsWins(t *testing.T) {
	removed := inventory.Update{Removed: []types.ManagedObjectReference{vmRef("vm-1")}}
	// vm-1, told and untold.
	told := func(name, folder string, more ...any) inventory.Update {
		return changed(vm("vm-1", name, folder, more...))
	}
	untold := func(name, folder string, more ...any) inventory.Update {
		return changed(veiled(vm("vm-1", name, folder, more...)))
	}
	taking := encoded(t, Metadata{Head: facts.Head{UID: "uid-vm-2", Name: "web"}})
	off := types.VirtualMachinePowerStatePoweredOff
	inA, inB := map[string]string{"a": "web"}, map[string]string{"b": "web"}
	for name, test := range map[string]struct {
		lies  string // where it lies at the start
		then  []inventory.Update
		want  []string          // what is told
		stays map[string]string // what is remembered in the end: the name by folder
	}{
		"it is gone": {"a", []inventory.Update{removed}, []string{"- team-a/web"}, nil},
		"it is gone, and comes again": {"a", []inventory.Update{removed, untold("web", "a")},
			[]string{"- team-a/web"}, nil},
		"its power changes": {"a", []inventory.Update{untold("web", "a", machine.PathPowerState, off)},
			[]string{"+ team-a/web uid-vm-1"}, inA},
		"it is renamed": {"a", []inventory.Update{untold("other", "a")}, nil, inA},
		"it is renamed, and told then": {"a", []inventory.Update{untold("other", "a"), told("other", "a")},
			[]string{"+ team-a/other uid-vm-1", "- team-a/web"}, map[string]string{"a": "other"}},
		"it is renamed, and another has its name": {"a",
			[]inventory.Update{untold("other", "a"), changed(vm("vm-2", "web", "a"))},
			[]string{"+ team-a/" + slug("web", "vm-1") + " uid-vm-1", "+ team-a/web uid-vm-2"}, inA},
		"another has its name, and it is renamed": {"a",
			[]inventory.Update{changed(vm("vm-2", "web", "a")), untold("other", "a")},
			[]string{"+ team-a/" + slug("web", "vm-2") + " uid-vm-2", "- team-a/" + slug("web", "vm-2"),
				"+ team-a/" + slug("web", "vm-1") + " uid-vm-1", "+ team-a/web uid-vm-2"}, inA},
		"a path is told for its name": {"a",
			[]inventory.Update{untold("/vmfs/volumes/lost/web.vmx", "a"), changed(vm("vm-2", "web", "a"))},
			[]string{"+ team-a/" + slug("web", "vm-2") + " uid-vm-2"}, inA},
		"it is moved": {"a", []inventory.Update{untold("web", "b")},
			[]string{"+ team-b/web uid-vm-1", "- team-a/web"}, inB},
		"it was moved": {"b", nil, nil, inA},
		"it was moved, and told then": {"b", []inventory.Update{told("web", "b")},
			[]string{"+ team-b/web uid-vm-1"}, inB},
		"it was moved, and comes back": {"b", []inventory.Update{untold("web", "a")},
			[]string{"+ team-a/web uid-vm-1"}, inA},
		"another machine has its id": {"a", []inventory.Update{told("new", "a", machine.PathInstanceUUID, "another")},
			[]string{"+ team-a/new another", "- team-a/web"}, map[string]string{"a": "new"}},
		"another machine has its id and name": {"a", []inventory.Update{
			told("web", "a", machine.PathInstanceUUID, "another")},
			[]string{"+ team-a/web another"}, inA},
		"it is a template": {"a", []inventory.Update{told("web", "a", machine.PathTemplate, true)},
			[]string{"- team-a/web"}, nil},
		"it is told, and untold again": {"a", []inventory.Update{told("web", "a"), untold("web", "a")},
			[]string{"+ team-a/web uid-vm-1", "+ team-a/web uid-vm-1"}, inA},
		"one with a record takes its name": {"a",
			[]inventory.Update{changed(vm("vm-2", "x", "a", machine.PathRecord, taking))},
			[]string{"+ team-a/" + slug("web", "vm-1") + " uid-vm-1", "+ team-a/web uid-vm-2"}, inA},
	} {
		t.Run(name, func(t *testing.T) {
			memory := newMemory()
			before, _ := restarted(memory)
			before.Apply(initial(vm("vm-1", "web", "a"), vm("vm-3", "stays", "b")))
			p, mirror := restarted(memory)
			p.Apply(initial(veiled(vm("vm-1", "web", test.lies)), vm("vm-3", "stays", "b")))
			served := []string{"team-b/stays"}
			if test.lies == "a" {
				served = []string{"team-a/web", "team-b/stays"}
			}
			if diff := cmp.Diff(served, mirror.keys()); diff != "" {
				t.Fatalf("at the start (-want +got):\n%s", diff)
			}
			mirror.take()
			for _, update := range test.then {
				p.Apply(update)
			}
			slices.Sort(test.want)
			if diff := cmp.Diff(test.want, mirror.take()); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
			var stays map[string]string
			for _, folder := range []string{"a", "b"} {
				if who, found := memory.Recall(machineID("vm-1"), folderID(folder)); found {
					stays = map[string]string{folder: who.Name}
				}
			}
			if diff := cmp.Diff(test.stays, stays); diff != "" {
				t.Errorf("remembered (-want +got):\n%s", diff)
			}
		})
	}
}

// What is remembered may be read after the inventory, and before folders have their names.
func TestReminded(t *testing.T) {
	memory := newMemory()
	p, mirror := restarted(memory)
	p.SetNames(namespace.Names{})
	p.Apply(initial(veiled(vm("vm-1", "web", "a")), veiled(vm("vm-2", "never-told", "a"))))
	who := facts.Identity{UID: "uid-vm-1", Name: "web", Created: created}
	memory.Note(machineID("vm-1"), folderID("a"), who)
	memory.Note(machineID("vm-9"), folderID("a"), who)
	p.Remind()
	if diff := cmp.Diff([]string{"replace 0"}, mirror.take()); diff != "" {
		t.Errorf("before folders have their names (-want +got):\n%s", diff)
	}
	p.SetNames(namespace.Names{Granted: map[string]string{"a": "team-a"}})
	if diff := cmp.Diff([]string{"+ team-a/web uid-vm-1"}, mirror.take()); diff != "" {
		t.Errorf("after (-want +got):\n%s", diff)
	}
	for id, want := range map[string]bool{"vm-1": true, "vm-9": false} {
		if _, found := memory.Recall(machineID(id), folderID("a")); found != want {
			t.Errorf("%s is remembered: %t", id, found)
		}
	}
	if err := p.Told("team-a", "web", "uid-vm-1"); !errors.Is(err, failure.Unavailable) {
		t.Errorf("nothing keeps anybody from the machine: %v", err)
	}
	p.Apply(changed(vm("vm-1", "web", "a")))
	if err := errors.Join(p.Told("team-a", "web", "uid-vm-1"), p.Told("team-a", "none", "uid")); err != nil {
		t.Error(err)
	}
}

// The end of a Namespace waits for a machine of which vCenter does not tell whether Pacific made it. One that stays in
// vCenter with its folder is not served again for a lack of knowledge.
func TestRecalledInADetachedFolder(t *testing.T) {
	detached := map[string]bool{"a": true}
	made := vm("vm-1", "x", "a", machine.PathRecord,
		encoded(t, Metadata{Head: facts.Head{UID: "uid-vm-1", Name: "made", Created: true}}))
	found := vm("vm-2", "found", "a")
	untold := []inventory.Object{veiled(made), veiled(found)}
	both, one := []string{"team-a/found", "team-a/made"}, []string{"team-a/made"}

	memory := newMemory()
	before, _ := restarted(memory)
	before.Apply(initial(made, found))
	p, mirror := restarted(memory)
	p.Apply(initial(untold...))
	p.SetDetached(detached)
	if diff := cmp.Diff(both, mirror.keys()); diff != "" {
		t.Errorf("once the folder is detached (-want +got):\n%s", diff)
	}
	p, mirror = restarted(memory)
	p.SetDetached(detached)
	p.Apply(initial(untold...))
	if diff := cmp.Diff(both, mirror.keys()); diff != "" {
		t.Errorf("after another start (-want +got):\n%s", diff)
	}
	p.Apply(changed(made, found))
	if diff := cmp.Diff(one, mirror.keys()); diff != "" || !p.Created("team-a", "made", "uid-vm-1") {
		t.Errorf("once vCenter tells who made them (-want +got):\n%s", diff)
	}
	memory.Note(machineID("vm-2"), folderID("a"), facts.Identity{UID: "uid-vm-2", Name: "found"})
	p.Remind() // of what was read late
	p, mirror = restarted(memory)
	p.SetDetached(detached)
	p.Apply(initial(untold...))
	if diff := cmp.Diff(one, mirror.keys()); diff != "" {
		t.Errorf("after a start that follows on that (-want +got):\n%s", diff)
	}
}
