// SPDX-License-Identifier: Apache-2.0

package realisation_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/projection"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// A folder that was made in the vSphere Client is a vSphere Namespace, with the
// limits of the pool of its name, live.
func TestFolderIsANamespace(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	got := s.get("team-a")
	want := &v1alpha1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: "team-a", UID: got.UID, Generation: 1, ResourceVersion: got.ResourceVersion,
			Finalizers: []string{v1alpha1.NamespaceFinalizer}}, Spec: v1alpha1.NamespaceSpec{Zones: []string{"cluster-a"}},
		Status: v1alpha1.NamespaceStatus{
			Phase: v1alpha1.NamespaceRunning,
			Conditions: []metav1.Condition{{Type: "Ready", Status: "True", Reason: "Ready",
				Message:            "Folder and resource pools are there.",
				ObservedGeneration: 1, LastTransitionTime: metav1.Unix(0, 0)}},
			Folder: got.Status.Folder,
			Zones:  []v1alpha1.NamespaceZoneStatus{{Name: "cluster-a", ResourcePool: got.Status.Zones[0].ResourcePool}},
			Usage: v1alpha1.NamespaceUsage{CPUMHz: got.Status.Usage.CPUMHz, Memory: got.Status.Usage.Memory,
				Storage: got.Status.Usage.Storage, VirtualMachines: 2, PoweredOn: 1},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("team-a (-want +got):\n%s", diff)
	}
	pool := w.pool("/DC0/host/cluster-a/Resources/team-a")
	err := pool.UpdateConfig(t.Context(), "", &types.ResourceConfigSpec{
		CpuAllocation:    types.ResourceAllocationInfo{Limit: ptr[int64](5000)},
		MemoryAllocation: types.ResourceAllocationInfo{Limit: ptr[int64](2048)},
	})
	if err != nil {
		t.Fatal(err)
	}
	limits := v1alpha1.NamespaceResources{CPULimitMHz: ptr[int64](5000), MemoryLimit: quantity("2Gi")}
	s.until("the limits of the vSphere Client show",
		func() bool { return cmp.Equal(limits, s.get("team-a").Spec.Resources) })

	birth := metav1.Unix(1_700_000_000, 0)
	s.projector.SetBirth(got.Status.Folder, birth)
	if born := s.get("team-a"); !born.CreationTimestamp.Equal(&birth) ||
		!born.Status.Conditions[0].LastTransitionTime.Equal(&birth) {
		t.Errorf("with an age: %v, %v", born.CreationTimestamp, born.Status.Conditions)
	}

	// A namespace that was written to before anybody knew its age shows it too.
	early := w.start(-1)
	if err := early.update("team-a",
		func(o *v1alpha1.Namespace) { o.Labels = map[string]string{"early": "yes"} }); err != nil {
		t.Fatal(err)
	}
	early.projector.SetBirth(got.Status.Folder, birth)
	if born := early.get("team-a"); !born.CreationTimestamp.Equal(&birth) ||
		!born.Status.Conditions[0].LastTransitionTime.Equal(&birth) {
		t.Errorf("written to and then with an age: %v, %v", born.CreationTimestamp, born.Status.Conditions)
	}
	early.stop()
	w.records.kept = nil

	// The first write keeps what there is, and makes nothing in vCenter.
	if err := s.update("team-a", func(o *v1alpha1.Namespace) { o.Labels = map[string]string{"a": "b"} }); err != nil {
		t.Fatal(err)
	}
	after := s.get("team-a")
	if after.UID != got.UID || after.Labels["a"] != "b" || !cmp.Equal(limits, after.Spec.Resources) ||
		!cmp.Equal(after.Spec.Zones, got.Spec.Zones) {
		t.Errorf("after the first write: %+v", after)
	}
	if diff := cmp.Diff([]string{"/DC0/host/cluster-a/Resources/team-a", "/DC0/vm/Namespaces/team-a"},
		w.things("team-a")); diff != "" {
		t.Errorf("vCenter (-want +got):\n%s", diff)
	}

	// The uid outlives the process, with and without the record.
	s.stop()
	if uid := w.start(-1).get("team-a").UID; uid != got.UID {
		t.Errorf("uid %s became %s", got.UID, uid)
	}
	w.records = &documents{}
	if uid := w.start(-1).get("team-a").UID; uid != got.UID {
		t.Errorf("uid %s became %s without the record", got.UID, uid)
	}
}

func TestCreateChangeDelete(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	if err := s.create(fresh("team-c")); err != nil {
		t.Fatal(err)
	}
	got := s.get("team-c")
	want := fresh("team-c")
	want.ResourceVersion = got.ResourceVersion
	want.Spec.Zones = []string{"cluster-a", "cluster-b"}
	want.Status = got.Status
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("team-c (-want +got):\n%s", diff)
	}
	if got.Status.Phase != v1alpha1.NamespaceRunning || len(got.Status.Zones) != 2 {
		t.Errorf("status: %+v", got.Status)
	}
	if diff := cmp.Diff(made("team-c"), w.things("team-c")); diff != "" {
		t.Fatalf("vCenter (-want +got):\n%s", diff)
	}
	changed := v1alpha1.NamespaceResources{CPULimitMHz: ptr[int64](4000)}
	if err := s.update("team-c", func(o *v1alpha1.Namespace) { o.Spec.Resources = changed }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(changed, s.get("team-c").Spec.Resources); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
	// One zone less: its pool is empty and Pacific's, so it goes.
	if err := s.update("team-c", func(o *v1alpha1.Namespace) { o.Spec.Zones = []string{"cluster-b"} }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made("team-c")[1:], w.things("team-c")); diff != "" {
		t.Errorf("vCenter with one zone less (-want +got):\n%s", diff)
	}
	if err := s.update("team-c", func(o *v1alpha1.Namespace) { o.Spec.Zones = []string{"nowhere"} }); !errors.Is(err,
		failure.Invalid) {
		t.Errorf("an unknown zone: %v", err)
	}
	if err := s.remove("team-c"); err != nil {
		t.Fatal(err)
	}
	if left := w.things("team-c"); len(left) > 0 || len(w.records.kept) > 0 || len(w.detached) > 0 ||
		s.list()["team-c"] != nil {
		t.Errorf("left over: %v, records %v, detached %v, served %v", left, w.records.kept, w.detached, s.list()["team-c"])
	}
}

// What somebody removes in the vSphere Client of what Pacific made is made again,
// with its limits.
func TestMadeAgain(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	if err := s.create(fresh("team-c")); err != nil {
		t.Fatal(err)
	}
	before := s.get("team-c")
	for _, remove := range []object.Reference{
		w.pool("/DC0/host/cluster-a/Resources/team-c"),
		object.NewFolder(w.builder().Client.Client, types.ManagedObjectReference{Type: "Folder",
			Value: before.Status.Folder}),
	} {
		task, err := object.NewCommon(w.builder().Client.Client, remove.Reference()).Destroy(t.Context())
		if err == nil {
			err = task.Wait(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.until("it shows that they are gone", func() bool {
		now := s.get("team-c")
		return now.Status.Phase == v1alpha1.NamespacePending && now.Status.Folder == "" && len(now.Status.Zones) == 1
	})
	if reason := s.get("team-c").Status.Conditions[0].Reason; reason != projection.ReasonFolderMissing {
		t.Errorf("reason %s", reason)
	}
	if err := s.backend.Realise(t.Context(), before.UID); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before.Spec, s.get("team-c").Spec); diff != "" {
		t.Errorf("made again (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(made("team-c"), w.things("team-c")); diff != "" {
		t.Errorf("vCenter (-want +got):\n%s", diff)
	}
}

// What was in vCenter before stays there.
func TestDeleteLeavesWhatWasThere(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	folder, pool := s.get("team-a").Status.Folder, s.get("team-a").Status.Zones[0].ResourcePool
	if err := s.remove("team-a"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/DC0/host/cluster-a/Resources/team-a", "/DC0/vm/Namespaces/team-a"},
		w.things("team-a")); diff != "" {
		t.Errorf("vCenter (-want +got):\n%s", diff)
	}
	if s.list()["team-a"] != nil || !w.detached[folder] || len(w.records.kept) > 0 {
		t.Errorf("served %v, detached %v, records %v", s.list()["team-a"], w.detached, w.records.kept)
	}
	// Made again, it takes over what is there, and still did not make it.
	again := fresh("team-a")
	again.Spec.Folder, again.Spec.Zones, again.Spec.ResourcePools = folder, []string{"cluster-a"}, []string{pool}
	if err := s.create(again); err != nil {
		t.Fatal(err)
	}
	if got := s.get("team-a"); got.Status.Folder != folder || got.Status.Usage.VirtualMachines != 2 || w.detached[folder] {
		t.Errorf("taken over: %+v, detached %v", got.Status, w.detached)
	}
	if err := s.remove("team-a"); err != nil {
		t.Fatal(err)
	}
	if things := w.things("team-a"); len(things) != 2 {
		t.Errorf("left of what was there: %v", things)
	}
}

// What vCenter refuses for good leaves nothing behind; what it cannot do now is
// accepted and done later.
func TestRefusedAndDelayed(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	w.vcenter.AddFault(vcentertest.Fault{Method: "CreateFolder", Fault: &types.NoPermission{PrivilegeId: "Folder.Create"},
		Count: 1})
	if err := s.create(fresh("team-c")); !errors.Is(err, failure.Forbidden) {
		t.Errorf("without the privilege: %v", err)
	}
	if len(w.records.kept) > 0 || s.list()["team-c"] != nil {
		t.Errorf("left over: %v %v", w.records.kept, s.list()["team-c"])
	}
	w.vcenter.AddFault(vcentertest.Fault{Method: "CreateResourcePool", Fault: &types.HostCommunication{}, Count: 1})
	if err := s.create(fresh("team-c")); err != nil {
		t.Fatal(err)
	}
	if got := s.get("team-c"); got.Status.Phase != v1alpha1.NamespacePending ||
		got.Status.Conditions[0].Reason != "Pending" {
		t.Errorf("while vCenter is not able: %+v", got.Status)
	}
	if err := s.backend.Realise(t.Context(), "uid-of-team-c"); err != nil {
		t.Fatal(err)
	}
	if got := s.get("team-c"); got.Status.Phase != v1alpha1.NamespaceRunning {
		t.Errorf("at last: %+v", got.Status)
	}
}
