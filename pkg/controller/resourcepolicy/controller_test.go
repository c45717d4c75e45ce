// SPDX-License-Identifier: Apache-2.0

package resourcepolicy_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/mo"
	govmomi "github.com/vmware/govmomi/vim25/types"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	vspherev1 "github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/controller/resourcepolicy"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

func (w *world) status(name string) vmopv1.VirtualMachineSetResourcePolicyStatus {
	found, err := w.policies.Get(context.Background(), team, name)
	if err != nil {
		return vmopv1.VirtualMachineSetResourcePolicyStatus{}
	}
	return found.Status
}

func (w *world) eventually(what string, condition func() bool) {
	w.t.Helper()
	waittest.Eventually(w.t, what, condition)
}

// complete says whether a policy says that it has a pool and modules in both zones.
func (w *world) complete(name string) bool {
	status := w.status(name)
	return len(status.ResourcePools) == 2 && len(status.ClusterModules) == 4
}

// What a policy asks for is made, as large as it says, and goes with it.
func TestMadeAndTakenAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(-1)
	amount := func(cpu, memory string) vmopv1.VirtualMachineResourceSpec {
		return vmopv1.VirtualMachineResourceSpec{Cpu: resource.MustParse(cpu), Memory: resource.MustParse(memory)}
	}
	w.declare("cluster", func(p *policy) {
		p.Spec.ResourcePool.Reservations, p.Spec.ResourcePool.Limits = amount("500m", "1Gi"), amount("4", "8Gi")
	})
	w.eventually("it has all that it asks for", func() bool { return w.complete("cluster") })
	if diff := cmp.Diff(all, w.here()); diff != "" {
		t.Errorf("in vCenter (-want +got):\n%s", diff)
	}
	pools := w.status("cluster").ResourcePools
	for i, zone := range []string{"cluster-a", "cluster-b"} {
		id := w.id("/DC0/host/" + zone + "/Resources/team-a/cluster")
		want := vmopv1.ResourcePoolStatus{ClusterMoID: w.home.Zones[zone].Cluster.Value, ChildResourcePoolMoID: id.Value}
		if pools[i] != want {
			t.Errorf("pool %d is shown as %+v, want %+v", i, pools[i], want)
		}
		var now mo.ResourcePool
		err := property.DefaultCollector(w.vm("web-1").Client()).RetrieveOne(t.Context(),
			govmomi.ManagedObjectReference{Type: id.Type, Value: id.Value}, []string{"config"}, &now)
		if err != nil {
			t.Fatal(err)
		}
		mhz := int64(w.home.Zones[zone].MHz)
		got := [4]int64{*now.Config.CpuAllocation.Reservation, *now.Config.CpuAllocation.Limit,
			*now.Config.MemoryAllocation.Reservation, *now.Config.MemoryAllocation.Limit}
		if want := [4]int64{mhz / 2, 4 * mhz, 1024, 8192}; got != want {
			t.Errorf("in %s reservation and limit of CPU and memory are %v, want %v", zone, got, want)
		}
	}
	w.remove("cluster")
	w.eventually("it is gone", func() bool { return w.gone("cluster") })
	if left := w.here(); len(left) > 0 || w.records.len() > 0 {
		t.Errorf("left over: %v, %d records", left, w.records.len())
	}
}

// What had the name before is used as it is, and stays.
func TestWhatIsSomebodyElses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	parent, err := w.finder.Folder(t.Context(), "/DC0/vm/Namespaces/team-a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parent.CreateFolder(t.Context(), "cluster"); err != nil {
		t.Fatal(err)
	}
	above, err := w.finder.ResourcePool(t.Context(), "/DC0/host/cluster-a/Resources/team-a")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := above.Create(t.Context(), "cluster", govmomi.DefaultResourceConfigSpec())
	if err != nil {
		t.Fatal(err)
	}
	w.start(-1)
	w.declare("cluster")
	w.eventually("it has all that it asks for", func() bool { return w.complete("cluster") })
	if got := w.status("cluster").ResourcePools[0].ChildResourcePoolMoID; got != theirs.Reference().Value {
		t.Errorf("the pool is %s, not theirs", got)
	}
	w.remove("cluster")
	w.eventually("it is gone", func() bool { return w.gone("cluster") })
	want := []string{"vm/Namespaces/team-a/cluster", "host/cluster-a/Resources/team-a/cluster"}
	if diff := cmp.Diff(want, w.here()); diff != "" || w.records.len() > 0 {
		t.Errorf("%d records, left (-want +got):\n%s", w.records.len(), diff)
	}
}

// A policy stays as long as a machine stands on it, and what somebody put into its folder stays in vCenter, with that.
func TestNothingOfOthersIsDestroyed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(-1)
	web := w.machine("web-1", "cluster", "workers")
	w.declare("cluster")
	w.machines.Add(web)
	w.eventually("it is a member of its group's module", func() bool { return w.condition("web-1") == "True True" })
	w.remove("cluster")
	w.eventually("it waits", func() bool { return w.told("It goes when its virtual machines have gone: web-1") })
	if w.gone("cluster") || !slices.Contains(w.here(), "4 modules") {
		t.Errorf("it did not wait: %v", w.here())
	}
	w.move("db-1", "/DC0/vm/Namespaces/team-a/cluster")
	w.destroy(web)
	w.eventually("it is gone", func() bool { return w.gone("cluster") })
	if diff := cmp.Diff([]string{"vm/Namespaces/team-a/cluster"}, w.here()); diff != "" || w.records.len() > 0 {
		t.Errorf("%d records, left (-want +got):\n%s", w.records.len(), diff)
	}
	if !w.told("LeftInVCenter") {
		t.Errorf("nobody was told: %v", w.events)
	}
}

// Two policies may name the same folder and pool: those go with the last.
func TestShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(-1)
	w.declare("cluster")
	w.declare("other", func(p *policy) {
		p.Spec.Folder, p.Spec.ResourcePool.Name, p.Spec.ClusterModuleGroups = "cluster", "cluster", nil
	})
	w.eventually("both have what they ask for", func() bool {
		return w.complete("cluster") && len(w.status("other").ResourcePools) == 2
	})
	w.remove("cluster")
	w.eventually("it is gone", func() bool { return w.gone("cluster") })
	if diff := cmp.Diff(all[:3], w.here()); diff != "" {
		t.Errorf("left for the other (-want +got):\n%s", diff)
	}
	w.remove("other")
	w.eventually("it is gone too", func() bool { return w.gone("other") })
	if left := w.here(); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// Machines that name a group are members of its module, and of no other.
func TestGroups(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(-1)
	w.declare("cluster")
	web, db, none := w.machine("web-1", "cluster", "workers"), w.machine("db-1", "cluster", "workers"), w.machine("web-2", "cluster", "masters")
	for _, vm := range []*vmopv1.VirtualMachine{web, db, none} {
		w.machines.Add(vm)
	}
	members := func(want ...int) func() bool {
		return func() bool {
			var got []int
			for _, module := range w.vcenter.ClusterModules().All() {
				got = append(got, len(module))
			}
			return slices.Equal(got, want)
		}
	}
	// Of cluster-a first control-plane-group and then workers, then those of cluster-b.
	w.eventually("both workers are members", members(0, 2, 0, 0))
	w.eventually("that there is no such group is told", func() bool { return w.condition("web-2") == "False ModuleNotReady" })
	db = db.DeepCopy()
	db.Annotations["vsphere-cluster-module-group"] = "control-plane-group"
	w.machines.Modify(db)
	w.eventually("one has changed its group", members(1, 1, 0, 0))
	w.destroy(web)
	w.remove("cluster")
	w.destroy(db)
	w.machines.Delete(none)
	w.eventually("it is gone", func() bool { return w.gone("cluster") })
	if left := w.here(); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// Who places a machine gets the folder and the pools, which stay until the machine is seen or was not made.
func TestUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(-1)
	w.declare("cluster")
	w.eventually("it runs", func() bool { return w.told("Normal Made") })
	use := func(name, group, machine string) (facts.ID, map[facts.ID]facts.ID, error) {
		return s.controller.Use(t.Context(), team, name, group, machine)
	}
	folder, pools, err := use("cluster", "workers", "uid-1")
	if err != nil {
		t.Fatal(err)
	}
	want := map[facts.ID]facts.ID{}
	for name, zone := range w.home.Zones {
		want[zone.Pool] = w.id("/DC0/host/" + name + "/Resources/team-a/cluster")
	}
	if diff := cmp.Diff(want, pools); diff != "" || folder != w.id("/DC0/vm/Namespaces/team-a/cluster") {
		t.Errorf("folder %v, pools (-want +got):\n%s", folder, diff)
	}
	if _, _, err := use("cluster", "masters", "uid-2"); !errors.Is(err, failure.Invalid) {
		t.Errorf("of a group that is not: %v", err)
	}
	if _, _, err := use("other", "", "uid-2"); !errors.Is(err, failure.NotFound) {
		t.Errorf("of a policy that is not: %v", err)
	}
	w.remove("cluster")
	w.eventually("it waits for the machine", func() bool { return w.told("one that is being made") })
	if _, _, err := use("cluster", "", "uid-2"); !errors.Is(err, failure.Conflict) {
		t.Errorf("of a policy that is being deleted: %v", err)
	}
	if diff := cmp.Diff(all, w.here()); diff != "" {
		t.Errorf("in vCenter (-want +got):\n%s", diff)
	}
	s.controller.Done(team, "uid-1")
	w.eventually("it is gone", func() bool { return w.gone("cluster") })
	s.stop()
	if _, _, err := use("cluster", "", "uid-1"); err == nil {
		t.Error("a controller that does not run places machines")
	}
}

// What vCenter says no to is told, and tried again.
func TestRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.vcenter.AddFault(vcentertest.Fault{Method: "CreateResourcePool", Fault: &govmomi.InsufficientResourcesFault{}})
	s := w.start(-1)
	w.declare("cluster")
	w.eventually("it is told", func() bool { return w.told("Warning NotMade") })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.controller.Use(ctx, team, "cluster", "", "uid-1"); !errors.Is(err, failure.Unavailable) {
		t.Errorf("a place where there is none: %v", err)
	}
	w.vcenter.ClearFaults()
	w.eventually("it has all that it asks for", func() bool { return w.complete("cluster") && w.told("Normal Made") })
}

// What somebody took away in vCenter is made anew when a machine cannot be made for that.
func TestMadeAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(-1)
	w.declare("cluster")
	w.eventually("it is made", func() bool { return w.told("Normal Made") })
	if _, _, err := s.controller.Use(t.Context(), team, "cluster", "", "uid-1"); err != nil {
		t.Fatal(err)
	}
	folder, err := w.finder.Folder(t.Context(), "/DC0/vm/Namespaces/team-a/cluster")
	if err != nil {
		t.Fatal(err)
	}
	task, err := folder.Destroy(t.Context())
	if err == nil {
		err = task.WaitEx(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	s.controller.Done(team, "uid-1")
	w.eventually("it is made anew", func() bool { return slices.Equal(w.here(), all) })
}

// Nobody but an administrator has something reserved that is not the namespace's: vCenter would take it from the whole
// cluster.
func TestReservedAtMostWhatTheNamespaceHas(t *testing.T) {
	w := newWorld(t)
	w.start(-1)
	reserving := func(memory string) func(*policy) {
		return func(p *policy) { p.Spec.ResourcePool.Reservations.Memory = resource.MustParse(memory) }
	}
	w.declare("all", reserving("3Gi"))
	w.eventually("what the namespace has is reserved", func() bool { return w.complete("all") })
	// So much that it comes to less than nothing in MHz, by which others would have more.
	w.declare("immense", func(p *policy) { p.Spec.ResourcePool.Reservations.Cpu = resource.MustParse("9e15") })
	w.declare("cpus", func(p *policy) { p.Spec.ResourcePool.Reservations.Cpu = resource.MustParse("3") })
	w.eventually("it is told that CPUs are not there", func() bool { return w.told("4096 MiB") })
	w.declare("more", reserving("2Gi"))
	w.eventually("it is told", func() bool {
		return w.told("may have 4000 MHz of CPU and 4096 MiB of memory reserved")
	})
	w.declare("rest", reserving("1Gi"))
	w.eventually("what is left is reserved", func() bool { return w.complete("rest") })
	for _, path := range w.here() {
		if path == "host/cluster-a/Resources/team-a/more" || path == "host/cluster-b/Resources/team-a/more" {
			t.Errorf("%s takes from the whole cluster", path)
		}
	}
	// Nor does what a pool has go with the policy that it was made by, as long as another one names it.
	w.declare("heir", func(p *policy) { p.Spec.ResourcePool.Name = "all" })
	w.eventually("the pool has an heir", func() bool { return w.complete("heir") })
	w.remove("all")
	w.eventually("the policy is gone", func() bool { return w.gone("all") })
	w.declare("another", reserving("1Gi"))
	w.eventually("it has the rest", func() bool { return len(w.status("another").ClusterModules) == 4 })
	if pools := w.status("another").ResourcePools; len(pools) > 0 {
		t.Errorf("the pools %+v take from the whole cluster", pools)
	}
	w.remove("heir")
	w.eventually("there is room", func() bool { return w.complete("more") })
}

// No machine is made in what somebody has moved to where it is another's.
func TestStrayed(t *testing.T) {
	w := newWorld(t)
	s := w.start(-1)
	w.declare("cluster")
	w.eventually("it is made", func() bool { return w.told("Normal Made") })
	use := func() (facts.ID, map[facts.ID]facts.ID) {
		folder, pools, err := s.controller.Use(t.Context(), team, "cluster", "", "uid-1")
		if err != nil {
			t.Fatal(err)
		}
		return folder, pools
	}
	was, _ := use()
	into, err := w.finder.Folder(t.Context(), "/DC0/vm")
	if err != nil {
		t.Fatal(err)
	}
	task, err := into.MoveInto(t.Context(), []govmomi.ManagedObjectReference{{Type: was.Type, Value: was.Value}})
	if err == nil {
		err = task.WaitEx(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.strayed = map[facts.ID]bool{was: true}
	w.mu.Unlock()
	if now, _ := use(); now != w.id("/DC0/vm/Namespaces/team-a/cluster") {
		t.Errorf("machines go to %v, which was moved away, and the namespace's is another", now)
	}
}

// What is in a zone that is given up goes, and not while a machine may be on its way there.
func TestZoneGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.start(-1)
	w.declare("cluster")
	w.eventually("it is made", func() bool { return w.told("Normal Made") })
	if _, _, err := s.controller.Use(t.Context(), team, "cluster", "", "uid-1"); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.home.Zones = map[string]resourcepolicy.Zone{"cluster-a": w.home.Zones["cluster-a"]}
	w.mu.Unlock()
	given := &vspherev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: team}}
	given.Status.Zones = []vspherev1.NamespaceZoneStatus{{Name: "cluster-a"}}
	w.spaces.Modify(given)
	w.eventually("it is made for one zone", func() bool { return len(w.status("cluster").ResourcePools) == 1 })
	if diff := cmp.Diff(all, w.here()); diff != "" {
		t.Errorf("while a machine is being made (-want +got):\n%s", diff)
	}
	s.controller.Done(team, "uid-1")
	want := append(slices.Clone(all[:2]), "2 modules")
	w.eventually("what was in the other zone is gone", func() bool { return slices.Equal(w.here(), want) })
}
