// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"fmt"

	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
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
		TableConvertor:            availabilityZoneTable{rest.NewDefaultTableConvertor(qualified())},
		CreateStrategy:            scope{namespaced: false},
		DeleteStrategy:            scheme,
	}
	parts := &genericregistry.Store{
		NewFunc:                   func() runtime.Object { return &v1alpha1.Zone{} },
		NewListFunc:               func() runtime.Object { return &v1alpha1.ZoneList{} },
		DefaultQualifiedResource:  v1alpha1.Resource("zones"),
		SingularQualifiedResource: v1alpha1.Resource("zone"),
		TableConvertor:            zoneTable{clock: clock, fallback: rest.NewDefaultTableConvertor(v1alpha1.Resource("zones"))},
		CreateStrategy:            scope{namespaced: true},
		DeleteStrategy:            scheme,
	}
	for _, store := range []*genericregistry.Store{zones, parts} {
		if err := store.CompleteWithOptions(&generic.StoreOptions{RESTOptions: getter}); err != nil {
			return nil, fmt.Errorf("set up storage of %s: %w", store.DefaultQualifiedResource, err)
		}
	}
	return &Storage{
		AvailabilityZone: &AvailabilityZoneREST{reads: reads{store: zones}, sight: sight},
		Zone:             &ZoneREST{reads: reads{store: parts}},
	}, nil
}

// scope says whether a resource lies in namespaces. It is all that the generic
// store asks of a strategy as long as nobody writes, and nobody can.
type scope struct {
	rest.RESTCreateStrategy
	namespaced bool
}

func (s scope) NamespaceScoped() bool { return s.namespaced }

// reads are the endpoints that both resources have. It holds the generic store
// rather than embedding it, which offers writes too.
type reads struct {
	store *genericregistry.Store
}

var (
	_ rest.Storage                = reads{}
	_ rest.StorageWithReadiness   = reads{}
	_ rest.StorageVersionProvider = reads{}
	_ rest.Scoper                 = reads{}
	_ rest.SingularNameProvider   = reads{}
	_ rest.Getter                 = reads{}
	_ rest.Lister                 = reads{}
	_ rest.Watcher                = reads{}
)

// New implements rest.Storage.
func (r reads) New() runtime.Object { return r.store.New() }

// NewList implements rest.Lister.
func (r reads) NewList() runtime.Object { return r.store.NewList() }

// Destroy implements rest.Storage.
func (r reads) Destroy() { r.store.Destroy() }

// ReadinessCheck implements rest.StorageWithReadiness.
func (r reads) ReadinessCheck() error { return r.store.ReadinessCheck() }

// StorageVersion implements rest.StorageVersionProvider.
func (r reads) StorageVersion() runtime.GroupVersioner { return r.store.StorageVersion() }

// NamespaceScoped implements rest.Scoper.
func (r reads) NamespaceScoped() bool { return r.store.CreateStrategy.NamespaceScoped() }

// GetSingularName implements rest.SingularNameProvider.
func (r reads) GetSingularName() string { return r.store.GetSingularName() }

// ConvertToTable implements rest.TableConvertor.
func (r reads) ConvertToTable(ctx context.Context, object, tableOptions runtime.Object) (*metav1.Table, error) {
	return r.store.ConvertToTable(ctx, object, tableOptions)
}

// Get implements rest.Getter.
func (r reads) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	object, err := r.store.Get(ctx, name, options)
	if err != nil {
		return nil, registry.StatusError(err, r.store.DefaultQualifiedResource, name)
	}
	return object, nil
}

// List implements rest.Lister.
func (r reads) List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error) {
	list, err := r.store.List(ctx, options)
	if err != nil {
		return nil, registry.StatusError(err, r.store.DefaultQualifiedResource, "")
	}
	return list, nil
}

// Watch implements rest.Watcher.
func (r reads) Watch(ctx context.Context, options *metainternalversion.ListOptions) (watch.Interface, error) {
	events, err := r.store.Watch(ctx, options)
	if err != nil {
		return nil, registry.StatusError(err, r.store.DefaultQualifiedResource, "")
	}
	return events, nil
}

// ZoneREST serves the zones of namespaces.
type ZoneREST struct{ reads }
