// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/authentication/user"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/utils/clock"
)

// memory keeps what was shown to whom. Users are told apart by name: groups and what else comes with a token may be
// others in the next. Versions do not outlast the process: what was shown at one was shown by it.
type memory struct{ kept *cache.LRUExpireCache }

type sighting struct {
	user string
	uid  types.UID
}

const (
	// sightings is how many are kept: 500 objects for a hundred users.
	sightings = 50_000
	// sightingAge is for how long.
	sightingAge = 24 * time.Hour
)

func newMemory(clock clock.PassiveClock) *memory {
	return &memory{cache.NewLRUExpireCacheWithClock(sightings, clock)}
}

func (m *memory) note(who user.Info, uid types.UID) {
	m.kept.Add(sighting{who.GetName(), uid}, struct{}{}, sightingAge)
}

func (m *memory) has(who user.Info, uid types.UID) bool {
	_, found := m.kept.Get(sighting{who.GetName(), uid})
	return found
}

// caller is who asks.
func (k *Kind[T, L]) caller(ctx context.Context) (user.Info, error) {
	who, found := genericapirequest.UserFrom(ctx)
	if !found || who == nil {
		return nil, apierrors.NewForbidden(k.GroupResource(), "", errors.New("nobody is logged in"))
	}
	return who, nil
}

// see shows the caller an object that they ask for by its name.
func (r *reading[T, L]) see(ctx context.Context, name string, obj runtime.Object) (runtime.Object, error) {
	who, err := r.kind.caller(ctx)
	if err != nil {
		return nil, err
	}
	object, err := r.kind.object(obj)
	if err != nil {
		return nil, err
	}
	if r.kind.Sight.One != nil {
		object, err = r.kind.Sight.One(ctx, who, object)
	} else {
		object, err = r.seeOne(ctx, who, object)
	}
	switch {
	case err != nil:
		return nil, err
	case object == nil:
		return nil, apierrors.NewNotFound(r.kind.GroupResource(), name)
	}
	r.shown.note(who, metaOf(object).GetUID())
	return any(object).(runtime.Object), nil
}

// seeOne shows somebody an object as lists and watches do.
func (r *reading[T, L]) seeOne(ctx context.Context, who user.Info, object *T) (*T, error) {
	seen, err := r.kind.Sight.Each(ctx, who, []*T{object})
	if err != nil {
		return nil, err
	}
	return seen[0], nil
}

// listSeen lists what the caller is shown.
func (r *reading[T, L]) listSeen(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object,
	error) {
	who, err := r.kind.caller(ctx)
	if err != nil {
		return nil, err
	}
	list, endShown, err := r.page(ctx, who, options)
	if err != nil || !r.kind.Sight.Hides {
		return list, err
	}
	accessor, err := metaOfList(list)
	if err != nil {
		return nil, err
	}
	if !endShown && accessor.GetContinue() != "" {
		// The next page would begin behind the name of one that is not shown: the rest comes at once.
		unlimited := options.DeepCopy()
		unlimited.Limit = 0
		if list, _, err = r.page(ctx, who, unlimited); err != nil {
			return nil, err
		}
		if accessor, err = metaOfList(list); err != nil {
			return nil, err
		}
	}
	accessor.SetRemainingItemCount(nil) // it would count what is not shown
	return list, nil
}

func metaOfList(list runtime.Object) (metav1.ListInterface, error) {
	accessor, ok := list.(metav1.ListMetaAccessor)
	if !ok {
		return nil, errors.New("a list without metadata")
	}
	return accessor.GetListMeta(), nil
}

// page lists what is shown to somebody. endShown says whether the last one of the page is.
func (r *reading[T, L]) page(ctx context.Context, who user.Info,
	options *metainternalversion.ListOptions) (_ runtime.Object, endShown bool, err error) {
	obj, err := r.store.List(ctx, options)
	if err != nil {
		return nil, false, err
	}
	list := any(obj).(*L)
	seen, err := r.kind.Sight.Each(ctx, who, r.kind.pointers(list))
	if err != nil {
		return nil, false, err
	}
	shown := make([]T, 0, len(seen))
	for _, object := range seen {
		if object == nil {
			continue
		}
		shown = append(shown, *object)
		if r.kind.Sight.Hides {
			r.shown.note(who, metaOf(object).GetUID())
		}
	}
	*r.kind.itemsOf(list) = shown
	return obj, len(seen) == 0 || seen[len(seen)-1] != nil, nil
}

// watchSeen watches what the caller is shown.
func (r *reading[T, L]) watchSeen(ctx context.Context, options *metainternalversion.ListOptions) (watch.Interface,
	error) {
	who, err := r.kind.caller(ctx)
	if err != nil {
		return nil, err
	}
	view := &view[T, L]{reads: r, who: who, shown: map[types.NamespacedName]types.UID{}}
	if r.kind.Sight.Hides && goesOn(options) {
		if err := view.recall(ctx, options); err != nil {
			return nil, err
		}
	}
	events, err := r.store.Watch(ctx, options)
	if err != nil {
		return nil, err
	}
	return Filter(ctx, events, func(event watch.Event) (watch.Event, bool, error) {
		event, passes, err := view.decide(ctx, event)
		return event, passes, StatusError(err, r.kind.GroupResource(), "")
	}), nil
}

// goesOn says whether a watch goes on from what its client has.
func goesOn(options *metainternalversion.ListOptions) bool {
	if options == nil || options.ResourceVersion == "" || options.ResourceVersion == "0" {
		return false
	}
	return options.SendInitialEvents == nil || !*options.SendInitialEvents
}

// view is what the client of a watch has.
type view[T, L any] struct {
	reads *reading[T, L]
	who   user.Info
	shown map[types.NamespacedName]types.UID
}

// recall finds out what the client was shown at the version from which its watch goes on. When nobody knows any more
// what there was, the answer is 410: the client lists anew.
func (v *view[T, L]) recall(ctx context.Context, options *metainternalversion.ListOptions) error {
	obj, err := v.reads.store.List(ctx, &metainternalversion.ListOptions{
		LabelSelector: options.LabelSelector, FieldSelector: options.FieldSelector,
		ResourceVersion: options.ResourceVersion, ResourceVersionMatch: metav1.ResourceVersionMatchExact,
	})
	if err != nil {
		return err
	}
	all := v.reads.kind.pointers(any(obj).(*L))
	seen, err := v.reads.kind.Sight.Each(ctx, v.who, all)
	if err != nil {
		return err
	}
	for i, object := range all {
		// The right may have gone since, with a Kubernetes Namespace and its RoleBindings for example.
		if accessor := metaOf(object); seen[i] != nil || v.reads.shown.has(v.who, accessor.GetUID()) {
			v.shown[nameOf(accessor)] = accessor.GetUID()
		}
	}
	return nil
}

func nameOf(object metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
}

// decide says what is shown of an event, and keeps that. What they may see no longer goes for them as if it were
// deleted, and what they may see from now on comes as if it were new. Both show with the object's next change.
func (v *view[T, L]) decide(ctx context.Context, event watch.Event) (watch.Event, bool, error) {
	if event.Type == watch.Bookmark {
		// The client may go on from here: what it has must not be forgotten sooner.
		for _, uid := range v.shown {
			v.reads.shown.note(v.who, uid)
		}
		return event, true, nil
	}
	object, ok := any(event.Object).(*T)
	if !ok || event.Type == watch.Error {
		return event, true, nil
	}
	accessor := metaOf(object)
	name := nameOf(accessor)
	_, before := v.shown[name]
	seen, err := v.reads.seeOne(ctx, v.who, object)
	if err != nil && (event.Type != watch.Deleted || !before) {
		return event, false, err
	}
	if seen != nil {
		event.Object = any(seen).(runtime.Object)
	}
	switch {
	case !v.reads.kind.Sight.Hides:
		return event, seen != nil, nil
	case before && (seen == nil || event.Type == watch.Deleted):
		delete(v.shown, name)
		event.Type = watch.Deleted
		if seen == nil {
			event.Object = v.reads.kind.gone(accessor)
		}
	case event.Type == watch.Deleted:
		// Better told of what they never saw than not told of what they did.
	case seen != nil:
		v.shown[name] = accessor.GetUID()
		v.reads.shown.note(v.who, accessor.GetUID())
		if !before {
			event.Type = watch.Added
		}
	}
	return event, seen != nil || before, nil
}

// gone is what somebody who may see an object no longer is told of it at its end: what has become of it since is not
// for them.
func (k *Kind[T, L]) gone(object metav1.Object) runtime.Object {
	last := new(T)
	accessor := metaOf(last)
	accessor.SetNamespace(object.GetNamespace())
	accessor.SetName(object.GetName())
	accessor.SetUID(object.GetUID())
	accessor.SetResourceVersion(object.GetResourceVersion())
	accessor.SetCreationTimestamp(object.GetCreationTimestamp())
	accessor.SetLabels(object.GetLabels())
	return any(last).(runtime.Object)
}
