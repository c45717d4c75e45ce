// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"

	"github.com/openpacific/pacific/pkg/failure"
)

// collectionWorkers bounds how many deletions of a collection are under way at once. Each may be a task in vCenter.
const collectionWorkers = 8

// guarded puts the guard before a validation. Both see the object that the write is then made conditional upon, so
// nobody slips an annotation in between.
func (k *Kind[T, L]) guarded(validation rest.ValidateObjectFunc) rest.ValidateObjectFunc {
	return func(ctx context.Context, obj runtime.Object) error {
		object, err := k.object(obj)
		if err != nil {
			return fmt.Errorf("delete: %w", err)
		}
		if err := k.guard(ctx, object); err != nil {
			return err
		}
		if validation == nil {
			return nil
		}
		return validation(ctx, obj)
	}
}

// guard says why an object must not be deleted. One that is being deleted already passes.
func (k *Kind[T, L]) guard(ctx context.Context, object *T) error {
	accessor := metaOf(object)
	if k.Guards.Delete == nil || accessor.GetDeletionTimestamp() != nil {
		return nil
	}
	if err := k.Guards.Delete(ctx, object); err != nil {
		return guardError{StatusError(err, k.GroupResource(), accessor.GetName())}
	}
	return nil
}

// guardError is a refusal by the guard, told apart from one by admission.
type guardError struct{ error }

func (g guardError) Unwrap() error { return g.error }

// Status makes it an API status, which the generic store passes on as it is.
func (g guardError) Status() metav1.Status {
	var status apierrors.APIStatus
	if !errors.As(g.error, &status) {
		status = apierrors.NewInternalError(g.error)
	}
	return status.Status()
}

// collecting are the endpoints of a kind that lies in namespaces: with each, all that is in it is deleted.
type collecting[T, L any] struct{ writing[T, L] }

var _ rest.StandardStorage = collecting[metav1.PartialObjectMetadata, metav1.PartialObjectMetadataList]{}

// DeleteCollection implements rest.CollectionDeleter. What a guard keeps is passed over and is missing from the list
// that is returned.
func (c collecting[T, L]) DeleteCollection(ctx context.Context, validation rest.ValidateObjectFunc,
	options *metav1.DeleteOptions,
	listOptions *metainternalversion.ListOptions) (runtime.Object, error) {
	listed, err := c.List(ctx, listOptions)
	if err != nil {
		return nil, err
	}
	list, ok := any(listed).(*L)
	if !ok {
		return nil, fmt.Errorf("delete %s: listed a %T", c.kind.Title, listed)
	}
	if options == nil {
		options = &metav1.DeleteOptions{}
	}
	items := c.kind.pointers(list)
	deleted, errs := c.deleteEach(ctx, items, validation, options)
	if err := ctx.Err(); err != nil {
		return nil, StatusError(fmt.Errorf("delete %s: %w", c.kind.Title, err), c.kind.GroupResource(), "")
	}
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	gone := make([]T, 0, len(items))
	for i, item := range items {
		if deleted[i] {
			gone = append(gone, *item)
		}
	}
	*c.kind.itemsOf(list) = gone
	return listed, nil
}

func (c collecting[T, L]) deleteEach(ctx context.Context, items []*T, validation rest.ValidateObjectFunc,
	options *metav1.DeleteOptions) (deleted []bool, errs []error) {
	deleted, errs = make([]bool, len(items)), make([]error, len(items))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(collectionWorkers, len(items)) {
		workers.Go(func() {
			for i := range next {
				// Deletion strategies write to the options: each has its own.
				deleted[i], errs[i] = c.deleteItem(ctx, items[i], validation, options.DeepCopy())
			}
		})
	}
	for i := range items {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	workers.Wait()
	return deleted, errs
}

// deleteItem deletes one object of a collection. One that is gone counts as deleted, also where another has its name
// now, which stays; one that came under the guard since it was listed is passed over.
func (c collecting[T, L]) deleteItem(ctx context.Context, item *T, validation rest.ValidateObjectFunc,
	options *metav1.DeleteOptions) (bool, error) {
	listed := metaOf(item)
	uid := listed.GetUID()
	preconditions := metav1.Preconditions{UID: &uid}
	if asked := options.Preconditions; asked != nil {
		if asked.UID != nil && *asked.UID != uid {
			return false, StatusError(fmt.Errorf("the uid is %s, not %s: %w", uid, *asked.UID, failure.Conflict),
				c.kind.GroupResource(), listed.GetName())
		}
		preconditions.ResourceVersion = asked.ResourceVersion
	}
	options.Preconditions = &preconditions
	_, _, err := c.Delete(ctx, listed.GetName(), validation, options)
	if apierrors.IsConflict(err) {
		current, missing := c.Get(ctx, listed.GetName(), &metav1.GetOptions{})
		if missing == nil && metaOf(any(current).(*T)).GetUID() != uid {
			return true, nil
		}
	}
	var refused guardError
	switch {
	case errors.As(err, &refused) && apierrors.IsForbidden(err):
		return false, nil
	case apierrors.IsNotFound(err):
		return true, nil
	}
	return err == nil, err
}
