// SPDX-License-Identifier: Apache-2.0

package livestore

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/utils/clock"
)

// ErrConflict is what a Backend wraps, unless Config.IsConflict says otherwise, when the outside object was no longer
// the one it was asked to change.
var ErrConflict = errors.New("the object has changed in the meantime")

// Change is one object that is new or different, or gone.
type Change struct {
	// Key is the full storage key, for instance "/virtualmachines/<namespace>/<name>".
	Key string
	// Object is the new state; nil says that the object is gone. It belongs to the store from here on and must not be
	// changed any more.
	Object runtime.Object
}

// Mirror takes a picture of the outside world: first the whole truth, then changes. Store does. The keys are full
// storage keys, and the objects belong to it from there on.
type Mirror interface {
	Replace(objects map[string]runtime.Object)
	Apply(changes []Change)
}

// Backend makes a change happen in the outside world. Each method returns only after the effect was handed to the Store
// through Apply or Replace, so that writers read what they wrote. It returns an error that Config.IsConflict recognises
// when the outside object was no longer current; the store then waits for its mirror to move, reads anew, and retries.
// Any other error reaches the caller untouched.
//
// The objects have no resourceVersion, except for current, which is the object of the mirror and must not be changed.
// The objects obj and desired belong to the Backend.
type Backend interface {
	Create(ctx context.Context, key string, obj runtime.Object) error
	Update(ctx context.Context, key string, current, desired runtime.Object) error
	Delete(ctx context.Context, key string, current runtime.Object) error
}

// Config describes a Store. The fields up to Sequence are mandatory, except for Backend.
type Config struct {
	GroupResource schema.GroupResource
	// Codec encodes objects as they would be stored. It decides whether an update changes anything.
	Codec       runtime.Codec
	NewFunc     func() runtime.Object
	NewListFunc func() runtime.Object
	// ResourcePrefix is what all keys start with, for instance "/virtualmachines".
	ResourcePrefix string
	// Backend takes the writes. A store without one is read-only.
	Backend Backend
	// Sequence gives the revisions. All stores of a process share it.
	Sequence *Sequence

	// Clock is the real one unless set.
	Clock clock.Clock
	// HistorySize bounds how many changes are remembered: 16384 unless set. Twice the number of objects is always
	// remembered, so that a change of every object does not outrun the watchers.
	HistorySize int
	// HistoryAge bounds how long changes are remembered: 5 minutes unless set, 75 seconds at least.
	HistoryAge time.Duration
	// Equal compares two objects that have the same resourceVersion. Semantic equality unless set.
	Equal func(a, b runtime.Object) bool

	// IsConflict recognises the errors of the Backend that call for another try. Wrapping ErrConflict unless set.
	IsConflict func(error) bool
	// ConflictWait bounds how long a write waits for its object to move after a conflict: 2 seconds unless set.
	ConflictWait time.Duration
	// ConflictRetries bounds how often a write tries again after a conflict: 5 unless set.
	ConflictRetries int
	// FreshnessWait bounds how long a read waits for a revision of the future: 3 seconds unless set.
	FreshnessWait time.Duration
	// Unavailable returns the error for requests that come before the first Replace. 503 unless set.
	Unavailable func() error
}

// Store is a storage.Interface over a mirror of the outside world.
type Store struct {
	config    Config
	prefix    string
	versioner storage.Versioner
	mirror    *mirror
	writers   keyLocks

	sizes atomic.Bool
}

var (
	_ storage.Interface = (*Store)(nil)
	_ Mirror            = (*Store)(nil)
)

// New returns a store that is empty and not ready: the first Replace makes it so.
func New(config Config) (*Store, error) {
	switch {
	case config.GroupResource.Resource == "":
		return nil, errors.New("live store without a resource")
	case config.Codec == nil:
		return nil, fmt.Errorf("live store of %s without a codec", config.GroupResource)
	case config.NewFunc == nil || config.NewListFunc == nil:
		return nil, fmt.Errorf("live store of %s without the functions that make objects and lists", config.GroupResource)
	case config.Sequence == nil:
		return nil, fmt.Errorf("live store of %s without a sequence", config.GroupResource)
	case !strings.HasPrefix(config.ResourcePrefix, "/") || config.ResourcePrefix == "/":
		return nil, fmt.Errorf("live store of %s: resource prefix %q does not name a directory below /", config.GroupResource, config.ResourcePrefix)
	}
	if config.Clock == nil {
		config.Clock = clock.RealClock{}
	}
	if config.HistorySize <= 0 {
		config.HistorySize = 16384
	}
	if config.HistoryAge == 0 {
		config.HistoryAge = 5 * time.Minute
	}
	if config.HistoryAge < 75*time.Second {
		return nil, fmt.Errorf("live store of %s: a history of %s is shorter than the cache above it needs (75s)", config.GroupResource, config.HistoryAge)
	}
	if config.Equal == nil {
		config.Equal = func(a, b runtime.Object) bool { return apiequality.Semantic.DeepEqual(a, b) }
	}
	if config.IsConflict == nil {
		config.IsConflict = func(err error) bool { return errors.Is(err, ErrConflict) }
	}
	if config.ConflictWait == 0 {
		config.ConflictWait = 2 * time.Second
	}
	if config.ConflictRetries == 0 {
		config.ConflictRetries = 5
	}
	if config.FreshnessWait == 0 {
		config.FreshnessWait = 3 * time.Second
	}
	if config.Unavailable == nil {
		config.Unavailable = func() error {
			return apierrors.NewServiceUnavailable(fmt.Sprintf("the inventory of %s has not been read yet; try again later", config.GroupResource))
		}
	}
	versioner := storage.APIObjectVersioner{}
	return &Store{
		config:    config,
		prefix:    strings.TrimSuffix(config.ResourcePrefix, "/") + "/",
		versioner: versioner,
		mirror: newMirror(mirrorConfig{
			sequence:  config.Sequence,
			versioner: versioner,
			clock:     config.Clock,
			equal:     config.Equal,
			size:      config.HistorySize,
			age:       config.HistoryAge,
		}),
	}, nil
}

// Replace hands over the whole truth. The first call makes the store ready; later calls are compared with what the
// store has, and only real changes become events. The objects belong to the store from here on.
func (s *Store) Replace(objects map[string]runtime.Object) {
	s.mirror.replace(objects)
}

// Apply hands over changes, in the order in which they happened. The deletions among them are published before the
// rest. An object that is equal to what the store has (except for resourceVersion) is no change. An object with another
// metadata.uid under a known key is a deletion and an addition. Changes before the first Replace are dropped: they are
// part of its truth.
func (s *Store) Apply(changes []Change) {
	s.mirror.apply(changes)
}

// Ready says whether the first Replace has happened.
func (s *Store) Ready() bool {
	select {
	case <-s.mirror.ready:
		return true
	default:
		return false
	}
}

// Versioner implements storage.Interface.
func (s *Store) Versioner() storage.Versioner {
	return s.versioner
}

// ReadinessCheck implements storage.Interface.
func (s *Store) ReadinessCheck() error {
	if !s.Ready() {
		return storage.ErrStorageNotReady
	}
	return nil
}

// GetCurrentResourceVersion returns the revision of the last change.
func (s *Store) GetCurrentResourceVersion(context.Context) (uint64, error) {
	if !s.Ready() {
		return 0, s.config.Unavailable()
	}
	return s.mirror.current(), nil
}

// RequestWatchProgress makes every watch that was opened with ProgressNotify send a bookmark once it has caught up.
func (s *Store) RequestWatchProgress(context.Context) error {
	s.mirror.requestProgress()
	return nil
}

// CompactRevision returns the last revision that the history has let go, 0 if it has let none go.
func (s *Store) CompactRevision() int64 {
	return int64(s.mirror.compacted())
}

// EnableResourceSizeEstimation makes Stats tell the sizes of objects. The keys are not needed: the store has them.
func (s *Store) EnableResourceSizeEstimation(storage.KeysFunc) error {
	s.sizes.Store(true)
	return nil
}

// sizesPerStats bounds how many objects one call of Stats encodes to learn their sizes.
const sizesPerStats = 512

// Stats returns the number of objects and their average encoded size. The size is an estimate: it is an average over
// the objects whose size is known, and each call gets to know some more.
func (s *Store) Stats(ctx context.Context) (storage.Stats, error) {
	if !s.Ready() {
		return storage.Stats{}, s.config.Unavailable()
	}
	tree, _ := s.mirror.snapshot()
	stats := storage.Stats{ObjectCount: int64(tree.Len())}
	if !s.sizes.Load() {
		return stats, nil
	}
	var known, total int64
	var err error
	encodings := 0
	tree.Ascend(func(e *entry) bool {
		size := e.size.Load()
		if size == 0 && encodings < sizesPerStats {
			encodings++
			if size, err = s.encodedSize(ctx, e); err != nil {
				return false
			}
			e.size.Store(size)
		}
		if size > 0 {
			known++
			total += size
		}
		return true
	})
	if err != nil {
		return storage.Stats{}, err
	}
	if known > 0 {
		stats.EstimatedAverageObjectSizeBytes = total / known
	}
	return stats, nil
}

func (s *Store) encodedSize(ctx context.Context, e *entry) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	data, err := s.encode(shallowCopy(e.object))
	return int64(len(data)), err
}

// encode returns what would be stored. It clears what is not, so obj must be the caller's own.
func (s *Store) encode(obj runtime.Object) ([]byte, error) {
	if err := s.versioner.PrepareObjectForStorage(obj); err != nil {
		return nil, fmt.Errorf("prepare %s for storage: %w", s.config.GroupResource, err)
	}
	return runtime.Encode(s.config.Codec, obj)
}

// Get implements storage.Interface. What it returns is the caller's own.
func (s *Store) Get(ctx context.Context, key string, opts storage.GetOptions, out runtime.Object) error {
	key, err := storage.PrepareKey(s.prefix, key, false)
	if err != nil {
		return err
	}
	if !s.Ready() {
		return s.config.Unavailable()
	}
	if err := s.waitFresh(ctx, opts.ResourceVersion); err != nil {
		return err
	}
	e := s.mirror.get(key)
	if e == nil {
		if opts.IgnoreNotFound {
			return runtime.SetZeroValue(out)
		}
		return storage.NewKeyNotFoundError(key, 0)
	}
	return assignCopy(out, e.object)
}

// waitFresh waits, within bounds, until the store has come to the revision that a reader has seen already.
func (s *Store) waitFresh(ctx context.Context, resourceVersion string) error {
	if resourceVersion == "" {
		return nil
	}
	minimum, err := s.versioner.ParseResourceVersion(resourceVersion)
	if err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("invalid resource version: %v", err))
	}
	if minimum <= s.mirror.current() {
		return nil
	}
	if !s.wait(ctx, s.config.FreshnessWait, func() bool { return s.mirror.revision >= minimum }) {
		return storage.NewTooLargeResourceVersionError(minimum, s.mirror.current(), 1)
	}
	return nil
}

// wait blocks until the condition holds, which is asked under the lock of the mirror after each change. It returns
// false when the limit or the context has run out before.
func (s *Store) wait(ctx context.Context, limit time.Duration, condition func() bool) bool {
	timer := s.config.Clock.NewTimer(limit)
	defer timer.Stop()
	for {
		holds, changed := s.mirror.check(condition)
		if holds {
			return true
		}
		select {
		case <-changed:
		case <-timer.C():
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// shallowCopy returns an object with fields of its own that shares everything below them.
func shallowCopy(obj runtime.Object) runtime.Object {
	if _, ok := obj.(runtime.Unstructured); ok {
		// Its only field is a map, which holds the metadata too.
		return obj.DeepCopyObject()
	}
	from := reflect.ValueOf(obj).Elem()
	to := reflect.New(from.Type())
	to.Elem().Set(from)
	return to.Interface().(runtime.Object)
}

// assignCopy makes out a deep copy of obj.
func assignCopy(out, obj runtime.Object) error {
	to, from := reflect.ValueOf(out), reflect.ValueOf(obj)
	if to.Kind() != reflect.Pointer || to.IsNil() {
		return fmt.Errorf("unable to write to an output object of type %T", out)
	}
	if to.Type() != from.Type() {
		return fmt.Errorf("unable to write an object of type %T to an output object of type %T", obj, out)
	}
	to.Elem().Set(reflect.ValueOf(obj.DeepCopyObject()).Elem())
	return nil
}

// keyLocks serialises the writes to a key. The zero value is ready for use.
type keyLocks struct {
	mu   sync.Mutex
	held map[string]*keyLock
}

type keyLock struct {
	token chan struct{}
	users int
}

// lock waits for its turn and returns the function that ends it, or the context's error.
func (l *keyLocks) lock(ctx context.Context, key string) (func(), error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[string]*keyLock{}
	}
	k := l.held[key]
	if k == nil {
		k = &keyLock{token: make(chan struct{}, 1)}
		l.held[key] = k
	}
	k.users++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(l.held, key)
		}
	}
	select {
	case k.token <- struct{}{}:
		return func() {
			<-k.token
			leave()
		}, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
