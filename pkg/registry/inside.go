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
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
)

// Readable is what ListerWatcher stands on: a generic store is, and so are the endpoints of a resource.
type Readable interface {
	List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error)
	Watch(ctx context.Context, options *metainternalversion.ListOptions) (watch.Interface, error)
}

// ListerWatcher lists and watches a resource for an informer inside this process.
func ListerWatcher(resource Readable) cache.ListerWatcher {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			internal, err := internalOptions(options)
			if err != nil {
				return nil, err
			}
			return resource.List(ctx, internal)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			internal, err := internalOptions(options)
			if err != nil {
				return nil, err
			}
			events, err := resource.Watch(ctx, internal)
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
	if err := metainternalversion.Convert_v1_ListOptions_To_internalversion_ListOptions(&options, internal, nil); err != nil {
		return nil, fmt.Errorf("convert list options: %w", err)
	}
	return internal, nil
}

// RemoveFinalizer removes a finalizer from the object of that uid, through the storage that serves it, so that the last
// one's removal deletes the object. The namespace is "" for what lies in none. It is not an error when the object or the
// finalizer is gone.
func RemoveFinalizer(ctx context.Context, storage rest.Updater, namespace, name string, uid types.UID, finalizer string) error {
	without := func(_ context.Context, object, _ runtime.Object) (runtime.Object, error) {
		accessor, err := meta.Accessor(object)
		if err != nil {
			return nil, fmt.Errorf("remove a finalizer: %w", err)
		}
		accessor.SetFinalizers(slices.DeleteFunc(accessor.GetFinalizers(), func(f string) bool { return f == finalizer }))
		return object, nil
	}
	_, _, err := storage.Update(request.WithNamespace(ctx, namespace), name, rest.WrapUpdatedObjectInfo(sameUID{uid}, without),
		rest.ValidateAllObjectFunc, rest.ValidateAllObjectUpdateFunc, false, &metav1.UpdateOptions{FieldManager: vsphere.FieldManager})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// sameUID takes the object as it is, and only when it is the one of that uid.
type sameUID struct{ uid types.UID }

func (s sameUID) Preconditions() *metav1.Preconditions { return &metav1.Preconditions{UID: &s.uid} }

func (s sameUID) UpdatedObject(_ context.Context, old runtime.Object) (runtime.Object, error) {
	return old.DeepCopyObject(), nil
}
