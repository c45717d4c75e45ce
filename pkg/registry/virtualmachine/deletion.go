// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry"
)

// collectionWorkers bounds how many deletions of a collection are under way at
// once. Each is a task in vCenter.
const collectionWorkers = 8

// DeleteReturnsDeletedObject implements rest.MayReturnFullObjectDeleter.
func (r *REST) DeleteReturnsDeletedObject() bool { return r.Store.DeleteReturnsDeletedObject() }

// Delete implements rest.GracefulDeleter. Every served machine carries the
// finalizer, so that the store sets the deletion timestamp and the controller does
// the rest.
func (r *REST) Delete(ctx context.Context, name string, validation rest.ValidateObjectFunc, options *metav1.DeleteOptions) (runtime.Object, bool, error) {
	obj, immediate, err := r.Store.Delete(ctx, name, r.guarded(validation), options)
	return obj, immediate, registry.StatusError(err, GroupResource(), name)
}

// guarded puts the guard before a validation. Both see the object that the write
// is then made conditional upon, so nobody slips an annotation in between.
func (r *REST) guarded(validation rest.ValidateObjectFunc) rest.ValidateObjectFunc {
	return func(ctx context.Context, obj runtime.Object) error {
		if err := r.guard(ctx, obj); err != nil {
			return err
		}
		if validation == nil {
			return nil
		}
		return validation(ctx, obj)
	}
}

// guard refuses to destroy what Pacific did not make, unless the machine's reclaim
// policy says otherwise. A Namespace that is being deleted takes nothing else with it
// than what Pacific made, whatever the policy. A machine that is already being deleted
// passes.
func (r *REST) guard(ctx context.Context, obj runtime.Object) error {
	vm, ok := obj.(*v1alpha5.VirtualMachine)
	if !ok {
		return fmt.Errorf("delete a virtual machine: got a %T", obj)
	}
	if vm.DeletionTimestamp != nil || r.made(vm) {
		return nil
	}
	if r.deletable(vm) {
		terminating, err := r.namespaces.Terminating(ctx, vm.Namespace)
		if err != nil || !terminating {
			return err
		}
		return guardError{apierrors.NewForbidden(GroupResource(), vm.Name, fmt.Errorf(
			"it was not created through this API, so it stays in vCenter when its Namespace %q is deleted", vm.Namespace))}
	}
	return guardError{apierrors.NewForbidden(GroupResource(), vm.Name, fmt.Errorf(
		"it was not created through this API, and deleting it would destroy it in vCenter; to allow that, first run: "+
			"kubectl annotate virtualmachine %s --namespace %s %s=%s",
		vm.Name, vm.Namespace, vsphere.ReclaimPolicyAnnotation, vsphere.ReclaimDelete))}
}

// deletable says whether the guard may let a machine's deletion pass.
func (r *REST) deletable(vm *v1alpha5.VirtualMachine) bool {
	return vm.DeletionTimestamp != nil || vm.Annotations[vsphere.ReclaimPolicyAnnotation] == vsphere.ReclaimDelete || r.made(vm)
}

func (r *REST) made(vm *v1alpha5.VirtualMachine) bool {
	return r.origins.Created(vm.Namespace, vm.Name, vm.UID)
}

// guardError is a refusal by the guard, told apart from one by admission.
type guardError struct{ *apierrors.StatusError }

// DeleteCollection implements rest.CollectionDeleter. Machines that the guard keeps
// are passed over and are missing from the list that is returned.
func (r *REST) DeleteCollection(ctx context.Context, validation rest.ValidateObjectFunc, options *metav1.DeleteOptions,
	listOptions *metainternalversion.ListOptions) (runtime.Object, error) {
	listed, err := r.List(ctx, listOptions)
	if err != nil {
		return nil, err
	}
	list, ok := listed.(*v1alpha5.VirtualMachineList)
	if !ok {
		return nil, fmt.Errorf("delete virtual machines: listed a %T", listed)
	}
	if options == nil {
		options = &metav1.DeleteOptions{}
	}

	deleted := make([]bool, len(list.Items))
	errs := make([]error, len(list.Items))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(collectionWorkers, len(list.Items)) {
		workers.Go(func() {
			for i := range next {
				// Deletion strategies write to the options: each has its own.
				deleted[i], errs[i] = r.deleteItem(ctx, &list.Items[i], validation, options.DeepCopy())
			}
		})
	}
	for i := range list.Items {
		if ctx.Err() != nil {
			break
		}
		if r.deletable(&list.Items[i]) {
			next <- i
		}
	}
	close(next)
	workers.Wait()

	if err := ctx.Err(); err != nil {
		return nil, registry.StatusError(fmt.Errorf("delete virtual machines: %w", err), GroupResource(), "")
	}
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	result := &v1alpha5.VirtualMachineList{ListMeta: list.ListMeta, Items: make([]v1alpha5.VirtualMachine, 0, len(list.Items))}
	for i := range list.Items {
		if deleted[i] {
			result.Items = append(result.Items, list.Items[i])
		}
	}
	return result, nil
}

// deleteItem deletes one machine of a collection. One that is gone counts as
// deleted, also where another has its name now, which stays; one that came under
// the guard since it was listed is passed over.
func (r *REST) deleteItem(ctx context.Context, listed *v1alpha5.VirtualMachine, validation rest.ValidateObjectFunc, options *metav1.DeleteOptions) (bool, error) {
	preconditions := metav1.Preconditions{UID: &listed.UID}
	if asked := options.Preconditions; asked != nil {
		if asked.UID != nil && *asked.UID != listed.UID {
			return false, registry.StatusError(fmt.Errorf("the uid is %s, not %s: %w", listed.UID, *asked.UID, failure.Conflict), GroupResource(), listed.Name)
		}
		preconditions.ResourceVersion = asked.ResourceVersion
	}
	options.Preconditions = &preconditions
	_, _, err := r.Delete(ctx, listed.Name, validation, options)
	if apierrors.IsConflict(err) {
		current, missing := r.Get(ctx, listed.Name, &metav1.GetOptions{})
		if missing == nil && current.(*v1alpha5.VirtualMachine).UID != listed.UID {
			return true, nil
		}
	}
	var refused guardError
	switch {
	case errors.As(err, &refused):
		return false, nil
	case apierrors.IsNotFound(err):
		return true, nil
	}
	return err == nil, err
}
