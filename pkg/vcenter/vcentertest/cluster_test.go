// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/vim25/types"
)

// TestPoolsNeedDRS turns DRS off in a cluster with pools, and on again.
func TestPoolsNeedDRS(t *testing.T) {
	v := Run(t, Options{})
	ctx := context.Background()
	i := inventoryOf(t, v)
	b, err := v.Builder(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.In(ctx, "DC0"); err != nil {
		t.Fatal(err)
	}
	root, err := i.finder.ResourcePool(ctx, "cluster-a/Resources")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.pool().Create(ctx, "nested", types.DefaultResourceConfigSpec()); err != nil {
		t.Fatal(err)
	}
	pools := newStream(t, v, i.client.ServiceContent.RootFolder, "ResourcePool", "name")
	pools.start("enter ResourcePool name=Resources", "enter ResourcePool name=nested", "enter ResourcePool name=team-a",
		"enter ResourcePool name=team-b")
	clusters := newStream(t, v, i.client.ServiceContent.RootFolder, "ClusterComputeResource", "configurationEx")
	if _, err := clusters.wait(0); err != nil {
		t.Fatal(err)
	}

	if err := b.DRS(ctx, "cluster-a", false); err != nil {
		t.Fatal(err)
	}
	clusters.until("modify ClusterComputeResource configurationEx=")
	left := map[string]int{}
	for _, line := range pools.until("leave") {
		left[line]++
	}
	if diff := cmp.Diff(map[string]int{"leave ResourcePool": 3}, left); diff != "" {
		t.Errorf("pools that go with DRS (-want +got):\n%s", diff)
	}
	if got := i.read(i.vm("web-1")).ResourcePool; got == nil || *got != root.Reference() {
		t.Errorf("a machine of theirs is in %v, not in %v", got, root.Reference())
	}
	_, err = root.Create(ctx, "refused", types.DefaultResourceConfigSpec())
	refused[*types.NotSupported](t, err)

	if err := b.DRS(ctx, "cluster-a", true); err != nil {
		t.Fatal(err)
	}
	if _, err := root.Create(ctx, "taken", types.DefaultResourceConfigSpec()); err != nil {
		t.Error(err)
	}
}
