// SPDX-License-Identifier: Apache-2.0

package livestore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/apiserver/pkg/storage"
)

// thing is an object as the model knows it.
type thing struct {
	UID   string
	Count int
	Even  bool
}

func (o thing) pod(key string) *example.Pod {
	namespace, name, _ := strings.Cut(strings.TrimPrefix(key, "/pods/"), "/")
	return &example.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   namespace,
			Name:        name,
			UID:         types.UID(o.UID),
			Labels:      map[string]string{"even": strconv.FormatBool(o.Even)},
			Annotations: map[string]string{"count": strconv.Itoa(o.Count)},
		},
	}
}

func thingOf(object runtime.Object) thing {
	if cacheable, ok := object.(runtime.CacheableObject); ok {
		object = cacheable.GetObject()
	}
	pod := object.(*example.Pod)
	count, _ := strconv.Atoi(pod.Annotations["count"])
	return thing{UID: string(pod.UID), Count: count, Even: pod.Labels["even"] == "true"}
}

// fact is an event that the model expects.
type fact struct {
	revision         uint64
	key              string
	previous, actual *thing
	// state is everything after the event.
	state map[string]thing
}

// model is an outside world whose changes reach the store late and in batches, and a log of what the store has to make
// of them.
type model struct {
	t     *testing.T
	store *Store

	mu sync.Mutex
	// outside is how the world is, told is how the store knows it to be.
	outside, told map[string]thing
	queue         []Change
	nextUID       int
	// base is the revision and the state at the start, facts is what came after.
	base      uint64
	baseState map[string]thing
	facts     []fact
	// moved is closed and replaced when there are new facts.
	moved chan struct{}
	// taken has the outcome of each successful update: no two may have the same.
	taken  map[string]bool
	counts *counts
}

// counts tells what a run has gone through.
type counts struct {
	mu     sync.Mutex
	byName map[string]int
}

func (c *counts) add(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byName == nil {
		c.byName = map[string]int{}
	}
	c.byName[name]++
}

func (c *counts) get(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byName[name]
}

func (c *counts) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprint(c.byName)
}

// expect fails a test that has not gone through what it is there for.
func (c *counts) expect(t *testing.T, names ...string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		if c.byName[name] == 0 {
			t.Errorf("the run had no %s", name)
		}
	}
}

func (m *model) begin(s *Store) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store = s
	m.queue = nil
	m.facts = nil
	m.told = maps.Clone(m.outside)
	m.baseState = m.told
	s.Replace(m.objects())
	m.base = s.mirror.current()
}

func (m *model) objects() map[string]runtime.Object {
	objects := map[string]runtime.Object{}
	for key, o := range m.outside {
		objects[key] = o.pod(key)
	}
	return objects
}

// set changes the world. The store does not know it yet.
func (m *model) set(key string, o thing) {
	m.outside[key] = o
	m.queue = append(m.queue, Change{Key: key, Object: o.pod(key)})
}

func (m *model) unset(key string) {
	delete(m.outside, key)
	m.queue = append(m.queue, Change{Key: key})
}

func (m *model) uid() string {
	m.nextUID++
	return fmt.Sprint("uid-", m.nextUID)
}

// flush tells the store what has happened, in one batch.
func (m *model) flush() {
	queue := m.queue
	m.queue = nil
	deleted := map[string]bool{}
	var order []string
	seen := map[string]bool{}
	for _, change := range queue {
		if !seen[change.Key] {
			seen[change.Key] = true
			order = append(order, change.Key)
		}
		if change.Object == nil {
			deleted[change.Key] = true
		}
	}
	m.expect(order, deleted)
	m.store.Apply(queue)
	m.check()
}

// reconnect tells the store the whole truth again.
func (m *model) reconnect() {
	m.queue = nil
	var gone, there []string
	for key := range m.told {
		if _, ok := m.outside[key]; !ok {
			gone = append(gone, key)
		}
	}
	for key := range m.outside {
		there = append(there, key)
	}
	sort.Strings(gone)
	sort.Strings(there)
	m.expect(append(gone, there...), nil)
	m.store.Replace(m.objects())
	m.check()
}

// expect writes down the facts that the changes of the keys are to become: deletions first.
func (m *model) expect(order []string, deleted map[string]bool) {
	for _, key := range order {
		before, known := m.told[key]
		now, exists := m.outside[key]
		if known && (!exists || deleted[key] || before.UID != now.UID) {
			next := maps.Clone(m.told)
			delete(next, key)
			m.record(key, &before, nil, next)
		}
	}
	for _, key := range order {
		before, known := m.told[key]
		now, exists := m.outside[key]
		if !exists || (known && before == now) {
			continue
		}
		next := maps.Clone(m.told)
		next[key] = now
		if known {
			m.record(key, &before, &now, next)
		} else {
			m.record(key, nil, &now, next)
		}
	}
}

func (m *model) record(key string, previous, actual *thing, state map[string]thing) {
	m.told = state
	m.facts = append(m.facts, fact{revision: m.revision() + 1, key: key, previous: previous, actual: actual, state: state})
}

func (m *model) revision() uint64 {
	if len(m.facts) == 0 {
		return m.base
	}
	return m.facts[len(m.facts)-1].revision
}

// check finds out whether the store is where the model is.
func (m *model) check() {
	if got := m.store.mirror.current(); got != m.revision() {
		m.t.Errorf("the store is at revision %d, the model at %d", got, m.revision())
	}
	close(m.moved)
	m.moved = make(chan struct{})
}

// at returns the state at a revision.
func (m *model) at(revision uint64) map[string]thing {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := sort.Search(len(m.facts), func(i int) bool { return m.facts[i].revision > revision })
	if i == 0 {
		return m.baseState
	}
	return m.facts[i-1].state
}

// scope is what a reader has asked for.
type scope struct {
	prefix   string
	evenOnly bool
}

func (s scope) predicate() storage.SelectionPredicate {
	predicate := storage.Everything
	predicate.GetAttrs = podAttrs
	if s.evenOnly {
		predicate.Label = metav1Selector("even=true")
	}
	return predicate
}

func (s scope) wants(o *thing) bool { return o != nil && (!s.evenOnly || o.Even) }

func (s scope) filter(state map[string]thing) map[string]thing {
	filtered := map[string]thing{}
	for key, o := range state {
		if strings.HasPrefix(key, s.prefix) && s.wants(&o) {
			filtered[key] = o
		}
	}
	return filtered
}

// told is an event as a watcher sees it.
type told struct {
	Type     watch.EventType
	Revision uint64
	Key      string
	Thing    thing
}

// after returns the next event for a scope after a revision, false if there is none yet.
func (m *model) after(s scope, revision uint64) (told, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := sort.Search(len(m.facts), func(i int) bool { return m.facts[i].revision > revision })
	for _, f := range m.facts[i:] {
		if !strings.HasPrefix(f.key, s.prefix) {
			continue
		}
		before, now := s.wants(f.previous), s.wants(f.actual)
		switch {
		case before && now:
			return told{watch.Modified, f.revision, f.key, *f.actual}, true
		case now:
			return told{watch.Added, f.revision, f.key, *f.actual}, true
		case before:
			return told{watch.Deleted, f.revision, f.key, *f.previous}, true
		}
	}
	return told{}, false
}

// waitPast blocks until the model is past a revision.
func (m *model) waitPast(ctx context.Context, revision uint64) {
	for {
		m.mu.Lock()
		past, moved := m.revision() > revision, m.moved
		m.mu.Unlock()
		if past {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

// Create implements Backend.
func (m *model) Create(_ context.Context, key string, obj runtime.Object) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.outside[key]; ok {
		return fmt.Errorf("create %s: %w", key, ErrConflict)
	}
	o := thingOf(obj)
	o.UID = m.uid()
	m.set(key, o)
	m.flush()
	return nil
}

// Update implements Backend.
func (m *model) Update(_ context.Context, key string, current, desired runtime.Object) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o, ok := m.outside[key]; !ok || o != thingOf(current) {
		m.counts.add("conflict")
		return fmt.Errorf("update %s: %w", key, ErrConflict)
	}
	o := thingOf(desired)
	if id := fmt.Sprint(o.UID, "/", o.Count); m.taken[id] {
		m.t.Errorf("two updates made %s", id)
	} else {
		m.taken[id] = true
	}
	m.set(key, o)
	m.flush()
	return nil
}

// Delete implements Backend.
func (m *model) Delete(_ context.Context, key string, current runtime.Object) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o, ok := m.outside[key]; !ok || o != thingOf(current) {
		return fmt.Errorf("delete %s: %w", key, ErrConflict)
	}
	m.unset(key)
	m.flush()
	return nil
}

// stir lets something happen outside.
func (m *model) stir(random *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range 1 + random.Intn(6) {
		key := randomKey(random)
		o, exists := m.outside[key]
		switch action := random.Intn(8); {
		case !exists:
			m.set(key, thing{UID: m.uid(), Even: true})
		case action == 0:
			m.unset(key)
		case action == 1:
			// Deleted and created again before anybody noticed.
			m.unset(key)
			m.set(key, thing{UID: m.uid()})
		case action == 2:
			// Told again what is known.
			m.set(key, o)
		default:
			o.Even = !o.Even
			m.set(key, o)
		}
	}
	switch random.Intn(10) {
	case 0:
		m.reconnect()
	case 1, 2:
		// The store learns of it later.
	default:
		m.flush()
	}
}

func randomKey(random *rand.Rand) string {
	return fmt.Sprintf("/pods/ns-%d/pod-%d", random.Intn(3), random.Intn(8))
}

// write does something through the API.
func (m *model) write(ctx context.Context, through storage.Interface, random *rand.Rand) error {
	key := randomKey(random)
	out := &example.Pod{}
	var err error
	switch random.Intn(6) {
	case 0:
		err = through.Create(ctx, key, thing{Count: 0}.pod(key), out, 0)
	case 1:
		err = through.Delete(ctx, key, out, nil, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{})
	default:
		err = through.GuaranteedUpdate(ctx, key, out, false, nil,
			storage.SimpleUpdate(func(obj runtime.Object) (runtime.Object, error) {
				o := thingOf(obj)
				o.Count++
				next := o.pod(key)
				next.ResourceVersion = obj.(*example.Pod).ResourceVersion
				return next, nil
			}), nil)
	}
	switch {
	case storage.IsNotFound(err), storage.IsExist(err), isConflict(err), ctx.Err() != nil:
		return nil
	case err != nil:
		return fmt.Errorf("write %s: %w", key, err)
	}
	revision, err := strconv.ParseUint(out.ResourceVersion, 10, 64)
	if err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	m.counts.add("write")
	m.mu.Lock()
	defer m.mu.Unlock()
	if revision > m.revision() {
		return fmt.Errorf("write %s returned revision %d, the model is at %d", key, revision, m.revision())
	}
	return nil
}

// list reads a list in one of many ways and compares it with the model. It returns what it has read.
func (m *model) list(ctx context.Context, from storage.Interface, s scope,
	random *rand.Rand) (map[string]thing, uint64, error) {
	m.mu.Lock()
	before := m.revision()
	some := m.base + uint64(random.Int63n(int64(before-m.base)+1))
	m.mu.Unlock()

	opts := storage.ListOptions{Predicate: s.predicate(), Recursive: true}
	minimum := uint64(0)
	exact := false
	switch random.Intn(5) {
	case 0:
		minimum = before
	case 1:
		opts.ResourceVersion = "0"
	case 2:
		opts.ResourceVersion, opts.ResourceVersionMatch = fmt.Sprint(some), metav1.ResourceVersionMatchExact
		exact = true
	case 3:
		opts.ResourceVersion, opts.ResourceVersionMatch = fmt.Sprint(before), metav1.ResourceVersionMatchNotOlderThan
		minimum = before
	case 4:
		opts.Predicate.Limit = 1 + random.Int63n(5)
		minimum = before
	}
	got := map[string]thing{}
	revision := uint64(0)
	for {
		list := &example.PodList{}
		if err := from.GetList(ctx, s.prefix, opts, list); err != nil {
			return nil, 0, err
		}
		page, err := strconv.ParseUint(list.ResourceVersion, 10, 64)
		if err != nil {
			return nil, 0, err
		}
		if revision != 0 && page != revision {
			return nil, 0, fmt.Errorf("a list began at revision %d and went on at %d", revision, page)
		}
		revision = page
		for i := range list.Items {
			got[podKey(&list.Items[i])] = thingOf(&list.Items[i])
		}
		if list.Continue == "" {
			break
		}
		opts.Predicate.Continue = list.Continue
		opts.ResourceVersion, opts.ResourceVersionMatch = "", ""
	}
	if revision < minimum || (exact && revision != some) {
		return nil, 0, fmt.Errorf("a list is at revision %d, asked for %d or %d", revision, minimum, some)
	}
	if diff := cmp.Diff(s.filter(m.at(revision)), got); diff != "" {
		return nil, 0, fmt.Errorf("the list of %+v at revision %d differs (-model +store):\n%s", s, revision, diff)
	}
	m.counts.add("list")
	if exact {
		m.counts.add("exact")
	}
	if opts.Predicate.Continue != "" {
		m.counts.add("pages")
	}
	return got, revision, nil
}

var errEnough = errors.New("seen enough")

func metaAccessor(object runtime.Object) (metav1.Object, error) { return meta.Accessor(object) }

func keyOf(object runtime.Object) string {
	if cacheable, ok := object.(runtime.CacheableObject); ok {
		object = cacheable.GetObject()
	}
	return podKey(object.(*example.Pod))
}
