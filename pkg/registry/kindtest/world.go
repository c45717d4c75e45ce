// SPDX-License-Identifier: Apache-2.0

package kindtest

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/openpacific/pacific/pkg/livestore"
)

// World is an outside world in which every change succeeds at once. It is a backend; Into says what shows it.
type World struct {
	mu    sync.Mutex
	into  livestore.Mirror
	err   error
	first func()
}

var _ livestore.Backend = (*World)(nil)

// Into has changes show in a mirror.
func (w *World) Into(mirror livestore.Mirror) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.into = mirror
}

// Fail has every change fail, until it is called with nil.
func (w *World) Fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

// BeforeFirst calls f before the next change, once.
func (w *World) BeforeFirst(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.first = f
}

func (w *World) apply(key string, obj runtime.Object) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if w.first != nil {
		w.first()
		w.first = nil
	}
	w.into.Apply([]livestore.Change{{Key: key, Object: obj}})
	return nil
}

// Create implements livestore.Backend.
func (w *World) Create(_ context.Context, key string, obj runtime.Object) error {
	return w.apply(key, obj.DeepCopyObject())
}

// Update implements livestore.Backend.
func (w *World) Update(_ context.Context, key string, _, desired runtime.Object) error {
	return w.apply(key, desired.DeepCopyObject())
}

// Delete implements livestore.Backend.
func (w *World) Delete(_ context.Context, key string, _ runtime.Object) error {
	return w.apply(key, nil)
}
