// SPDX-License-Identifier: Apache-2.0

package livestore

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3/kubernetes"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/apiserver/pkg/features"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/cacher"
	storagetesting "k8s.io/apiserver/pkg/storage/testing"
	"k8s.io/apiserver/pkg/storage/value/encrypt/identity"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/tools/cache"
	featuregatetesting "k8s.io/component-base/featuregate/testing"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/waittest"
)

// The exported suites of k8s.io/apiserver/pkg/storage/testing, over the bare store and over the upstream cache.
//
// Left out, because they are about what this store does not have:
//
//   - time to live: RunTestCreateWithTTL, RunTestGuaranteedUpdateWithTTL;
//   - how an etcd is read page by page: RunTestList with the gate ListFromCacheSnapshot off, which counts the reads;
//   - stored bytes that differ from what the codec writes, or that cannot be read (a value transformer or codec that
// fails
//     on demand): RunTestGuaranteedUpdateChecksStoredData, RunTestTransformationFailure, RunTestWatchError,
//     RunWatchErrorIsBlockingFurtherEvents, RunTestWatchWithUnsafeDelete, RunTestGetListWithErrorAggregation,
//     RunTestGetListWithoutErrorAggregation, RunTestDeleteExpectedTransformOrDecodeError.
//
// Where a suite runs over one of the two only, the table says why.

// world is what a suite runs against.
type world struct {
	storage.Interface
	store    *Store
	below    *belowCache
	cached   bool
	recorder *storagetesting.KubernetesRecorder
}

func newBareWorld(t *testing.T) *world {
	s := newPodStore(t)
	return &world{Interface: s, store: s}
}

type cacheOption func(*cacher.Config)

func clusterScoped(config *cacher.Config) {
	config.KeyFunc = func(obj runtime.Object) (string, error) { return storage.NoNamespaceKeyFunc("/pods/", obj) }
}

// indexed has the indices that pods have upstream.
func indexed(config *cacher.Config) {
	config.IndexerFuncs = map[string]storage.IndexerFunc{
		"spec.nodeName": func(obj runtime.Object) string { return obj.(*example.Pod).Spec.NodeName },
	}
	config.Indexers = &cache.Indexers{
		"f:spec.nodeName":      func(obj any) ([]string, error) { return []string{obj.(*example.Pod).Spec.NodeName}, nil },
		"f:metadata.namespace": func(obj any) ([]string, error) { return []string{obj.(*example.Pod).Namespace}, nil },
	}
}

func newCachedWorld(t testing.TB, options ...cacheOption) *world {
	t.Helper()
	return cachedWorldOver(t, newPodStore(t), options...)
}

func cachedWorldOver(t testing.TB, s *Store, options ...cacheOption) *world {
	t.Helper()
	below := &belowCache{Store: s, recorder: storagetesting.NewKubernetesRecorder(noEtcd{})}
	config := cacher.Config{
		Storage:             below,
		Versioner:           storage.APIObjectVersioner{},
		GroupResource:       podResource,
		EventsHistoryWindow: cacher.DefaultEventFreshDuration,
		ResourcePrefix:      "/pods/",
		KeyFunc:             func(obj runtime.Object) (string, error) { return storage.NamespaceKeyFunc("/pods/", obj) },
		GetAttrsFunc:        podAttrs,
		NewFunc:             s.config.NewFunc,
		NewListFunc:         s.config.NewListFunc,
		Indexers:            &cache.Indexers{},
		Codec:               s.config.Codec,
		Clock:               impatientClock{},
	}
	for _, option := range options {
		option(&config)
	}
	above, destroy, err := decorate(below, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(destroy)
	waitReady(t, above)
	return &world{Interface: above, store: s, below: below, cached: true, recorder: below.recorder}
}

func waitReady(t testing.TB, s storage.Interface) {
	t.Helper()
	waittest.Eventually(t, "the cache to be ready", func() bool { return s.ReadinessCheck() == nil })
}

// increaseRevision stands for a write to another resource of the same etcd.
func (w *world) increaseRevision(context.Context, *testing.T) int64 {
	return int64(w.store.advance())
}

// compaction lets go the history of the store, and waits until the cache has noticed.
func (w *world) compaction(_ context.Context, t *testing.T, resourceVersion string) {
	w.store.compact(t, resourceVersion)
	waittest.Eventually(t, "the compaction to be noticed", func() bool {
		return fmt.Sprint(w.CompactRevision()) == resourceVersion
	})
}

// compactionWrite is a compaction that moves the revision, as that of an etcd does by writing down how far it went.
func (w *world) compactionWrite(ctx context.Context, t *testing.T, resourceVersion string) {
	w.compaction(ctx, t, resourceVersion)
	w.store.advance()
}

// compactionOfWatches lets go the history of the store, and makes the cache lose its own by expiring its watch: it
// lists anew, and knows nothing from before that.
func (w *world) compactionOfWatches(ctx context.Context, t *testing.T, resourceVersion string) {
	w.compaction(ctx, t, resourceVersion)
	if w.cached {
		w.below.expire(t)
		waitReady(t, w)
	}
}

// UpdatePrefixTransformer is for suites that work without the transformer that they ask for.
func (w *world) UpdatePrefixTransformer(storagetesting.PrefixTransformerModifier) func() {
	return func() {}
}

// patient waits after a creation until the cache has the object.
type patient struct{ *world }

func (p patient) Create(ctx context.Context, key string, obj, out runtime.Object, ttl uint64) error {
	if err := p.world.Create(ctx, key, obj, out, ttl); err != nil {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, 5*time.Millisecond, wait.ForeverTestTimeout, true,
		func(ctx context.Context) (bool, error) {
			cached := &example.Pod{}
			err := p.Get(ctx, key, storage.GetOptions{ResourceVersion: "0"}, cached)
			if storage.IsNotFound(err) {
				return false, nil
			}
			return err == nil && equality.Semantic.DeepEqual(cached, out), err
		})
}

func TestSuites(t *testing.T) {
	codec := podCodec(t)
	type run = func(context.Context, *testing.T, *world)
	// plain adapts a suite that needs nothing but a store.
	plain := func(suite func(context.Context, *testing.T, storage.Interface)) run {
		return func(ctx context.Context, t *testing.T, w *world) { suite(ctx, t, w) }
	}
	suites := []struct {
		name string
		run  run
		// options are for the cache.
		options []cacheOption
		// bareOnly says why a suite does not run over the cache.
		bareOnly string
		// cacheOnly says why a suite does not run over the bare store.
		cacheOnly string
	}{
		{name: "Create", run: func(ctx context.Context, t *testing.T, w *world) {
			storagetesting.RunTestCreate(ctx, t, w, w.checkStored)
		}},
		{name: "CreateWithKeyExist", run: plain(storagetesting.RunTestCreateWithKeyExist)},
		{name: "Get", run: plain(storagetesting.RunTestGet)},
		{name: "UnconditionalDelete", run: plain(storagetesting.RunTestUnconditionalDelete)},
		{name: "ConditionalDelete", run: plain(storagetesting.RunTestConditionalDelete)},
		{name: "DeleteWithSuggestion", run: plain(storagetesting.RunTestDeleteWithSuggestion)},
		{name: "DeleteWithSuggestionAndConflict", run: plain(storagetesting.RunTestDeleteWithSuggestionAndConflict)},
		{name: "DeleteWithSuggestionOfDeletedObject", run: plain(storagetesting.RunTestDeleteWithSuggestionOfDeletedObject)},
		{name: "ValidateDeletionWithSuggestion", run: plain(storagetesting.RunTestValidateDeletionWithSuggestion)},
		{name: "ValidateDeletionWithOnlySuggestionValid", run: plain(
			storagetesting.RunTestValidateDeletionWithOnlySuggestionValid)},
		{name: "DeleteWithConflict", run: plain(storagetesting.RunTestDeleteWithConflict)},
		{name: "PreconditionalDeleteWithSuggestion", run: plain(storagetesting.RunTestPreconditionalDeleteWithSuggestion)},
		{name: "PreconditionalDeleteWithOnlySuggestionPass", run: plain(
			storagetesting.RunTestPreconditionalDeleteWithOnlySuggestionPass)},
		{name: "DeleteWithSuggestionAndMissingExpectedTransformOrDecodeError",
			run: func(ctx context.Context, t *testing.T, w *world) {
				storagetesting.RunTestDeleteWithSuggestionAndMissingExpectedTransformOrDecodeError(ctx, t, w)
			}},
		{name: "DeleteWithConflictAndMissingExpectedTransformOrDecodeError",
			run: func(ctx context.Context, t *testing.T, w *world) {
				storagetesting.RunTestDeleteWithConflictAndMissingExpectedTransformOrDecodeError(ctx, t, w, func(bool) {})
			}},
		{name: "ListPaging", run: plain(storagetesting.RunTestListPaging)},
		{name: "List", run: func(ctx context.Context, t *testing.T, w *world) {
			storagetesting.RunTestList(ctx, t, w, w.compactionWrite, w.cached, w.recorder)
		}},
		{name: "ConsistentList", run: func(ctx context.Context, t *testing.T, w *world) {
			storagetesting.RunTestConsistentList(ctx, t, w, w.increaseRevision, w.cached, true, w.cached)
		}},
		{name: "CompactRevision", run: func(ctx context.Context, t *testing.T, w *world) {
			storagetesting.RunTestCompactRevision(ctx, t, w, w.increaseRevision, w.compaction)
		}},
		{name: "GetListNonRecursive", run: func(ctx context.Context, t *testing.T, w *world) {
			storagetesting.RunTestGetListNonRecursive(ctx, t, w.increaseRevision, w)
		}},
		{name: "GetListRecursivePrefix", run: plain(storagetesting.RunTestGetListRecursivePrefix)},
		{name: "KeySchema", run: plain(storagetesting.RunTestKeySchema)},
		{name: "ListContinuation", run: func(ctx context.Context, t *testing.T, w *world) {
			storagetesting.RunTestListContinuation(ctx, t, w, func(*testing.T, uint64, uint64) {})
		}},
		{name: "ListPaginationRareObject", run: func(ctx context.Context, t *testing.T, w *world) {
			storagetesting.RunTestListPaginationRareObject(ctx, t, w, nil)
		}},
		{name: "ListContinuationWithFilter", run: func(ctx context.Context, t *testing.T, w *world) {
			storagetesting.RunTestListContinuationWithFilter(ctx, t, w, func(*testing.T, uint64, uint64) {})
		}},
		{name: "ListInconsistentContinuation", run: func(ctx context.Context, t *testing.T, w *world) {
			storagetesting.RunTestListInconsistentContinuation(ctx, t, w, w.compaction)
		}, bareOnly: "the cache ignores the limit of a list at version 0, so there is nothing to continue; upstream leaves " +
			"it out too"},
		{name: "ListResourceVersionMatch", run: func(ctx context.Context, t *testing.T, w *world) {
			storagetesting.RunTestListResourceVersionMatch(ctx, t, w)
		}},
		{name: "NamespaceScopedList", run: plain(storagetesting.RunTestNamespaceScopedList), options: []cacheOption{indexed}},
		{name: "GuaranteedUpdate", run: func(ctx context.Context, t *testing.T, w *world) {
			storagetesting.RunTestGuaranteedUpdate(ctx, t, w, w.checkStored)
		}},
		{name: "GuaranteedUpdateWithConflict", run: plain(storagetesting.RunTestGuaranteedUpdateWithConflict)},
		{name: "GuaranteedUpdateWithSuggestionAndConflict", run: plain(
			storagetesting.RunTestGuaranteedUpdateWithSuggestionAndConflict)},
		{name: "Stats", run: func(ctx context.Context, t *testing.T, w *world) {
			if !w.cached {
				if err := w.EnableResourceSizeEstimation(func(context.Context) ([]string, error) { return nil, nil }); err != nil {
					t.Fatal(err)
				}
			}
			storagetesting.RunTestStats(ctx, t, w, codec, identity.NewEncryptCheckTransformer(), true)
		}},
		{name: "StatsWithoutSizes", run: func(ctx context.Context, t *testing.T, w *world) {
			storagetesting.RunTestStats(ctx, t, w, codec, identity.NewEncryptCheckTransformer(), false)
		}},

		{name: "Watch", run: plain(storagetesting.RunTestWatch)},
		{name: "ClusterScopedWatch", run: plain(storagetesting.RunTestClusterScopedWatch),
			options: []cacheOption{clusterScoped, indexed}},
		{name: "NamespaceScopedWatch", run: plain(storagetesting.RunTestNamespaceScopedWatch),
			options: []cacheOption{indexed}},
		{name: "DeleteTriggerWatch", run: plain(storagetesting.RunTestDeleteTriggerWatch)},
		{name: "WatchFromZero", run: func(ctx context.Context, t *testing.T, w *world) {
			storagetesting.RunTestWatchFromZero(ctx, t, w, w.compactionOfWatches)
		}},
		{name: "WatchFromNonZero", run: plain(storagetesting.RunTestWatchFromNonZero)},
		{name: "DelayedWatchDelivery", run: plain(storagetesting.RunTestDelayedWatchDelivery)},
		{name: "WatchContextCancel", run: plain(storagetesting.RunTestWatchContextCancel),
			bareOnly: "the cache waits for its freshness under the canceled context and answers with an error event; upstream " +
				"leaves it out too"},
		{name: "WatcherTimeout", run: plain(storagetesting.RunTestWatcherTimeout)},
		{name: "WatchDeleteEventObjectHaveLatestRV", run: plain(storagetesting.RunTestWatchDeleteEventObjectHaveLatestRV)},
		{name: "WatchInitializationSignal", run: plain(storagetesting.RunTestWatchInitializationSignal)},
		{name: "ProgressNotify", run: func(ctx context.Context, t *testing.T, w *world) {
			// An etcd sends progress by itself every now and then; this store sends it when asked.
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			go wait.UntilWithContext(ctx, func(ctx context.Context) { _ = w.RequestWatchProgress(ctx) }, 20*time.Millisecond)
			storagetesting.RunOptionalTestProgressNotify(ctx, t, w, w.increaseRevision)
		}, bareOnly: "the cache does not pass on the progress of the storage below"},
		{name: "WatchDispatchBookmarkEvents", run: func(ctx context.Context, t *testing.T, w *world) {
			storagetesting.RunTestWatchDispatchBookmarkEvents(ctx, t, w, w.cached)
		}},
		{name: "WatchBookmarksWithCorrectResourceVersion", run: plain(
			storagetesting.RunTestOptionalWatchBookmarksWithCorrectResourceVersion),
			cacheOnly: "bookmarks before the end of a watch are made by the cache"},
		{name: "SendInitialEventsBackwardCompatibility", run: plain(
			storagetesting.RunSendInitialEventsBackwardCompatibility)},
		{name: "WatchSemantics", run: func(ctx context.Context, t *testing.T, w *world) {
			storagetesting.RunWatchSemantics(ctx, t, patient{w})
		}},
		{name: "WatchSemanticInitialEventsExtended", run: func(ctx context.Context, t *testing.T, w *world) {
			storagetesting.RunWatchSemanticInitialEventsExtended(ctx, t, patient{w})
		}},
		{name: "WatchListMatchSingle", run: func(ctx context.Context, t *testing.T, w *world) {
			storagetesting.RunWatchListMatchSingle(ctx, t, patient{w})
		}},
	}
	for _, suite := range suites {
		t.Run(suite.name, func(t *testing.T) {
			gates := featuregatetesting.FeatureOverrides{}
			if suite.name == "StatsWithoutSizes" {
				gates[features.SizeBasedListCostEstimate] = false
			}
			featuregatetesting.SetFeatureGatesDuringTest(t, utilfeature.DefaultMutableFeatureGate, gates)
			if suite.cacheOnly == "" {
				t.Run("bare", func(t *testing.T) { suite.run(t.Context(), t, newBareWorld(t)) })
			}
			if suite.bareOnly == "" {
				t.Run("cached", func(t *testing.T) { suite.run(t.Context(), t, newCachedWorld(t, suite.options...)) })
			}
		})
	}
}

// checkStored finds out whether an object went out as it would be stored: without version and self link.
func (w *world) checkStored(_ context.Context, t *testing.T, key string) {
	e := w.store.mirror.get(key)
	if e == nil {
		t.Fatalf("%s is not in the store", key)
	}
	pod := e.object.(*example.Pod)
	if pod.ResourceVersion != fmt.Sprint(e.revision) {
		t.Errorf("%s has version %q at revision %d", key, pod.ResourceVersion, e.revision)
	}
	if pod.SelfLink != "" {
		t.Errorf("%s has a self link", key)
	}
}

// belowCache is the store as the cache sees it: lists are recorded as those of an etcd, and watches can be expired.
type belowCache struct {
	*Store
	recorder *storagetesting.KubernetesRecorder

	mu      sync.Mutex
	expired chan struct{}
	opened  int
}

func (b *belowCache) GetList(ctx context.Context, key string, opts storage.ListOptions, listObj runtime.Object) error {
	prefix, err := storage.PrepareKey("/pods/", key, opts.Recursive)
	if err == nil && opts.Recursive {
		revision, continueKey, err := storage.ValidateListOptions(prefix, b.Versioner(), opts)
		if err == nil {
			record := kubernetes.ListOptions{Revision: max(revision, 0), Limit: opts.Predicate.Limit}
			if continueKey != "" {
				record.Continue = "/registry" + continueKey
			}
			_, _ = b.recorder.List(ctx, "/registry"+prefix, record)
		}
	}
	return b.Store.GetList(ctx, key, opts, listObj)
}

func (b *belowCache) Watch(ctx context.Context, key string, opts storage.ListOptions) (watch.Interface, error) {
	inner, err := b.Store.Watch(ctx, key, opts)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opened++
	if b.expired == nil {
		b.expired = make(chan struct{})
	}
	expired := b.expired
	results := make(chan watch.Event)
	outer := watch.NewProxyWatcher(results)
	go func() {
		defer close(results)
		defer inner.Stop()
		for {
			var e watch.Event
			var ok bool
			select {
			case e, ok = <-inner.ResultChan():
				if !ok {
					return
				}
			case <-expired:
				status := metav1.Status{Status: metav1.StatusFailure, Code: 410, Reason: metav1.StatusReasonExpired,
					Message: watchExpired}
				e = watch.Event{Type: watch.Error, Object: &status}
			case <-outer.StopChan():
				return
			}
			select {
			case results <- e:
			case <-outer.StopChan():
				return
			}
			if e.Type == watch.Error {
				return
			}
		}
	}()
	return outer, nil
}

// expire ends the open watches with 410, and waits until there is a new one.
func (b *belowCache) expire(t testing.TB) {
	t.Helper()
	b.mu.Lock()
	before := b.opened
	if b.expired != nil {
		close(b.expired)
	}
	b.expired = nil
	b.mu.Unlock()
	waittest.Eventually(t, "the cache to watch again", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.opened > before
	})
}

// noEtcd is the client behind the recorder, which only records.
type noEtcd struct{ kubernetes.Interface }

func (noEtcd) List(context.Context, string, kubernetes.ListOptions) (kubernetes.ListResponse, error) {
	return kubernetes.ListResponse{}, nil
}

// impatientClock is the real clock, except that the cache polls for compactions at once and not every 15 seconds.
type impatientClock struct{ clock.RealClock }

func (c impatientClock) NewTimer(d time.Duration) clock.Timer {
	return impatientTimer{c.RealClock.NewTimer(impatient(d))}
}

type impatientTimer struct{ clock.Timer }

func (t impatientTimer) Reset(d time.Duration) bool { return t.Timer.Reset(impatient(d)) }

func impatient(d time.Duration) time.Duration {
	if d == 15*time.Second {
		return 20 * time.Millisecond
	}
	return d
}
