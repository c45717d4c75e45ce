// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"path"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/etcd3"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/apiserver/pkg/storage/value/encrypt/identity"
	"k8s.io/client-go/tools/cache"

	"github.com/openpacific/pacific/pkg/livestore"
)

// Objects is the etcd in which declared kinds are kept.
type Objects struct {
	Client *clientv3.Client
	// Prefix is the key under which they lie, such as "/pacific/objects".
	Prefix string
	// Leads says why this process must not write now. Each write compares and swaps besides, so that two who write do not
	// harm each other.
	Leads func() error
}

// ServeDeclared serves a kind that exists in no vCenter: somebody declares it, and it is kept in etcd.
func ServeDeclared[T, L any](frame *Frame, kind *Kind[T, L]) (*Resource[T, L], error) {
	if err := kind.check(); err != nil {
		return nil, err
	}
	switch {
	case kind.Rules == nil:
		return nil, fmt.Errorf("%s are declared by nobody: they have no rules", kind.Resource)
	case kind.Live:
		return nil, fmt.Errorf("%s show values that nobody declared, though nothing else is there", kind.Resource)
	case frame.Objects == nil:
		return serveLive(frame, kind, nil, frame.Unavailable)
	}
	return serve(frame, kind, frame.Objects.decorator(kind.GroupResource(), frame.codec(kind.Versions[0])))
}

// decorator makes the storage of a declared kind: upstream's, over the client that is there.
func (o *Objects) decorator(resource schema.GroupResource, codec runtime.Codec) generic.StorageDecorator {
	return func(
		config *storagebackend.ConfigForResource, resourcePrefix string, keyFunc func(obj runtime.Object) (string, error),
		newFunc, newListFunc func() runtime.Object, getAttrs storage.AttrFunc, triggers storage.IndexerFuncs,
		indexers *cache.Indexers,
	) (storage.Interface, factory.DestroyFunc, error) {
		client := &kubernetes.Client{Client: o.Client}
		client.Kubernetes = client
		versioner := storage.APIObjectVersioner{}
		// The groups of two kinds may have resources of one name.
		prefix := path.Join(o.Prefix, resource.Group)
		kept, err := etcd3.New(client, nil, codec, newFunc, newListFunc, prefix, resourcePrefix, resource,
			identity.NewEncryptCheckTransformer(), etcd3.NewDefaultLeaseManagerConfig(),
			etcd3.NewDefaultDecoder(codec, versioner), versioner)
		if err != nil {
			return nil, func() {}, fmt.Errorf("store %s in etcd: %w", resource, err)
		}
		return livestore.Cached(leading{kept, o.Leads})(config, resourcePrefix, keyFunc, newFunc, newListFunc, getAttrs,
			triggers, indexers)
	}
}

// leading is a storage that is written only while this process leads.
type leading struct {
	storage.Interface
	leads func() error
}

func (l leading) Create(ctx context.Context, key string, obj, out runtime.Object, ttl uint64) error {
	if err := l.leads(); err != nil {
		return err
	}
	return l.Interface.Create(ctx, key, obj, out, ttl)
}

func (l leading) Delete(ctx context.Context, key string, out runtime.Object, preconditions *storage.Preconditions,
	validate storage.ValidateObjectFunc, cached runtime.Object, options storage.DeleteOptions) error {
	if err := l.leads(); err != nil {
		return err
	}
	return l.Interface.Delete(ctx, key, out, preconditions, validate, cached, options)
}

func (l leading) GuaranteedUpdate(ctx context.Context, key string, destination runtime.Object, ignoreNotFound bool,
	preconditions *storage.Preconditions, tryUpdate storage.UpdateFunc, cached runtime.Object) error {
	if err := l.leads(); err != nil {
		return err
	}
	return l.Interface.GuaranteedUpdate(ctx, key, destination, ignoreNotFound, preconditions, tryUpdate, cached)
}
