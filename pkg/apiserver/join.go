// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	namespacecontroller "github.com/openpacific/pacific/pkg/controller/namespace"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/livestore"
	vmregistry "github.com/openpacific/pacific/pkg/registry/virtualmachine"
	vmvcenter "github.com/openpacific/pacific/pkg/vcenter/virtualmachine"
	vnsvcenter "github.com/openpacific/pacific/pkg/vcenter/vspherenamespace"
)

// leaderOnly refuses writes on a replica that does not lead.
type leaderOnly struct {
	livestore.Backend
	leads func() bool
}

func (l leaderOnly) check() error {
	if l.leads() {
		return nil
	}
	return fmt.Errorf("this replica does not lead at the moment, try again: %w", failure.Unavailable)
}

func (l leaderOnly) Create(ctx context.Context, key string, object runtime.Object) error {
	if err := l.check(); err != nil {
		return err
	}
	return l.Backend.Create(ctx, key, object)
}

func (l leaderOnly) Update(ctx context.Context, key string, current, desired runtime.Object) error {
	if err := l.check(); err != nil {
		return err
	}
	return l.Backend.Update(ctx, key, current, desired)
}

func (l leaderOnly) Delete(ctx context.Context, key string, current runtime.Object) error {
	if err := l.check(); err != nil {
		return err
	}
	return l.Backend.Delete(ctx, key, current)
}

func isConflict(err error) bool { return errors.Is(err, failure.Conflict) }

// folders shows the projection's namespaces to the controller of Namespaces.
type folders struct {
	projector         *vmvcenter.Projector
	vsphereNamespaces *vnsvcenter.Projector
	changed           <-chan struct{}
}

func (f folders) Folders() []namespacecontroller.Folder {
	namespaces := f.projector.Namespaces()
	folders := make([]namespacecontroller.Folder, len(namespaces))
	for i, namespace := range namespaces {
		folders[i] = namespacecontroller.Folder{
			ID: namespace.Folder, Namespace: namespace.Name, Terminating: f.vsphereNamespaces.Terminating(namespace.Name),
		}
	}
	return folders
}

func (f folders) Changed() <-chan struct{} { return f.changed }

func (f folders) SetDetached(ids map[string]bool) {
	f.projector.SetDetached(ids)
	f.vsphereNamespaces.SetDetached(ids)
}

// listerWatcher lists and watches the machines that are served, inside this
// process.
func listerWatcher(machines *vmregistry.REST) cache.ListerWatcher {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			internal, err := internalOptions(options)
			if err != nil {
				return nil, err
			}
			return machines.List(ctx, internal)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			internal, err := internalOptions(options)
			if err != nil {
				return nil, err
			}
			events, err := machines.Watch(ctx, internal)
			if err != nil {
				return nil, err
			}
			return watch.Filter(events, withoutCache), nil
		},
	}
}

// withoutCache takes an object out of the wrapping in which the watch cache
// shares its encoding among the watchers.
func withoutCache(event watch.Event) (watch.Event, bool) {
	if wrapped, ok := event.Object.(runtime.CacheableObject); ok {
		event.Object = wrapped.GetObject()
	}
	return event, true
}

func internalOptions(options metav1.ListOptions) (*metainternalversion.ListOptions, error) {
	internal := &metainternalversion.ListOptions{}
	if err := metainternalversion.Convert_v1_ListOptions_To_internalversion_ListOptions(&options, internal, nil); err != nil {
		return nil, fmt.Errorf("convert list options: %w", err)
	}
	return internal, nil
}

// power asks vCenter to change the power state of the machine with a uid.
type power struct {
	vmvcenter.Power
	projector *vmvcenter.Projector
}

func (p power) SetPower(ctx context.Context, uid types.UID, target vmopv1.VirtualMachinePowerState, mode vmopv1.VirtualMachinePowerOpMode, asked time.Time) (time.Duration, error) {
	state, found := p.projector.FindUID(uid)
	if !found {
		return 0, nil
	}
	return p.Set(ctx, state.Ref, target, mode, asked)
}

func (p power) Paused(uid types.UID) bool {
	state, found := p.projector.FindUID(uid)
	return found && state.Paused
}

// releaser removes finalizers through the API's own storage, so that the last
// one's removal deletes the machine.
type releaser struct{ machines *vmregistry.REST }

func (r releaser) RemoveFinalizer(ctx context.Context, namespace, name string, uid types.UID, finalizer string) error {
	ctx = request.WithNamespace(ctx, namespace)
	without := func(_ context.Context, object, _ runtime.Object) (runtime.Object, error) {
		vm, ok := object.(*vmopv1.VirtualMachine)
		if !ok {
			return nil, fmt.Errorf("remove a finalizer: %T is not a virtual machine", object)
		}
		vm.Finalizers = slices.DeleteFunc(vm.Finalizers, func(f string) bool { return f == finalizer })
		return vm, nil
	}
	objectInfo := rest.WrapUpdatedObjectInfo(sameUID{uid}, without)
	_, _, err := r.machines.Update(ctx, name, objectInfo, rest.ValidateAllObjectFunc, rest.ValidateAllObjectUpdateFunc, false, &metav1.UpdateOptions{FieldManager: vsphere.FieldManager})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// doomed are the machines that Pacific made, for the end of their Namespace.
type doomed struct {
	machines *vmregistry.REST
	origins  vmregistry.Origins
}

func (d doomed) DeleteAll(ctx context.Context, namespace string) (left int, err error) {
	ctx = request.WithNamespace(ctx, namespace)
	list, err := d.machines.List(ctx, &metainternalversion.ListOptions{})
	if err != nil {
		return 0, err
	}
	for _, vm := range list.(*vmopv1.VirtualMachineList).Items {
		if !d.origins.Created(vm.UID) {
			continue
		}
		left++
		if vm.DeletionTimestamp != nil {
			continue
		}
		_, _, err := d.machines.Delete(ctx, vm.Name, rest.ValidateAllObjectFunc, &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &vm.UID}})
		if err != nil && !apierrors.IsNotFound(err) {
			return left, err
		}
	}
	return left, nil
}

// sameUID takes the object as it is, and only when it is the one of that uid.
type sameUID struct{ uid types.UID }

func (s sameUID) Preconditions() *metav1.Preconditions { return &metav1.Preconditions{UID: &s.uid} }

func (s sameUID) UpdatedObject(_ context.Context, old runtime.Object) (runtime.Object, error) {
	return old.DeepCopyObject(), nil
}
