// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/projection"
	"github.com/openpacific/pacific/pkg/waittest"
)

// dying asks for the deletion of a machine that somebody else made, whose guest is then asked to shut down and does
// not.
func dying(t *testing.T, s *supervisor, a *supervisortest.Admin, namespace, name string) *object.VirtualMachine {
	t.Helper()
	vm := a.Create(namespace, name, supervisortest.PoweredOn)
	s.Serves(t, namespace, name)
	s.Kubectl(t, "patch", "vm", "-n", namespace, name, "--type=merge", "-p", `{"spec":{"powerOffMode":"Soft"}}`)
	// A guest without tools never does what it is asked for.
	a.Reconfigure(vm, types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
		&types.OptionValue{Key: "SET.guest.toolsRunningStatus",
			Value: string(types.VirtualMachineToolsRunningStatusGuestToolsNotRunning)},
	}})
	s.Kubectl(t, "annotate", "vm", "-n", namespace, name, reclaimPolicy+"=Delete")
	s.Kubectl(t, "delete", "vm", "-n", namespace, name, "--wait=false")
	if s.get(t, namespace, name).DeletionTimestamp == nil {
		t.Fatal("it is not being deleted")
	}
	return vm
}

// notDeleting waits until a machine is served in whose record there is no deletion, and shows none.
func notDeleting(t *testing.T, s *supervisor, a *supervisortest.Admin, vm *object.VirtualMachine, namespace,
	name string) {
	t.Helper()
	keys := s.RecordKeys(t)
	waittest.Within(t, 30*time.Second, "no deletion in "+namespace+"/"+name, func(ctx context.Context) error {
		served, err := s.Dynamic(t).Resource(supervisortest.Machines).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if at := served.GetDeletionTimestamp(); at != nil {
			return fmt.Errorf("it is being deleted since %s", at)
		}
		record := keys.Decode(a.Extra(vm, facts.RecordKey))
		if record.Err == nil && !record.Head.Deletion.IsZero() {
			return errors.New("the deletion is still in its record")
		}
		return record.Err
	})
}

// survives holds that a machine which may be destroyed at once is not, while the controllers do for another one what
// they are to.
func survives(t *testing.T, s *supervisor, a *supervisortest.Admin, vm *object.VirtualMachine, namespace, name string) {
	t.Helper()
	s.Kubectl(t, "label", "vm", "-n", namespace, name, "seen=yes", "--overwrite")
	a.Create(namespace, name+"-other", supervisortest.PoweredOff)
	waittest.Within(t, 20*time.Second, "the other machine", func(ctx context.Context) error {
		_, err := s.Try(ctx, "kubectl", "patch", "vm", "-n", namespace, name+"-other", "--type=merge", "-p",
			`{"spec":{"powerState":"PoweredOn"}}`)
		return err
	})
	s.Kubectl(t, "wait", "vm", "-n", namespace, name+"-other", "--for=jsonpath={.status.powerState}=PoweredOn",
		"--timeout=20s")
	if a.Properties(vm) == nil {
		t.Error("it is gone from vCenter")
	}
}

// moveOut moves something out of the namespaces folder, beside it.
func moveOut(t *testing.T, a *supervisortest.Admin, ref types.ManagedObjectReference) {
	t.Helper()
	folder, err := a.Finder.Folder(t.Context(), "/DC0/vm")
	if err != nil {
		t.Fatal(err)
	}
	a.Done(folder.MoveInto(t.Context(), []types.ManagedObjectReference{ref}))
}

// TestADeletionIsOverWhenTheMachineLeaves: rescued by a VI admin in the middle of its shutdown, it is not destroyed
// when it comes back, and can be deleted again.
func TestADeletionIsOverWhenTheMachineLeaves(t *testing.T) {
	t.Parallel()
	s := running(t)
	for name, rescue := range map[string]func(a *supervisortest.Admin, vm *object.VirtualMachine,
		namespace string) (back func()){
		"moved": func(a *supervisortest.Admin, vm *object.VirtualMachine, namespace string) func() {
			other := a.Namespace("over-elsewhere")
			a.Move(vm, other)
			notDeleting(t, s, a, vm, other, "web-moved")
			return func() { a.Move(vm, namespace) }
		},
		"moved-out": func(a *supervisortest.Admin, vm *object.VirtualMachine, namespace string) func() {
			moveOut(t, a, vm.Reference())
			s.Serves(t, namespace)
			return func() { a.Move(vm, namespace) }
		},
		"template": func(a *supervisortest.Admin, vm *object.VirtualMachine, namespace string) func() {
			// Only what is off can be made one, and what is off is destroyed at once: it is paused meanwhile.
			pause := func(value string) {
				a.Reconfigure(vm, types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
					&types.OptionValue{Key: facts.PauseKey, Value: value}}})
			}
			pause("true")
			waittest.Within(t, 20*time.Second, "the pause", func(context.Context) error {
				condition := meta.FindStatusCondition(s.get(t, namespace, "web-template").Status.Conditions,
					vmopv1.VirtualMachineReconcileReady)
				if condition == nil || condition.Reason != vmopv1.VirtualMachineReconcilePausedReason {
					return fmt.Errorf("condition %+v", condition)
				}
				return nil
			})
			a.Power(vm, supervisortest.PoweredOff)
			if err := a.Own(vm).MarkAsTemplate(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.Serves(t, namespace)
			return func() {
				pool, err := a.Finder.ResourcePool(t.Context(), a.Cluster+"/Resources")
				if err != nil {
					t.Fatal(err)
				}
				if err := a.Own(vm).MarkAsVirtualMachine(t.Context(), *pool, nil); err != nil {
					t.Fatal(err)
				}
				pause("")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.Admin(t)
			namespace := a.Namespace("over-" + name)
			vm := dying(t, s, a, namespace, "web-"+name)
			back := rescue(a, vm, namespace)
			if state := a.Properties(vm).Runtime.PowerState; state == supervisortest.PoweredOn {
				a.Power(vm, supervisortest.PoweredOff)
			}
			back()
			notDeleting(t, s, a, vm, namespace, "web-"+name)
			survives(t, s, a, vm, namespace, "web-"+name)
			s.Kubectl(t, "delete", "vm", "-n", namespace, "web-"+name, "--timeout=30s")
			if a.Properties(vm) != nil {
				t.Error("a deletion that was asked for again was not carried out")
			}
		})
	}
}

// TestADeletionGoesOnUnderAnotherName: a folder that is only renamed is still the same place.
func TestADeletionGoesOnUnderAnotherName(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := a.Namespace("over-renamed")
	vm := dying(t, s, a, namespace, "web")
	folder, err := a.Finder.Folder(t.Context(), "/DC0/vm/"+supervisortest.InNamespaces(namespace))
	if err != nil {
		t.Fatal(err)
	}
	a.Done(folder.Rename(t.Context(), "over-renamed-2"))
	s.Serves(t, "over-renamed-2", "web")
	if s.get(t, "over-renamed-2", "web").DeletionTimestamp == nil {
		t.Error("it is not being deleted any more")
	}
	a.Power(vm, supervisortest.PoweredOff)
	waittest.Within(t, 30*time.Second, "its end", func(context.Context) error {
		if a.Properties(vm) != nil {
			return errors.New("it is still in vCenter")
		}
		return nil
	})
}

// TestThePolicyIsLookedAtAgain at the end of a deletion that took its time.
func TestThePolicyIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := a.Namespace("over-policy")
	vm := dying(t, s, a, namespace, "web")
	s.Kubectl(t, "annotate", "vm", "-n", namespace, "web", reclaimPolicy+"=Retain", "--overwrite")
	a.Power(vm, supervisortest.PoweredOff)
	notDeleting(t, s, a, vm, namespace, "web")
	survives(t, s, a, vm, namespace, "web")
}

// TestATerminatingNamespaceKeepsWhatWasAdopted, whatever the reclaim policies say, and comes to its end.
func TestATerminatingNamespaceKeepsWhatWasAdopted(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := a.Namespace("over-namespace")
	half := dying(t, s, a, namespace, "dying")
	allowed := a.Create(namespace, "allowed", supervisortest.PoweredOff)
	made, err := a.CreateAsPacific(namespace, "made", nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Serves(t, namespace, "allowed", "dying", "made")
	s.Kubectl(t, "annotate", "vm", "-n", namespace, "allowed", reclaimPolicy+"=Delete")
	s.Kubectl(t, "delete", "namespace", namespace, "--wait=false")
	client := kubernetes.NewForConfigOrDie(s.Config(t)).CoreV1().Namespaces()
	waittest.Within(t, time.Minute, "the end of the Namespace", func(ctx context.Context) error {
		found, err := client.Get(ctx, namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		} else if err != nil {
			return err
		}
		return fmt.Errorf("it is there: %v", found.Status)
	})
	if a.Properties(made) != nil {
		t.Error("the machine that Pacific made is still in vCenter")
	}
	keys := s.RecordKeys(t)
	for name, vm := range map[string]*object.VirtualMachine{"allowed": allowed, "dying": half} {
		if a.Properties(vm) == nil {
			t.Errorf("%s, which Pacific did not make, is gone from vCenter", name)
			continue
		}
		waittest.Within(t, 20*time.Second, "no deletion in the record of "+name, func(context.Context) error {
			record := keys.Decode(a.Extra(vm, facts.RecordKey))
			if record.Err == nil && !record.Head.Deletion.IsZero() {
				return errors.New("the deletion is still in its record")
			}
			return record.Err
		})
	}
	if state := a.Properties(half).Runtime.PowerState; state != supervisortest.PoweredOn {
		t.Errorf("the machine whose deletion was under way is %s", state)
	}
}

// TestOwnersAreLookedUpWhereTheyWereNamed: moved to another namespace, where nobody of that name is, a machine is not
// garbage.
func TestOwnersAreLookedUpWhereTheyWereNamed(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace, other := a.Namespace("owners-a"), a.Namespace("owners-b")
	vm := a.Create(namespace, "web", supervisortest.PoweredOff)
	s.Serves(t, namespace, "web")
	owner, err := kubernetes.NewForConfigOrDie(s.Config(t)).CoreV1().ConfigMaps(namespace).Create(t.Context(),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owner"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.Kubectl(t, "patch", "vm", "-n", namespace, "web", "--type=merge", "-p", fmt.Sprintf(
		`{"metadata":{"annotations":{%q:"Delete"},"finalizers":["example.com/hold"],"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"owner","uid":%q}]}}`,
		reclaimPolicy, owner.UID))
	a.Move(vm, other)
	s.Serves(t, other, "web")
	shown := s.get(t, other, "web")
	condition := meta.FindStatusCondition(shown.Status.Conditions, projection.MetadataInForceCondition)
	if len(shown.OwnerReferences) > 0 || strings.Join(shown.Finalizers, ",") != "vmoperator.vmware.com/virtualmachine" {
		t.Errorf("owners %v, finalizers %v", shown.OwnerReferences, shown.Finalizers)
	}
	if condition == nil || condition.Status != metav1.ConditionFalse ||
		!strings.Contains(condition.Message, "the ownerReferences to ConfigMap owner, nor the finalizers example.com/hold") {
		t.Errorf("condition %+v", condition)
	}
	survives(t, s, a, vm, other, "web")
	// Written there, it is at home there.
	waittest.Within(t, 20*time.Second, "the condition to go", func(context.Context) error {
		if condition := meta.FindStatusCondition(s.get(t, other, "web").Status.Conditions,
			projection.MetadataInForceCondition); condition != nil {
			return fmt.Errorf("condition %+v", condition)
		}
		return nil
	})
}
