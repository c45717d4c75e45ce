// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"k8s.io/apimachinery/pkg/watch"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
)

// decide says what is shown of an event to somebody who was shown what is in shown
// before, and keeps that. What they may see no longer goes for them as if it were
// deleted, and what they may see from now on comes as if it were new. Both show
// with the object's next change: one of its access is such a change.
func decide(event watch.Event, shown map[string]bool, sees func(*v1alpha1.Namespace) (bool, error)) (watch.Event, bool, error) {
	namespace, ok := event.Object.(*v1alpha1.Namespace)
	if !ok || event.Type == watch.Bookmark || event.Type == watch.Error {
		return event, true, nil
	}
	before := shown[namespace.Name]
	if event.Type == watch.Deleted {
		delete(shown, namespace.Name)
		return event, before, nil
	}
	now, err := sees(namespace)
	switch {
	case err != nil:
		return event, false, err
	case now && !before:
		shown[namespace.Name] = true
		event.Type = watch.Added
	case !now && before:
		delete(shown, namespace.Name)
		event.Type = watch.Deleted
	}
	return event, now || before, nil
}
