// SPDX-License-Identifier: Apache-2.0

package livestore

import (
	"fmt"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/btree"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/utils/clock"
)

// treeDegree makes nodes of up to 63 pointers: small enough that copying one on write is cheap.
const treeDegree = 32

// entry is one state of one key, immutable but for the size.
type entry struct {
	key      string
	object   runtime.Object
	revision uint64
	// size is how long the object is when encoded, 0 until somebody wanted to know.
	size atomic.Int64
}

func lessEntry(a, b *entry) bool { return a.key < b.key }

type mirrorConfig struct {
	sequence  *Sequence
	versioner storage.Versioner
	clock     clock.Clock
	equal     func(a, b runtime.Object) bool
	size      int
	age       time.Duration
}

// mirror is the present state and how it came about.
type mirror struct {
	config mirrorConfig
	// ready is closed by the first replace.
	ready chan struct{}
	// feed lets one replace or apply in at a time. What they compare they compare under it, and not under the lock that
	// readers need.
	feed sync.Mutex

	// mu guards the rest. Only who holds feed too changes the tree.
	mu       sync.RWMutex
	tree     *btree.BTreeG[*entry]
	revision uint64
	history  history
	// progress counts the requests for bookmarks.
	progress uint64
	// changed is closed, and replaced by another, when revision or progress moves.
	changed chan struct{}
}

func newMirror(config mirrorConfig) *mirror {
	return &mirror{
		config:  config,
		ready:   make(chan struct{}),
		tree:    btree.NewG(treeDegree, lessEntry),
		changed: make(chan struct{}),
	}
}

// replace makes the objects the whole truth.
func (m *mirror) replace(objects map[string]runtime.Object) {
	keys := make([]string, 0, len(objects))
	for key, object := range objects {
		if object != nil {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)

	m.feed.Lock()
	defer m.feed.Unlock()
	if m.current() == 0 {
		m.start(keys, objects)
		return
	}
	var changes []Change
	tree, _ := m.snapshot()
	tree.Ascend(func(e *entry) bool {
		if objects[e.key] == nil {
			changes = append(changes, Change{Key: e.key})
		}
		return true
	})
	for _, key := range keys {
		changes = append(changes, Change{Key: key, Object: objects[key]})
	}
	m.publish(changes)
}

// start takes over the first truth. Nobody has seen a revision before it, so its objects share one.
func (m *mirror) start(keys []string, objects map[string]runtime.Object) {
	m.mu.Lock()
	defer m.mu.Unlock()
	revision := m.config.sequence.Next()
	for _, key := range keys {
		m.tree.ReplaceOrInsert(m.entry(key, own(objects[key]), revision))
	}
	m.revision = revision
	m.history.oldest = revision
	close(m.ready)
	m.wake()
}

func (m *mirror) apply(changes []Change) {
	m.feed.Lock()
	defer m.feed.Unlock()
	if m.current() == 0 {
		return
	}
	m.publish(changes)
}

// pending is what the changes of a batch make of one key.
type pending struct {
	key string
	// deleted says that the key was without an object at some time.
	deleted bool
	// object is the new state, nil if there is none.
	object runtime.Object
	// current is what the mirror has, remove says that it goes.
	current *entry
	remove  bool
}

// publish turns changes into events: first the deletions, then the rest.
func (m *mirror) publish(changes []Change) {
	batch := collect(changes)
	moves := false
	for _, p := range batch {
		m.compare(p)
		moves = moves || p.remove || p.object != nil
	}
	if !moves {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	objects := m.tree.Len()
	now := m.config.clock.Now()
	for _, p := range batch {
		if p.remove {
			m.remove(p.current, now)
			p.current = nil
		}
	}
	for _, p := range batch {
		if p.object != nil {
			m.put(p, now)
		}
	}
	m.history.trim(max(m.config.size, 2*objects, 2*m.tree.Len()), now.Add(-m.config.age))
	m.wake()
}

// collect brings together what happened to each key, in the order in which the keys were first named.
func collect(changes []Change) []*pending {
	batch := make([]*pending, 0, len(changes))
	byKey := make(map[string]*pending, len(changes))
	for _, change := range changes {
		p := byKey[change.Key]
		if p == nil {
			p = &pending{key: change.Key}
			byKey[change.Key] = p
			batch = append(batch, p)
		}
		if change.Object == nil {
			p.deleted = true
		}
		p.object = change.Object
	}
	return batch
}

// compare finds out what is left to do: an object that is as it was is dropped.
func (m *mirror) compare(p *pending) {
	p.current = m.get(p.key)
	if p.current == nil {
		if p.object != nil {
			p.object = own(p.object)
		}
		return
	}
	if p.deleted || replaced(p.current.object, p.object) {
		p.remove = true
		if p.object != nil {
			p.object = own(p.object)
		}
		return
	}
	if p.object == p.current.object {
		p.object = nil
		return
	}
	// From here on it carries a revision, but nobody else has seen it.
	p.object = own(p.object)
	m.setRevision(p.object, p.current.revision)
	if m.config.equal(p.current.object, p.object) {
		p.object = nil
	}
}

func (m *mirror) remove(current *entry, now time.Time) {
	revision := m.config.sequence.Next()
	m.tree.Delete(current)
	m.revision = revision
	m.history.append(&event{
		revision: revision,
		key:      current.key,
		previous: current,
		deleted:  m.withRevision(current.object, revision),
		at:       now,
	})
}

func (m *mirror) put(p *pending, now time.Time) {
	revision := m.config.sequence.Next()
	next := m.entry(p.key, p.object, revision)
	m.tree.ReplaceOrInsert(next)
	m.revision = revision
	m.history.append(&event{
		revision: revision,
		key:      p.key,
		previous: p.current,
		current:  next,
		at:       now,
	})
}

// entry makes an entry of an object that nobody else has seen.
func (m *mirror) entry(key string, object runtime.Object, revision uint64) *entry {
	m.setRevision(object, revision)
	return &entry{key: key, object: object, revision: revision}
}

// own returns an object whose metadata may be written. An object that carries a version has been in a mirror and may be
// shared with readers, whatever its giver thinks.
func own(object runtime.Object) runtime.Object {
	if accessor, err := meta.Accessor(object); err == nil && accessor.GetResourceVersion() != "" {
		return shallowCopy(object)
	}
	return object
}

func (m *mirror) withRevision(object runtime.Object, revision uint64) runtime.Object {
	object = shallowCopy(object)
	m.setRevision(object, revision)
	return object
}

func (m *mirror) setRevision(object runtime.Object, revision uint64) {
	if err := m.config.versioner.UpdateObject(object, revision); err != nil {
		// Only types without metadata fail here, and New is never called for one.
		panic(fmt.Sprintf("live store: set the version of a %T: %v", object, err))
	}
}

// replaced says whether another object has taken the place of one.
func replaced(current, next runtime.Object) bool {
	return next != nil && uid(current) != uid(next)
}

func uid(object runtime.Object) types.UID {
	accessor, err := meta.Accessor(object)
	if err != nil {
		return ""
	}
	return accessor.GetUID()
}

// wake lets everybody who waits look again.
func (m *mirror) wake() {
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *mirror) lookup(key string) *entry {
	e, _ := m.tree.Get(&entry{key: key})
	return e
}

func (m *mirror) get(key string) *entry {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.lookup(key)
}

func (m *mirror) current() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.revision
}

func (m *mirror) compacted() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.history.compacted
}

// check asks the condition under the lock, and returns what to wait for before it is worth asking again.
func (m *mirror) check(condition func() bool) (bool, <-chan struct{}) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return condition(), m.changed
}

func (m *mirror) requestProgress() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.progress++
	m.wake()
}

// snapshot returns the present state, which stays as it is while the mirror moves on.
func (m *mirror) snapshot() (*btree.BTreeG[*entry], uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tree.Clone(), m.revision
}

// at returns the state at a revision, by undoing what has happened since. It returns false, with the current revision,
// if the history does not reach back or forth that far.
func (m *mirror) at(revision uint64) (*btree.BTreeG[*entry], uint64, bool) {
	m.mu.Lock()
	current := m.revision
	if revision < m.history.oldest || revision > current {
		m.mu.Unlock()
		return nil, current, false
	}
	tree := m.tree.Clone()
	since := append([]*event(nil), m.history.events[m.history.after(revision):]...)
	m.mu.Unlock()

	for i := len(since) - 1; i >= 0; i-- {
		e := since[i]
		if e.previous != nil {
			tree.ReplaceOrInsert(e.previous)
		} else {
			tree.Delete(e.current)
		}
	}
	return tree, current, true
}

// created returns the newest state that the key had after the revision, even if it is gone again.
func (m *mirror) created(key string, revision uint64) *entry {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if e := m.lookup(key); e != nil {
		return e
	}
	for i := len(m.history.events) - 1; i >= m.history.after(revision); i-- {
		if e := m.history.events[i]; e.key == key && e.current != nil {
			return e.current
		}
	}
	return nil
}

// removed returns the last state of the object that the key had at the entry, under the revision of its deletion, or
// nil if it still exists.
func (m *mirror) removed(e *entry) runtime.Object {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, event := range m.history.events[m.history.after(e.revision):] {
		if event.key == e.key && event.deleted != nil {
			return event.deleted
		}
	}
	return nil
}
