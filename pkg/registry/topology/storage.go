// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/generic"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/topology/v1alpha1"
	"github.com/openpacific/pacific/pkg/registry"
)

// Storage holds the endpoints of both resources.
type Storage struct {
	AvailabilityZone *AvailabilityZoneREST
	Zone             *ZoneREST
}

// NewREST returns the endpoints over the storage that the getter brings.
func NewREST(scheme *runtime.Scheme, getter generic.RESTOptionsGetter, sight Sight, clock clock.PassiveClock) (*Storage, error) {
	zones := &genericregistry.Store{
		NewFunc:                   func() runtime.Object { return &v1alpha1.AvailabilityZone{} },
		NewListFunc:               func() runtime.Object { return &v1alpha1.AvailabilityZoneList{} },
		DefaultQualifiedResource:  qualified(),
		SingularQualifiedResource: v1alpha1.Resource("availabilityzone"),
		TableConvertor:            availabilityZoneTable(rest.NewDefaultTableConvertor(qualified())),
		CreateStrategy:            scope{namespaced: false},
		DeleteStrategy:            scheme,
	}
	parts := &genericregistry.Store{
		NewFunc:                   func() runtime.Object { return &v1alpha1.Zone{} },
		NewListFunc:               func() runtime.Object { return &v1alpha1.ZoneList{} },
		DefaultQualifiedResource:  v1alpha1.Resource("zones"),
		SingularQualifiedResource: v1alpha1.Resource("zone"),
		TableConvertor:            zoneTable(clock, rest.NewDefaultTableConvertor(v1alpha1.Resource("zones"))),
		CreateStrategy:            scope{namespaced: true},
		DeleteStrategy:            scheme,
	}
	for _, store := range []*genericregistry.Store{zones, parts} {
		if err := store.CompleteWithOptions(&generic.StoreOptions{RESTOptions: getter}); err != nil {
			return nil, fmt.Errorf("set up storage of %s: %w", store.DefaultQualifiedResource, err)
		}
	}
	return &Storage{
		AvailabilityZone: &AvailabilityZoneREST{Reads: registry.Reads{Store: zones}, sight: sight},
		Zone:             &ZoneREST{Reads: registry.Reads{Store: parts}},
	}, nil
}

// scope says whether a resource lies in namespaces. It is all that the generic
// store asks of a strategy as long as nobody writes, and nobody can.
type scope struct {
	rest.RESTCreateStrategy
	namespaced bool
}

func (s scope) NamespaceScoped() bool { return s.namespaced }

// ZoneREST serves the zones of namespaces.
type ZoneREST struct{ registry.Reads }
