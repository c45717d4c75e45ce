// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

func (i *inventory) read(vm *object.VirtualMachine) mo.VirtualMachine {
	i.t.Helper()
	var props mo.VirtualMachine
	if err := property.DefaultCollector(i.client.Client).RetrieveOne(context.Background(), vm.Reference(), nil,
		&props); err != nil {
		i.t.Fatal(err)
	}
	return props
}

func (i *inventory) made(info *types.TaskInfo) *object.VirtualMachine {
	return object.NewVirtualMachine(i.client.Client, info.Result.(types.ManagedObjectReference))
}

func option(vm mo.VirtualMachine, key string) string {
	for _, o := range vm.Config.ExtraConfig {
		if o := o.GetOptionValue(); o.Key == key {
			return o.Value.(string)
		}
	}
	return ""
}

func TestStaleChangeVersion(t *testing.T) {
	i := inventoryOf(t, Run(t, Options{}))
	ctx := context.Background()
	vm := i.vm("web-1")
	stale := i.read(vm).Config.ChangeVersion
	set := func(version, value string) error {
		_, err := i.try(vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{
			ChangeVersion: version, ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: "test", Value: value}},
		}))
		return err
	}
	if err := set(stale, "one"); err != nil {
		t.Fatal(err)
	}
	fresh := i.read(vm).Config.ChangeVersion
	if fresh == stale {
		t.Error("the changeVersion did not change")
	}
	refused[*types.ConcurrentAccess](t, set(stale, "two"))
	if got := option(i.read(vm), "test"); got != "one" {
		t.Errorf("the refused change left %q", got)
	}
	if err := set(fresh, "three"); err != nil {
		t.Error(err)
	}
	fresh = i.read(vm).Config.ChangeVersion
	i.do(vm.Rename(ctx, "web-renamed"))
	refused[*types.ConcurrentAccess](t, set(fresh, "four"))
}

func TestDuplicateName(t *testing.T) {
	i := inventoryOf(t, Run(t, Options{}))
	ctx := context.Background()
	teamA, teamB := i.folder(namespaces+"/team-a"), i.folder(namespaces+"/team-b")
	spec := types.VirtualMachineConfigSpec{Name: "web-1", Files: &types.VirtualMachineFileInfo{
		VmPathName: "[datastore-1]"}}
	clone := types.VirtualMachineCloneSpec{Location: types.VirtualMachineRelocateSpec{}}
	outside := i.vm("/DC0/vm/outside")
	i.do(outside.Clone(ctx, teamB, "web-1", clone))
	ref := teamA.Reference()
	tests := map[string]func() (*object.Task, error){
		"create": func() (*object.Task, error) { return teamA.CreateVM(ctx, spec, i.pool(), nil) },
		"clone":  func() (*object.Task, error) { return outside.Clone(ctx, teamA, "web-1", clone) },
		"rename": func() (*object.Task, error) { return i.vm("Namespaces/team-a/db-1").Rename(ctx, "web-1") },
		"reconfigure": func() (*object.Task, error) {
			return i.vm("Namespaces/team-a/db-1").Reconfigure(ctx, types.VirtualMachineConfigSpec{Name: "web-1"})
		},
		"register": func() (*object.Task, error) {
			return teamA.RegisterVM(ctx, "[datastore-1] other/other.vmx", "web-1", false, i.pool(), nil)
		},
		"move": func() (*object.Task, error) {
			return teamA.MoveInto(ctx, []types.ManagedObjectReference{i.vm("Namespaces/team-b/web-1").Reference()})
		},
		"relocate": func() (*object.Task, error) {
			return i.vm("Namespaces/team-b/web-1").Relocate(ctx, types.VirtualMachineRelocateSpec{Folder: &ref},
				types.VirtualMachineMovePriorityDefaultPriority)
		},
		"rename a folder": func() (*object.Task, error) { return teamA.Rename(ctx, "team-b") },
	}
	before := machineNames(i)
	for name, act := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := i.try(act())
			refused[*types.DuplicateName](t, err)
			if diff := cmp.Diff(before, machineNames(i)); diff != "" {
				t.Errorf("machines before and after (-before +after):\n%s", diff)
			}
		})
	}
}

func machineNames(i *inventory) []string {
	i.t.Helper()
	vms, err := i.finder.VirtualMachineList(context.Background(), "/DC0/vm/...")
	if err != nil {
		i.t.Fatal(err)
	}
	var names []string
	for _, vm := range vms {
		names = append(names, vm.InventoryPath)
	}
	return names
}

func TestUniqueInstanceUUID(t *testing.T) {
	i := inventoryOf(t, Run(t, Options{}))
	ctx := context.Background()
	source := i.vm("web-1")
	taken := i.read(source).Config.InstanceUuid
	spec := types.VirtualMachineConfigSpec{Name: "twin", InstanceUuid: taken,
		Files: &types.VirtualMachineFileInfo{VmPathName: "[datastore-1]"}}
	twin := i.made(i.do(i.folder(namespaces+"/team-a").CreateVM(ctx, spec, i.pool(), nil)))
	if got := i.read(twin).Config.InstanceUuid; got == taken || got == "" {
		t.Errorf("create: instanceUuid %q", got)
	}
	i.do(twin.Reconfigure(ctx, types.VirtualMachineConfigSpec{InstanceUuid: taken}))
	if got := i.read(twin).Config.InstanceUuid; got == taken {
		t.Errorf("reconfigure: instanceUuid %q", got)
	}
	if got := i.read(source).Config.InstanceUuid; got != taken {
		t.Errorf("the first owner has %q now", got)
	}
}

func TestClone(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	ctx := context.Background()
	source := i.vm("db-1")
	i.do(source.Reconfigure(ctx, types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
		&types.OptionValue{Key: "pacific.metadata", Value: "of the source"},
		&types.OptionValue{Key: "other", Value: "source"},
	}}))
	s := newStream(t, v, i.folder(namespaces).Reference(), "VirtualMachine", "name", "config.instanceUuid")
	if _, err := s.wait(0); err != nil {
		t.Fatal(err)
	}
	info := i.do(source.Clone(ctx, i.folder(namespaces+"/team-b"), "db-clone", types.VirtualMachineCloneSpec{
		PowerOn: true,
		Config: &types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
			&types.OptionValue{Key: "other", Value: "asked"}}},
	}))
	clone := i.read(i.made(info))
	if got := option(clone, "pacific.metadata") + ", " + option(clone, "other"); got != "of the source, asked" {
		t.Errorf("extraConfig of the clone: %s", got)
	}
	original := i.read(source)
	if clone.Config.InstanceUuid == original.Config.InstanceUuid || clone.Config.Uuid == original.Config.Uuid {
		t.Errorf("the clone has the source's identifiers: %s %s", clone.Config.InstanceUuid, clone.Config.Uuid)
	}
	if got := clone.Runtime.PowerState; got != types.VirtualMachinePowerStatePoweredOn {
		t.Errorf("the clone is %s", got)
	}
	got := s.until("enter VirtualMachine")
	want := []string{"enter VirtualMachine name=db-clone config.instanceUuid=" + clone.Config.InstanceUuid}
	if diff := cmp.Diff(want, got[:1]); diff != "" {
		t.Errorf("first update (-want +got):\n%s", diff)
	}
}

func TestRenameChangesBothNames(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	s := newStream(t, v, i.folder(namespaces).Reference(), "VirtualMachine", "name", "config.name", "summary.config.name")
	if _, err := s.wait(0); err != nil {
		t.Fatal(err)
	}
	i.do(i.vm("web-1").Rename(context.Background(), "web-9"))
	want := []string{"modify VirtualMachine name=web-9 config.name=web-9 summary.config.name=web-9"}
	if diff := cmp.Diff(want, s.until("web-9")); diff != "" {
		t.Errorf("updates (-want +got):\n%s", diff)
	}
}

func TestRelocateKeepsLists(t *testing.T) {
	i := inventoryOf(t, Run(t, Options{}))
	ctx := context.Background()
	vm := i.vm("web-1")
	target, err := i.finder.ResourcePool(ctx, "cluster-a/Resources/team-b")
	if err != nil {
		t.Fatal(err)
	}
	ref := target.Reference()
	i.do(vm.Relocate(ctx, types.VirtualMachineRelocateSpec{Pool: &ref}, types.VirtualMachineMovePriorityDefaultPriority))
	var from, to mo.ResourcePool
	if err := i.pool().Properties(ctx, i.pool().Reference(), []string{"vm"}, &from); err != nil {
		t.Fatal(err)
	}
	if err := target.Properties(ctx, ref, []string{"vm"}, &to); err != nil {
		t.Fatal(err)
	}
	if len(from.Vm) != 1 || len(to.Vm) != 2 {
		t.Errorf("machines in the pools: %v and %v", from.Vm, to.Vm)
	}
}

func TestPower(t *testing.T) {
	i := inventoryOf(t, Run(t, Options{}))
	ctx := context.Background()
	web, db := i.vm("web-1"), i.vm("db-1")
	try := func(task *object.Task, err error) error {
		_, err = i.try(task, err)
		return err
	}
	refused[*types.InvalidPowerState](t, try(web.PowerOn(ctx)))
	refused[*types.InvalidPowerState](t, try(db.PowerOff(ctx)))
	refused[*types.InvalidPowerState](t, try(db.Suspend(ctx)))
	refused[*types.InvalidPowerState](t, try(db.Reset(ctx)))
	refused[*types.InvalidPowerState](t, db.ShutdownGuest(ctx))
	refused[*types.InvalidPowerState](t, db.StandbyGuest(ctx))
	refused[*types.InvalidPowerState](t, db.RebootGuest(ctx))
	refused[*types.InvalidPowerState](t, try(web.Destroy(ctx)))

	i.do(db.PowerOn(ctx)) // no tools in there
	refused[*types.ToolsUnavailable](t, db.ShutdownGuest(ctx))
	refused[*types.ToolsUnavailable](t, db.StandbyGuest(ctx))
	refused[*types.ToolsUnavailable](t, db.RebootGuest(ctx))

	if err := web.StandbyGuest(ctx); err != nil {
		t.Fatal(err)
	}
	i.state(web, types.VirtualMachinePowerStateSuspended)
	refused[*types.InvalidPowerState](t, try(web.Reset(ctx)))
	i.do(web.PowerOn(ctx))
	if err := web.ShutdownGuest(ctx); err != nil {
		t.Fatal(err)
	}
	i.state(web, types.VirtualMachinePowerStatePoweredOff)
}

func (i *inventory) state(vm *object.VirtualMachine, want types.VirtualMachinePowerState) {
	i.t.Helper()
	if err := vm.WaitForPowerState(context.Background(), want); err != nil {
		i.t.Fatal(err)
	}
}

func TestGuestSleepsAndWakes(t *testing.T) {
	i := inventoryOf(t, Run(t, Options{}))
	ctx := context.Background()
	vm := i.vm("web-1")
	show := func() []string {
		p := i.read(vm)
		booted := "not booted"
		if p.Runtime.BootTime != nil {
			booted = "booted"
		}
		return []string{p.Guest.HostName, p.Guest.IpAddress, p.Summary.Guest.IpAddress,
			strings.Join(p.Guest.Net[0].IpAddress, ","),
			p.Guest.ToolsRunningStatus, p.Guest.GuestState, booted}
	}
	running := []string{"web-1", "10.20.0.11", "10.20.0.11", "10.20.0.11", "guestToolsRunning", "running", "booted"}
	off := []string{"web-1", "", "", "", "guestToolsNotRunning", "notRunning", "not booted"}
	if diff := cmp.Diff(running, show()); diff != "" {
		t.Errorf("running (-want +got):\n%s", diff)
	}
	i.do(vm.PowerOff(ctx))
	if diff := cmp.Diff(off, show()); diff != "" {
		t.Errorf("off (-want +got):\n%s", diff)
	}
	i.do(vm.PowerOn(ctx))
	if diff := cmp.Diff(running, show()); diff != "" {
		t.Errorf("running again (-want +got):\n%s", diff)
	}
}

func TestSetGuestIP(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	ctx := context.Background()
	db := i.vm("db-1")
	if err := SetGuestIP(ctx, db, "10.20.0.99"); err == nil {
		t.Error("a machine that is off takes an address")
	}
	i.do(db.PowerOn(ctx))
	s := newStream(t, v, i.folder(namespaces).Reference(), "VirtualMachine", "guest.ipAddress", "guest.hostName")
	if _, err := s.wait(0); err != nil {
		t.Fatal(err)
	}
	if err := SetGuestIP(ctx, db, "10.20.0.99"); err != nil {
		t.Fatal(err)
	}
	want := []string{"modify VirtualMachine guest.ipAddress=10.20.0.99 guest.hostName=db-1"}
	if diff := cmp.Diff(want, s.until("10.20.0.99")); diff != "" {
		t.Errorf("updates (-want +got):\n%s", diff)
	}
	guest := i.read(db).Guest
	if got := guest.Net[0].IpAddress; len(got) != 1 || got[0] != "10.20.0.99" ||
		guest.ToolsRunningStatus != "guestToolsRunning" {
		t.Errorf("guest: %+v", guest)
	}
}

func TestAcquireTicket(t *testing.T) {
	i := inventoryOf(t, Run(t, Options{}))
	ctx := context.Background()
	acquire := func(vm *object.VirtualMachine, kind string) (*types.VirtualMachineTicket, error) {
		res, err := methods.AcquireTicket(ctx, i.client.Client, &types.AcquireTicket{This: vm.Reference(), TicketType: kind})
		if err != nil {
			return nil, err
		}
		return &res.Returnval, nil
	}
	ticket, err := acquire(i.vm("web-1"), "webmks")
	if err != nil || ticket.Ticket == "" || !strings.HasPrefix(ticket.Url, "wss://127.0.0.1:") {
		t.Errorf("ticket %+v, %v", ticket, err)
	}
	_, err = acquire(i.vm("db-1"), "webmks")
	refused[*types.InvalidPowerState](t, err)
	_, err = acquire(i.vm("web-1"), "carrier-pigeon")
	refused[*types.InvalidArgument](t, err)
}

// A template is told of, and is not to be changed.
func TestTemplate(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	ctx := context.Background()
	vm := i.vm("web-1")
	i.do(vm.PowerOff(ctx))
	s := newStream(t, v, i.folder(namespaces).Reference(), "VirtualMachine", "config.template")
	if _, err := s.wait(0); err != nil {
		t.Fatal(err)
	}
	option := types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
		&types.OptionValue{Key: "a", Value: "b"}}}
	if err := vm.MarkAsTemplate(ctx); err != nil {
		t.Fatal(err)
	}
	s.until("config.template=true")
	_, err := i.try(vm.Reconfigure(ctx, option))
	refused[*types.NotSupported](t, err)
	i.do(vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{Annotation: "golden"}))
	if err := vm.MarkAsVirtualMachine(ctx, *i.pool(), nil); err != nil {
		t.Fatal(err)
	}
	s.until("config.template=false")
	i.do(vm.Reconfigure(ctx, option))
}
