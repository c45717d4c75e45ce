// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
)

// view is what the client of a watch has.
type view struct {
	who    caller
	rights *rights
	shown  map[string]types.UID // by name
}

// decide says what is shown of an event, and keeps that. What they may see no
// longer goes for them as if it were deleted, and what they may see from now on
// comes as if it were new. Both show with the object's next change: one of its
// access is such a change.
func (v *view) decide(ctx context.Context, event watch.Event) (watch.Event, bool, error) {
	namespace, ok := event.Object.(*v1alpha1.Namespace)
	if !ok || event.Type == watch.Error {
		return event, true, nil
	}
	if event.Type == watch.Bookmark {
		// The client may go on from here: what it has must not be forgotten sooner.
		for _, uid := range v.shown {
			v.rights.noteShown(v.who, uid)
		}
		return event, true, nil
	}
	_, before := v.shown[namespace.Name]
	var now bool
	seen, err := v.rights.seesEach(ctx, v.who, namespace)
	if err == nil {
		now = seen[0]
	} else if event.Type != watch.Deleted || !before {
		return event, false, err
	}
	switch {
	case event.Type == watch.Deleted && before, !now && before:
		delete(v.shown, namespace.Name)
		event.Type = watch.Deleted
		if !now {
			event.Object = gone(namespace)
		}
	case event.Type == watch.Deleted:
		// Better told of what they never saw than not told of what they did.
	case now:
		v.shown[namespace.Name] = namespace.UID
		v.rights.noteShown(v.who, namespace.UID)
		if !before {
			event.Type = watch.Added
		}
	}
	return event, now || before, nil
}

// gone is what somebody who may see an object no longer is told of it at its end:
// what has become of it since is not for them.
func gone(namespace *v1alpha1.Namespace) *v1alpha1.Namespace {
	return &v1alpha1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: namespace.Name, UID: namespace.UID, ResourceVersion: namespace.ResourceVersion,
		CreationTimestamp: namespace.CreationTimestamp, Labels: namespace.Labels,
	}}
}
