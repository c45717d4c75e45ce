// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
	vapicluster "github.com/vmware/govmomi/vapi/cluster"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vim25/types"
)

// TestClusterModules: machines of a cluster can be members of a module, and leave it with their end.
func TestClusterModules(t *testing.T) {
	v := Run(t, Options{})
	i, ctx := inventoryOf(t, v), t.Context()
	c := rest.NewClient(i.client.Client)
	manager := vapicluster.NewManager(c)
	home, err := i.finder.ClusterComputeResource(ctx, "cluster-a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := manager.CreateModule(ctx, home.Reference()); err == nil {
		t.Error("a module is made by somebody who is not logged in")
	}
	if err := c.Login(ctx, url.UserPassword(v.Username(), v.Password())); err != nil {
		t.Fatal(err)
	}
	if _, err := manager.CreateModule(ctx, types.ManagedObjectReference{Value: "domain-c0"}); err == nil {
		t.Error("a module of no cluster is made")
	}
	id, err := manager.CreateModule(ctx, home.Reference())
	if err != nil {
		t.Fatal(err)
	}
	web, db := i.vm("web-1"), i.vm("db-1")
	act := func(what string, want bool, do func() (bool, error)) {
		t.Helper()
		if got, err := do(); err != nil || got != want {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	act("add two", true, func() (bool, error) {
		return manager.AddModuleMembers(ctx, id, web.Reference(),
			db.Reference())
	})
	act("add one again", false, func() (bool, error) { return manager.AddModuleMembers(ctx, id, db.Reference()) })
	act("add none", false, func() (bool, error) {
		return manager.AddModuleMembers(ctx, id, types.ManagedObjectReference{Type: "VirtualMachine", Value: "vm-0"})
	})
	act("remove one", true, func() (bool, error) { return manager.RemoveModuleMembers(ctx, id, web.Reference()) })
	act("remove it again", false, func() (bool, error) { return manager.RemoveModuleMembers(ctx, id, web.Reference()) })
	members := func(want ...types.ManagedObjectReference) {
		t.Helper()
		got, err := manager.ListModuleMembers(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(append([]types.ManagedObjectReference{}, want...), got); diff != "" {
			t.Errorf("members (-want +got):\n%s", diff)
		}
	}
	members(db.Reference())
	i.do(db.Destroy(ctx))
	members()
	if all := v.ClusterModules().All(); len(all) != 1 || len(all[0]) != 0 {
		t.Errorf("modules %v", all)
	}
	if modules, err := manager.ListModules(ctx); err != nil || len(modules) != 1 ||
		modules[0].Cluster != home.Reference().Value {
		t.Errorf("modules %v, %v", modules, err)
	}
	if err := manager.DeleteModule(ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := manager.DeleteModule(ctx, id); err == nil {
		t.Error("a module is deleted twice")
	}
}
