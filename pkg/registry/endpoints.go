// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"reflect"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/watch"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// reading are the endpoints by which a kind is read. It holds the generic store rather than embedding it: what is not
// written here, such as the store's deletion of corrupt objects, is not offered by being promoted. Errors come as API
// statuses, as by StatusError.
type reading[T, L any] struct {
	kind  *Kind[T, L]
	store *genericregistry.Store
	clock clock.PassiveClock
	// shown is what a Sight that hides showed to whom.
	shown *memory
	// polled says why nothing was read yet; nil for a kind that is not polled.
	polled *poll
}

var (
	_ rest.Storage                = &reading[metav1.PartialObjectMetadata, metav1.PartialObjectMetadataList]{}
	_ rest.StorageWithReadiness   = &reading[metav1.PartialObjectMetadata, metav1.PartialObjectMetadataList]{}
	_ rest.StorageVersionProvider = &reading[metav1.PartialObjectMetadata, metav1.PartialObjectMetadataList]{}
	_ rest.Scoper                 = &reading[metav1.PartialObjectMetadata, metav1.PartialObjectMetadataList]{}
	_ rest.SingularNameProvider   = &reading[metav1.PartialObjectMetadata, metav1.PartialObjectMetadataList]{}
	_ rest.ShortNamesProvider     = &reading[metav1.PartialObjectMetadata, metav1.PartialObjectMetadataList]{}
	_ rest.Getter                 = &reading[metav1.PartialObjectMetadata, metav1.PartialObjectMetadataList]{}
	_ rest.Lister                 = &reading[metav1.PartialObjectMetadata, metav1.PartialObjectMetadataList]{}
	_ rest.Watcher                = &reading[metav1.PartialObjectMetadata, metav1.PartialObjectMetadataList]{}
)

// New implements rest.Storage.
func (r *reading[T, L]) New() runtime.Object { return r.store.New() }

// NewList implements rest.Lister.
func (r *reading[T, L]) NewList() runtime.Object { return r.store.NewList() }

// Destroy implements rest.Storage.
func (r *reading[T, L]) Destroy() { r.store.Destroy() }

// ReadinessCheck implements rest.StorageWithReadiness. The whole process is not ready before all of these are, so that
// a polled kind is left out.
func (r *reading[T, L]) ReadinessCheck() error {
	if r.polled != nil {
		return nil
	}
	return r.store.ReadinessCheck()
}

// unread says that a polled kind was not read yet.
func (r *reading[T, L]) unread() error {
	if r.polled == nil || r.store.ReadinessCheck() == nil {
		return nil
	}
	return r.polled.unread()
}

// StorageVersion implements rest.StorageVersionProvider.
func (r *reading[T, L]) StorageVersion() runtime.GroupVersioner { return r.store.StorageVersion() }

// NamespaceScoped implements rest.Scoper.
func (r *reading[T, L]) NamespaceScoped() bool { return r.kind.Namespaced }

// GetSingularName implements rest.SingularNameProvider.
func (r *reading[T, L]) GetSingularName() string { return r.kind.Singular }

// ShortNames implements rest.ShortNamesProvider.
func (r *reading[T, L]) ShortNames() []string { return r.kind.ShortNames }

// ConvertToTable implements rest.TableConvertor.
func (r *reading[T, L]) ConvertToTable(ctx context.Context, object,
	tableOptions runtime.Object) (*metav1.Table, error) {
	return r.store.ConvertToTable(ctx, object, tableOptions)
}

// Get implements rest.Getter.
func (r *reading[T, L]) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	if err := r.unread(); err != nil {
		return nil, StatusError(err, r.kind.GroupResource(), name)
	}
	object, err := r.store.Get(ctx, name, options)
	if err == nil && r.kind.Sight != nil {
		object, err = r.see(ctx, name, object)
	}
	if err != nil {
		return nil, StatusError(err, r.kind.GroupResource(), name)
	}
	return object, nil
}

// List implements rest.Lister.
func (r *reading[T, L]) List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error) {
	if err := r.unread(); err != nil {
		return nil, StatusError(err, r.kind.GroupResource(), "")
	}
	var list runtime.Object
	var err error
	if r.kind.Sight != nil {
		list, err = r.listSeen(ctx, options)
	} else {
		list, err = r.store.List(ctx, options)
	}
	if err != nil {
		return nil, StatusError(err, r.kind.GroupResource(), "")
	}
	return list, nil
}

// Watch implements rest.Watcher.
func (r *reading[T, L]) Watch(ctx context.Context, options *metainternalversion.ListOptions) (watch.Interface, error) {
	if err := r.unread(); err != nil {
		return nil, StatusError(err, r.kind.GroupResource(), "")
	}
	var events watch.Interface
	var err error
	if r.kind.Sight != nil {
		events, err = r.watchSeen(ctx, options)
	} else {
		events, err = r.store.Watch(ctx, options)
	}
	if err != nil {
		return nil, StatusError(err, r.kind.GroupResource(), "")
	}
	return events, nil
}

// writing are the endpoints of a kind that can be written.
type writing[T, L any] struct{ *reading[T, L] }

var (
	_ rest.CreaterUpdater             = writing[metav1.PartialObjectMetadata, metav1.PartialObjectMetadataList]{}
	_ rest.Patcher                    = writing[metav1.PartialObjectMetadata, metav1.PartialObjectMetadataList]{}
	_ rest.GracefulDeleter            = writing[metav1.PartialObjectMetadata, metav1.PartialObjectMetadataList]{}
	_ rest.ResetFieldsStrategy        = writing[metav1.PartialObjectMetadata, metav1.PartialObjectMetadataList]{}
	_ rest.MayReturnFullObjectDeleter = writing[metav1.PartialObjectMetadata, metav1.PartialObjectMetadataList]{}
)

// GetResetFields implements rest.ResetFieldsStrategy.
func (w writing[T, L]) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return w.store.GetResetFields()
}

// DeleteReturnsDeletedObject implements rest.MayReturnFullObjectDeleter.
func (w writing[T, L]) DeleteReturnsDeletedObject() bool { return w.store.DeleteReturnsDeletedObject() }

// Create implements rest.Creater.
func (w writing[T, L]) Create(ctx context.Context, obj runtime.Object, validation rest.ValidateObjectFunc,
	options *metav1.CreateOptions) (runtime.Object, error) {
	name := ""
	if object, err := w.kind.object(obj); err == nil {
		name = metaOf(object).GetName()
	}
	created, err := w.store.Create(ctx, obj, validation, options)
	if err != nil {
		return nil, StatusError(err, w.kind.GroupResource(), name)
	}
	return created, nil
}

// Update implements rest.Updater, and with Get rest.Patcher. Whoever may apply to a name that is not there needs the
// right to create besides, which the endpoint asks for.
func (w writing[T, L]) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo,
	createValidation rest.ValidateObjectFunc,
	updateValidation rest.ValidateObjectUpdateFunc, forceAllowCreate bool,
	options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	if w.kind.Sight != nil {
		// Before the update is looked at: an error of it must not tell what is there.
		if _, err := w.Get(ctx, name, &metav1.GetOptions{}); err != nil && !(apierrors.IsNotFound(err) && forceAllowCreate) {
			return nil, false, err
		}
	}
	if w.kind.Live {
		manager := ""
		if options != nil {
			manager = options.FieldManager
		}
		info = Unowned{
			UpdatedObjectInfo: Asked{UpdatedObjectInfo: info, Group: w.kind.group(), Manager: manager, Clock: w.clock},
			Finalizer:         w.kind.Finalizer, Version: w.kind.Versions[0],
		}
	}
	obj, created, err := w.store.Update(ctx, name, info, createValidation, updateValidation, forceAllowCreate, options)
	if number := (*strconv.NumError)(nil); errors.As(err, &number) {
		// The generic store parses the version before anything validates it, and would answer with 500.
		err = apierrors.NewInvalid(w.kind.Versions[0].WithKind(reflect.TypeFor[T]().Name()).GroupKind(), name,
			field.ErrorList{field.Invalid(
				field.NewPath("metadata", "resourceVersion"), number.Num,
				"is not a version: give the one that was read, or leave it out")})
	}
	if err != nil {
		return nil, false, StatusError(err, w.kind.GroupResource(), name)
	}
	return obj, created, nil
}

// Delete implements rest.GracefulDeleter. Where every object carries the finalizer, the store sets the deletion
// timestamp, and the controller does the rest.
func (w writing[T, L]) Delete(ctx context.Context, name string, validation rest.ValidateObjectFunc,
	options *metav1.DeleteOptions) (runtime.Object, bool, error) {
	if w.kind.Sight != nil || w.kind.Rights.Delete != nil {
		obj, err := w.Get(ctx, name, &metav1.GetOptions{})
		if err != nil {
			return nil, false, err
		}
		if refuse := w.kind.Rights.Delete; refuse != nil {
			if err := refuse(ctx, any(obj).(*T)); err != nil {
				return nil, false, StatusError(err, w.kind.GroupResource(), name)
			}
		}
	}
	obj, immediate, err := w.store.Delete(ctx, name, w.kind.guarded(validation), options)
	return obj, immediate, StatusError(err, w.kind.GroupResource(), name)
}

// statusEndpoint serves the status of a kind: to be read.
type statusEndpoint[T, L any] struct{ reads *reading[T, L] }

var (
	_ rest.Storage        = statusEndpoint[metav1.PartialObjectMetadata, metav1.PartialObjectMetadataList]{}
	_ rest.Patcher        = statusEndpoint[metav1.PartialObjectMetadata, metav1.PartialObjectMetadataList]{}
	_ rest.TableConvertor = statusEndpoint[metav1.PartialObjectMetadata, metav1.PartialObjectMetadataList]{}
)

// New implements rest.Storage.
func (s statusEndpoint[T, L]) New() runtime.Object { return s.reads.New() }

// Destroy implements rest.Storage. The storage is the kind's, which closes it.
func (s statusEndpoint[T, L]) Destroy() {}

// Get implements rest.Getter.
func (s statusEndpoint[T, L]) Get(ctx context.Context, name string,
	options *metav1.GetOptions) (runtime.Object, error) {
	return s.reads.Get(ctx, name, options)
}

// ConvertToTable implements rest.TableConvertor.
func (s statusEndpoint[T, L]) ConvertToTable(ctx context.Context, object,
	tableOptions runtime.Object) (*metav1.Table, error) {
	return s.reads.ConvertToTable(ctx, object, tableOptions)
}

// Update refuses a PUT and every kind of patch, in so many words: without the method, clients would be told no more
// than that it is missing.
func (s statusEndpoint[T, L]) Update(_ context.Context, name string, _ rest.UpdatedObjectInfo,
	_ rest.ValidateObjectFunc,
	_ rest.ValidateObjectUpdateFunc, _ bool, _ *metav1.UpdateOptions) (runtime.Object, bool, error) {
	status := apierrors.NewMethodNotSupported(s.reads.kind.GroupResource(), "update of status")
	status.ErrStatus.Details.Name = name
	status.ErrStatus.Message = s.reads.kind.Status.Error()
	return nil, false, status
}
