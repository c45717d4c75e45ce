// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"

	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
)

// Reads are the endpoints by which a resource is read, to be embedded by the
// storage of one. It holds the generic store rather than embedding it: what is not
// written here, such as the store's deletion of corrupt objects, is not offered by
// being promoted. Errors come as API statuses, as by StatusError.
type Reads struct {
	Store *genericregistry.Store
}

var (
	_ rest.Storage                = Reads{}
	_ rest.StorageWithReadiness   = Reads{}
	_ rest.StorageVersionProvider = Reads{}
	_ rest.Scoper                 = Reads{}
	_ rest.SingularNameProvider   = Reads{}
	_ rest.Getter                 = Reads{}
	_ rest.Lister                 = Reads{}
	_ rest.Watcher                = Reads{}
)

// New implements rest.Storage.
func (r Reads) New() runtime.Object { return r.Store.New() }

// NewList implements rest.Lister.
func (r Reads) NewList() runtime.Object { return r.Store.NewList() }

// Destroy implements rest.Storage.
func (r Reads) Destroy() { r.Store.Destroy() }

// ReadinessCheck implements rest.StorageWithReadiness.
func (r Reads) ReadinessCheck() error { return r.Store.ReadinessCheck() }

// StorageVersion implements rest.StorageVersionProvider.
func (r Reads) StorageVersion() runtime.GroupVersioner { return r.Store.StorageVersion() }

// NamespaceScoped implements rest.Scoper.
func (r Reads) NamespaceScoped() bool { return r.Store.CreateStrategy.NamespaceScoped() }

// GetSingularName implements rest.SingularNameProvider.
func (r Reads) GetSingularName() string { return r.Store.GetSingularName() }

// ConvertToTable implements rest.TableConvertor.
func (r Reads) ConvertToTable(ctx context.Context, object, tableOptions runtime.Object) (*metav1.Table, error) {
	return r.Store.ConvertToTable(ctx, object, tableOptions)
}

// Get implements rest.Getter.
func (r Reads) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	object, err := r.Store.Get(ctx, name, options)
	if err != nil {
		return nil, StatusError(err, r.Store.DefaultQualifiedResource, name)
	}
	return object, nil
}

// List implements rest.Lister.
func (r Reads) List(ctx context.Context, options *metainternalversion.ListOptions) (runtime.Object, error) {
	list, err := r.Store.List(ctx, options)
	if err != nil {
		return nil, StatusError(err, r.Store.DefaultQualifiedResource, "")
	}
	return list, nil
}

// Watch implements rest.Watcher.
func (r Reads) Watch(ctx context.Context, options *metainternalversion.ListOptions) (watch.Interface, error) {
	events, err := r.Store.Watch(ctx, options)
	if err != nil {
		return nil, StatusError(err, r.Store.DefaultQualifiedResource, "")
	}
	return events, nil
}
