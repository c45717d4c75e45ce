// SPDX-License-Identifier: Apache-2.0

package kindtest

import (
	"context"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/projected"
)

// World is an outside world of objects of a kind, in which every change succeeds at once: a backend, and a projection
// of what there is. Nothing of it shows before ShowAll.
type World[T any] struct {
	shown projected.Objects[T]

	mu    sync.Mutex
	err   error
	first func()
}

var _ registry.Backend[metav1.PartialObjectMetadata] = (*World[metav1.PartialObjectMetadata])(nil)

// Shown is what there is.
func (w *World[T]) Shown() *projected.Objects[T] { return &w.shown }

// ShowAll makes objects all there is.
func (w *World[T]) ShowAll(objects ...*T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shown.Begin()
	w.show(objects)
}

// Show brings objects about that are new or different.
func (w *World[T]) Show(objects ...*T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.show(objects)
}

func (w *World[T]) show(objects []*T) {
	for _, object := range objects {
		accessor := any(object).(metav1.Object)
		w.shown.Set(accessor.GetNamespace()+"/"+accessor.GetName(), object)
	}
	w.shown.Flush()
}

// Hide takes an object away. The namespace is "" for what lies in none.
func (w *World[T]) Hide(namespace, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shown.Drop(namespace + "/" + name)
	w.shown.Flush()
}

// Fail has every change fail, until it is called with nil.
func (w *World[T]) Fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

// BeforeFirst calls f before the next change, once.
func (w *World[T]) BeforeFirst(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.first = f
}

// begin says whether a change fails.
func (w *World[T]) begin() error {
	w.mu.Lock()
	err, first := w.err, w.first
	if err == nil {
		w.first = nil
	}
	w.mu.Unlock()
	if err == nil && first != nil {
		first()
	}
	return err
}

// Create implements registry.Backend.
func (w *World[T]) Create(_ context.Context, object *T) error {
	if err := w.begin(); err != nil {
		return err
	}
	w.Show(copied(object))
	return nil
}

// Update implements registry.Backend.
func (w *World[T]) Update(ctx context.Context, _, desired *T) error { return w.Create(ctx, desired) }

// Delete implements registry.Backend.
func (w *World[T]) Delete(_ context.Context, current *T) error {
	if err := w.begin(); err != nil {
		return err
	}
	accessor := any(current).(metav1.Object)
	w.Hide(accessor.GetNamespace(), accessor.GetName())
	return nil
}

func copied[T any](object *T) *T { return any(any(object).(runtime.Object).DeepCopyObject()).(*T) }
