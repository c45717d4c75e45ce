// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"maps"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/openpacific/pacific/pkg/livestore"
)

// Feed is where a projection hands in the objects of a kind. It may do so at any time: what comes before the kind is opened
// is kept and shown then, so that a standby is warm.
type Feed struct {
	to livestore.Mirror

	mu      sync.Mutex
	opened  bool
	fed     bool                      // a first Replace came
	waiting map[string]runtime.Object // guarded by mu; what is there, until the kind is opened
}

var _ livestore.Mirror = (*Feed)(nil)

// Replace hands in the whole truth.
func (f *Feed) Replace(objects map[string]runtime.Object) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fed = true
	if f.opened {
		f.to.Replace(objects)
		return
	}
	f.waiting = make(map[string]runtime.Object, len(objects))
	maps.Copy(f.waiting, objects)
}

// Apply hands in changes. Those that come before the first Replace are part of its truth.
func (f *Feed) Apply(changes []livestore.Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !f.fed:
	case f.opened:
		f.to.Apply(changes)
	default:
		for _, change := range changes {
			if change.Object == nil {
				delete(f.waiting, change.Key)
			} else {
				f.waiting[change.Key] = change.Object
			}
		}
	}
}

func (f *Feed) open() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.opened {
		return
	}
	f.opened = true
	if f.fed {
		f.to.Replace(f.waiting)
		f.waiting = nil
	}
}

// Show hands in objects that are new or different.
func (r *Resource[T, L]) Show(objects ...*T) {
	changes := make([]livestore.Change, len(objects))
	for i, object := range objects {
		changes[i] = livestore.Change{Key: r.kind.key(metaOf(object)), Object: any(object).(runtime.Object)}
	}
	r.feed.Apply(changes)
}

// ShowAll hands in the whole truth.
func (r *Resource[T, L]) ShowAll(objects ...*T) {
	all := make(map[string]runtime.Object, len(objects))
	for _, object := range objects {
		all[r.kind.key(metaOf(object))] = any(object).(runtime.Object)
	}
	r.feed.Replace(all)
}

// Hide hands in that an object is gone. The namespace is "" for what lies in none.
func (r *Resource[T, L]) Hide(namespace, name string) {
	r.feed.Apply([]livestore.Change{{Key: r.kind.key(&metav1.ObjectMeta{Namespace: namespace, Name: name})}})
}

// key is where an object lies in the store.
func (k *Kind[T, L]) key(object metav1.Object) string {
	return keyOf(k.prefix(), object.GetNamespace(), object.GetName())
}
