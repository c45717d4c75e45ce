// SPDX-License-Identifier: Apache-2.0

package projected

import (
	"cmp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// SetCondition lays a condition over what the projection says of the same type in the object of an id, if it is the
// one of that uid: until it is cleared, or the object goes or is another one. It shows with the next Set; news is
// whether there is to be one. Its transition time is given then.
func (o *Objects[T]) SetCondition(id string, uid types.UID, condition metav1.Condition) (news bool) {
	condition.LastTransitionTime = metav1.Time{}
	o.mu.Lock()
	defer o.mu.Unlock()
	is, found := o.shown[id]
	if !found || metaOf(is.object).GetUID() != uid || is.laid[condition.Type] == condition {
		return false
	}
	if is.laid == nil {
		is.laid = map[string]metav1.Condition{}
	}
	is.laid[condition.Type] = condition
	o.shown[id] = is
	return true
}

// ClearCondition takes back what SetCondition said.
func (o *Objects[T]) ClearCondition(id string, uid types.UID, conditionType string) (news bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	is, found := o.shown[id]
	if !found || metaOf(is.object).GetUID() != uid {
		return false
	}
	_, news = is.laid[conditionType]
	delete(is.laid, conditionType)
	return news
}

// dress gives an object the conditions that are laid over, and the times that no condition has yet.
func (o *Objects[T]) dress(object *T, is shown[T]) {
	if o.Conditions == nil {
		return
	}
	list := o.Conditions(object)
	for conditionType, condition := range is.laid {
		i := slices.IndexFunc(*list, func(c metav1.Condition) bool { return c.Type == conditionType })
		switch {
		case i < 0:
			*list = append(*list, condition)
		case o.Settled == nil || !o.Settled((*list)[i]):
			(*list)[i] = condition
		}
	}
	if len(is.laid) > 0 {
		slices.SortFunc(*list, func(a, b metav1.Condition) int { return cmp.Compare(a.Type, b.Type) })
	}
	var before []metav1.Condition
	if is.object != nil {
		before = *o.Conditions(is.object)
	}
	date(*list, before, o.stamp(object, is.object == nil))
}

// stamp is the time of what is new in an object. One that was never seen before takes the time of its creation, so
// that a restart of this process makes no news.
func (o *Objects[T]) stamp(object *T, first bool) metav1.Time {
	if created := metaOf(object).GetCreationTimestamp(); first && !created.IsZero() {
		return created
	}
	now := time.Now
	if o.Clock != nil {
		now = o.Clock.Now
	}
	return metav1.NewTime(now().UTC().Truncate(time.Second))
}

// date sets the time of each condition's last transition, where the projection has set none: the one that it had before
// where its status did not change.
func date(list, before []metav1.Condition, stamp metav1.Time) {
	for i := range list {
		if !list[i].LastTransitionTime.IsZero() {
			continue
		}
		list[i].LastTransitionTime = stamp
		for j := range before {
			if before[j].Type == list[i].Type && before[j].Status == list[i].Status {
				list[i].LastTransitionTime = before[j].LastTransitionTime
			}
		}
	}
}
