// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/authentication/user"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"

	"github.com/openpacific/pacific/pkg/apis/topology/v1alpha1"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry"
)

func qualified() schema.GroupResource { return v1alpha1.Resource("availabilityzones") }

// Sight tells, for each of the namespaces, whether somebody sees it.
type Sight interface {
	Sees(ctx context.Context, who user.Info, namespaces []string) ([]bool, error)
}

// AvailabilityZoneREST serves the zones of the Supervisor, to everybody with the
// namespaces that are theirs.
type AvailabilityZoneREST struct {
	registry.Reads
	sight Sight
}

var _ rest.ShortNamesProvider = &AvailabilityZoneREST{}

// ShortNames implements rest.ShortNamesProvider.
func (r *AvailabilityZoneREST) ShortNames() []string { return []string{"az"} }

// Get implements rest.Getter.
func (r *AvailabilityZoneREST) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	who, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	object, err := r.Reads.Get(ctx, name, options)
	if err != nil {
		return nil, err
	}
	zones := []v1alpha1.AvailabilityZone{*object.(*v1alpha1.AvailabilityZone)}
	if err := r.cut(ctx, who, zones); err != nil {
		return nil, err
	}
	return &zones[0], nil
}

// List implements rest.Lister.
func (r *AvailabilityZoneREST) List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error) {
	who, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	object, err := r.Reads.List(ctx, options)
	if err != nil {
		return nil, err
	}
	list := object.(*v1alpha1.AvailabilityZoneList)
	if err := r.cut(ctx, who, list.Items); err != nil {
		return nil, err
	}
	return list, nil
}

// Watch implements rest.Watcher.
func (r *AvailabilityZoneREST) Watch(ctx context.Context, options *metainternalversion.ListOptions) (watch.Interface, error) {
	who, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	events, err := r.Reads.Watch(ctx, options)
	if err != nil {
		return nil, err
	}
	return registry.Filter(ctx, events, func(event watch.Event) (watch.Event, bool, error) {
		zone, ok := event.Object.(*v1alpha1.AvailabilityZone)
		if !ok || event.Type == watch.Bookmark {
			return event, true, nil
		}
		zones := []v1alpha1.AvailabilityZone{*zone}
		if err := r.cut(ctx, who, zones); err != nil {
			return watch.Event{}, false, err
		}
		event.Object = &zones[0]
		return event, true, nil
	}), nil
}

// cut takes out of the zones the namespaces that the caller does not see. The maps
// belong to the store, so they are not changed but replaced.
func (r *AvailabilityZoneREST) cut(ctx context.Context, who user.Info, zones []v1alpha1.AvailabilityZone) error {
	all := sets.New[string]()
	for i := range zones {
		all.Insert(slices.Collect(maps.Keys(zones[i].Spec.Namespaces))...)
	}
	if len(all) == 0 {
		return nil
	}
	names := sets.List(all)
	answers, err := r.sight.Sees(ctx, who, names)
	if err != nil {
		// Whatever the reason is: neither all nor nothing is the answer.
		return registry.StatusError(fmt.Errorf("find out which namespaces %q sees: %w: %v", who.GetName(), failure.Unavailable, err), qualified(), "")
	}
	for i, name := range names {
		if !answers[i] {
			all.Delete(name)
		}
	}
	for i := range zones {
		seen := make(map[string]v1alpha1.NamespaceInfo, len(zones[i].Spec.Namespaces))
		for name, info := range zones[i].Spec.Namespaces {
			if all.Has(name) {
				seen[name] = info
			}
		}
		zones[i].Spec.Namespaces = seen
	}
	return nil
}

func caller(ctx context.Context) (user.Info, error) {
	who, found := genericapirequest.UserFrom(ctx)
	if !found || who == nil {
		return nil, apierrors.NewForbidden(qualified(), "", errors.New("nobody is logged in"))
	}
	return who, nil
}
