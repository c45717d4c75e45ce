// SPDX-License-Identifier: Apache-2.0

package projection_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/projection"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/picture"
)

// What is counted, to the byte: everything under the home's policy, but for disks
// of another one.
func TestStorageIsSplit(t *testing.T) {
	const unit = 64 << 20
	ref := func(kind, id string) types.ManagedObjectReference {
		return types.ManagedObjectReference{Type: kind, Value: id}
	}
	object := func(kind, id string, properties map[string]any) inventory.Object {
		return inventory.Object{Ref: ref(kind, id), Properties: properties}
	}
	machine := func(id string, committed int64) inventory.Object {
		return object("VirtualMachine", id, map[string]any{"name": id, "parent": ref("Folder", "group-v2"),
			"summary.storage.committed": committed})
	}
	p := projection.NewProjector(projection.Config{Logger: klog.Background()})
	feed := &picture.Picture{Followers: []facts.Follower{p}}
	update := inventory.Update{
		Initial: true, NamespacesFolder: ref("Folder", "group-v1"),
		Changed: []inventory.Object{
			object("Folder", "group-v1", map[string]any{"name": "Namespaces"}),
			object("Folder", "group-v2", map[string]any{"name": "team-a", "parent": ref("Folder", "group-v1")}),
			machine("vm-1", 100*unit), machine("vm-2", 10*unit), machine("vm-3", 3*unit), machine("vm-4", 5*unit),
		},
	}
	feed.Apply(update)
	shows := func(what string, want map[string]int64) {
		t.Helper()
		got := map[string]int64{}
		for _, part := range p.Namespaces().Get("team-a").Status.Usage.Storage {
			got[part.Policy] = part.Used.Value() / unit
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, in units of 64Mi (-want +got):\n%s", what, diff)
		}
	}
	shows("without policies", map[string]int64{"": 118})
	answer := facts.StoragePolicies{
		Policies: []facts.StoragePolicy{{ID: "b", Name: "Bronze"}, {ID: "g", Name: "Gold"}},
		Machines: map[string]facts.MachinePolicies{
			"vm-1": {Home: "g", Disks: []facts.DiskPolicy{{Key: 2000, Policy: "g"}, {Key: 2001, Policy: "b", Space: 30 * unit},
				{Key: 2002, Policy: "b", Space: unit - 1}}},
			"vm-2": {Disks: []facts.DiskPolicy{{Key: 2000, Policy: "b", Space: 4 * unit}}},
			// more than the machine takes
			"vm-3": {Home: "b", Disks: []facts.DiskPolicy{{Key: 2000, Policy: "g", Space: 9 * unit}}},
			"vm-4": {Home: "unknown"},
			"vm-9": {Home: "g"},
		},
	}
	p.SetStoragePolicies(answer)
	shows("by policy", map[string]int64{"": 6 + 5, "Bronze": 30 + 1 + 4, "Gold": 69 + 1 + 3})

	moved := answer
	moved.Machines = map[string]facts.MachinePolicies{"vm-1": {Home: "b"}}
	p.SetStoragePolicies(moved)
	shows("before the next look", map[string]int64{"": 6 + 5, "Bronze": 30 + 1 + 4, "Gold": 69 + 1 + 3})
	p.Look()
	shows("after it", map[string]int64{"": 18, "Bronze": 100})

	moved.Policies = []facts.StoragePolicy{{ID: "b", Name: "Silver"}}
	p.SetStoragePolicies(moved)
	shows("renamed", map[string]int64{"": 18, "Silver": 100})
	feed.Apply(inventory.Update{NamespacesFolder: ref("Folder", "group-v1"),
		Removed: []types.ManagedObjectReference{ref("VirtualMachine", "vm-1")}})
	shows("removed", map[string]int64{"": 18})
}
