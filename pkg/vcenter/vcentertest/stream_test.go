// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

func login(t *testing.T, v *VCenter) *govmomi.Client {
	t.Helper()
	c, err := v.Client(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// stream is a client's property collector over a recursive view.
type stream struct {
	t         *testing.T
	client    *govmomi.Client
	collector *property.Collector
	version   string
}

func newStream(t *testing.T, v *VCenter, container types.ManagedObjectReference, kind string, paths ...string) *stream {
	t.Helper()
	ctx := context.Background()
	c := login(t, v)
	cv, err := view.NewManager(c.Client).CreateContainerView(ctx, container, []string{kind}, true)
	if err != nil {
		t.Fatal(err)
	}
	return newStreamOf(t, c, cv.Reference(), kind, paths...)
}

// newStreamOf is one over a view of the client's.
func newStreamOf(t *testing.T, c *govmomi.Client, of types.ManagedObjectReference, kind string,
	paths ...string) *stream {
	t.Helper()
	ctx := context.Background()
	pc, err := property.DefaultCollector(c.Client).Create(ctx)
	if err != nil {
		t.Fatal(err)
	}
	skip := true
	_, err = pc.CreateFilter(ctx, types.CreateFilter{Spec: types.PropertyFilterSpec{
		PropSet: []types.PropertySpec{{Type: kind, PathSet: paths}},
		ObjectSet: []types.ObjectSpec{{Obj: of, Skip: &skip, SelectSet: []types.BaseSelectionSpec{
			&types.TraversalSpec{Type: of.Type, Path: "view"},
		}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return &stream{t: t, client: c, collector: pc}
}

func (s *stream) wait(seconds int32) (*types.UpdateSet, error) {
	res, err := methods.WaitForUpdatesEx(context.Background(), s.client.Client, &types.WaitForUpdatesEx{
		This: s.collector.Reference(), Version: s.version, Options: &types.WaitOptions{MaxWaitSeconds: &seconds},
	})
	if err != nil {
		return nil, err
	}
	if res.Returnval != nil {
		s.version = res.Returnval.Version
	}
	return res.Returnval, nil
}

func describe(set *types.UpdateSet) []string {
	var lines []string
	if set == nil {
		return nil
	}
	for _, f := range set.FilterSet {
		for _, o := range f.ObjectSet {
			line := string(o.Kind) + " " + o.Obj.Type
			for _, c := range o.ChangeSet {
				line += fmt.Sprintf(" %s=%v", c.Name, c.Val)
			}
			lines = append(lines, line)
		}
	}
	return lines
}

// until collects what arrives until a line with each wanted part has come.
func (s *stream) until(wants ...string) []string {
	s.t.Helper()
	var got []string
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		set, err := s.wait(1)
		if err != nil {
			s.t.Fatalf("wait for updates: %v", err)
		}
		got = append(got, describe(set)...)
		missing := 0
		for _, want := range wants {
			found := false
			for _, line := range got {
				found = found || strings.Contains(line, want)
			}
			if !found {
				missing++
			}
		}
		if missing == 0 {
			return got
		}
	}
	s.t.Fatalf("not all of %q arrived, but\n%s", wants, strings.Join(got, "\n"))
	return nil
}

func (s *stream) quiet() {
	s.t.Helper()
	for range 3 { // what belongs to the change before may still come
		set, err := s.wait(0)
		if err != nil {
			s.t.Fatal(err)
		}
		if set != nil {
			s.t.Errorf("unexpected updates: %q", describe(set))
		}
	}
}

func (s *stream) start(want ...string) {
	s.t.Helper()
	set, err := s.wait(0)
	if err != nil {
		s.t.Fatal(err)
	}
	got := describe(set)
	sort.Strings(got)
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("first set (-want +got):\n%s", diff)
	}
}

type inventory struct {
	t      *testing.T
	client *govmomi.Client
	finder *find.Finder
}

func inventoryOf(t *testing.T, v *VCenter) *inventory {
	c := login(t, v)
	finder := find.NewFinder(c.Client)
	dc, err := finder.Datacenter(context.Background(), "DC0")
	if err != nil {
		t.Fatal(err)
	}
	return &inventory{t: t, client: c, finder: finder.SetDatacenter(dc)}
}

func (i *inventory) vm(path string) *object.VirtualMachine {
	i.t.Helper()
	vm, err := i.finder.VirtualMachine(context.Background(), path)
	if err != nil {
		i.t.Fatal(err)
	}
	return vm
}

func (i *inventory) folder(path string) *object.Folder {
	i.t.Helper()
	f, err := i.finder.Folder(context.Background(), path)
	if err != nil {
		i.t.Fatal(err)
	}
	return f
}

func (i *inventory) do(task *object.Task, err error) *types.TaskInfo {
	i.t.Helper()
	info, err := i.try(task, err)
	if err != nil {
		i.t.Fatal(err)
	}
	return info
}

func (i *inventory) try(task *object.Task, err error) (*types.TaskInfo, error) {
	if err != nil {
		return nil, err
	}
	return task.WaitForResult(context.Background())
}

// refused requires a fault of a type.
func refused[F types.BaseMethodFault](t *testing.T, err error) {
	t.Helper()
	var want F
	if !fault.Is(err, want) {
		t.Errorf("error %v, want a %T", err, want)
	}
}

const namespaces = "/DC0/vm/Namespaces"

func TestFirstSetAndChange(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	s := newStream(t, v, i.folder(namespaces).Reference(), "VirtualMachine", "name", "runtime.powerState")
	s.start("enter VirtualMachine name=cache-1 runtime.powerState=poweredOn",
		"enter VirtualMachine name=db-1 runtime.powerState=poweredOff",
		"enter VirtualMachine name=web-1 runtime.powerState=poweredOn")
	i.do(i.vm("web-1").PowerOff(context.Background()))
	got := s.until("poweredOff")
	if diff := cmp.Diff([]string{"modify VirtualMachine runtime.powerState=poweredOff"}, got); diff != "" {
		t.Errorf("updates (-want +got):\n%s", diff)
	}
	s.quiet()
}

// TestChangeWakesAWait looks that a wait is ended by a change, and not by its own end. How soon that is it only says:
// the machine may be busy with other things.
func TestChangeWakesAWait(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	ctx := context.Background()
	s := newStream(t, v, i.folder(namespaces).Reference(), "VirtualMachine", "name", "runtime.powerState", "guest.net",
		"config.hardware.device")
	if _, err := s.wait(0); err != nil {
		t.Fatal(err)
	}
	vm := i.vm("db-1")
	var took []time.Duration
	for n := range 7 {
		arrived := make(chan time.Time)
		go func() {
			if set, err := s.wait(60); err != nil || set == nil {
				t.Errorf("a wait ended with %v, %v", set, err)
			}
			arrived <- time.Now()
		}()
		v.awaitWaiter(t)
		begin := time.Now()
		if n%2 == 0 {
			i.do(vm.PowerOn(ctx))
		} else {
			i.do(vm.PowerOff(ctx))
		}
		took = append(took, (<-arrived).Sub(begin))
		for set := new(types.UpdateSet); set != nil; {
			var err error
			if set, err = s.wait(0); err != nil {
				t.Fatal(err)
			}
		}
	}
	slices.Sort(took)
	t.Logf("power change to update: %v", took)
}

// awaitWaiter returns once a client's wait waits.
func (v *VCenter) awaitWaiter(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for v.tracker.Waiters() == 0 {
		if time.Now().After(deadline) {
			t.Fatal("nobody waits")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestMoveBetweenFolders(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	ctx := context.Background()
	teamA, teamB := i.folder(namespaces+"/team-a").Reference(), i.folder(namespaces+"/team-b")
	all := newStream(t, v, i.folder(namespaces).Reference(), "VirtualMachine", "name", "parent")
	fromA := newStream(t, v, teamA, "VirtualMachine", "name")
	toB := newStream(t, v, teamB.Reference(), "VirtualMachine", "name")
	for _, s := range []*stream{all, fromA, toB} {
		if _, err := s.wait(0); err != nil {
			t.Fatal(err)
		}
	}
	i.do(teamB.MoveInto(ctx, []types.ManagedObjectReference{i.vm("web-1").Reference()}))
	if diff := cmp.Diff([]string{fmt.Sprintf("modify VirtualMachine parent=%v", teamB.Reference())},
		all.until("parent")); diff != "" {
		t.Errorf("updates of all (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"leave VirtualMachine"}, fromA.until("leave")); diff != "" {
		t.Errorf("updates of team-a (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"enter VirtualMachine name=web-1"}, toB.until("enter")); diff != "" {
		t.Errorf("updates of team-b (-want +got):\n%s", diff)
	}

	// Out of every namespace, and back by a relocation.
	vm := i.vm("web-1")
	i.do(i.folder("/DC0/vm").MoveInto(ctx, []types.ManagedObjectReference{vm.Reference()}))
	all.until("leave")
	i.do(vm.Relocate(ctx, types.VirtualMachineRelocateSpec{Folder: &teamA},
		types.VirtualMachineMovePriorityDefaultPriority))
	all.until("enter VirtualMachine name=web-1")
	fromA.until("enter VirtualMachine name=web-1")
	all.quiet()
}

func TestObjectsComeAndGo(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	ctx := context.Background()
	root := i.folder(namespaces)
	vms := newStream(t, v, root.Reference(), "VirtualMachine", "name", "config.instanceUuid", "runtime.host")
	folders := newStream(t, v, root.Reference(), "Folder", "name")
	if _, err := vms.wait(0); err != nil {
		t.Fatal(err)
	}
	folders.start("enter Folder name=team-a", "enter Folder name=team-b")

	teamC, err := root.CreateFolder(ctx, "team-c")
	if err != nil {
		t.Fatal(err)
	}
	deep, err := teamC.CreateFolder(ctx, "deep")
	if err != nil {
		t.Fatal(err)
	}
	folders.until("name=team-c", "name=deep")
	i.do(deep.Rename(ctx, "deeper"))
	if diff := cmp.Diff([]string{"modify Folder name=deeper"}, folders.until("deeper")); diff != "" {
		t.Errorf("rename of a folder (-want +got):\n%s", diff)
	}

	b, err := v.Builder(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.In(ctx, "DC0"); err != nil {
		t.Fatal(err)
	}
	made, err := b.VirtualMachine(ctx, VM{Name: "deep-1", Folder: "Namespaces/team-c/deeper", Cluster: "cluster-a"})
	if err != nil {
		t.Fatal(err)
	}
	entered := 0
	for _, line := range vms.until("enter VirtualMachine name=deep-1") {
		if strings.HasPrefix(line, "enter") {
			entered++
		}
	}
	if entered != 1 {
		t.Errorf("%d machines entered, want only the new one", entered)
	}

	if err := made.Unregister(ctx); err != nil {
		t.Fatal(err)
	}
	vms.until("leave")
	info := i.do(i.folder("/DC0/vm/Namespaces/team-c/deeper").RegisterVM(ctx, "[datastore-1] deep-1/deep-1.vmx", "deep-1",
		false, i.pool(), nil))
	vms.until("enter VirtualMachine name=deep-1")
	back := object.NewVirtualMachine(i.client.Client, info.Result.(types.ManagedObjectReference))
	i.do(back.PowerOn(ctx))
	_, err = i.try(teamC.Destroy(ctx))
	refused[*types.InvalidPowerState](t, err)
	i.do(back.PowerOff(ctx))
	i.do(teamC.Destroy(ctx))
	vms.until("leave")
	folders.until("leave")
	folders.quiet()
}

func (i *inventory) pool() *object.ResourcePool {
	i.t.Helper()
	p, err := i.finder.ResourcePool(context.Background(), "cluster-a/Resources/team-a")
	if err != nil {
		i.t.Fatal(err)
	}
	return p
}

func TestResourcePoolTells(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	s := newStream(t, v, i.client.ServiceContent.RootFolder, "ResourcePool", "name", "config.cpuAllocation.limit")
	if _, err := s.wait(0); err != nil {
		t.Fatal(err)
	}
	limit := int64(4000)
	spec := types.DefaultResourceConfigSpec()
	spec.CpuAllocation.Limit = &limit
	if err := i.pool().UpdateConfig(context.Background(), "team-a-renamed", &spec); err != nil {
		t.Fatal(err)
	}
	got := s.until("team-a-renamed")
	if diff := cmp.Diff([]string{"modify ResourcePool name=team-a-renamed config.cpuAllocation.limit=4000"},
		got); diff != "" {
		t.Errorf("updates (-want +got):\n%s", diff)
	}
}

func TestEndOfSessionEndsWait(t *testing.T) {
	tests := map[string]func(*VCenter, *stream){
		"terminated": func(v *VCenter, _ *stream) { v.TerminateSessions() },
		"logged out": func(_ *VCenter, s *stream) { _ = s.client.Logout(context.Background()) },
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			v := Run(t, Options{})
			i := inventoryOf(t, v)
			s := newStream(t, v, i.folder(namespaces).Reference(), "VirtualMachine", "name")
			if _, err := s.wait(0); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error)
			go func() {
				_, err := s.wait(30)
				ended <- err
			}()
			v.awaitWaiter(t)
			end(v, s)
			refused[*types.NotAuthenticated](t, <-ended) // at its own end it would have none
			_, err := s.wait(0)
			refused[*types.NotAuthenticated](t, err)
		})
	}
}

func TestVersions(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	ctx := context.Background()
	s := newStream(t, v, i.folder(namespaces).Reference(), "VirtualMachine", "runtime.powerState")
	if _, err := s.wait(0); err != nil {
		t.Fatal(err)
	}
	before := s.version
	i.do(i.vm("web-1").PowerOff(ctx))
	want := s.until("poweredOff")
	// The answer got lost: the client asks again.
	s.version = before
	set, err := s.wait(0)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, describe(set)); diff != "" {
		t.Errorf("the same answer again (-want +got):\n%s", diff)
	}
	s.version = "made-up"
	_, err = s.wait(0)
	refused[*types.InvalidCollectorVersion](t, err)
	s.version = ""
	if set, err = s.wait(0); err != nil || len(describe(set)) != 3 {
		t.Errorf("everything again: %q, %v", describe(set), err)
	}
}

func TestPages(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	s := newStream(t, v, i.folder(namespaces).Reference(), "VirtualMachine", "name")
	var got []string
	for n := 0; ; n++ {
		res, err := methods.WaitForUpdatesEx(context.Background(), s.client.Client, &types.WaitForUpdatesEx{
			This: s.collector.Reference(), Version: s.version, Options: &types.WaitOptions{MaxObjectUpdates: 2},
		})
		if err != nil {
			t.Fatal(err)
		}
		s.version = res.Returnval.Version
		got = append(got, describe(res.Returnval)...)
		if res.Returnval.Truncated == nil || !*res.Returnval.Truncated {
			if n != 1 {
				t.Errorf("%d pages, want 2", n+1)
			}
			break
		}
	}
	if len(got) != 3 {
		t.Errorf("objects: %q", got)
	}
}

func TestFilterWithBadPath(t *testing.T) {
	v := Run(t, Options{})
	c := login(t, v)
	_, err := property.DefaultCollector(c.Client).CreateFilter(context.Background(),
		types.CreateFilter{Spec: types.PropertyFilterSpec{
			PropSet:   []types.PropertySpec{{Type: "VirtualMachine", PathSet: []string{"config.nosuch"}}},
			ObjectSet: []types.ObjectSpec{{Obj: c.ServiceContent.RootFolder}},
		}})
	refused[*types.InvalidProperty](t, err)
}

// TestListViewShowsWhatIsThere: a view of listed objects shows none that is not there, and one that goes leaves it.
func TestListViewShowsWhatIsThere(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	ctx := context.Background()
	c := login(t, v)
	made, err := view.NewManager(c.Client).CreateListView(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newStreamOf(t, c, made.Reference(), "VirtualMachine", "name")
	gone := types.ManagedObjectReference{Type: "VirtualMachine", Value: "vm-of-before"}
	db := i.vm("db-1")
	unresolved, err := made.Add(ctx, []types.ManagedObjectReference{db.Reference(), gone})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]types.ManagedObjectReference{gone}, unresolved); diff != "" {
		t.Errorf("unresolved (-want +got):\n%s", diff)
	}
	s.start("enter VirtualMachine name=db-1")
	i.do(db.Destroy(ctx))
	if diff := cmp.Diff([]string{"leave VirtualMachine"}, s.until("leave")); diff != "" {
		t.Errorf("updates (-want +got):\n%s", diff)
	}
}
