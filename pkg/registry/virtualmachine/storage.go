// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/generic"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"
	"k8s.io/utils/clock"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/openpacific/pacific/pkg/registry"
)

// GroupResource is the resource that this package serves.
func GroupResource() schema.GroupResource {
	return schema.GroupResource{Group: v1alpha5.GroupName, Resource: "virtualmachines"}
}

// Origins knows where virtual machines come from.
type Origins interface {
	// Created tells whether Pacific made the virtual machine of that name, if it is the one with this uid. It is
	// false for one that was in vCenter before, and for one that nobody knows.
	Created(namespace, name string, uid types.UID) bool
}

// Namespaces knows Kubernetes' Namespaces.
type Namespaces interface {
	// Terminating says whether a Namespace is being deleted, or is not there. It is the truth of this moment.
	Terminating(ctx context.Context, name string) (bool, error)
}

// Storage holds the endpoints of the resource.
type Storage struct {
	VirtualMachine *REST
	Status         *StatusREST
}

// REST serves the virtual machines.
type REST struct {
	registry.Reads
	origins    Origins
	grants     Grants
	namespaces Namespaces
	clock      clock.PassiveClock
}

var (
	_ rest.Storage                    = &REST{}
	_ rest.StorageWithReadiness       = &REST{}
	_ rest.StorageVersionProvider     = &REST{}
	_ rest.Scoper                     = &REST{}
	_ rest.SingularNameProvider       = &REST{}
	_ rest.ShortNamesProvider         = &REST{}
	_ rest.StandardStorage            = &REST{}
	_ rest.Patcher                    = &REST{}
	_ rest.TableConvertor             = &REST{}
	_ rest.ResetFieldsStrategy        = &REST{}
	_ rest.MayReturnFullObjectDeleter = &REST{}
)

// NewREST returns the endpoints over the storage that the getter brings.
func NewREST(scheme *runtime.Scheme, getter generic.RESTOptionsGetter, origins Origins, grants Grants, namespaces Namespaces, clock clock.PassiveClock) (*Storage, error) {
	resource := GroupResource()
	rules := strategy{ObjectTyper: scheme, NameGenerator: names.SimpleNameGenerator}
	store := &genericregistry.Store{
		NewFunc:                   func() runtime.Object { return &v1alpha5.VirtualMachine{} },
		NewListFunc:               func() runtime.Object { return &v1alpha5.VirtualMachineList{} },
		DefaultQualifiedResource:  resource,
		SingularQualifiedResource: schema.GroupResource{Group: resource.Group, Resource: "virtualmachine"},
		PredicateFunc:             predicate,
		CreateStrategy:            rules,
		UpdateStrategy:            rules,
		DeleteStrategy:            rules,
		ResetFieldsStrategy:       rules,
		TableConvertor:            table(clock, rest.NewDefaultTableConvertor(resource)),
	}
	if err := store.CompleteWithOptions(storeOptions(getter)); err != nil {
		return nil, fmt.Errorf("set up storage of %s: %w", resource, err)
	}
	machines := &REST{Reads: registry.Reads{Store: store}, origins: origins, grants: grants, namespaces: namespaces, clock: clock}
	// Here both ways to create come by: a POST, and an apply to a name that is not there.
	store.BeginCreate = machines.beginCreate
	return &Storage{VirtualMachine: machines, Status: &StatusREST{machines: machines}}, nil
}

func (r *REST) beginCreate(ctx context.Context, obj runtime.Object, _ *metav1.CreateOptions) (genericregistry.FinishFunc, error) {
	vm, ok := obj.(*v1alpha5.VirtualMachine)
	if !ok {
		return nil, fmt.Errorf("create a virtual machine: got a %T", obj)
	}
	namespace := genericapirequest.NamespaceValue(ctx)
	if err := refuse(r.grants, namespace, vm, nil); err != nil {
		return nil, err
	}
	name := vm.Name
	if vm.GenerateName != "" {
		name = ""
	}
	return nil, apierrors.NewForbidden(GroupResource(), name, fmt.Errorf(
		"creating virtual machines through the API comes later; create it in vCenter in the folder of the namespace %q, and it appears here", namespace))
}

// ShortNames implements rest.ShortNamesProvider.
func (r *REST) ShortNames() []string { return []string{"vm"} }

// GetResetFields implements rest.ResetFieldsStrategy.
func (r *REST) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return r.Store.GetResetFields()
}

// Create implements rest.Creater. It is there so that a client is told what to do
// instead, which a missing verb cannot.
func (r *REST) Create(ctx context.Context, obj runtime.Object, validation rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	created, err := r.Store.Create(ctx, obj, validation, options)
	return created, registry.StatusError(err, GroupResource(), nameOf(obj))
}

// Update implements rest.Updater, and with Get rest.Patcher.
func (r *REST) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, createValidation rest.ValidateObjectFunc,
	updateValidation rest.ValidateObjectUpdateFunc, forceAllowCreate bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	asked := registry.Asked{UpdatedObjectInfo: info, Group: v1alpha5.GroupName, Manager: options.FieldManager, Clock: r.clock}
	obj, created, err := r.Store.Update(ctx, name, granted{unowned(asked), r.grants}, createValidation, updateValidation, forceAllowCreate, options)
	if number := (*strconv.NumError)(nil); errors.As(err, &number) {
		// The generic store parses the version before anything validates it, and would answer with 500.
		err = apierrors.NewInvalid(v1alpha5.GroupVersion.WithKind("VirtualMachine").GroupKind(), name, field.ErrorList{field.Invalid(
			field.NewPath("metadata", "resourceVersion"), number.Num, "is not a version: give the one that was read, or leave it out")})
	}
	return obj, created, registry.StatusError(err, GroupResource(), name)
}

func nameOf(obj runtime.Object) string {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return ""
	}
	return accessor.GetName()
}

// StatusREST serves the status of the virtual machines: to be read.
type StatusREST struct {
	machines *REST
}

var (
	_ rest.Storage        = &StatusREST{}
	_ rest.Patcher        = &StatusREST{}
	_ rest.TableConvertor = &StatusREST{}
)

// New implements rest.Storage.
func (r *StatusREST) New() runtime.Object { return r.machines.New() }

// Destroy implements rest.Storage. The storage is that of the machines, who close it.
func (r *StatusREST) Destroy() {}

// Get implements rest.Getter.
func (r *StatusREST) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	return r.machines.Get(ctx, name, options)
}

// ConvertToTable implements rest.TableConvertor.
func (r *StatusREST) ConvertToTable(ctx context.Context, object, tableOptions runtime.Object) (*metav1.Table, error) {
	return r.machines.ConvertToTable(ctx, object, tableOptions)
}

// Update refuses a PUT and every kind of patch, in so many words: without the
// method, clients would be told no more than that it is missing.
func (r *StatusREST) Update(_ context.Context, name string, _ rest.UpdatedObjectInfo, _ rest.ValidateObjectFunc,
	_ rest.ValidateObjectUpdateFunc, _ bool, _ *metav1.UpdateOptions) (runtime.Object, bool, error) {
	status := apierrors.NewMethodNotSupported(GroupResource(), "update of status")
	status.ErrStatus.Details.Name = name
	status.ErrStatus.Message = errStatusIsReported.Error()
	return nil, false, status
}

var errStatusIsReported = errors.New("the status of a virtual machine is what vCenter reports and cannot be written; " +
	"to change the machine, write its spec or its metadata")
