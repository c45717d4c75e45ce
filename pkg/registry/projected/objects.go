// SPDX-License-Identifier: Apache-2.0

package projected

import (
	"iter"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// Change is what has become of a name.
type Change[T any] struct {
	Namespace, Name string
	Object          *T // nil: gone
}

// Sink takes what is shown: first the whole truth, then what changes, a call for each step. It may set the objects'
// resourceVersion and must change nothing else of them. The changes are not to be kept.
type Sink[T any] interface {
	Replace(objects iter.Seq[*T])
	Apply(changes []Change[T])
}

// Objects are what a projection shows of a kind, each by the id of what it stands for: an object may change its name,
// and stays the same. T is the struct of an API object. The zero value shows nothing; its exported fields are set
// before use.
//
// Begin, Set, Drop, SetCondition, ClearCondition and Flush make up a step: the projection calls them under a lock of
// its own. The others may be called by anybody.
type Objects[T any] struct {
	// Conditions are an object's. Nil: it has none.
	Conditions func(*T) *[]metav1.Condition
	// Settled says of a condition of the projection that it leaves a controller nothing to say. Nil: none does.
	Settled func(metav1.Condition) bool
	Clock   clock.PassiveClock // Nil: the real one.

	mu    sync.Mutex
	shown map[string]shown[T]
	// before is what was shown until the whole truth began anew; nil while none has begun.
	before map[string]shown[T]
	// whole says that there was a whole truth.
	whole bool
	// open says that a step has begun.
	open  bool
	step  step[T]
	sinks []*attached[T]
	// joining are sinks that have been attached in the middle of a step.
	joining []*attached[T]
	waiters map[string]map[chan struct{}]struct{}
}

// shown is an object with what controllers say of it, by the types of the conditions.
type shown[T any] struct {
	object *T
	laid   map[string]metav1.Condition
}

// attached is a sink.
type attached[T any] struct{ Sink[T] }

// Attach hands everything to a sink, and every step from here on, until it is detached.
func (o *Objects[T]) Attach(sink Sink[T]) (detach func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	this := &attached[T]{sink}
	if o.open {
		o.joining = append(o.joining, this)
	} else {
		o.join(this)
	}
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		is := func(other *attached[T]) bool { return other == this }
		o.sinks, o.joining = slices.DeleteFunc(o.sinks, is), slices.DeleteFunc(o.joining, is)
	}
}

func (o *Objects[T]) join(sink *attached[T]) {
	o.sinks = append(o.sinks, sink)
	if o.whole {
		sink.Replace(o.all)
	}
}

func (o *Objects[T]) all(yield func(*T) bool) {
	for _, is := range o.shown {
		if !yield(is.object) {
			return
		}
	}
}

// Begin has the whole truth told anew: what is not Set until the next Flush is gone.
func (o *Objects[T]) Begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open = true
	if o.before == nil {
		o.before = o.shown
	}
	if o.before == nil {
		o.before = map[string]shown[T]{}
	}
	o.shown = make(map[string]shown[T], len(o.before))
}

// Set says what the object of an id is. The object, which nobody else has seen, is not the projection's any more, nor
// is its list of conditions.
func (o *Objects[T]) Set(id string, object *T) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.touch(id)
	is, found := o.shown[id]
	if !found {
		is = o.before[id]
	}
	was := is.object
	if was != nil && metaOf(was).GetUID() != metaOf(object).GetUID() {
		is = shown[T]{} // another one, of which nobody has said anything
	}
	o.dress(object, is)
	moved := was == nil || nameOf(was) != nameOf(object)
	if moved || !Same(was, object) {
		o.left(was)
		o.taken(object)
		is.object = object
	}
	if o.shown == nil {
		o.shown = map[string]shown[T]{}
	}
	o.shown[id] = is
}

// Drop says that there is no object of an id.
func (o *Objects[T]) Drop(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.touch(id)
	o.left(o.shown[id].object)
	delete(o.shown, id)
	delete(o.before, id)
}

// Flush ends a step: what changed in it is handed on as one.
func (o *Objects[T]) Flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.before != nil:
		o.before, o.whole = nil, true
		for _, sink := range o.sinks {
			sink.Replace(o.all)
		}
		o.wakeAll()
	case o.whole && len(o.step.changes) > 0:
		for _, sink := range o.sinks {
			sink.Apply(o.step.changes)
		}
	}
	for _, sink := range o.joining {
		o.join(sink)
	}
	o.joining, o.open = nil, false
	for _, id := range o.step.ids {
		o.wake(id)
	}
	o.step.end()
}

// touch notes that an id was looked at. Of a whole truth nothing is noted, for all of it is handed on.
func (o *Objects[T]) touch(id string) {
	o.open = true
	if o.before == nil {
		o.step.ids = append(o.step.ids, id)
	}
}

func (o *Objects[T]) left(object *T) {
	if object != nil && o.before == nil {
		o.step.leave(object)
	}
}

func (o *Objects[T]) taken(object *T) {
	if o.before == nil {
		o.step.take(object)
	}
}

// Get returns the object of an id, nil if there is none. It must not be changed.
func (o *Objects[T]) Get(id string) *T {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.shown[id].object
}

// Same compares two objects but for their resourceVersion, which a store gives.
func Same[T any](a, b *T) bool {
	if a == b {
		return true
	}
	return equality.Semantic.DeepEqual(unversioned(a), unversioned(b))
}

// unversioned is an object without a resourceVersion: itself, or a shallow copy.
func unversioned[T any](object *T) *T {
	if metaOf(object).GetResourceVersion() == "" {
		return object
	}
	bare := *object
	metaOf(&bare).SetResourceVersion("")
	return &bare
}

// metaOf is the metadata of an object, which every API object has.
func metaOf[T any](object *T) metav1.Object { return any(object).(metav1.Object) }

func nameOf[T any](object *T) types.NamespacedName {
	m := metaOf(object)
	return types.NamespacedName{Namespace: m.GetNamespace(), Name: m.GetName()}
}
