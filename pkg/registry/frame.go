// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/registry/generic"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	flowcontrolrequest "k8s.io/apiserver/pkg/util/flowcontrol/request"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/livestore"
	"github.com/openpacific/pacific/pkg/registry/projected"
	"github.com/openpacific/pacific/pkg/wirecache"
)

// Frame is what all kinds of a server share. Its fields are set before a kind is served.
type Frame struct {
	// Scheme has the types of all kinds, and Codecs are its codecs.
	Scheme *runtime.Scheme
	Codecs serializer.CodecFactory
	// Sequence gives the versions of what vCenter holds. It begins with a term, before anything is opened.
	Sequence *livestore.Sequence
	// Unavailable says why nothing of vCenter's has been read yet. Nil: a sentence that says no more than that.
	Unavailable func() error
	// Objects is where declared kinds are kept. Nil: nothing is kept, and they show nothing, as is enough for documents.
	Objects *Objects
	// Counts tells flow control how much there is. May be nil.
	Counts flowcontrolrequest.StorageObjectCountTracker
	Clock  clock.Clock
}

// NewScheme has the types of all kinds, each of the groups registered by its own function, and what every API server
// speaks besides.
func NewScheme(groups ...func(*runtime.Scheme)) *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, install := range groups {
		install(scheme)
	}
	unversioned := schema.GroupVersion{Version: "v1"}
	metav1.AddToGroupVersion(scheme, unversioned)
	scheme.AddUnversionedTypes(unversioned,
		&metav1.Status{},
		&metav1.APIVersions{},
		&metav1.APIGroupList{},
		&metav1.APIGroup{},
		&metav1.APIResourceList{},
	)
	return scheme
}

// Resource is a kind that is served.
type Resource[T, L any] struct {
	kind *Kind[T, L]
	live *livestore.Store // nil for a declared kind
	// projected is what is shown once the kind is opened; nil for a declared kind.
	projected *projected.Objects[T]

	polled *poll                  // nil for a kind that is not polled
	store  *genericregistry.Store // for clients
	direct *genericregistry.Store // for this process: no rights are asked for
	reads  *reading[T, L]
}

// Served is a kind that is served, whatever its types.
type Served interface {
	// Open shows what the kind's projection does, from now on.
	Open()
	// ReadinessCheck says why it cannot be read yet.
	ReadinessCheck() error
	// GroupResource is its name.
	GroupResource() schema.GroupResource

	// Polled says that its readiness is its own: that of the whole process leaves it out.
	Polled() bool

	versions() []schema.GroupVersion
	// fed says that the inventory feeds it.
	fed() bool
	// Endpoints are what a server offers of it, by path.
	Endpoints() map[string]rest.Storage
	// cached is a list whose items' JSON may be kept, nil for a kind that shows an object in several ways.
	cached() runtime.Object
	destroy()
}

// ServeLive serves a kind that vCenter holds and that can be written: the backend makes it so.
func ServeLive[T, L any](frame *Frame, kind *Kind[T, L], backend Backend[T]) (*Resource[T, L], error) {
	if kind.Rules == nil {
		return nil, fmt.Errorf("%s cannot be written: it has no rules", kind.Resource)
	}
	return serveLive(frame, kind, Written(backend), frame.Unavailable)
}

// ServeReadOnly serves a kind that vCenter holds and that can be read only.
func ServeReadOnly[T, L any](frame *Frame, kind *Kind[T, L]) (*Resource[T, L], error) {
	if kind.Rules != nil {
		return nil, fmt.Errorf("%s has rules for those who write, and cannot be written", kind.Resource)
	}
	return serveLive(frame, kind, nil, frame.Unavailable)
}

func serveLive[T, L any](frame *Frame, kind *Kind[T, L], backend livestore.Backend,
	unavailable func() error) (*Resource[T, L], error) {
	if err := kind.check(); err != nil {
		return nil, err
	}
	live, err := livestore.New(livestore.Config{
		GroupResource:  kind.GroupResource(),
		Codec:          frame.codec(kind.Versions[0]),
		NewFunc:        kind.newObject,
		NewListFunc:    kind.newList,
		ResourcePrefix: kind.prefix(),
		Backend:        backend,
		Sequence:       frame.Sequence,
		Clock:          frame.Clock,
		IsConflict:     func(err error) bool { return errors.Is(err, failure.Conflict) },
		Unavailable:    unavailable,
	})
	if err != nil {
		return nil, err
	}
	resource, err := serve(frame, kind, live.Decorator())
	if err != nil {
		return nil, err
	}
	resource.live = live
	return resource, nil
}

// prefix is where the keys of a kind begin.
func (k *Kind[T, L]) prefix() string { return "/" + k.Resource }

func (f *Frame) codec(version schema.GroupVersion) runtime.Codec {
	return f.Codecs.LegacyCodec(version)
}

// serve puts the endpoints of a kind over a storage.
func serve[T, L any](frame *Frame, kind *Kind[T, L], decorator generic.StorageDecorator) (*Resource[T, L], error) {
	if err := kind.convertLabels(frame.Scheme); err != nil {
		return nil, err
	}
	store := &genericregistry.Store{
		NewFunc:                   kind.newObject,
		NewListFunc:               kind.newList,
		DefaultQualifiedResource:  kind.GroupResource(),
		SingularQualifiedResource: schema.GroupResource{Group: kind.group(), Resource: kind.Singular},
		PredicateFunc:             kind.predicate,
		CreateStrategy:            scope{namespaced: kind.Namespaced},
		DeleteStrategy:            frame.Scheme,
		TableConvertor:            kind.Printer(frame.Clock),
	}
	if kind.Rules != nil {
		rules := kind.Strategy(frame.Scheme)
		store.CreateStrategy, store.UpdateStrategy, store.DeleteStrategy, store.ResetFieldsStrategy = rules, rules, rules,
			rules
	}
	getter := restOptions{codec: frame.codec(kind.Versions[0]), decorator: decorator, counts: frame.Counts}
	if err := store.CompleteWithOptions(kind.storeOptions(getter)); err != nil {
		return nil, fmt.Errorf("set up storage of %s: %w", kind.GroupResource(), err)
	}
	direct := *store
	// Here all ways to create and to update come by: an apply and a patch too.
	kind.Guards.begin(&direct)
	both := kind.Guards.and(kind.Rights)
	both.begin(store)
	return &Resource[T, L]{
		kind: kind, store: store, direct: &direct,
		reads: &reading[T, L]{kind: kind, store: store, clock: frame.Clock, shown: newMemory(frame.Clock)},
	}, nil
}

// restOptions gives a generic store its storage, where other API servers give it etcd.
type restOptions struct {
	codec     runtime.Codec
	decorator generic.StorageDecorator
	counts    flowcontrolrequest.StorageObjectCountTracker
}

func (r restOptions) GetRESTOptions(resource schema.GroupResource, _ runtime.Object) (generic.RESTOptions, error) {
	config := storagebackend.NewDefaultConfig("/", r.codec)
	config.EventsHistoryWindow = storagebackend.DefaultEventsHistoryWindow
	return generic.RESTOptions{
		StorageConfig:             config.ForResource(resource),
		Decorator:                 r.decorator,
		EnableGarbageCollection:   true,
		DeleteCollectionWorkers:   1, // ours, with the guards, is another
		ResourcePrefix:            resource.Resource,
		CountMetricPollPeriod:     time.Minute,
		StorageObjectCountTracker: r.counts,
	}, nil
}

// Open shows what the kind's projection does, from now on.
func (r *Resource[T, L]) Open() {
	if r.projected != nil {
		r.projected.Attach(Into[T]{Mirror: r.live, Prefix: r.kind.prefix()})
		r.projected = nil
	}
}

// ReadinessCheck says why the kind cannot be read yet.
func (r *Resource[T, L]) ReadinessCheck() error {
	if err := r.reads.store.ReadinessCheck(); err != nil {
		if r.polled != nil {
			return r.polled.unread()
		}
		return fmt.Errorf("%s: %w", r.kind.Title, err)
	}
	return r.polled.check()
}

// GroupResource is the kind's name.
func (r *Resource[T, L]) GroupResource() schema.GroupResource { return r.kind.GroupResource() }

func (r *Resource[T, L]) versions() []schema.GroupVersion { return r.kind.Versions }

// Polled says that the kind is one that is polled.
func (r *Resource[T, L]) Polled() bool { return r.polled != nil }

func (r *Resource[T, L]) fed() bool { return r.live != nil && r.polled == nil }

func (r *Resource[T, L]) destroy() { r.store.Destroy() }

func (r *Resource[T, L]) cached() runtime.Object {
	if r.kind.Sight != nil {
		return nil
	}
	return r.kind.newList()
}

// Endpoints are what a server offers of the kind, by path.
func (r *Resource[T, L]) Endpoints() map[string]rest.Storage {
	all := map[string]rest.Storage{}
	switch {
	case r.kind.Rules == nil:
		all[r.kind.Resource] = r.reads
	case r.kind.Namespaced:
		all[r.kind.Resource] = collecting[T, L]{writing[T, L]{r.reads}}
	default:
		all[r.kind.Resource] = writing[T, L]{r.reads}
	}
	if r.kind.Status != nil {
		all[r.kind.Resource+"/status"] = statusEndpoint[T, L]{r.reads}
	}
	return all
}

// Install serves kinds at all their versions.
func (f *Frame) Install(server *genericapiserver.GenericAPIServer, kinds ...Served) error {
	var groups []string
	byGroup := map[string][]Served{}
	for _, kind := range kinds {
		name := kind.GroupResource().Group
		if byGroup[name] == nil {
			groups = append(groups, name)
		}
		byGroup[name] = append(byGroup[name], kind)
	}
	for _, name := range groups {
		group, err := f.group(name, byGroup[name])
		if err != nil {
			return err
		}
		if err := server.InstallAPIGroup(group); err != nil {
			return fmt.Errorf("install API group %s: %w", name, err)
		}
	}
	return nil
}

// group is an API group with its kinds.
func (f *Frame) group(name string, kinds []Served) (*genericapiserver.APIGroupInfo, error) {
	group := genericapiserver.NewDefaultAPIGroupInfo(name, f.Scheme, runtime.NewParameterCodec(f.Scheme), f.Codecs)
	group.NegotiatedSerializer = withoutProtobuf{group.NegotiatedSerializer}
	for _, kind := range kinds {
		for _, version := range kind.versions() {
			if group.VersionedResourcesStorageMap[version.Version] == nil {
				group.VersionedResourcesStorageMap[version.Version] = map[string]rest.Storage{}
			}
			for path, endpoint := range kind.Endpoints() {
				group.VersionedResourcesStorageMap[version.Version][path] = endpoint
			}
		}
		if list := kind.cached(); list != nil {
			kept, err := wirecache.Wrap(group.NegotiatedSerializer, list)
			if err != nil {
				return nil, fmt.Errorf("keep the JSON of %s: %w", kind.GroupResource(), err)
			}
			group.NegotiatedSerializer = kept
		}
	}
	return &group, nil
}

// withoutProtobuf does not offer protobuf, which vm-operator's types cannot speak. Offered, it would be taken by every
// client that prefers it, the controllers of Kubernetes among them, and then fail at each object: a Namespace could not
// be deleted.
type withoutProtobuf struct{ runtime.NegotiatedSerializer }

func (w withoutProtobuf) SupportedMediaTypes() []runtime.SerializerInfo {
	return slices.DeleteFunc(slices.Clone(w.NegotiatedSerializer.SupportedMediaTypes()),
		func(info runtime.SerializerInfo) bool {
			return info.MediaType == runtime.ContentTypeProtobuf
		})
}

// Ready says which of the kinds that the inventory feeds cannot be read yet, and why. The others say so by themselves:
// an etcd that is away, or a dead content library, does not take the machines with it.
func Ready(kinds ...Served) error {
	var errs []error
	for _, kind := range kinds {
		if kind.fed() {
			errs = append(errs, kind.ReadinessCheck())
		}
	}
	return errors.Join(errs...)
}

// Destroy ends what kinds do in the background, when nobody asks for them any more.
func Destroy(kinds ...Served) {
	for _, kind := range kinds {
		kind.destroy()
	}
}

// Bare is the generic store without anything that refuses, for the API machinery's own checks of a store.
func (r *Resource[T, L]) Bare() *genericregistry.Store {
	bare := *r.direct
	bare.BeginCreate, bare.BeginUpdate = nil, nil
	return &bare
}
