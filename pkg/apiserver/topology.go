// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	flowcontrolrequest "k8s.io/apiserver/pkg/util/flowcontrol/request"
	"k8s.io/utils/clock"

	topologyv1 "github.com/openpacific/pacific/pkg/apis/topology/v1alpha1"
	"github.com/openpacific/pacific/pkg/livestore"
	topologyregistry "github.com/openpacific/pacific/pkg/registry/topology"
)

// mirrors hand the vSphere Namespaces to several, one after the other.
type mirrors []livestore.Mirror

func (m mirrors) Replace(objects map[string]runtime.Object) {
	for _, mirror := range m {
		mirror.Replace(objects)
	}
}

func (m mirrors) Apply(changes []livestore.Change) {
	for _, mirror := range m {
		mirror.Apply(changes)
	}
}

// zoneStores are the live stores of AvailabilityZones and Zones. They have no
// backend: nobody writes.
type zoneStores struct {
	availabilityZones, zones *livestore.Store
}

// newZoneStores makes both stores, empty as yet.
func newZoneStores(codecs serializer.CodecFactory, sequence *livestore.Sequence, clock clock.Clock, unavailable func() error) (zoneStores, error) {
	config := livestore.Config{
		GroupResource:  topologyv1.Resource("availabilityzones"),
		Codec:          codecs.LegacyCodec(topologyv1.SchemeGroupVersion),
		NewFunc:        func() runtime.Object { return &topologyv1.AvailabilityZone{} },
		NewListFunc:    func() runtime.Object { return &topologyv1.AvailabilityZoneList{} },
		ResourcePrefix: "/availabilityzones",
		Sequence:       sequence,
		Clock:          clock,
		Unavailable:    unavailable,
	}
	availabilityZones, err := livestore.New(config)
	if err != nil {
		return zoneStores{}, err
	}
	config.GroupResource = topologyv1.Resource("zones")
	config.NewFunc = func() runtime.Object { return &topologyv1.Zone{} }
	config.NewListFunc = func() runtime.Object { return &topologyv1.ZoneList{} }
	config.ResourcePrefix = "/zones"
	zones, err := livestore.New(config)
	if err != nil {
		return zoneStores{}, err
	}
	return zoneStores{availabilityZones: availabilityZones, zones: zones}, nil
}

// installZones serves the AvailabilityZones and Zones of the stores.
func installZones(server *genericapiserver.GenericAPIServer, scheme *runtime.Scheme, codecs serializer.CodecFactory, stores zoneStores,
	sight topologyregistry.Sight, counts flowcontrolrequest.StorageObjectCountTracker, clock clock.PassiveClock) (*topologyregistry.Storage, error) {
	storage, err := topologyregistry.NewREST(scheme, restOptions{
		codec: codecs.LegacyCodec(topologyv1.SchemeGroupVersion),
		stores: map[schema.GroupResource]*livestore.Store{
			topologyv1.Resource("availabilityzones"): stores.availabilityZones,
			topologyv1.Resource("zones"):             stores.zones,
		},
		counts: counts,
	}, sight, clock)
	if err != nil {
		return nil, err
	}
	group := genericapiserver.NewDefaultAPIGroupInfo(topologyv1.GroupName, scheme, runtime.NewParameterCodec(scheme), codecs)
	group.VersionedResourcesStorageMap[topologyv1.SchemeGroupVersion.Version] = map[string]rest.Storage{
		"availabilityzones": storage.AvailabilityZone,
		"zones":             storage.Zone,
	}
	group.NegotiatedSerializer = withoutProtobuf{group.NegotiatedSerializer}
	if err := server.InstallAPIGroup(&group); err != nil {
		return nil, fmt.Errorf("install API group %s: %w", topologyv1.GroupName, err)
	}
	return storage, nil
}
