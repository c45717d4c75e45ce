// SPDX-License-Identifier: Apache-2.0

package projection_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/projection"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// askDeletion does what the API does when somebody deletes a machine and may.
func (s *server) askDeletion(name string) {
	s.t.Helper()
	_, err := s.update(name, func(vm *vmopv1.VirtualMachine) {
		metav1.SetMetaDataAnnotation(&vm.ObjectMeta, vsphere.ReclaimPolicyAnnotation, vsphere.ReclaimDelete)
		vm.DeletionTimestamp = &metav1.Time{Time: time.Unix(1_800_000_000, 0)}
	})
	if err != nil {
		s.t.Fatalf("delete %s: %v", name, err)
	}
}

// destroy is what comes of the end of a machine's last finalizer.
func (s *server) destroy(name string) error {
	return s.store.Delete(s.t.Context(), "/virtualmachines/"+name, &vmopv1.VirtualMachine{}, nil,
		func(context.Context, runtime.Object) error { return nil }, nil, storage.DeleteOptions{})
}

func TestDeleteDestroysARunningMachine(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	s := serve(t, v)
	s.askDeletion("team-a/web-1")
	if err := s.destroy("team-a/web-1"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"team-a/db-1", "team-b/cache-1"}, s.keys()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := s.update("team-a/web-1", func(*vmopv1.VirtualMachine) {}); !storage.IsNotFound(err) &&
		!apierrors.IsNotFound(err) {
		t.Errorf("an update of what is gone: %v", err)
	}
}

// TestVCenterHasTheLastWord: with an inventory that knows nothing of what somebody has just done in vCenter, nothing is
// written to the machine, and it is neither switched off nor destroyed.
func TestVCenterHasTheLastWord(t *testing.T) {
	for name, do := range map[string]func(*admin, *object.VirtualMachine){
		"moved out": func(a *admin, vm *object.VirtualMachine) {
			a.do(a.folder("..").MoveInto(a.t.Context(), []types.ManagedObjectReference{vm.Reference()}))
		},
		"moved to another namespace": func(a *admin, vm *object.VirtualMachine) {
			a.do(a.folder("team-b").MoveInto(a.t.Context(), []types.ManagedObjectReference{vm.Reference()}))
		},
		"paused":         func(a *admin, vm *object.VirtualMachine) { a.setOption(vm, facts.PauseKey, "true") },
		"record removed": func(a *admin, vm *object.VirtualMachine) { a.setOption(vm, facts.RecordKey, "") },
		"record changed": func(a *admin, vm *object.VirtualMachine) {
			a.setOption(vm, facts.RecordKey, a.option(a.vm("team-b/cache-1"), facts.RecordKey))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := vcentertest.Run(t, vcentertest.Options{})
			a := newAdmin(t, v)
			s := serve(t, v)
			s.label("team-b/cache-1", "app", "cache")
			s.askDeletion("team-a/web-1")
			vm, current := a.vm("team-a/web-1"), s.get("team-a/web-1")
			s.freeze()
			do(a, vm)
			record := a.option(vm, facts.RecordKey)
			desired := current.DeepCopy()
			desired.Labels = map[string]string{"app": "web"}
			if err := s.backend.Update(t.Context(), current, desired); !errors.Is(err, failure.Conflict) {
				t.Errorf("a label: %v", err)
			}
			if err := s.backend.Delete(t.Context(), current); !errors.Is(err, failure.Conflict) {
				t.Errorf("a deletion: %v", err)
			}
			if got := a.option(vm, facts.RecordKey); got != record {
				t.Errorf("the record was written")
			}
			if state, err := vm.PowerState(t.Context()); err != nil || state != types.VirtualMachinePowerStatePoweredOn {
				t.Errorf("it is %s, %v", state, err)
			}
		})
	}
}

// TestNothingIsDestroyedThatNobodyAskedFor: the end of the last finalizer is not enough.
func TestNothingIsDestroyedThatNobodyAskedFor(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	a := newAdmin(t, v)
	s := serve(t, v)
	if err := s.destroy("team-a/web-1"); !errors.Is(err, failure.Forbidden) {
		t.Errorf("nobody asked: %v", err)
	}
	s.askDeletion("team-a/web-1")
	if _, err := s.update("team-a/web-1", func(vm *vmopv1.VirtualMachine) {
		vm.Annotations[vsphere.ReclaimPolicyAnnotation] = vsphere.ReclaimRetain
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.destroy("team-a/web-1"); !errors.Is(err, failure.Forbidden) {
		t.Errorf("it is to be kept: %v", err)
	}
	if _, err := s.update("team-a/web-1", func(vm *vmopv1.VirtualMachine) {
		vm.Annotations = map[string]string{vsphere.ReclaimPolicyAnnotation: vsphere.ReclaimDelete, vmopv1.PauseAnnotation: ""}
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.destroy("team-a/web-1"); !errors.Is(err, failure.Forbidden) {
		t.Errorf("it is paused: %v", err)
	}
	if state, err := a.vm("team-a/web-1").PowerState(t.Context()); err != nil ||
		state != types.VirtualMachinePowerStatePoweredOn {
		t.Errorf("it is %s, %v", state, err)
	}
}

// poweringOff are verbs after whose PowerOff something happens.
type poweringOff struct {
	projection.Verbs
	after func()
}

func (p poweringOff) PowerOff(ctx context.Context, id facts.ID, still func(facts.Machine) error) error {
	err := p.Verbs.PowerOff(ctx, id, still)
	p.after()
	return err
}

// TestADeletionEndsWhileItIsCarriedOut, which takes as long as it takes to switch the machine off. In vCenter nothing
// tells of it.
func TestADeletionEndsWhileItIsCarriedOut(t *testing.T) {
	for name, end := range map[string]func(*server, *vmopv1.VirtualMachine, string){
		"its folder is detached": func(s *server, _ *vmopv1.VirtualMachine, folder string) {
			s.picture.SetDetached(map[string]bool{folder: true})
		},
		"it is withdrawn": func(s *server, vm *vmopv1.VirtualMachine, _ string) {
			s.projector.Withdraw("team-a", "web-1", vm.UID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := vcentertest.Run(t, vcentertest.Options{})
			a := newAdmin(t, v)
			s := serve(t, v)
			s.askDeletion("team-a/web-1")
			vm, current := a.vm("team-a/web-1"), s.get("team-a/web-1")
			s.backend.Verbs = poweringOff{s.verbs, func() { end(s, current, a.folder("team-a").Reference().Value) }}
			if err := s.backend.Delete(t.Context(), current); !errors.Is(err, failure.Conflict) {
				t.Errorf("it is to stay: %v", err)
			}
			if state, err := vm.PowerState(t.Context()); err != nil || state != types.VirtualMachinePowerStatePoweredOff {
				t.Errorf("it is %s, %v", state, err)
			}
		})
	}
}
