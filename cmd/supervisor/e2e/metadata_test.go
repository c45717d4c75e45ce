// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/projection"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// get reads one machine.
func (s *supervisor) get(t *testing.T, namespace, name string) *vmopv1.VirtualMachine {
	t.Helper()
	object, err := s.Dynamic(t).Resource(supervisortest.Machines).Namespace(namespace).Get(t.Context(), name,
		metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	vm := &vmopv1.VirtualMachine{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, vm); err != nil {
		t.Fatal(err)
	}
	return vm
}

// TestNamesAreSwapped has two machines renamed to each other's names.
func TestNamesAreSwapped(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := a.Namespace("swapped")
	one, two := a.Create(namespace, "one", supervisortest.PoweredOn), a.Create(namespace, "two", supervisortest.PoweredOff)
	managed := a.Create(namespace, "managed", supervisortest.PoweredOff)
	s.Serves(t, namespace, "managed", "one", "two")
	s.Kubectl(t, "label", "vm", "-n", namespace, "managed", "it=has-metadata")
	uids := map[string]string{}
	for _, name := range []string{"one", "two", "managed"} {
		uids[name] = string(s.get(t, namespace, name).UID)
	}
	follower := s.Follow(t, namespace)
	a.Rename(one, "in between")
	a.Rename(two, "one")
	a.Rename(one, "two")
	// Metadata holds the name of a machine, whatever it is called in vCenter.
	a.Rename(managed, "called otherwise")
	follower.Until("the swap", func(objects map[string]*unstructured.Unstructured) bool {
		return cmp.Equal(map[string]string{"one": "PoweredOff", "two": "PoweredOn", "managed": "PoweredOff"},
			supervisortest.Power(objects))
	})
	got := map[string]string{}
	for name, object := range follower.Objects {
		got[name] = string(object.GetUID())
	}
	if diff := cmp.Diff(map[string]string{"one": uids["two"], "two": uids["one"], "managed": uids["managed"]},
		got); diff != "" {
		t.Errorf("uids by name (-want +got):\n%s", diff)
	}
	follower.Agrees()
}

// TestClash has two machines ask for one name.
func TestClash(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := a.Namespace("clash")
	first, err := a.CreateAsPacific(namespace, "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Serves(t, namespace, "web")
	a.Rename(first, "renamed in vCenter")
	a.Create(namespace, "web", supervisortest.PoweredOff)
	waittest.Within(t, 20*time.Second, "both machines", func(context.Context) error {
		if names := s.Names(t, namespace); len(names) != 2 || names[0] != "web" || !strings.HasPrefix(names[1], "web-") {
			return fmt.Errorf("machines: %v", names)
		}
		return nil
	})
	names := s.Names(t, namespace)
	if got := s.get(t, namespace, "web").UID; string(got) != a.Properties(first).Config.InstanceUuid {
		t.Error("the machine with the metadata lost its name")
	}
	condition := meta.FindStatusCondition(s.get(t, namespace, names[1]).Status.Conditions, projection.NameUniqueCondition)
	if condition == nil || condition.Status != metav1.ConditionFalse ||
		!strings.Contains(condition.Message, `has the name "web", so this one is shown as "`+names[1]+
			`": rename one of them`) {
		t.Errorf("condition: %+v", condition)
	}
}

// TestCloneIsAnotherMachine clones a machine in vCenter that has our metadata in it.
func TestCloneIsAnotherMachine(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := a.Namespace("cloned")
	original := a.Create(namespace, "original", supervisortest.PoweredOff)
	s.Serves(t, namespace, "original")
	s.Kubectl(t, "label", "vm", "-n", namespace, "original", "it=is-the-original")
	s.Kubectl(t, "annotate", "vm", "-n", namespace, "original", reclaimPolicy+"=Delete")
	before := s.get(t, namespace, "original")

	folder, err := a.Finder.Folder(t.Context(), "/DC0/vm/"+supervisortest.InNamespaces(namespace))
	if err != nil {
		t.Fatal(err)
	}
	pool, err := a.Finder.ResourcePool(t.Context(), a.Cluster+"/Resources")
	if err != nil {
		t.Fatal(err)
	}
	a.Done(original.Clone(t.Context(), folder, "copy", types.VirtualMachineCloneSpec{
		Location: types.VirtualMachineRelocateSpec{Pool: ptr(pool.Reference())},
	}))
	s.Serves(t, namespace, "copy", "original")
	copied := s.get(t, namespace, "copy")
	if copied.UID == before.UID || copied.Labels["it"] != "" || copied.Annotations[reclaimPolicy] != "" {
		t.Errorf("the clone: uid %s (the original's is %s), labels %v, annotations %v", copied.UID, before.UID, copied.Labels,
			copied.Annotations)
	}
	if diff := cmp.Diff(before, s.get(t, namespace, "original")); diff != "" {
		t.Errorf("the original (-before +after):\n%s", diff)
	}
	// It carries a copy of the record all the same, and is not to be destroyed because of that.
	if out, err := s.Try(t.Context(), "kubectl", "delete", "vm", "-n", namespace, "copy"); err == nil ||
		!strings.Contains(out, "was not created through this API") {
		t.Errorf("delete the clone: %v, %s", err, out)
	}
	// What is written to it is its own.
	s.Kubectl(t, "label", "vm", "-n", namespace, "copy", "it=is-the-copy")
	if got := s.get(t, namespace, "copy").Labels["it"]; got != "is-the-copy" {
		t.Errorf("label of the clone: %s", got)
	}
	if got := s.get(t, namespace, "original").Labels["it"]; got != "is-the-original" {
		t.Errorf("label of the original: %s", got)
	}
}

// TestMalformedMetadata has somebody break what stands in ExtraConfig.
func TestMalformedMetadata(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := a.Namespace("malformed")
	values := map[string]string{
		"garbage": "???", "truncated": "v3:k.eyJ1aWQiOiJ1IiwibmFtZSI6Im4ifQ==.H4sIAAAAAAAC/6pWKi1OLVKyUoIB",
		"older": "v1:H4sIAAAAAAAC/6pWKi1OLVKyUoIBAAAA//8=", "newer": "v9:from the future", "empty-record": "v3:",
	}
	made := map[string]*object.VirtualMachine{}
	for name, value := range values {
		made[name] = a.Create(namespace, name, supervisortest.PoweredOff,
			types.OptionValue{Key: facts.RecordKey, Value: value})
	}
	broken := a.Create(namespace, "once-good", supervisortest.PoweredOff)
	s.Serves(t, namespace, "empty-record", "garbage", "newer", "older", "once-good", "truncated")
	s.Kubectl(t, "label", "vm", "-n", namespace, "once-good", "it=was-good")
	made["once-good"], values["once-good"] = broken, "v3:scribble"
	a.Reconfigure(broken, types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
		&types.OptionValue{Key: facts.RecordKey, Value: "v3:scribble"},
	}})
	for name, vm := range made {
		waittest.Within(t, 20*time.Second, name, func(context.Context) error {
			shown := s.get(t, namespace, name)
			condition := meta.FindStatusCondition(shown.Status.Conditions, projection.MetadataReadableCondition)
			switch {
			case condition == nil:
				return errors.New("no condition")
			case condition.Status != metav1.ConditionFalse || condition.Reason != projection.MalformedMetadataReason ||
				!strings.Contains(condition.Message, "until the value is repaired or removed in vCenter"):
				return fmt.Errorf("condition %+v", condition)
			case shown.Labels["it"] != "":
				return fmt.Errorf("labels %v", shown.Labels)
			}
			return nil
		})
		for _, command := range [][]string{
			{"label", "vm", "-n", namespace, name, "a=b"},
			{"patch", "vm", "-n", namespace, name, "--type", "merge", "-p", `{"spec":{"powerState":"PoweredOn"}}`},
			{"annotate", "vm", "-n", namespace, name, reclaimPolicy + "=Delete"},
		} {
			out, err := s.Try(t.Context(), append([]string{"kubectl"}, command...)...)
			if err == nil || !strings.Contains(out, "pacific.metadata in the virtual machine's ExtraConfig") ||
				!strings.Contains(out, "repaired or removed in vCenter") {
				t.Errorf("%v: %v, %s", command, err, out)
			}
		}
		if got := a.Extra(vm, facts.RecordKey); got != values[name] {
			t.Errorf("%s: the value has become %q", name, got)
		}
	}
	// Removed in vCenter, the value stands in the way no longer.
	a.Reconfigure(broken, types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
		&types.OptionValue{Key: facts.RecordKey, Value: ""},
	}})
	waittest.Within(t, 20*time.Second, "the repair", func(ctx context.Context) error {
		_, err := s.Try(ctx, "kubectl", "label", "vm", "-n", namespace, "once-good", "it=is-good", "--overwrite")
		return err
	})
}

// TestAnotherInstallationsMachine meets a machine that another Pacific has made and would delete.
func TestAnotherInstallationsMachine(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := a.Namespace("theirs")
	const theirs = "6b1f6c1e-7a1c-4f0e-8f5b-0d8f5c0a7e11"
	id := uuid.NewString()
	extra, err := supervisortest.Record(machine.NewKeys([]byte("theirs")), facts.Head{
		Installation: theirs, UID: id, Sequence: 7, Created: true, Namespace: namespace, Name: "web", ReclaimPolicy: "Delete",
	}, map[string]string{"it": "is-theirs"})
	if err != nil {
		t.Fatal(err)
	}
	vm, err := a.Builder.VirtualMachine(t.Context(), vcentertest.VM{
		Name: "web", Folder: supervisortest.InNamespaces(namespace), Cluster: a.Cluster, GuestID: "ubuntu64Guest", CPUs: 1,
		MemoryMB:     1024,
		InstanceUUID: id, ExtraConfig: extra,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Serves(t, namespace, "web")
	if got := s.get(t, namespace, "web").Labels["it"]; got != "" {
		t.Errorf("their label shows: %s", got)
	}
	for _, command := range [][]string{{"delete", "vm", "-n", namespace, "web"},
		{"label", "vm", "-n", namespace, "web", "a=b"}} {
		if out, err := s.Try(t.Context(), append([]string{"kubectl"}, command...)...); err == nil ||
			!strings.Contains(out, "Forbidden") {
			t.Errorf("%v: %v, %s", command, err, out)
		}
	}
	if got := a.Extra(vm, facts.RecordKey); got != extra[facts.RecordKey] {
		t.Error("their record was changed")
	}
	s.Kubectl(t, "annotate", "vm", "-n", namespace, "web", "vsphere.openpacific.io/take-over="+theirs)
	s.Kubectl(t, "label", "vm", "-n", namespace, "web", "it=is-ours")
	// Taken over is not made.
	if out, err := s.Try(t.Context(), "kubectl", "delete", "vm", "-n", namespace, "web"); err == nil ||
		!strings.Contains(out, "was not created through this API") {
		t.Errorf("delete what was taken over: %v, %s", err, out)
	}
	s.Kubectl(t, "delete", "namespace", namespace, "--timeout=60s")
	if a.Properties(vm) == nil {
		t.Error("it went with the Namespace")
	}
}
