// SPDX-License-Identifier: Apache-2.0

package picture_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/picture"
)

// watcher keeps what it is told of machines, as text, and notes whom each step was
// about.
type watcher struct {
	machines   map[string]string
	last       []string
	namespaces []facts.Namespace
}

func (w *watcher) Take(step facts.Step) {
	if step.Initial {
		w.machines = map[string]string{}
	}
	w.last = nil
	for _, m := range step.Machines {
		w.last = append(w.last, m.ID.Value)
		text := fmt.Sprintf("%s in %q", m.Name, m.Place.Namespace)
		if m.Place.Direct {
			text += " itself"
		}
		if m.Place.Detached {
			text += ", detached"
		}
		for _, folder := range m.Folders {
			text += " < " + folder.Value
		}
		if m.Host != nil {
			text += " on " + m.Host.Name
		}
		if m.Cluster != nil {
			text += " of " + m.Cluster.Name
		}
		w.machines[m.ID.Value] = text
	}
	for _, removed := range step.Removed {
		delete(w.machines, removed.Value)
	}
	w.namespaces = step.Namespaces
}

func folder(id, name, parent string) inventory.Object {
	return inventory.Object{Ref: ref("Folder", id), Properties: map[string]any{"name": name,
		"parent": ref("Folder", parent)}}
}

func machine(id, parent, host string) inventory.Object {
	return inventory.Object{Ref: ref("VirtualMachine", id), Properties: map[string]any{
		"name": id, "parent": ref("Folder", parent), "runtime.host": ref("HostSystem", host)}}
}

func host(id, cluster string) inventory.Object {
	return inventory.Object{Ref: ref("HostSystem", id), Properties: map[string]any{"name": id,
		"parent": ref("ClusterComputeResource", cluster)}}
}

func cluster(id, name string) inventory.Object {
	return inventory.Object{Ref: ref("ClusterComputeResource", id), Properties: map[string]any{"name": name}}
}

func TestMachinesAreToldWhenTheirPlaceDiffers(t *testing.T) {
	w := &watcher{}
	p := &picture.Picture{Followers: []facts.Follower{w}}
	root := ref("Folder", "root")
	apply := func(objects ...inventory.Object) func() {
		return func() { p.Apply(inventory.Update{VCenter: "vc", NamespacesFolder: root, Changed: objects}) }
	}
	remove := func(refs ...types.ManagedObjectReference) func() {
		return func() { p.Apply(inventory.Update{VCenter: "vc", NamespacesFolder: root, Removed: refs}) }
	}
	for _, step := range []struct {
		what string
		do   func()
		last []string // About whom it is.
		want map[string]string
	}{
		{"at first", func() {
			p.Apply(inventory.Update{Initial: true, VCenter: "vc", NamespacesFolder: root, Changed: []inventory.Object{
				machine("vm-1", "a", "host-1"), machine("vm-2", "deep", "host-2"), machine("vm-3", "b", "host-3"),
				machine("vm-4", "nowhere", ""),
				folder("a", "team-a", "root"), folder("deep", "x", "a"), folder("b", "team-b", "root"),
				host("host-1", "c-1"), host("host-2", "c-1"), cluster("c-1", "zone-1"),
			}})
		}, []string{"vm-1", "vm-2", "vm-3", "vm-4"}, map[string]string{
			"vm-1": `vm-1 in "team-a" itself < a < root on host-1 of zone-1`,
			"vm-2": `vm-2 in "team-a" < deep < a < root on host-2 of zone-1`,
			"vm-3": `vm-3 in "team-b" itself < b < root`,
			"vm-4": `vm-4 in ""`,
		}},
		{"a folder is renamed", apply(folder("a", "team-z", "root")), []string{"vm-1", "vm-2"}, map[string]string{
			"vm-1": `vm-1 in "team-z" itself < a < root on host-1 of zone-1`,
			"vm-2": `vm-2 in "team-z" < deep < a < root on host-2 of zone-1`,
		}},
		{"one deeper is", apply(folder("deep", "y", "a")), nil, nil},
		{"and moved", apply(folder("deep", "y", "b")), []string{"vm-2"},
			map[string]string{"vm-2": `vm-2 in "team-b" < deep < b < root on host-2 of zone-1`}},
		{"a host comes", apply(host("host-3", "c-1")), []string{"vm-3"},
			map[string]string{"vm-3": `vm-3 in "team-b" itself < b < root on host-3 of zone-1`}},
		{"a cluster is renamed", apply(cluster("c-1", "zone-2")), []string{"vm-1", "vm-2", "vm-3"}, map[string]string{
			"vm-1": `vm-1 in "team-z" itself < a < root on host-1 of zone-2`,
			"vm-2": `vm-2 in "team-b" < deep < b < root on host-2 of zone-2`,
			"vm-3": `vm-3 in "team-b" itself < b < root on host-3 of zone-2`,
		}},
		{"a machine moves", apply(machine("vm-3", "a", "host-3")), []string{"vm-3"}, map[string]string{
			"vm-3": `vm-3 in "team-z" itself < a < root on host-3 of zone-2`}},
		{"a namespace is detached", func() { p.SetDetached(map[string]bool{"b": true, "gone": true}) }, []string{"vm-2"},
			map[string]string{
				"vm-2": `vm-2 in "team-b", detached < deep < b < root on host-2 of zone-2`}},
		{"and another in its place", func() { p.SetDetached(map[string]bool{"b": false}) }, []string{"vm-2"},
			map[string]string{
				"vm-2": `vm-2 in "team-b" < deep < b < root on host-2 of zone-2`}},
		{"a host goes", remove(ref("HostSystem", "host-2")), []string{"vm-2"},
			map[string]string{"vm-2": `vm-2 in "team-b" < deep < b < root`}},
		{"a folder goes, and a machine", remove(ref("Folder", "a"), ref("VirtualMachine", "vm-1")), []string{"vm-3"},
			map[string]string{
				"vm-1": "", "vm-3": `vm-3 in "" on host-3 of zone-2`}},
		{"another vCenter", func() { p.Apply(inventory.Update{VCenter: "other", NamespacesFolder: root}) },
			[]string{"vm-2", "vm-3", "vm-4"}, nil},
	} {
		want := maps.Clone(w.machines)
		step.do()
		if want == nil {
			want = map[string]string{}
		}
		for id, text := range step.want {
			if want[id] = text; text == "" {
				delete(want, id)
			}
		}
		if diff := cmp.Diff(want, w.machines); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.what, diff)
		}
		if !slices.Equal(w.last, step.last) {
			t.Errorf("%s: told of %v, want %v", step.what, w.last, step.last)
		}
	}
}

func TestNamespacesAreTold(t *testing.T) {
	w := &watcher{}
	p := &picture.Picture{Followers: []facts.Follower{w}}
	p.SetDetached(map[string]bool{"b": true})
	if w.namespaces != nil {
		t.Errorf("told of %v before anything was read", w.namespaces)
	}
	p.Apply(inventory.Update{Initial: true, VCenter: "vc", NamespacesFolder: ref("Folder", "root"),
		Changed: []inventory.Object{
			folder("a", "team-a", "root"), folder("deep", "x", "a"), folder("b", "team-b", "root")}})
	want := []facts.Namespace{
		{Name: "team-a", Folder: id("Folder", "a"), Path: "team-a"},
		{Name: "team-b", Folder: id("Folder", "b"), Path: "team-b", Detached: true},
	}
	if diff := cmp.Diff(want, w.namespaces); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What a machine was configured for goes on being told while its host is away.
func TestConfigurationOutlivesItsReading(t *testing.T) {
	var last *facts.Live
	p := &picture.Picture{Followers: []facts.Follower{follower(func(step facts.Step) { last = step.Machines[0] })}}
	read := machine("vm-1", "a", "")
	read.Properties["config.instanceUuid"], read.Properties["config.hardware.numCPU"] = "uuid", int32(4)
	unread := machine("vm-1", "a", "")
	p.Apply(inventory.Update{Initial: true, Changed: []inventory.Object{unread}})
	if last.InstanceUUID != "" {
		t.Errorf("the uuid is %q before it was read", last.InstanceUUID)
	}
	p.Apply(inventory.Update{Changed: []inventory.Object{read}})
	p.Apply(inventory.Update{Changed: []inventory.Object{unread}})
	if last.InstanceUUID != "uuid" || last.CPUs != 4 {
		t.Errorf("uuid %q and %d CPUs are told, want what was read before", last.InstanceUUID, last.CPUs)
	}
}

type follower func(facts.Step)

func (f follower) Take(step facts.Step) { f(step) }
