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
