// SPDX-License-Identifier: Apache-2.0

package realisation_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	k8stypes "k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// withProduction is twoClusters and pools in which somebody else's machines run: one called "prod" in cluster-a, and in
// cluster-b the one of team-a's name.
func withProduction(ctx context.Context, b *vcentertest.Builder) error {
	erp := vcentertest.VM{Name: "erp", Cluster: "cluster-a", Pool: "prod", GuestID: "ubuntu64Guest", CPUs: 1,
		MemoryMB: 1024}
	crm := vcentertest.VM{Name: "crm", Cluster: "cluster-b", Pool: "team-a", GuestID: "ubuntu64Guest", CPUs: 1,
		MemoryMB: 1024}
	return errors.Join(
		twoClusters(ctx, b),
		b.ResourcePool(ctx, "cluster-a", "prod"), second(b.VirtualMachine(ctx, erp)),
		b.ResourcePool(ctx, "cluster-b", "team-a"), second(b.VirtualMachine(ctx, crm)),
	)
}

// limits are the CPU and memory limits of a pool, -1 for none.
func (w *world) limits(pool *object.ResourcePool) (limits [2]int64) {
	w.t.Helper()
	var read mo.ResourcePool
	if err := pool.Properties(w.t.Context(), pool.Reference(), []string{"config"}, &read); err != nil {
		w.t.Fatal(err)
	}
	return [2]int64{*read.Config.CpuAllocation.Limit, *read.Config.MemoryAllocation.Limit}
}

var unlimited = [2]int64{-1, -1}

// A pool that is there already is not limited unless it is named.
func TestPoolsOfOthersAreNotThrottled(t *testing.T) {
	w := newWorld(t, withProduction)
	s := w.start(-1)
	pool := w.pool("/DC0/host/cluster-a/Resources/prod")
	for _, zones := range [][]string{nil, {"cluster-a"}} {
		object := fresh("prod")
		object.Spec.Zones = zones
		if err := s.create(object); !errors.Is(err, failure.AlreadyExists) ||
			!strings.Contains(err.Error(), pool.Reference().Value) {
			t.Errorf("create beside a pool of that name: %v", err)
		}
	}
	if diff := cmp.Diff(unlimited, w.limits(pool)); diff != "" || len(w.records.kept) > 0 || s.list()["prod"] != nil ||
		len(w.things("prod")) != 1 {
		t.Errorf("limits (-want +got):\n%s, records %v, served %v, vCenter %v", diff, w.records.kept, s.list()["prod"],
			w.things("prod"))
	}
	// Named, it gets its part, and stays with what runs in it.
	object := fresh("prod")
	object.Spec.ResourcePools = []string{pool.Reference().Value}
	if err := s.create(object); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([2]int64{5001, 4096}, w.limits(pool)); diff != "" {
		t.Errorf("limits when taken over (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(fresh("prod").Spec.Resources, s.get("prod").Spec.Resources); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	if err := s.remove("prod"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/DC0/host/cluster-a/Resources/prod"}, w.things("prod")); diff != "" {
		t.Errorf("vCenter after the deletion (-want +got):\n%s", diff)
	}
}

// Pools of the name of a folder that was made in the vSphere Client are its own, but not the machines of others in
// them.
func TestMachinesOfOthersAreNotThrottled(t *testing.T) {
	w := newWorld(t, withProduction)
	s := w.start(-1)
	pool := w.pool("/DC0/host/cluster-b/Resources/team-a")
	limits := v1alpha1.NamespaceResources{CPULimitMHz: ptr[int64](1000)}
	if err := s.update("team-a", func(o *v1alpha1.Namespace) { o.Labels = map[string]string{"a": "b"} }); err != nil {
		t.Fatal(err)
	}
	err := s.update("team-a", func(o *v1alpha1.Namespace) { o.Spec.Resources = limits })
	if !errors.Is(err, failure.AlreadyExists) || !strings.Contains(err.Error(), pool.Reference().Value) ||
		!strings.Contains(err.Error(), "crm") {
		t.Errorf("limits with a machine of others in the pool: %v", err)
	}
	own := w.pool("/DC0/host/cluster-a/Resources/team-a")
	if w.limits(pool) != unlimited || w.limits(own) != unlimited {
		t.Errorf("limits: %v, %v", w.limits(own), w.limits(pool))
	}
	if got := s.get("team-a"); !cmp.Equal(got.Spec.Resources, v1alpha1.NamespaceResources{}) ||
		got.Status.Phase != v1alpha1.NamespaceRunning {
		t.Errorf("after the refusal: %+v", got)
	}
	err = s.update("team-a", func(o *v1alpha1.Namespace) {
		o.Spec.Resources, o.Spec.ResourcePools = limits, []string{pool.Reference().Value}
	})
	if err != nil || w.limits(pool) != [2]int64{500, -1} || w.limits(own) != [2]int64{500, -1} {
		t.Errorf("taken over: %v, limits %v, %v", err, w.limits(own), w.limits(pool))
	}
}

func TestPoolsThatCannotBeTakenOver(t *testing.T) {
	w := newWorld(t, withProduction)
	s := w.start(-1)
	b := w.builder()
	if err := errors.Join(b.In(t.Context(), "DC0"), b.ResourcePool(t.Context(), "cluster-a", "second")); err != nil {
		t.Fatal(err)
	}
	id := func(path string) string { return w.pool(path).Reference().Value }
	if err := s.create(fresh("guest")); err != nil {
		t.Fatal(err)
	}
	s.knows(w.pool("/DC0/host/cluster-a/Resources/second").Reference())
	prod := id("/DC0/host/cluster-a/Resources/prod")
	for name, try := range map[string]struct {
		zones []string
		pools []string
		want  string
	}{
		"that is not there": {nil, []string{"resgroup-4711"}, "vCenter has no such resource pool"},
		"of the whole cluster": {nil, []string{id("/DC0/host/cluster-a/Resources")},
			"it is the one of the whole cluster"},
		"of another namespace": {nil, []string{id("/DC0/host/cluster-a/Resources/guest")},
			`the vSphere Namespace "guest" has`},
		"in a zone that is not wanted": {[]string{"cluster-b"}, []string{prod}, "not among spec.zones"},
		"beside another in a zone": {nil, []string{prod, id("/DC0/host/cluster-a/Resources/second")},
			"a namespace has one in each"},
		"of a folder's name, unrelated": {nil, []string{id("/DC0/host/cluster-a/Resources/team-a")},
			`the vSphere Namespace "team-a" has`},
	} {
		object := fresh("prod")
		object.Spec.Zones, object.Spec.ResourcePools = try.zones, try.pools
		if err := s.create(object); !errors.Is(err, failure.Invalid) || !strings.Contains(err.Error(), try.want) {
			t.Errorf("a pool %s: %v", name, err)
		}
	}
	err := s.update("guest", func(o *v1alpha1.Namespace) { o.Spec.ResourcePools = []string{prod} })
	if !errors.Is(err, failure.Invalid) || !strings.Contains(err.Error(), "in its zone \"cluster-a\" already") {
		t.Errorf("a second pool in a zone: %v", err)
	}
}

// What appears under the namespace's name before vCenter could be asked for it is somebody else's.
func TestWhatAppearsMeanwhileIsNotTaken(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	for _, test := range []struct {
		name, method, path string
		folder             bool
		vm                 vcentertest.VM
	}{
		{"late-pool", "CreateResourcePool", "", false, vcentertest.VM{Name: "other-1", Cluster: "cluster-a",
			Pool: "late-pool", GuestID: "ubuntu64Guest", CPUs: 1, MemoryMB: 1024}},
		{"late-folder", "CreateFolder", "Namespaces/late-folder", true,
			vcentertest.VM{Name: "other-2", Folder: "Namespaces/late-folder", Cluster: "cluster-a", GuestID: "ubuntu64Guest",
				CPUs: 1, MemoryMB: 1024}},
	} {
		w.vcenter.AddFault(vcentertest.Fault{Method: test.method, Fault: &types.HostCommunication{}, Count: 1})
		if err := s.create(fresh(test.name)); err != nil {
			t.Fatal(err)
		}
		b := w.builder()
		err := b.In(t.Context(), "DC0")
		if test.folder {
			err = errors.Join(err, b.Folder(t.Context(), test.path))
		} else {
			err = errors.Join(err, b.ResourcePool(t.Context(), "cluster-a", test.name))
		}
		if err = errors.Join(err, second(b.VirtualMachine(t.Context(), test.vm))); err != nil {
			t.Fatal(err)
		}
		uid := k8stypes.UID("uid-of-" + test.name)
		if err := s.backend.Realise(t.Context(), uid); !errors.Is(err, failure.AlreadyExists) {
			t.Errorf("%s: %v", test.name, err)
		}
		if !test.folder {
			if limits := w.limits(w.pool("/DC0/host/cluster-a/Resources/late-pool")); limits != unlimited {
				t.Errorf("the pool of others got limits %v", limits)
			}
		} else if got := s.list()[test.name]; got != nil && got.UID == uid && got.Status.Folder != "" {
			t.Errorf("the folder of others is served as the namespace's: %+v", got.Status)
		}
	}
}

// A folder that was detached is not taken over unless it is named.
func TestDetachedFoldersAreNotTakenUnasked(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	folder := s.get("team-a").Status.Folder
	if err := s.remove("team-a"); err != nil {
		t.Fatal(err)
	}
	object := fresh("team-a")
	object.Spec.Zones = []string{"cluster-b"}
	if err := s.create(object); !errors.Is(err, failure.AlreadyExists) ||
		!strings.Contains(err.Error(), "spec.folder: "+folder) {
		t.Errorf("create in place of a detached folder: %v", err)
	}
	if !w.detached[folder] || len(w.records.kept) > 0 || s.list()["team-a"] != nil {
		t.Errorf("detached %v, records %v, served %v", w.detached, w.records.kept, s.list()["team-a"])
	}
	object.Spec.Folder = folder
	if err := s.create(object); err != nil || w.detached[folder] {
		t.Errorf("create with the folder: %v, detached %v", err, w.detached)
	}
}

// A folder that could not be moved when it was asked for is moved later only if it is still what was asked for.
func TestFoldersAreLookedAtAgainBeforeTheyAreMoved(t *testing.T) {
	w := newWorld(t, withOldFolders("renamed", "moved", "same"))
	s := w.start(-1)
	wait := func(task *object.Task, err error) {
		t.Helper()
		if err == nil {
			err = task.WaitEx(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, change := range map[string]func(*object.Folder){
		"renamed": func(folder *object.Folder) { wait(folder.Rename(t.Context(), "billing")) },
		"moved": func(folder *object.Folder) {
			wait(w.folder("/DC0/vm").MoveInto(t.Context(), []types.ManagedObjectReference{folder.Reference()}))
		},
		"same": func(*object.Folder) {},
	} {
		folder := w.folder("/DC0/vm/Old/" + name)
		w.vcenter.AddFault(vcentertest.Fault{Method: "MoveIntoFolder_Task", Fault: &types.HostCommunication{}, Count: 1})
		if err := s.create(taking(name, folder)); err != nil {
			t.Fatal(err)
		}
		change(folder)
		var before, after mo.Folder
		if err := folder.Properties(t.Context(), folder.Reference(), []string{"parent"}, &before); err != nil {
			t.Fatal(err)
		}
		err := s.backend.Realise(t.Context(), k8stypes.UID("uid-of-"+name))
		if failed := folder.Properties(t.Context(), folder.Reference(), []string{"parent"}, &after); failed != nil {
			t.Fatal(failed)
		}
		if stayed := *after.Parent == *before.Parent; stayed != (name != "same") ||
			stayed != errors.Is(err, failure.Invalid) {
			t.Errorf("%s: it stayed: %t, error %v", name, stayed, err)
		}
	}
}

// Something else than a folder may have the name of one that is to be made: that is said, at each attempt.
func TestAMachineHasTheName(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	w.vcenter.AddFault(vcentertest.Fault{Method: "CreateFolder", Fault: &types.HostCommunication{}, Count: 1})
	if err := s.create(fresh("erp")); err != nil {
		t.Fatal(err)
	}
	b := w.builder()
	vm := vcentertest.VM{Name: "erp", Folder: "Namespaces", Cluster: "cluster-a", GuestID: "ubuntu64Guest", CPUs: 1,
		MemoryMB: 1024}
	if err := errors.Join(b.In(t.Context(), "DC0"), second(b.VirtualMachine(t.Context(), vm))); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.backend.Realise(t.Context(), "uid-of-erp"); !errors.Is(err, failure.AlreadyExists) ||
			!strings.Contains(err.Error(), "VirtualMachine vm-") {
			t.Errorf("realise: %v", err)
		}
	}
}
