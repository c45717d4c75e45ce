// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

func TestFullSetThenChanges(t *testing.T) {
	f := start(t, vcentertest.Run(t, vcentertest.Options{Inventory: func(ctx context.Context,
		b *vcentertest.Builder) error {
		if err := vcentertest.Small(ctx, b); err != nil {
			return err
		}
		_, err := b.VirtualMachine(ctx, vcentertest.VM{Name: "marked", Folder: "Namespaces/team-a", Cluster: "cluster-a",
			ExtraConfig: map[string]string{"pacific.metadata": "v1", "other": "x"}})
		return err
	}}), nil)
	f.synced()

	status := f.collector.Status()
	want := map[string]int{"VirtualMachine": 4, "Folder": 2, "HostSystem": 1, "ResourcePool": 3}
	if diff := cmp.Diff(want, status.Objects); diff != "" {
		t.Errorf("Status().Objects (-want +got):\n%s", diff)
	}
	if f.mirror.vm("outside") != nil {
		t.Error("a virtual machine outside the namespaces folder is there")
	}
	if f.mirror.folder != status.NamespacesFolder || status.NamespacesFolder.Type != "Folder" {
		t.Errorf("folder of the update is %v, of the status %v", f.mirror.folder, status.NamespacesFolder)
	}
	if got, want := f.mirror.vm("marked")[metadataPath],
		(types.OptionValue{Key: "pacific.metadata", Value: "v1"}); !cmp.Equal(got, any(want)) {
		t.Errorf("%s in the full set = %#v, want %#v", metadataPath, got, want)
	}
	web := f.mirror.vm("web-1")
	if got := web["runtime.powerState"]; got != types.VirtualMachinePowerStatePoweredOn {
		t.Errorf("power state = %#v", got)
	}
	if _, ok := web["config.hardware.device"].(types.ArrayOfVirtualDevice); !ok {
		t.Errorf("devices = %T", web["config.hardware.device"])
	}
	if _, ok := web[metadataPath]; ok {
		t.Error("a missing extraConfig key is not absent")
	}

	b := f.admin()
	power := f.find(b, "Namespaces/team-a/web-1")
	f.mirror.forget()
	f.do(power.PowerOff(t.Context()))
	waittest.Eventually(t, "power off", func() bool {
		return f.mirror.vm("web-1")["runtime.powerState"] == types.VirtualMachinePowerStatePoweredOff
	})
	if changes, _ := f.mirror.counted(); len(changes) != 1 {
		t.Errorf("power off changed %v, want web-1 alone", changes)
	}
	f.do(power.Reconfigure(t.Context(), extraConfig("v2")))
	waittest.Eventually(t, "the metadata arrives as a change", func() bool {
		value, ok := f.mirror.vm("web-1")[metadataPath].(types.OptionValue)
		return ok && value.Value == "v2"
	})
	if got := f.mirror.vm("web-1")["config.instanceUuid"]; got != web["config.instanceUuid"] {
		t.Errorf("what did not change was lost: %v", got)
	}
	f.do(power.Rename(t.Context(), "web-one"))
	waittest.Eventually(t, "rename", func() bool { return f.mirror.vm("web-one") != nil && f.mirror.vm("web-1") == nil })

	// A nested change: a disk leaves the devices.
	devices, err := power.Device(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	disks := devices.SelectByType((*types.VirtualDisk)(nil))
	if err := power.RemoveDevice(t.Context(), true, disks...); err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "the disk is gone", func() bool {
		all := f.mirror.vm("web-one")["config.hardware.device"].(types.ArrayOfVirtualDevice)
		return len(object.VirtualDeviceList(all.VirtualDevice).SelectByType((*types.VirtualDisk)(nil))) == 0
	})

	// New ones.
	if err := b.Folder(t.Context(), "Namespaces/team-c"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.VirtualMachine(t.Context(), vcentertest.VM{Name: "new", Folder: "Namespaces/team-c",
		Cluster: "cluster-a"}); err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "the new machine", func() bool { return f.mirror.vm("new")["config.instanceUuid"] != nil })
	if ref, _ := f.mirror.named("Folder", "team-c"); f.mirror.vm("new")["parent"] != ref {
		t.Errorf("parent of the new machine = %v, want %v", f.mirror.vm("new")["parent"], ref)
	}
	// And gone ones.
	f.do(f.find(b, "Namespaces/team-c/new").Destroy(t.Context()))
	waittest.Eventually(t, "the machine is gone", func() bool { return f.mirror.vm("new") == nil })
	if _, removed := f.mirror.counted(); len(removed) != 1 {
		t.Errorf("removed %v, want one", removed)
	}
	if got := f.collector.Status().Objects["VirtualMachine"]; got != 4 {
		t.Errorf("%d machines counted, want 4", got)
	}
}

func TestChangesBelowARequestedPath(t *testing.T) {
	f := start(t, vcentertest.Run(t, vcentertest.Options{}), func(c *inventory.Collector) {
		c.Kinds = []inventory.Kind{{Type: "VirtualMachine", Root: inventory.RootNamespaces,
			Paths: []string{"name", "runtime", "config.hardware"}}}
	})
	f.synced()
	b := f.admin()
	vm := f.find(b, "Namespaces/team-a/web-1")
	f.do(vm.PowerOff(t.Context()))
	waittest.Eventually(t, "power off", func() bool {
		runtime, _ := f.mirror.vm("web-1")["runtime"].(types.VirtualMachineRuntimeInfo)
		return runtime.PowerState == types.VirtualMachinePowerStatePoweredOff
	})
	f.do(vm.Reconfigure(t.Context(), types.VirtualMachineConfigSpec{NumCPUs: 7}))
	waittest.Eventually(t, "more CPUs", func() bool {
		hardware, _ := f.mirror.vm("web-1")["config.hardware"].(types.VirtualHardware)
		return hardware.NumCPU == 7
	})
	for path := range f.mirror.vm("web-1") {
		if path != "name" && path != "runtime" && path != "config.hardware" {
			t.Errorf("a path that was not asked for is there: %s", path)
		}
	}
}

func TestMoveOutOfTheFolder(t *testing.T) {
	f := start(t, vcentertest.Run(t, vcentertest.Options{}), nil)
	f.synced()
	b := f.admin()
	vm := f.find(b, "Namespaces/team-a/web-1").Reference()
	team, _ := f.mirror.named("Folder", "team-b")
	f.do(object.NewFolder(b.Client.Client, team).MoveInto(t.Context(), []types.ManagedObjectReference{vm}))
	waittest.Eventually(t, "the new parent", func() bool { return f.mirror.vm("web-1")["parent"] == team })
	dc, err := find.NewFinder(b.Client.Client).Folder(t.Context(), "/DC0/vm")
	if err != nil {
		t.Fatal(err)
	}
	f.do(dc.MoveInto(t.Context(), []types.ManagedObjectReference{vm}))
	waittest.Eventually(t, "the machine left", func() bool { return f.mirror.vm("web-1") == nil })
}

func TestManyObjectsArriveInOneUpdate(t *testing.T) {
	const n = 230
	f := start(t, vcentertest.Run(t, vcentertest.Options{Inventory: func(ctx context.Context,
		b *vcentertest.Builder) error {
		if err := vcentertest.Small(ctx, b); err != nil {
			return err
		}
		folder, err := find.NewFinder(b.Client.Client).Folder(ctx, "/DC0/vm/Namespaces")
		for i := 0; i < n && err == nil; i++ {
			_, err = folder.CreateFolder(ctx, fmt.Sprintf("many-%d", i))
		}
		return err
	}}), nil)
	f.synced()
	if got := f.collector.Status().Objects["Folder"]; got != n+2 {
		t.Errorf("%d folders, want %d", got, n+2)
	}
	if f.mirror.updates != 1 {
		t.Errorf("the full set came in %d updates, want 1", f.mirror.updates)
	}
}

func TestRestartShowsOnlyRealChanges(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	f := start(t, v, nil)
	f.synced()
	f.mirror.forget()

	// Nothing happened meanwhile: nothing is told.
	v.Stop()
	waittest.Eventually(t, "the loss is seen", func() bool { return f.collector.Status().Err != nil })
	if f.mirror.vm("web-1") == nil || !f.collector.Status().Synced {
		t.Error("what was known is gone while vCenter is away")
	}
	if err := v.Restart(); err != nil {
		t.Fatal(err)
	}
	f.synced()
	if changes, removed := f.mirror.counted(); len(changes)+len(removed) != 0 {
		t.Errorf("a restart without changes told %v and %v", changes, removed)
	}

	// Changes that are made before the collector is back come once.
	v.Stop()
	waittest.Eventually(t, "the loss is seen", func() bool {
		return f.session.Err() != nil &&
			f.collector.Status().Err != nil
	})
	if err := v.Restart(); err != nil {
		t.Fatal(err)
	}
	b := f.admin()
	web, _ := f.mirror.named("VirtualMachine", "web-1")
	db, _ := f.mirror.named("VirtualMachine", "db-1")
	f.do(f.find(b, "Namespaces/team-a/web-1").Reconfigure(t.Context(), extraConfig("offline")))
	f.do(f.find(b, "Namespaces/team-a/db-1").Destroy(t.Context()))
	f.synced()
	waittest.Eventually(t, "the changes", func() bool {
		return f.mirror.vm("db-1") == nil && f.mirror.vm("web-1")[metadataPath] != nil
	})
	changes, removed := f.mirror.counted()
	delete(changes, web)
	if len(changes) != 0 {
		t.Errorf("also changed: %v", changes)
	}
	if diff := cmp.Diff(map[types.ManagedObjectReference]int{db: 1}, removed); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
}

func TestTerminatedSessionWakesTheWait(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	f := start(t, v, func(c *inventory.Collector) { c.MaxWait = time.Hour })
	f.synced()
	for round := range 3 {
		logins := v.Logins().Accepted
		v.TerminateSessions()
		waittest.Eventually(t, "a new login", func() bool { return v.Logins().Accepted > logins })
		f.synced()
		// The admin's login is a new one too.
		b := f.admin()
		want := fmt.Sprintf("round-%d", round)
		f.do(f.find(b, "Namespaces/team-a/web-1").Reconfigure(t.Context(), extraConfig(want)))
		waittest.Eventually(t, "a change after the login", func() bool {
			value, _ := f.mirror.vm("web-1")[metadataPath].(types.OptionValue)
			return value.Value == want
		})
		b.Close(t.Context())
	}
}

func TestSilenceIsALoss(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	w := newWire(t, v.Addr())
	t.Cleanup(w.close)
	way := v.URL()
	way.Host = w.listener.Addr().String()
	f := startAt(t, v, vcenter.Config{URL: way}, func(c *inventory.Collector) {
		c.MaxWait, c.Grace = time.Second,
			200*time.Millisecond
	})
	f.synced()
	f.mirror.forget()

	w.cut.Lock()
	waittest.Eventually(t, "the loss is seen", func() bool { return errors.Is(f.collector.Status().Err, failure.Timeout) })
	if f.mirror.vm("web-1") == nil {
		t.Error("what was known is gone while vCenter is silent")
	}
	w.cut.Unlock()
	f.synced()
	if changes, removed := f.mirror.counted(); len(changes)+len(removed) != 0 {
		t.Errorf("silence told %v and %v", changes, removed)
	}
}

func TestVCenterComesUpLater(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	v.Stop()
	f := start(t, v, nil)
	waittest.Eventually(t, "a reason", func() bool {
		err := f.collector.Status().Err
		return err != nil && strings.Contains(err.Error(), "vCenter is not reachable")
	})
	if err := f.collector.Refresh(t.Context(), types.ManagedObjectReference{Type: "VirtualMachine",
		Value: "vm-1"}); !errors.Is(err, failure.Unavailable) {
		t.Errorf("Refresh() = %v", err)
	}
	if f.collector.Status().Synced || f.mirror.updates != 0 {
		t.Error("synced without vCenter")
	}
	if err := v.Restart(); err != nil {
		t.Fatal(err)
	}
	f.synced()
}

func TestFaultsLeadToARebuild(t *testing.T) {
	for _, method := range []string{"WaitForUpdatesEx", "CreateFilter", "CreateContainerView", "CreatePropertyCollector",
		"FindByInventoryPath"} {
		t.Run(method, func(t *testing.T) {
			v := vcentertest.Run(t, vcentertest.Options{})
			v.AddFault(vcentertest.Fault{Method: method, Count: 2})
			f := start(t, v, func(c *inventory.Collector) { c.MaxWait = time.Second })
			f.synced()
			// A wait under way is over after a second; the next one fails.
			if method == "WaitForUpdatesEx" {
				v.AddFault(vcentertest.Fault{Method: method, Count: 2,
					Fault: &types.ManagedObjectNotFound{Obj: types.ManagedObjectReference{Type: "ContainerView", Value: "session-x"}}})
				waittest.Eventually(t, "the loss is seen", func() bool {
					return errors.Is(f.collector.Status().Err, failure.NotFound)
				})
				f.synced()
			}
			v.ClearFaults()
			b := f.admin()
			f.do(f.find(b, "Namespaces/team-a/web-1").Rename(t.Context(), "renamed"))
			waittest.Eventually(t, "a change", func() bool { return f.mirror.vm("renamed") != nil })
			b.Close(t.Context())
		})
	}
}

func TestNamespacesFolder(t *testing.T) {
	second := func(ctx context.Context, b *vcentertest.Builder) error {
		if err := vcentertest.Small(ctx, b); err != nil {
			return err
		}
		return b.Datacenter(ctx, "DC1")
	}
	tests := []struct {
		name      string
		inventory vcentertest.Inventory
		folder    string
		want      string // Of the error; empty: is followed.
	}{
		{"default", nil, "", ""},
		{"name", nil, "Namespaces", ""},
		{"path", nil, "/DC0/vm/Namespaces", ""},
		{"path of a deeper folder", nil, "/DC0/vm/Namespaces/team-a", ""},
		{"missing", nil, "Other", "the namespaces folder /DC0/vm/Other does not exist in vCenter"},
		{"no folder", nil, "/DC0/vm/outside", "is a VirtualMachine in vCenter"},
		{"a folder of hosts", nil, "/DC0/host", "cannot hold virtual machines"},
		{"two datacenters, path", second, "/DC0/vm/Namespaces", ""},
		{"two datacenters, name", second, "",
			`vCenter has 2 datacenters (DC0, DC1), so the name "Namespaces" of the namespaces folder is ambiguous: configure ` +
				`its full path, like /DC0/vm/Namespaces`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := start(t, vcentertest.Run(t, vcentertest.Options{Inventory: test.inventory}),
				func(c *inventory.Collector) { c.NamespacesFolder = test.folder })
			if test.want == "" {
				f.synced()
				return
			}
			waittest.Eventually(t, test.want, func() bool {
				err := f.collector.Status().Err
				return err != nil && strings.Contains(err.Error(), test.want)
			})
			if f.mirror.updates != 0 {
				t.Error("something was told without the folder")
			}
		})
	}
}

func TestNamespacesFolderIsMadeAgain(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: func(ctx context.Context, b *vcentertest.Builder) error {
		if err := vcentertest.Small(ctx, b); err != nil {
			return err
		}
		return b.Folder(ctx, "Later/team-z")
	}})
	f := start(t, v, func(c *inventory.Collector) { c.NamespacesFolder = "Later" })
	f.synced()
	before := f.collector.Status().NamespacesFolder
	b := f.admin()
	f.do(object.NewFolder(b.Client.Client, before).Destroy(t.Context()))
	waittest.Eventually(t, "the loss is seen", func() bool {
		err := f.collector.Status().Err
		return err != nil && strings.Contains(err.Error(), "/DC0/vm/Later does not exist")
	})
	if err := b.Folder(t.Context(), "Later/team-y"); err != nil {
		t.Fatal(err)
	}
	f.synced()
	waittest.Eventually(t, "the new folder's content", func() bool {
		_, y := f.mirror.named("Folder", "team-y")
		_, z := f.mirror.named("Folder", "team-z")
		return y != nil && z == nil
	})
	after := f.collector.Status().NamespacesFolder
	if after == before || f.mirror.folder != after {
		t.Errorf("the folder was %v, is %v, and was told as %v", before, after, f.mirror.folder)
	}
}

// TestNamespacesFolderIsNotTakenForAnother: while the folder that was served so far is there, one that got its name is
// not followed, and nothing is told.
func TestNamespacesFolderIsNotTakenForAnother(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: func(ctx context.Context, b *vcentertest.Builder) error {
		if err := vcentertest.Small(ctx, b); err != nil {
			return err
		}
		return b.Folder(ctx, "Later/team-z")
	}})
	var served atomic.Value
	served.Store("")
	f := start(t, v, func(c *inventory.Collector) {
		c.NamespacesFolder = "Later"
		c.Served = func(context.Context, string) (string, error) { return served.Load().(string), nil }
	})
	f.synced()
	b, first := f.admin(), f.collector.Status().NamespacesFolder
	served.Store(first.Value)
	old := object.NewFolder(b.Client.Client, first)
	f.do(old.Rename(t.Context(), "Old"))
	if err := b.Folder(t.Context(), "Later/team-y"); err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "the other one is noticed", func() bool {
		err := f.collector.Status().Err
		return err != nil && strings.Contains(err.Error(), first.Value+", which was served so far, is at /DC0/vm/Old") &&
			strings.Contains(err.Error(), "--namespaces-folder=/DC0/vm/Old") && errors.Is(err, failure.Unavailable)
	})
	followed := func() string {
		_, y := f.mirror.named("Folder", "team-y")
		_, z := f.mirror.named("Folder", "team-z")
		return fmt.Sprintf("team-y %t, team-z %t", y != nil, z != nil)
	}
	if got := followed(); got != "team-y false, team-z true" {
		t.Errorf("the other one was taken for it: %s", got)
	}
	// Once it is gone, the other one is what its name says.
	f.do(old.Destroy(t.Context()))
	f.synced()
	waittest.Eventually(t, "the new folder's content", func() bool { return followed() == "team-y true, team-z false" })
}

// TestNamespacesFolderHasAnotherID: an id that was mistyped, or was meant for another vCenter, stops everything.
func TestNamespacesFolderHasAnotherID(t *testing.T) {
	f := start(t, vcentertest.Run(t, vcentertest.Options{}),
		func(c *inventory.Collector) { c.NamespacesFolderID = "group-v99999" })
	waittest.Eventually(t, "both ids are named", func() bool {
		err := f.collector.Status().Err
		return err != nil && strings.Contains(err.Error(), "--namespaces-folder-id says group-v99999") &&
			errors.Is(err, failure.Unavailable)
	})
	if f.mirror.updates != 0 {
		t.Error("something was told without the folder")
	}
}

func TestRefresh(t *testing.T) {
	f := start(t, vcentertest.Run(t, vcentertest.Options{}), nil)
	f.synced()
	b := f.admin()
	vm := f.find(b, "Namespaces/team-a/db-1")
	for i := range 20 {
		want := fmt.Sprintf("write-%d", i)
		f.do(vm.Reconfigure(t.Context(), extraConfig(want)))
		if err := f.collector.Refresh(t.Context(), vm.Reference()); err != nil {
			t.Fatal(err)
		}
		if value, _ := f.mirror.vm("db-1")[metadataPath].(types.OptionValue); value.Value != want {
			t.Fatalf("after Refresh the metadata is %v, want %s", value.Value, want)
		}
	}

	made, err := b.VirtualMachine(t.Context(), vcentertest.VM{Name: "new", Folder: "Namespaces/team-b",
		Cluster: "cluster-a"})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.collector.Refresh(t.Context(), made.Reference()); err != nil {
		t.Fatal(err)
	}
	if f.mirror.vm("new") == nil {
		t.Error("a new machine is not there after Refresh")
	}
	f.do(made.Destroy(t.Context()))
	if err := f.collector.Refresh(t.Context(), made.Reference()); err != nil && !errors.Is(err, failure.NotFound) {
		t.Fatal(err)
	}
	if f.mirror.vm("new") != nil {
		t.Error("a destroyed machine is there after Refresh")
	}
	if err := f.collector.Refresh(t.Context(), made.Reference()); !errors.Is(err, failure.NotFound) {
		t.Errorf("Refresh() of what is gone = %v, want %q", err, failure.NotFound)
	}
	outside := f.find(b, "outside").Reference()
	if err := f.collector.Refresh(t.Context(), outside); !errors.Is(err, failure.NotFound) ||
		f.mirror.vm("outside") != nil {
		t.Errorf("Refresh() of what lies elsewhere = %v, want %q", err, failure.NotFound)
	}
	// Many writers at a time, with the stream under way.
	var writers sync.WaitGroup
	for i, name := range []string{"web-1", "db-1"} {
		path := "Namespaces/team-a/" + name
		client := f.find(f.admin(), path)
		writers.Go(func() {
			for round := range 10 {
				want := fmt.Sprintf("writer-%d-%d", i, round)
				task, err := client.Reconfigure(t.Context(), extraConfig(want))
				if err == nil {
					err = task.Wait(t.Context())
				}
				if err == nil {
					err = f.collector.Refresh(t.Context(), client.Reference())
				}
				if err != nil {
					t.Errorf("write %s: %v", want, err)
				}
				// One write is over when the next begins, so nothing may
				// overtake it.
				if value, _ := f.mirror.vm(name)[metadataPath].(types.OptionValue); value.Value != want {
					t.Errorf("after Refresh the metadata is %v, want %s", value.Value, want)
				}
			}
		})
	}
	writers.Wait()
	// The stream goes on, and agrees.
	f.do(vm.Rename(t.Context(), "db-one"))
	waittest.Eventually(t, "rename", func() bool { return f.mirror.vm("db-one") != nil })
}

func TestCollectorIsChecked(t *testing.T) {
	for name, kinds := range map[string][]inventory.Kind{
		"none":     nil,
		"nameless": {{Paths: []string{"name"}}},
		"no paths": {{Type: "Folder"}},
		"twice":    {{Type: "Folder", Paths: []string{"name"}}, {Type: "Folder", Paths: []string{"parent"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := (&inventory.Collector{Kinds: kinds}).Run(t.Context()); err == nil {
				t.Error("Run() = nil")
			}
		})
	}
}
