// SPDX-License-Identifier: Apache-2.0

package picture_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/namespace"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/picture"
)

// recorder notes who was told what, in order.
type recorder struct {
	name  string
	order *[]string
	steps []facts.Step
}

func (r *recorder) Take(step facts.Step) {
	*r.order = append(*r.order, r.name)
	r.steps = append(r.steps, step)
}

func ref(kind, value string) types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: kind, Value: value}
}

func id(kind, value string) facts.ID { return facts.ID{VCenter: "vc", Type: kind, Value: value} }

func TestOneStepReachesAll(t *testing.T) {
	var order []string
	first, second := &recorder{name: "first", order: &order}, &recorder{name: "second", order: &order}
	p := &picture.Picture{Followers: []facts.Follower{first, second}}
	p.Apply(inventory.Update{Initial: true, VCenter: "vc", NamespacesFolder: ref("Folder", "root"),
		Changed: []inventory.Object{
			{Ref: ref("Folder", "group-1"), Properties: map[string]any{"name": "team%2fa", "parent": ref("Folder", "root")}},
			{Ref: ref("ClusterComputeResource", "domain-1"), Properties: map[string]any{"name": "cluster-a"}},
			{Ref: ref("HostSystem", "host-1"), Properties: map[string]any{"name": "esx",
				"parent":                  ref("ClusterComputeResource", "domain-1"),
				"runtime.connectionState": types.HostSystemConnectionStateConnected, "runtime.inMaintenanceMode": true,
				"summary.hardware.cpuMhz": int32(2300)}},
			{Ref: ref("ResourcePool", "pool-1"), Properties: map[string]any{
				"name": "team-a", "parent": ref("ResourcePool", "root-1"), "owner": ref("ClusterComputeResource", "domain-1"),
				"config.cpuAllocation.limit": int64(-1), "config.cpuAllocation.reservation": int64(100),
				"config.memoryAllocation.limit": int64(2048), "runtime.cpu.overallUsage": int64(7),
				"runtime.memory.overallUsage": int64(1 << 20),
			}},
			{Ref: ref("ResourcePool", "pool-2"), Properties: map[string]any{}},
			{Ref: ref("Network", "network-1"), Properties: map[string]any{"name": "lan"}},
			{Ref: ref("DistributedVirtualPortgroup", "portgroup-1"), Properties: map[string]any{
				"name": "up", "tag": types.ArrayOfTag{Tag: []types.Tag{{Key: "SYSTEM/DVS.UPLINKPG"}}}}},
			{Ref: ref("Datastore", "datastore-1"), Properties: map[string]any{
				"name": "nfs", "summary.url": "ds:///vmfs/volumes/1/", "summary.accessible": true,
				"summary.maintenanceMode": "normal",
				"summary.freeSpace":       int64(7),
				"host": types.ArrayOfDatastoreHostMount{DatastoreHostMount: []types.DatastoreHostMount{
					{Key: ref("HostSystem", "host-1"), MountInfo: types.HostMountInfo{AccessMode: "readWrite",
						Accessible: types.NewBool(true)}},
					{Key: ref("HostSystem", "host-2"), MountInfo: types.HostMountInfo{AccessMode: "readOnly"}},
					{Key: ref("HostSystem", "host-3"), MountInfo: types.HostMountInfo{AccessMode: "readWrite",
						Accessible: types.NewBool(false)}},
				}}}},
			{Ref: ref("Datastore", "datastore-2"), Properties: map[string]any{"name": "lost", "summary.accessible": false}},
			{Ref: ref("Datastore", "datastore-3"), Properties: map[string]any{"name": "emptied",
				"summary.maintenanceMode": "inMaintenance"}},
			{Ref: ref("StoragePod", "group-p1"), Properties: map[string]any{"name": "unknown here"}},
		}})
	p.Apply(inventory.Update{VCenter: "vc", NamespacesFolder: ref("Folder", "root"),
		Removed: []types.ManagedObjectReference{ref("Folder", "group-1"), ref("Datastore", "datastore-1")}})
	want := []facts.Step{
		{
			VCenter: "vc", Initial: true, Root: id("Folder", "root"),
			Namespaces: []facts.Namespace{
				{Name: namespace.Slug("team/a", "folder", "group-1", 0, 63), Folder: id("Folder", "group-1"), Path: "team/a"}},
			Folders:  []facts.Folder{{ID: id("Folder", "group-1"), Name: "team%2fa", Parent: id("Folder", "root")}},
			Clusters: []facts.Cluster{{ID: id("ClusterComputeResource", "domain-1"), Name: "cluster-a"}},
			Hosts: []facts.Host{{ID: id("HostSystem", "host-1"), Name: "esx",
				Parent: id("ClusterComputeResource", "domain-1"), Away: true, MHz: 2300}},
			Pools: []facts.Pool{
				{ID: id("ResourcePool", "pool-1"), Name: "team-a", Parent: id("ResourcePool", "root-1"),
					Owner: id("ClusterComputeResource", "domain-1"),
					CPU:   facts.Allocation{Limit: -1, Reservation: 100}, Memory: facts.Allocation{Limit: 2048}, UsedCPU: 7,
					UsedMemory: 1 << 20},
				{ID: id("ResourcePool", "pool-2"), CPU: facts.Allocation{Limit: -1}, Memory: facts.Allocation{Limit: -1}},
			},
			Networks: []facts.Network{
				{ID: id("Network", "network-1"), Name: "lan"},
				{ID: id("DistributedVirtualPortgroup", "portgroup-1"), Name: "up", Uplinks: true},
			},
			Datastores: []facts.Datastore{
				{ID: id("Datastore", "datastore-1"), Name: "nfs", URL: "ds:///vmfs/volumes/1/", Free: 7,
					Hosts: []facts.ID{id("HostSystem", "host-1")}},
				{ID: id("Datastore", "datastore-2"), Name: "lost", Away: true},
				{ID: id("Datastore", "datastore-3"), Name: "emptied", Away: true},
			},
		},
		{VCenter: "vc", Root: id("Folder", "root"), Removed: []facts.ID{id("Folder", "group-1"),
			id("Datastore", "datastore-1")}},
	}
	for _, follower := range []*recorder{first, second} {
		if diff := cmp.Diff(want, follower.steps, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s was told (-want +got):\n%s", follower.name, diff)
		}
	}
	if !slices.Equal(order, []string{"first", "second", "first", "second"}) {
		t.Errorf("told in the order %v", order)
	}
}
