// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/apis/vsphere"
)

// deletable returns a machine that Pacific made, and one whose owner allows it.
func deletable() (made, allowed *v1alpha5.VirtualMachine) {
	made, allowed = machine("made"), machine("allowed")
	made.UID = madeHere
	allowed.Annotations = map[string]string{vsphere.ReclaimPolicyAnnotation: vsphere.ReclaimDelete}
	return made, allowed
}

func TestDeleteMarksAndTheControllerFinishes(t *testing.T) {
	made, allowed := deletable()
	server := newServer(t, made, allowed)
	for _, name := range []string{"made", "allowed"} {
		if got := server.do("DELETE", path("v1alpha5", "/"+name), "", nil); got.code != http.StatusOK {
			t.Fatalf("delete %s: %d %s", name, got.code, got.body)
		}
		marked := server.stored(name)
		if marked.DeletionTimestamp == nil || !slices.Contains(marked.Finalizers, vmoperator.MachineFinalizer) ||
			marked.Generation != 2 {
			t.Fatalf("%s after its deletion: %+v", name, marked.ObjectMeta)
		}
		// As the controller does once it has powered the machine off.
		if err := server.machines.Inside().Release(t.Context(), "team-a", name, marked.UID); err != nil {
			t.Fatalf("finalize %s: %v", name, err)
		}
		if _, err := server.machines.Inside().Get(t.Context(), "team-a", name); !apierrors.IsNotFound(err) {
			t.Fatalf("%s after its finalizer went: %v", name, err)
		}
	}
}

// Without its finalizer a machine that is being deleted would be destroyed at once: with no word to its guest, and
// whether it is paused or its owner has thought better of it.
func TestOnlyTheControllerLetsGo(t *testing.T) {
	made, allowed := deletable()
	server := newServer(t, made, allowed)
	const hold = "example.com/hold"
	finalizers := func() []string { return server.stored("allowed").Finalizers }
	patch := func(body string) answer { return server.do("PATCH", path("v1alpha5", "/allowed"), mergeType, body) }
	if got := patch(fmt.Sprintf(`{"metadata":{"finalizers":[%q,%q]}}`, hold,
		vmoperator.MachineFinalizer)); got.code != http.StatusOK {
		t.Fatalf("a finalizer of the client's: %d %s", got.code, got.body)
	}
	if got := server.do("DELETE", path("v1alpha5", "/allowed"), "", nil); got.code != http.StatusOK {
		t.Fatalf("delete: %d %s", got.code, got.body)
	}
	put := server.stored("allowed").DeepCopy()
	put.APIVersion, put.Kind = v1alpha5.GroupVersion.String(), "VirtualMachine"
	put.Finalizers = []string{hold}
	for _, request := range []struct {
		method, version, contentType string
		body                         any
	}{
		{"PATCH", "v1alpha5", mergeType, `{"metadata":{"finalizers":null}}`},
		{"PATCH", "v1alpha5", mergeType, fmt.Sprintf(`{"metadata":{"finalizers":[%q]}}`, hold)},
		{"PATCH", "v1alpha1", mergeType, `{"metadata":{"finalizers":[]}}`},
		{"PATCH", "v1alpha5", "application/json-patch+json", `[{"op":"remove","path":"/metadata/finalizers"}]`},
		{"PUT", "v1alpha5", "application/json", put},
	} {
		got := server.do(request.method, path(request.version, "/allowed"), request.contentType, request.body)
		if message := got.status(t).Message; got.code != http.StatusUnprocessableEntity ||
			!strings.Contains(message, "metadata.finalizers: Forbidden: "+vmoperator.MachineFinalizer) {
			t.Errorf("%s %v: %d %s", request.method, request.body, got.code, message)
		}
		if diff := cmp.Diff([]string{hold, vmoperator.MachineFinalizer}, finalizers()); diff != "" {
			t.Fatalf("finalizers (-want +got):\n%s", diff)
		}
	}
	if err := server.machines.Inside().Update(t.Context(), "team-a", "allowed",
		func(m *v1alpha5.VirtualMachine) { m.Finalizers = nil }); err == nil {
		t.Error("an update inside the process let go")
	}
	// The client's own is the client's.
	if got := patch(fmt.Sprintf(`{"metadata":{"finalizers":[%q]}}`,
		vmoperator.MachineFinalizer)); got.code != http.StatusOK {
		t.Errorf("the client's own: %d %s", got.code, got.body)
	}
	if diff := cmp.Diff([]string{vmoperator.MachineFinalizer}, finalizers()); diff != "" {
		t.Errorf("finalizers (-want +got):\n%s", diff)
	}
}

func TestGuardLetsADeletionGoOn(t *testing.T) {
	_, allowed := deletable()
	server := newServer(t, allowed)
	for _, request := range []struct{ method, contentType, body string }{
		{"DELETE", "", ""},
		{"PATCH", mergeType, `{"metadata":{"annotations":null}}`},
		{"DELETE", "", ""},
	} {
		if got := server.do(request.method, path("v1alpha5", "/allowed"), request.contentType,
			request.body); got.code != http.StatusOK {
			t.Fatalf("%s: %d %s", request.method, got.code, got.body)
		}
	}
}

func TestDeleteCollectionPassesOverWhatWasThereBefore(t *testing.T) {
	made, allowed := deletable()
	adopted := machine("adopted")
	server := newServer(t, made, allowed, adopted)
	got := server.do("DELETE", path("v1alpha5", ""), "", nil)
	if got.code != http.StatusOK {
		t.Fatalf("%d %s", got.code, got.body)
	}
	var names []string
	for _, item := range decode[v1alpha5.VirtualMachineList](t, got).Items {
		names = append(names, item.Name)
	}
	if diff := cmp.Diff([]string{"allowed", "made"}, names); diff != "" {
		t.Errorf("deleted (-want +got):\n%s", diff)
	}
	for name, deleting := range map[string]bool{"made": true, "allowed": true, "adopted": false} {
		if vm := server.stored(name); (vm.DeletionTimestamp != nil) != deleting {
			t.Errorf("%s: deletion timestamp is %v", name, vm.DeletionTimestamp)
		}
	}
}

func TestDeleteCollectionOfManyHonoursSelectors(t *testing.T) {
	var machines []*v1alpha5.VirtualMachine
	for i := range 60 {
		vm := machine(fmt.Sprintf("vm-%02d", i))
		vm.UID = madeHere
		if i%2 == 0 {
			vm.Labels = map[string]string{"half": "even"}
		}
		machines = append(machines, vm)
	}
	server := newServer(t, machines...)
	got := server.do("DELETE", path("v1alpha5", "?labelSelector=half%3Deven"), "", nil)
	if deleted := len(decode[v1alpha5.VirtualMachineList](t, got).Items); got.code != http.StatusOK || deleted != 30 {
		t.Fatalf("%d: deleted %d", got.code, deleted)
	}
	for i, vm := range machines {
		if marked := server.stored(vm.Name).DeletionTimestamp != nil; marked != (i%2 == 0) {
			t.Errorf("%s: being deleted is %t", vm.Name, marked)
		}
	}
}

// A machine that comes to have the name of one that was listed is not the one whose
// deletion was asked for.
func TestDeleteCollectionDeletesWhatWasListed(t *testing.T) {
	var machines []*v1alpha5.VirtualMachine
	for i := range 20 {
		vm := machine(fmt.Sprintf("vm-%02d", i))
		vm.UID = types.UID(fmt.Sprintf("%s-%d", madeHere, i))
		vm.Annotations = map[string]string{vsphere.ReclaimPolicyAnnotation: vsphere.ReclaimDelete}
		machines = append(machines, vm)
	}
	server := newServer(t, machines...)
	last := machines[len(machines)-1]
	server.world.BeforeFirst(func() {
		other := last.DeepCopy()
		other.UID, other.ResourceVersion = "other", ""
		server.world.Show(other)
	})
	got := server.do("DELETE", path("v1alpha5", ""), "", nil)
	if deleted := len(decode[v1alpha5.VirtualMachineList](t, got).Items); got.code != http.StatusOK ||
		deleted != len(machines) {
		t.Errorf("%d %s: deleted %d of %d", got.code, got.body, deleted, len(machines))
	}
	if other := server.stored(last.Name); other.UID != "other" || other.DeletionTimestamp != nil {
		t.Errorf("who came to have the name %s: %s, deleted %v", last.Name, other.UID, other.DeletionTimestamp)
	}
}

func TestDeleteCollectionOfNothing(t *testing.T) {
	server := newServer(t)
	got := server.do("DELETE", path("v1alpha5", ""), "", nil)
	if list := decode[v1alpha5.VirtualMachineList](t, got); got.code != http.StatusOK || list.Items == nil ||
		len(list.Items) != 0 {
		t.Errorf("%d %s", got.code, got.body)
	}
}

func TestDeleteCollectionTellsOfFailure(t *testing.T) {
	made, _ := deletable()
	server := newServer(t, made)
	server.world.Fail(errors.New("the datastore is gone"))
	got := server.do("DELETE", path("v1alpha5", ""), "", nil)
	if message := got.status(t).Message; got.code != http.StatusInternalServerError || message != "the datastore is gone" {
		t.Errorf("%d %s", got.code, message)
	}
}

// The option for corrupt objects must not be a way around the guard.
func TestUnsafeDeleteDoesNotPassTheGuard(t *testing.T) {
	server := newServer(t, machine("web-1"))
	got := server.do("DELETE", path("v1alpha5", "/web-1?ignoreStoreReadErrorWithClusterBreakingPotential=true"), "", nil)
	if got.code == http.StatusOK {
		t.Errorf("got %d %s", got.code, got.body)
	}
	if vm := server.stored("web-1"); vm.DeletionTimestamp != nil {
		t.Errorf("the machine is being deleted since %v", vm.DeletionTimestamp)
	}
}

// Of a machine of which vCenter tells nothing now, nobody can say what may be done with it: not even whether Pacific
// made it.
func TestNothingIsDecidedAboutWhatVCenterDoesNotTell(t *testing.T) {
	made, _ := deletable()
	lost := machine("lost")
	lost.UID = untold
	server := newServer(t, made, lost)
	other := server.stored("lost").DeepCopy()
	other.APIVersion, other.Kind = v1alpha5.GroupVersion.String(), "VirtualMachine"
	other.Spec.ClassName = "small" // which would be 422
	for _, request := range []struct {
		method, path, contentType string
		body                      any
	}{
		{"PATCH", "/lost", mergeType, `{"metadata":{"labels":{"a":"b"}}}`},
		{"PATCH", "/lost?dryRun=All", mergeType, `{"metadata":{"labels":{"a":"b"}}}`},
		{"PUT", "/lost", "application/json", other},
		{"DELETE", "/lost", "", nil},
		{"DELETE", "", "", nil},
	} {
		got := server.do(request.method, path("v1alpha5", request.path), request.contentType, request.body)
		if got.code != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" ||
			!strings.Contains(string(got.body), "its datastore is away") {
			t.Errorf("%s %s: %d %s", request.method, request.path, got.code, got.body)
		}
	}
	if vm := server.stored("lost"); vm.DeletionTimestamp != nil || len(vm.Labels) > 0 {
		t.Errorf("it was written all the same: %+v", vm.ObjectMeta)
	}
	if vm := server.stored("made"); vm.DeletionTimestamp == nil {
		t.Error("another one of the collection was not deleted")
	}
}

// A Namespace that is being deleted takes what Pacific made with it, and nothing else, whatever the reclaim policies
// say.
func TestATerminatingNamespaceTakesWhatWasMade(t *testing.T) {
	made, allowed := deletable()
	server := newServer(t, made, allowed)
	server.around.terminating.Store(true)
	if got := server.do("DELETE", path("v1alpha5", "/allowed"), "", nil); got.code != http.StatusForbidden ||
		!strings.Contains(got.status(t).Message, `it stays in vCenter when its Namespace "team-a" is deleted`) {
		t.Errorf("delete the adopted one: %d %s", got.code, got.body)
	}
	got := server.do("DELETE", path("v1alpha5", ""), "", nil)
	var names []string
	for _, item := range decode[v1alpha5.VirtualMachineList](t, got).Items {
		names = append(names, item.Name)
	}
	if diff := cmp.Diff([]string{"made"}, names); got.code != http.StatusOK || diff != "" {
		t.Errorf("%d, deleted (-want +got):\n%s", got.code, diff)
	}
	for name, deleting := range map[string]bool{"made": true, "allowed": false} {
		if vm := server.stored(name); (vm.DeletionTimestamp != nil) != deleting {
			t.Errorf("%s: deletion timestamp is %v", name, vm.DeletionTimestamp)
		}
	}
}
