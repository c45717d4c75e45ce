// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vmware/govmomi/event"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/pbm"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/simulator"
	modules "github.com/vmware/govmomi/vapi/cluster"
	"github.com/vmware/govmomi/vapi/library"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/memory"
	"github.com/openpacific/pacific/pkg/waittest"
)

// everythingIn is everything that the property collector tells of everything in the inventory, and of what belongs to it,
// without tasks. Lists of objects are sorted.
func everythingIn(t *testing.T, v *VCenter) map[string]map[string]any {
	t.Helper()
	ctx := context.Background()
	client, err := v.Client(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Logout(ctx) }()
	container, err := view.NewManager(client.Client).CreateContainerView(ctx, client.ServiceContent.RootFolder, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	refs, err := container.Find(ctx, []string{"ManagedEntity"}, property.Match{})
	if err != nil {
		t.Fatal(err)
	}
	refs = append(refs, client.ServiceContent.RootFolder, *client.ServiceContent.AuthorizationManager)
	found := map[string]map[string]any{}
	for len(refs) > 0 {
		spec := types.PropertyFilterSpec{}
		seen := map[string]bool{}
		for _, ref := range refs {
			spec.ObjectSet = append(spec.ObjectSet, types.ObjectSpec{Obj: ref})
			if !seen[ref.Type] {
				seen[ref.Type] = true
				spec.PropSet = append(spec.PropSet, types.PropertySpec{Type: ref.Type, All: types.NewBool(true)})
			}
		}
		answer, err := property.DefaultCollector(client.Client).RetrieveProperties(ctx,
			types.RetrieveProperties{SpecSet: []types.PropertyFilterSpec{spec}})
		if err != nil {
			t.Fatal(err)
		}
		refs = nil
		for _, content := range answer.Returnval {
			properties := map[string]any{}
			for _, p := range content.PropSet {
				if p.Name == "recentTask" {
					continue
				}
				if list, ok := p.Val.(types.ArrayOfManagedObjectReference); ok {
					slices.SortFunc(list.ManagedObjectReference, func(a, b types.ManagedObjectReference) int {
						return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Value, b.Value))
					})
				}
				properties[p.Name] = p.Val
			}
			found[content.Obj.String()] = properties
			for _, name := range []string{"snapshot", "environmentBrowser", "browser", "configManager"} {
				refs = append(refs, belongings(properties[name])...)
			}
		}
		refs = slices.DeleteFunc(refs, func(ref types.ManagedObjectReference) bool { return found[ref.String()] != nil })
	}
	for _, properties := range found {
		// A template has no pool; the simulator leaves it in the list of the one that it had.
		if list, ok := properties["vm"].(types.ArrayOfManagedObjectReference); ok && properties["owner"] != nil {
			properties["vm"] = slices.DeleteFunc(list.ManagedObjectReference, func(ref types.ManagedObjectReference) bool {
				return found[ref.String()]["resourcePool"] == nil
			})
		}
	}
	return found
}

// belongings are the objects that a property names.
func belongings(value any) (refs []types.ManagedObjectReference) {
	switch value := value.(type) {
	case types.ManagedObjectReference:
		return []types.ManagedObjectReference{value}
	case types.HostConfigManager:
		for _, ref := range []*types.ManagedObjectReference{value.DatastoreSystem, value.NetworkSystem,
			value.VirtualNicManager, value.AdvancedOption, value.FirewallSystem, value.StorageSystem,
			value.CertificateManager} {
			refs = append(refs, *ref)
		}
	case types.VirtualMachineSnapshotInfo:
		var walk func([]types.VirtualMachineSnapshotTree)
		walk = func(tree []types.VirtualMachineSnapshotTree) {
			for _, node := range tree {
				refs = append(refs, node.Snapshot)
				walk(node.ChildSnapshotList)
			}
		}
		walk(value.RootSnapshotList)
	}
	return refs
}

// remembering starts a vCenter on a directory.
func remembering(t *testing.T, dir string, inventory Inventory) *VCenter {
	t.Helper()
	v, err := Start(Options{Memory: dir, Inventory: inventory, GuestsStart: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// dies ends a vCenter without a word to its memory.
func (v *VCenter) dies() {
	v.gate.take(false, func() { v.gate.memory = nil })
	v.remembering.Store(false)
	v.Close()
}

func same(t *testing.T, want, got map[string]map[string]any) {
	t.Helper()
	if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the inventory is not what it was (-before +after):\n%.20000s", diff)
	}
}

// TestMemory: an inventory in which much has happened is the same in the next process, however the first one ended.
func TestMemory(t *testing.T) {
	for name, end := range map[string]func(*VCenter){"stopped": (*VCenter).Close, "died": (*VCenter).dies} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			first := remembering(t, dir, Sample)
			live(t, first)
			before, events, rest := everythingIn(t, first), eventsOf(t, first), restOf(t, first)
			id := first.InstanceUUID()
			end(first)
			second := remembering(t, dir, func(context.Context, *Builder) error {
				t.Error("the inventory is made a second time")
				return nil
			})
			same(t, before, everythingIn(t, second))
			if diff := gocmp.Diff(rest, restOf(t, second), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("what is beside the inventory (-before +after):\n%s", diff)
			}
			if got := eventsOf(t, second); !slices.Equal(events, got[:min(len(events), len(got))]) {
				t.Errorf("the events were\n%v\nand are\n%v", events, got)
			}
			if got := second.InstanceUUID(); got != id {
				t.Errorf("instanceUuid is %s, was %s", got, id)
			}
			goesOn(t, second, before)
		})
	}
}

// live has happen in a sample what is to be remembered.
func live(t *testing.T, v *VCenter) {
	t.Helper()
	ctx := t.Context()
	i := inventoryOf(t, v)
	b, err := v.Builder(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(ctx)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(b.In(ctx, "DC0"))
	must(b.Folder(ctx, "Namespaces/team-c/deeper"))
	must(b.ResourcePool(ctx, "cluster-b", "team-c"))
	must(b.NoAccess(ctx, "Namespaces/team-b", "dev-a@vsphere.local"))
	must(b.StoragePolicy(ctx, "Steel", "new", "nfs-bulk"))
	made, err := b.VirtualMachine(ctx, VM{Name: "new", Folder: "Namespaces/team-c", Cluster: "cluster-b", Pool: "team-c",
		GuestID: "ubuntu64Guest", CPUs: 2, MemoryMB: 1024, DisksGB: []int64{1, 2}, Networks: []string{"workload-net"},
		Annotation: "mine", StoragePolicy: "Steel", DiskPolicies: []string{"Steel", "Gold Storage"},
		ExtraConfig: map[string]string{"pacific.metadata": "v1 <a> & \"b\""},
		Created:     time.Now()})
	must(err)
	i.do(made.CreateSnapshot(ctx, "before", "d", false, false))
	i.do(made.Reconfigure(ctx, types.VirtualMachineConfigSpec{NumCPUs: 4, ExtraConfig: []types.BaseOptionValue{
		&types.OptionValue{Key: "pacific.metadata", Value: "v2"}}}))
	i.do(made.CreateSnapshot(ctx, "after", "d", false, false))
	i.do(made.PowerOn(ctx))
	waittest.Eventually(t, "the guest has an address", func() bool { return i.read(made).Guest.IpAddress != "" })
	sample := i.vm("/DC0/vm/Namespaces/team-a/web-1")
	i.do(sample.Suspend(ctx))
	i.do(i.vm("/DC0/vm/jumpbox").Rename(ctx, "jump"))
	off := i.vm("/DC0/vm/Namespaces/team-b/cache-1")
	i.do(off.PowerOff(ctx))
	i.do(off.Destroy(ctx))
	i.do(i.folder("/DC0/vm/Infrastructure").MoveInto(ctx, []types.ManagedObjectReference{sample.Reference()}))
	cluster, err := find.NewFinder(i.client.Client, false).ClusterComputeResource(ctx, "/DC0/host/cluster-a")
	must(err)
	i.do(cluster.Reconfigure(ctx, &types.ClusterConfigSpecEx{
		DrsConfig: &types.ClusterDrsConfigInfo{Enabled: types.NewBool(true), DefaultVmBehavior: "manual"},
		RulesSpec: []types.ClusterRuleSpec{{ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: "add"},
			Info: &types.ClusterAntiAffinityRuleSpec{ClusterRuleInfo: types.ClusterRuleInfo{Name: "apart"},
				Vm: []types.ManagedObjectReference{i.vm("/DC0/vm/Namespaces/team-a/db-1").Reference(),
					i.vm("/DC0/vm/Namespaces/team-b/queue-1").Reference()}}}},
	}, true))
	_, err = object.NewAuthorizationManager(i.client.Client).AddRole(ctx, "Pacific", []string{"System.View"})
	must(err)
	must(b.AddLibraryItem(ctx, "Team A images", LibraryItem{Name: "fresh", Type: library.ItemTypeISO}))
	must(b.UpdateLibraryItem(ctx, "Team A images", LibraryItem{Name: "postgres-17", Type: library.ItemTypeOVF}))
	client := rest.NewClient(i.client.Client)
	must(client.Login(ctx, b.User))
	module, err := modules.NewManager(client).CreateModule(ctx, cluster)
	must(err)
	_, err = modules.NewManager(client).AddModuleMembers(ctx, module, i.vm("/DC0/vm/Namespaces/team-a/db-1"))
	must(err)
	category, err := tags.NewManager(client).CreateCategory(ctx, &tags.Category{Name: "zone", Cardinality: "SINGLE"})
	must(err)
	tag, err := tags.NewManager(client).CreateTag(ctx, &tags.Tag{Name: "a", CategoryID: category})
	must(err)
	must(tags.NewManager(client).AttachTag(ctx, tag, cluster))
	must(v.Ask(sample.Reference(), "Moved or copied?", "Moved", "Copied"))
}

// eventsOf are the events of virtual machines, by key and kind.
func eventsOf(t *testing.T, v *VCenter) (all []string) {
	t.Helper()
	i := inventoryOf(t, v)
	found, err := event.NewManager(i.client.Client).QueryEvents(t.Context(), types.EventFilterSpec{MaxCount: 1000})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(found, func(a, b types.BaseEvent) int { return cmp.Compare(a.GetEvent().Key, b.GetEvent().Key) })
	for _, e := range found {
		if e.GetEvent().Vm != nil {
			all = append(all, fmt.Sprintf("%d %T %s", e.GetEvent().Key, e, e.GetEvent().CreatedTime.UTC().Format(time.RFC3339)))
		}
	}
	return all
}

// restOf is what there is beside the inventory: libraries, modules, tags, policies, and who has them.
func restOf(t *testing.T, v *VCenter) map[string]any {
	t.Helper()
	ctx := t.Context()
	i := inventoryOf(t, v)
	client := rest.NewClient(i.client.Client)
	if err := client.Login(ctx, url.UserPassword(v.username, v.password)); err != nil {
		t.Fatal(err)
	}
	found := map[string]any{"modules": v.ClusterModules().All()}
	manager := library.NewManager(client)
	libraries, err := manager.GetLibraries(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range libraries {
		items, err := manager.GetLibraryItems(ctx, l.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range items {
			files, err := manager.ListLibraryItemFiles(ctx, item.ID)
			if err != nil {
				t.Fatal(err)
			}
			storage, err := manager.ListLibraryItemStorage(ctx, item.ID)
			if err != nil {
				t.Fatal(err)
			}
			found[l.Name+"/"+item.Name] = []any{item, files, storage}
		}
	}
	attached, err := tags.NewManager(client).ListAttachedObjects(ctx, "a")
	if err == nil {
		found["tagged"] = attached
	}
	policies, err := pbm.NewClient(ctx, i.client.Client)
	if err != nil {
		t.Fatal(err)
	}
	named, err := policies.ProfileMap(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for name, profile := range named.Name {
		having, err := policies.QueryAssociatedEntity(ctx, profile.GetPbmProfile().ProfileId, "")
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(having, func(a, b pbmtypes.PbmServerObjectRef) int { return cmp.Compare(a.Key, b.Key) })
		found["policy "+name] = []any{profile, having}
	}
	return found
}

// goesOn does things in a vCenter that remembers, and looks that they come after what was before.
func goesOn(t *testing.T, v *VCenter, before map[string]map[string]any) {
	t.Helper()
	ctx := t.Context()
	i := inventoryOf(t, v)
	made := i.vm("/DC0/vm/Namespaces/team-c/new")
	var addresses []string
	for _, device := range i.read(made).Config.Hardware.Device {
		if card, ok := device.(types.BaseVirtualEthernetCard); ok {
			addresses = append(addresses, card.GetVirtualEthernetCard().MacAddress)
		}
	}
	ip := i.read(made).Guest.IpAddress
	i.do(made.PowerOff(ctx))
	i.do(made.PowerOn(ctx))
	waittest.Eventually(t, "the guest has its address again", func() bool { return i.read(made).Guest.IpAddress == ip })

	clone := i.made(i.do(made.Clone(ctx, i.folder("/DC0/vm/Namespaces/team-c"), "clone", types.VirtualMachineCloneSpec{
		PowerOn: true})))
	if before[clone.Reference().String()] != nil {
		t.Errorf("the clone has the identifier of another object, %s", clone.Reference().Value)
	}
	for _, device := range i.read(clone).Config.Hardware.Device {
		if card, ok := device.(types.BaseVirtualEthernetCard); ok && slices.Contains(addresses,
			card.GetVirtualEthernetCard().MacAddress) {
			t.Errorf("the clone has the MAC address %s of its source", card.GetVirtualEthernetCard().MacAddress)
		}
	}
	waittest.Eventually(t, "the clone has an address", func() bool { return i.read(clone).Guest.IpAddress != "" })
	if other := i.read(clone).Guest.IpAddress; other == ip {
		t.Errorf("the clone has the address %s of its source", ip)
	}

	i.do(made.PowerOff(ctx))
	i.do(made.RevertToSnapshot(ctx, "before", true))
	config := i.read(made).Config
	if got := object.OptionValueList(config.ExtraConfig).Map()["pacific.metadata"]; got != "v1 <a> & \"b\"" ||
		config.Hardware.NumCPU != 2 {
		t.Errorf("a revert brings back %q and %d CPUs", got, config.Hardware.NumCPU)
	}
	asked := i.vm("/DC0/vm/Infrastructure/web-1")
	question := i.read(asked).Runtime.Question
	if question == nil {
		t.Fatal("web-1 waits for no answer")
	}
	if err := asked.Answer(ctx, question.Id, "0"); err != nil {
		t.Error(err)
	}
	i.do(asked.PowerOn(ctx))
	if got := i.read(asked).Guest; got.IpAddress != "10.20.1.11" {
		t.Errorf("the guest that was suspended reports %q", got.IpAddress)
	}
	hidden, err := v.tracker.At("Namespaces/team-b")
	if err != nil {
		t.Fatal(err)
	}
	ctxOf := v.inProcess()
	ctxOf.Session = &simulator.Session{UserSession: types.UserSession{UserName: `VSPHERE.LOCAL\dev-a`}}
	if !v.tracker.Hides(ctxOf, hidden) {
		t.Error("dev-a sees team-b again")
	}
}

// TestMemoryIsMadeAnew: a vCenter that died while it was made begins anew, and one whose memory cannot be read says what
// to do, and has it as it is.
func TestMemoryIsMadeAnew(t *testing.T) {
	dir := t.TempDir()
	failed := errors.New("half of it is there")
	_, err := Start(Options{Memory: dir, Inventory: func(ctx context.Context, b *Builder) error {
		return errors.Join(b.Datacenter(ctx, "DC0"), b.Cluster(ctx, "half", "esx"), b.Datastore(ctx, "half"), failed)
	}})
	if !errors.Is(err, failed) {
		t.Fatal(err)
	}
	v := remembering(t, dir, Small)
	if _, err := os.Stat(filepath.Join(dir, "datastores", "half")); !os.IsNotExist(err) {
		t.Errorf("the files of the first one are left: %v", err)
	}
	if _, err := memory.Open(dir); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a memory that is in use: %v", err)
	}
	v.Close()

	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	v = remembering(t, moved, nil)
	i := inventoryOf(t, v)
	i.do(i.vm(namespaces + "/team-a/db-1").PowerOn(t.Context()))
	i.do(i.vm(namespaces + "/team-b/cache-1").PowerOff(t.Context()))
	i.do(i.vm(namespaces + "/team-b/cache-1").Destroy(t.Context()))
	if _, err := os.Stat(filepath.Join(moved, "datastores", "datastore-1", "cache-1")); !os.IsNotExist(err) {
		t.Errorf("the files of a destroyed machine are left: %v", err)
	}
	v.Close()

	file := filepath.Join(moved, memory.FileName)
	if err := os.WriteFile(file, bytes.Repeat([]byte("no "), 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(Options{Memory: moved}); err == nil || !strings.Contains(err.Error(), "begins anew") {
		t.Errorf("what cannot be read: %v", err)
	}
}
