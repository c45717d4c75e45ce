// SPDX-License-Identifier: Apache-2.0

package livestore

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/cacher"
	"k8s.io/apiserver/pkg/storage/feature"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/client-go/tools/cache"
)

// Decorator returns what a registry's RESTOptions need to have the upstream cache, and the store below it, as storage.
// The cache shares its objects with the store.
func (s *Store) Decorator() generic.StorageDecorator {
	return func(config *storagebackend.ConfigForResource, resourcePrefix string,
		keyFunc func(runtime.Object) (string, error),
		newFunc, newListFunc func() runtime.Object, getAttrs storage.AttrFunc, triggers storage.IndexerFuncs,
		indexers *cache.Indexers,
	) (storage.Interface, factory.DestroyFunc, error) {
		if strings.TrimSuffix(resourcePrefix, "/")+"/" != s.prefix {
			return nil, func() {}, fmt.Errorf("cache %s: the registry keeps it under %q, the live store under %q",
				config.GroupResource, resourcePrefix, s.prefix)
		}
		return Cached(s)(config, resourcePrefix, keyFunc, newFunc, newListFunc, getAttrs, triggers, indexers)
	}
}

// Cached puts the upstream cache over a storage, for a registry's RESTOptions.
func Cached(below storage.Interface) generic.StorageDecorator {
	return func(
		config *storagebackend.ConfigForResource,
		resourcePrefix string,
		keyFunc func(obj runtime.Object) (string, error),
		newFunc func() runtime.Object,
		newListFunc func() runtime.Object,
		getAttrs storage.AttrFunc,
		triggers storage.IndexerFuncs,
		indexers *cache.Indexers,
	) (storage.Interface, factory.DestroyFunc, error) {
		return decorate(below, cacher.Config{
			Storage:             below,
			Versioner:           below.Versioner(),
			GroupResource:       config.GroupResource,
			EventsHistoryWindow: config.EventsHistoryWindow,
			ResourcePrefix:      resourcePrefix,
			KeyFunc:             keyFunc,
			GetAttrsFunc:        getAttrs,
			IndexerFuncs:        triggers,
			Indexers:            indexers,
			NewFunc:             newFunc,
			NewListFunc:         newListFunc,
			Codec:               config.Codec,
		})
	}
}

// stopPatience is how long a cache may take to stop. Upstream's never does when more events are under way than it has
// room for as it is told to: whoever hands it the next one waits for ever, and Stop for that one.
const stopPatience = 5 * time.Second

func decorate(below storage.Interface, config cacher.Config) (storage.Interface, factory.DestroyFunc, error) {
	c, err := cacher.NewCacherFromConfig(config)
	if err != nil {
		return nil, func() {}, fmt.Errorf("cache %s: %w", config.GroupResource, err)
	}
	delegator := cacher.NewCacheDelegator(c, below)
	var once sync.Once
	destroy := func() {
		once.Do(func() {
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				delegator.Stop()
				c.Stop()
			}()
			select {
			case <-stopped:
			case <-time.After(stopPatience):
			}
		})
	}
	return delegator, destroy, nil
}

// FeatureSupport returns a checker that knows that stores of this package answer requests for watch progress, and
// leaves the rest to the next one. Without it the upstream cache takes the storage below for an etcd it has not met
// yet, refuses watches with initial events, and reads every consistent list from below. A process calls it once, before
// it serves:
//
//	feature.DefaultFeatureSupportChecker = livestore.FeatureSupport(feature.DefaultFeatureSupportChecker)
func FeatureSupport(next feature.FeatureSupportChecker) feature.FeatureSupportChecker {
	return featureSupport{FeatureSupportChecker: next}
}

type featureSupport struct {
	feature.FeatureSupportChecker
}

// Supports implements feature.FeatureSupportChecker.
func (f featureSupport) Supports(name storage.Feature) bool {
	return name == storage.RequestWatchProgress || f.FeatureSupportChecker.Supports(name)
}
