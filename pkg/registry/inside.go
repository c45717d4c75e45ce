// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/endpoints/request"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/livestore"
)

// Inside is the way in for the controllers of this process, and for other kinds: everything is seen, and nobody's
// rights are asked for. Guards refuse as they do for clients.
type Inside[T, L any] struct {
	kind   *Kind[T, L]
	direct *genericregistry.Store
	live   *livestore.Store // nil for a declared kind
}

// Inside is the way in for this process.
func (r *Resource[T, L]) Inside() Inside[T, L] {
	return Inside[T, L]{kind: r.kind, direct: r.direct, live: r.live}
}

// Get returns an object, as it is now. It wraps failure.NotFound where there is none. The namespace is "" for what lies
// in none.
func (i Inside[T, L]) Get(ctx context.Context, namespace, name string) (*T, error) {
	obj, err := i.direct.Get(request.WithNamespace(ctx, namespace), name, &metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%w: %w", failure.NotFound, err)
	}
	if err != nil {
		return nil, err
	}
	return i.kind.object(obj)
}

// List returns the objects of a namespace, "" for all. They are shared and must not be changed.
func (i Inside[T, L]) List(ctx context.Context, namespace string) ([]*T, error) {
	obj, err := i.direct.List(request.WithNamespace(ctx, namespace), &metainternalversion.ListOptions{})
	if err != nil {
		return nil, err
	}
	list, ok := any(obj).(*L)
	if !ok {
		return nil, fmt.Errorf("list %s: got a %T", i.kind.Title, obj)
	}
	return i.kind.pointers(list), nil
}

// Update changes an object, again if somebody was faster.
func (i Inside[T, L]) Update(ctx context.Context, namespace, name string, change func(*T)) error {
	info := rest.DefaultUpdatedObjectInfo(nil, func(_ context.Context, _, old runtime.Object) (runtime.Object, error) {
		object, err := i.kind.object(old.DeepCopyObject())
		if err != nil {
			return nil, err
		}
		change(object)
		return any(object).(runtime.Object), nil
	})
	_, _, err := i.direct.Update(request.WithNamespace(ctx, namespace), name, info,
		rest.ValidateAllObjectFunc, rest.ValidateAllObjectUpdateFunc, false,
		&metav1.UpdateOptions{FieldManager: vsphere.FieldManager})
	return StatusError(err, i.kind.GroupResource(), name)
}

// Report changes the status of the object of that uid, of a declared kind: what vCenter holds shows its own. Whatever
// else change does to the object is dropped. It is not an error when the object is gone.
func (i Inside[T, L]) Report(ctx context.Context, namespace, name string, uid types.UID, change func(status *T)) error {
	changed := func(_ context.Context, object, _ runtime.Object) (runtime.Object, error) {
		now, err := i.kind.object(object)
		if err != nil {
			return nil, err
		}
		told, err := i.kind.object(object.DeepCopyObject())
		if err != nil {
			return nil, err
		}
		change(told)
		part(now, "Status").Set(part(told, "Status"))
		return object, nil
	}
	ctx = context.WithValue(request.WithNamespace(ctx, namespace), reporting{}, true)
	_, _, err := i.direct.Update(ctx, name, rest.WrapUpdatedObjectInfo(sameUID{uid}, changed),
		rest.ValidateAllObjectFunc, rest.ValidateAllObjectUpdateFunc, false,
		&metav1.UpdateOptions{FieldManager: vsphere.FieldManager})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return StatusError(err, i.kind.GroupResource(), name)
}

// Delete asks for the deletion of the object of that uid. It is not an error when it is gone.
func (i Inside[T, L]) Delete(ctx context.Context, namespace, name string, uid types.UID) error {
	_, _, err := i.direct.Delete(request.WithNamespace(ctx, namespace), name, i.kind.guarded(nil),
		&metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return StatusError(err, i.kind.GroupResource(), name)
}

// Create makes an object. It is not an error that wraps failure.AlreadyExists when it is there: created is false then.
func (i Inside[T, L]) Create(ctx context.Context, object *T) (created bool, err error) {
	obj, _ := any(object).(runtime.Object)
	accessor := metaOf(object)
	_, err = i.direct.Create(request.WithNamespace(ctx, accessor.GetNamespace()), obj, rest.ValidateAllObjectFunc,
		&metav1.CreateOptions{FieldManager: vsphere.FieldManager})
	if apierrors.IsAlreadyExists(err) {
		return false, nil
	}
	return err == nil, StatusError(err, i.kind.GroupResource(), accessor.GetName())
}

// Release removes the kind's finalizer from the object of that uid, so that it goes if it was the last. Nobody else
// can. It is not an error when the object or the finalizer is gone.
func (i Inside[T, L]) Release(ctx context.Context, namespace, name string, uid types.UID) error {
	without := func(_ context.Context, object, _ runtime.Object) (runtime.Object, error) {
		accessor, err := meta.Accessor(object)
		if err != nil {
			return nil, fmt.Errorf("remove a finalizer: %w", err)
		}
		accessor.SetFinalizers(slices.DeleteFunc(accessor.GetFinalizers(),
			func(f string) bool { return f == i.kind.Finalizer }))
		return object, nil
	}
	ctx = context.WithValue(request.WithNamespace(ctx, namespace), releasing{}, true)
	_, _, err := i.direct.Update(ctx, name, rest.WrapUpdatedObjectInfo(sameUID{uid}, without),
		rest.ValidateAllObjectFunc, rest.ValidateAllObjectUpdateFunc, false,
		&metav1.UpdateOptions{FieldManager: vsphere.FieldManager})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return StatusError(err, i.kind.GroupResource(), name)
}

// sameUID takes the object as it is, and only when it is the one of that uid.
type sameUID struct{ uid types.UID }

func (s sameUID) Preconditions() *metav1.Preconditions { return &metav1.Preconditions{UID: &s.uid} }

func (s sameUID) UpdatedObject(_ context.Context, old runtime.Object) (runtime.Object, error) {
	return old.DeepCopyObject(), nil
}

// ListerWatcher lists and watches all objects for an informer inside this process. Those of what vCenter holds are
// shared with all others, and must not be changed.
func (i Inside[T, L]) ListerWatcher() cache.ListerWatcher {
	if i.live != nil {
		return i.live.ListerWatcher()
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			internal, err := internalOptions(options)
			if err != nil {
				return nil, err
			}
			return i.direct.List(ctx, internal)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			internal, err := internalOptions(options)
			if err != nil {
				return nil, err
			}
			events, err := i.direct.Watch(ctx, internal)
			if err != nil {
				return nil, err
			}
			return watch.Filter(events, withoutCache), nil
		},
	}
}

// withoutCache takes an object out of the wrapping in which the watch cache shares its encoding among the watchers.
func withoutCache(event watch.Event) (watch.Event, bool) {
	if wrapped, ok := event.Object.(runtime.CacheableObject); ok {
		event.Object = wrapped.GetObject()
	}
	return event, true
}

func internalOptions(options metav1.ListOptions) (*metainternalversion.ListOptions, error) {
	internal := &metainternalversion.ListOptions{}
	if err := metainternalversion.Convert_v1_ListOptions_To_internalversion_ListOptions(&options, internal,
		nil); err != nil {
		return nil, fmt.Errorf("convert list options: %w", err)
	}
	return internal, nil
}
