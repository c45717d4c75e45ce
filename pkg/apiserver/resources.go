// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"fmt"
	"slices"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	flowcontrolrequest "k8s.io/apiserver/pkg/util/flowcontrol/request"
	"k8s.io/utils/clock"

	vmopinstall "github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	"github.com/openpacific/pacific/pkg/livestore"
	vmregistry "github.com/openpacific/pacific/pkg/registry/virtualmachine"
	"github.com/openpacific/pacific/pkg/wirecache"
)

// restOptions gives each resource its live store, where other API servers give
// it etcd.
type restOptions struct {
	codec  runtime.Codec
	stores map[schema.GroupResource]*livestore.Store
	counts flowcontrolrequest.StorageObjectCountTracker
}

func (r restOptions) GetRESTOptions(resource schema.GroupResource, _ runtime.Object) (generic.RESTOptions, error) {
	store, found := r.stores[resource]
	if !found {
		return generic.RESTOptions{}, fmt.Errorf("no store serves %s", resource)
	}
	config := storagebackend.NewDefaultConfig("/", r.codec)
	config.EventsHistoryWindow = storagebackend.DefaultEventsHistoryWindow
	return generic.RESTOptions{
		StorageConfig:             config.ForResource(resource),
		Decorator:                 store.Decorator(),
		EnableGarbageCollection:   true,
		DeleteCollectionWorkers:   4,
		ResourcePrefix:            resource.Resource,
		CountMetricPollPeriod:     time.Minute,
		StorageObjectCountTracker: r.counts,
	}, nil
}

// newMachineStore makes the live store of machines, empty as yet.
func newMachineStore(codecs serializer.CodecFactory, backend livestore.Backend, sequence *livestore.Sequence, clock clock.Clock, unavailable func() error) (*livestore.Store, error) {
	resource := vmregistry.GroupResource()
	return livestore.New(livestore.Config{
		GroupResource:  resource,
		Codec:          machineCodec(codecs),
		NewFunc:        func() runtime.Object { return &vmopv1.VirtualMachine{} },
		NewListFunc:    func() runtime.Object { return &vmopv1.VirtualMachineList{} },
		ResourcePrefix: "/" + resource.Resource,
		Backend:        backend,
		Sequence:       sequence,
		Clock:          clock,
		IsConflict:     isConflict,
		Unavailable:    unavailable,
	})
}

func machineCodec(codecs serializer.CodecFactory) runtime.Codec {
	return codecs.LegacyCodec(vmopinstall.Versions()[0])
}

// installMachines serves the machines of a store at every version of their
// group.
func installMachines(server *genericapiserver.GenericAPIServer, scheme *runtime.Scheme, codecs serializer.CodecFactory, machines *livestore.Store,
	origins vmregistry.Origins, grants vmregistry.Grants, namespaces vmregistry.Namespaces, counts flowcontrolrequest.StorageObjectCountTracker, clock clock.PassiveClock) (*vmregistry.Storage, error) {
	storage, err := vmregistry.NewREST(scheme, restOptions{
		codec:  machineCodec(codecs),
		stores: map[schema.GroupResource]*livestore.Store{vmregistry.GroupResource(): machines},
		counts: counts,
	}, origins, grants, namespaces, clock)
	if err != nil {
		return nil, err
	}
	group, err := machineGroup(scheme, codecs, storage)
	if err != nil {
		return nil, err
	}
	if err := server.InstallAPIGroup(group); err != nil {
		return nil, fmt.Errorf("install API group %s: %w", vmregistry.GroupResource().Group, err)
	}
	return storage, nil
}

// machineGroup serves the machines at every version of their group.
func machineGroup(scheme *runtime.Scheme, codecs serializer.CodecFactory, storage *vmregistry.Storage) (*genericapiserver.APIGroupInfo, error) {
	group := genericapiserver.NewDefaultAPIGroupInfo(vmregistry.GroupResource().Group, scheme, runtime.NewParameterCodec(scheme), codecs)
	for _, version := range group.PrioritizedVersions {
		group.VersionedResourcesStorageMap[version.Version] = map[string]rest.Storage{
			"virtualmachines":        storage.VirtualMachine,
			"virtualmachines/status": storage.Status,
		}
	}
	serializer, err := wirecache.Wrap(withoutProtobuf{group.NegotiatedSerializer}, &vmopv1.VirtualMachineList{})
	if err != nil {
		return nil, fmt.Errorf("keep the JSON of machines: %w", err)
	}
	group.NegotiatedSerializer = serializer
	return &group, nil
}

// withoutProtobuf does not offer protobuf, which vm-operator's types cannot
// speak. Offered, it would be taken by every client that prefers it, the
// controllers of Kubernetes among them, and then fail at each object: a
// Namespace could not be deleted.
type withoutProtobuf struct{ runtime.NegotiatedSerializer }

func (w withoutProtobuf) SupportedMediaTypes() []runtime.SerializerInfo {
	return slices.DeleteFunc(slices.Clone(w.NegotiatedSerializer.SupportedMediaTypes()), func(info runtime.SerializerInfo) bool {
		return info.MediaType == runtime.ContentTypeProtobuf
	})
}
