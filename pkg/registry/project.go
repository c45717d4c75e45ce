// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"iter"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/openpacific/pacific/pkg/livestore"
	"github.com/openpacific/pacific/pkg/registry/projected"
)

// Project has the kind show what a projection does, from when it is opened on. The projection may show before that: it
// keeps what is there, so that a standby is warm.
func (r *Resource[T, L]) Project(objects *projected.Objects[T]) { r.projected = objects }

// Into hands what a projection shows to a mirror, under the keys of a kind.
type Into[T any] struct {
	Mirror livestore.Mirror
	// Prefix is where the keys begin, such as "/virtualmachines".
	Prefix string
}

// Replace implements projected.Sink.
func (i Into[T]) Replace(objects iter.Seq[*T]) {
	all := map[string]runtime.Object{}
	for object := range objects {
		accessor := metaOf(object)
		all[keyOf(i.Prefix, accessor.GetNamespace(), accessor.GetName())] = any(object).(runtime.Object)
	}
	i.Mirror.Replace(all)
}

// Apply implements projected.Sink.
func (i Into[T]) Apply(changes []projected.Change[T]) {
	keyed := make([]livestore.Change, len(changes))
	for n, change := range changes {
		keyed[n].Key = keyOf(i.Prefix, change.Namespace, change.Name)
		if change.Object != nil {
			keyed[n].Object = any(change.Object).(runtime.Object)
		}
	}
	i.Mirror.Apply(keyed)
}

// keyOf is where an object lies in a store. The namespace is "" for what lies in none.
func keyOf(prefix, namespace, name string) string {
	if namespace == "" {
		return prefix + "/" + name
	}
	return prefix + "/" + namespace + "/" + name
}

// Backend makes happen in vCenter what is written to a kind. Each method returns only after the projection has shown
// the effect, so that writers read what they wrote, and wraps failure.Conflict when what is in vCenter was not what
// current was made from: the write is then made again once that shows.
//
// The objects have no resourceVersion and belong to the Backend, except for current, which is the one that is shown
// and must not be changed.
type Backend[T any] interface {
	Create(ctx context.Context, object *T) error
	Update(ctx context.Context, current, desired *T) error
	Delete(ctx context.Context, current *T) error
}

// Written is a Backend as a store needs it; nil for nil.
func Written[T any](backend Backend[T]) livestore.Backend {
	if backend == nil {
		return nil
	}
	return written[T]{backend}
}

type written[T any] struct{ to Backend[T] }

func (w written[T]) Create(ctx context.Context, key string, obj runtime.Object) error {
	object, err := typed[T](key, obj)
	if err != nil {
		return err
	}
	return w.to.Create(ctx, object)
}

func (w written[T]) Update(ctx context.Context, key string, current, desired runtime.Object) error {
	before, err := typed[T](key, current)
	if err != nil {
		return err
	}
	after, err := typed[T](key, desired)
	if err != nil {
		return err
	}
	return w.to.Update(ctx, before, after)
}

func (w written[T]) Delete(ctx context.Context, key string, current runtime.Object) error {
	object, err := typed[T](key, current)
	if err != nil {
		return err
	}
	return w.to.Delete(ctx, object)
}

func typed[T any](key string, obj runtime.Object) (*T, error) {
	object, ok := any(obj).(*T)
	if !ok {
		return nil, fmt.Errorf("write %s: a %T is not a %T", key, obj, object)
	}
	return object, nil
}
