// SPDX-License-Identifier: Apache-2.0

package livestore

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/utils/ptr"

	"github.com/openpacific/pacific/pkg/waittest"
)

var (
	seedFlag  = flag.Int64("livestore.seed", 0, "seed of the randomised test, 0 for another one each time")
	stepsFlag = flag.Int("livestore.steps", 1000, "how often something happens outside per term in the randomised test")
)

func metav1Selector(selector string) labels.Selector {
	parsed, err := labels.Parse(selector)
	if err != nil {
		panic(err)
	}
	return parsed
}

func isConflict(err error) bool { return apierrors.IsConflict(err) }

// isExpired recognises a 410.
func isExpired(err error) bool { return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) }

// TestRandomised lets writers, an outside world, reconnections, lists and watches loose on a store and on the cache
// above it, over several terms, and holds everything that is read against a model.
func TestRandomised(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = time.Now().UnixNano()
	}
	t.Logf("seed: -livestore.seed=%d", seed)
	random := rand.New(rand.NewSource(seed))
	m := &model{t: t, outside: map[string]thing{}, told: map[string]thing{}, moved: make(chan struct{}),
		taken: map[string]bool{}, counts: &counts{}}
	last := uint64(0)
	// A history of few events makes readers fall out of it; one of many never does.
	for term, historySize := range []int{16384, 1, 400} {
		t.Run(fmt.Sprintf("term=%d", term+1), func(t *testing.T) {
			m.t = t
			config := podConfig(t)
			config.Sequence = NewSequence(uint64(term + 1))
			config.HistorySize = historySize
			config.ConflictWait = 50 * time.Millisecond
			config.Backend = m
			s := newStore(t, config)
			m.begin(s)
			w := cachedWorldOver(t, s)
			if m.base <= last {
				t.Fatalf("term %d begins with revision %d, the last one ended with %d", term+1, m.base, last)
			}
			if last > 0 {
				expectExpired(t, s, last)
				expectExpired(t, w, last)
			}
			runTerm(t, m, w, random)
			last = m.revision()
			// The world goes on while nobody looks.
			m.mu.Lock()
			for range 10 {
				m.set(randomKey(random), thing{UID: m.uid()})
				delete(m.outside, randomKey(random))
			}
			m.mu.Unlock()
		})
		if t.Failed() {
			t.Fatalf("run again with: go test -run TestRandomised -livestore.seed=%d", seed)
		}
	}
}

func expectExpired(t *testing.T, s storage.Interface, revision uint64) {
	t.Helper()
	w, err := s.Watch(t.Context(), "/pods/", storage.ListOptions{ResourceVersion: fmt.Sprint(revision),
		Predicate: storage.Everything, Recursive: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if err := apierrors.FromObject(next(t, w).Object); !isExpired(err) {
		t.Errorf("a watch from revision %d, of an earlier term: %v", revision, err)
	}
}

// next returns the next event of a watch.
func next(t testing.TB, w watch.Interface) watch.Event {
	t.Helper()
	select {
	case e, ok := <-w.ResultChan():
		if !ok {
			t.Fatal("the watch has ended")
		}
		return e
	case <-time.After(30 * time.Second):
		t.Fatal("no event")
	}
	return watch.Event{}
}

func runTerm(t *testing.T, m *model, w *world, random *rand.Rand) {
	working, stop := context.WithCancel(t.Context())
	defer stop()
	var workers, readers sync.WaitGroup
	loop := func(group *sync.WaitGroup, f func(*rand.Rand) error) {
		// A source is not for several goroutines.
		own := rand.New(rand.NewSource(random.Int63()))
		group.Go(func() {
			for working.Err() == nil && !t.Failed() {
				if err := f(own); err != nil {
					t.Error(err)
				}
			}
		})
	}
	sources := []storage.Interface{m.store, w}
	for _, through := range sources {
		loop(&workers, func(random *rand.Rand) error { return m.write(working, through, random) })
	}
	scopes := []scope{{prefix: "/pods/"}, {prefix: "/pods/", evenOnly: true}, {prefix: "/pods/ns-1/"},
		{prefix: "/pods/ns-2/", evenOnly: true}}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, from := range sources {
		for _, s := range scopes {
			loop(&workers, func(random *rand.Rand) error {
				_, _, err := m.list(working, from, s, random)
				if working.Err() != nil || isExpired(err) || apierrors.IsTooManyRequests(err) ||
					storage.IsTooLargeResourceVersion(err) {
					return nil
				}
				return err
			})
			for range 2 {
				f := &follower{model: m, from: from, scope: s, random: rand.New(rand.NewSource(random.Int63())), working: working}
				readers.Go(func() {
					if err := f.run(ctx); err != nil {
						t.Errorf("watch of %+v through %T: %v", f.scope, f.from, err)
					}
				})
			}
		}
	}
	for step := range *stepsFlag {
		if t.Failed() {
			break
		}
		m.stir(random)
		if step%10 == 0 {
			// The world must not run ahead of its readers.
			before := m.counts.get("list")
			waittest.Eventually(t, "five more lists", func() bool { return m.counts.get("list") >= before+5 })
		}
		if step%250 == 0 {
			// A cache that has fallen out of the history takes a second to start anew.
			waitReady(t, w)
		}
	}
	stop()
	workers.Wait()
	m.mu.Lock()
	m.flush()
	m.mu.Unlock()
	readers.Wait()
	t.Logf("%d events, %s", m.revision()-m.base, m.counts.String())
	m.counts.expect(t, "write", "conflict", "list", "exact", "pages", "event", "initial")
}

// follower keeps a copy of a scope by lists and watches, and checks every event.
type follower struct {
	model  *model
	from   storage.Interface
	scope  scope
	random *rand.Rand
	// working is done when no more events come.
	working context.Context

	state    map[string]thing
	position uint64
}

// run follows until all events have been seen.
func (f *follower) run(ctx context.Context) error {
	for {
		err := f.follow(ctx)
		switch {
		case errors.Is(err, errEnough):
			if f.working.Err() != nil && f.complete() {
				return nil
			}
		case isExpired(err):
			f.model.counts.add("410")
			f.state = nil
		case storage.IsTooLargeResourceVersion(err):
			// On a busy machine the cache may be three seconds behind. Clients ask again.
			f.model.counts.add("504")
		case apierrors.IsTooManyRequests(err):
			// The cache has fallen out of the history itself, and starts anew.
			f.model.counts.add("429")
			f.state = nil
			_ = wait.PollUntilContextCancel(ctx, time.Millisecond, true, func(context.Context) (bool, error) {
				return f.from.ReadinessCheck() == nil, nil
			})
		case err != nil:
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("stopped at revision %d: %w", f.position, ctx.Err())
		}
	}
}

// complete says whether the follower has seen everything. Then its copy is that of the model.
func (f *follower) complete() bool {
	_, more := f.model.after(f.scope, f.position)
	return f.state != nil && !more && cmp.Equal(f.scope.filter(f.model.at(f.model.revision())), f.state)
}

// follow opens a watch, with or without a list before it, and reads it for a while.
func (f *follower) follow(ctx context.Context) error {
	opts := storage.ListOptions{Predicate: f.scope.predicate(), Recursive: true}
	opts.Predicate.AllowWatchBookmarks = true
	if f.state == nil || f.random.Intn(4) == 0 {
		f.state = nil
		if f.random.Intn(2) == 0 {
			opts.SendInitialEvents = ptr.To(true)
			opts.ResourceVersionMatch = metav1.ResourceVersionMatchNotOlderThan
		} else {
			state, revision, err := f.model.list(ctx, f.from, f.scope, f.random)
			if err != nil {
				return err
			}
			f.state, f.position = state, revision
		}
	}
	if f.state != nil {
		opts.ResourceVersion = fmt.Sprint(f.position)
	}
	w, err := f.from.Watch(ctx, f.scope.prefix, opts)
	if err != nil {
		return err
	}
	defer w.Stop()
	if f.state == nil {
		if err := f.initial(ctx, w); err != nil {
			return err
		}
	}
	for range 1 + f.random.Intn(300) {
		if f.working.Err() != nil && f.complete() {
			return errEnough
		}
		if f.random.Intn(100) == 0 {
			// Be slow for as long as it takes to be left behind.
			f.model.waitPast(f.working, f.position+uint64(f.random.Intn(400)))
		}
		if err := f.receive(ctx, w); err != nil {
			return err
		}
	}
	return errEnough
}

// event takes the next event. errEnough means that the watch has ended, or that there is nothing more to come.
func (f *follower) event(ctx context.Context, w watch.Interface) (watch.Event, uint64, error) {
	working := f.working.Done()
	for {
		select {
		case e, ok := <-w.ResultChan():
			if !ok {
				return e, 0, errEnough
			}
			if e.Type == watch.Error {
				return e, 0, apierrors.FromObject(e.Object)
			}
			accessor, err := metaAccessor(e.Object)
			if err != nil {
				return e, 0, err
			}
			revision, err := strconv.ParseUint(accessor.GetResourceVersion(), 10, 64)
			return e, revision, err
		case <-working:
			if f.state != nil && f.complete() {
				return watch.Event{}, 0, errEnough
			}
			// What is left comes soon.
			working = nil
		case <-ctx.Done():
			return watch.Event{}, 0, ctx.Err()
		}
	}
}

// initial reads the initial events up to the bookmark.
func (f *follower) initial(ctx context.Context, w watch.Interface) error {
	state := map[string]thing{}
	for {
		e, revision, err := f.event(ctx, w)
		if err != nil {
			return err
		}
		switch e.Type {
		case watch.Bookmark:
			if marked, err := storage.HasInitialEventsEndBookmarkAnnotation(e.Object); err != nil || !marked {
				return fmt.Errorf("a bookmark amid the initial events, at revision %d: %v", revision, err)
			}
			if diff := cmp.Diff(f.scope.filter(f.model.at(revision)), state); diff != "" {
				return fmt.Errorf("the initial events up to revision %d differ (-model +store):\n%s", revision, diff)
			}
			f.state, f.position = state, revision
			f.model.counts.add("initial")
			return nil
		case watch.Deleted:
			delete(state, keyOf(e.Object))
		default:
			state[keyOf(e.Object)] = thingOf(e.Object)
		}
	}
}

// receive takes one event and holds it against what has to come next.
func (f *follower) receive(ctx context.Context, w watch.Interface) error {
	e, revision, err := f.event(ctx, w)
	if err != nil {
		return err
	}
	want, ok := f.model.after(f.scope, f.position)
	if e.Type == watch.Bookmark {
		if revision < f.position || (ok && want.Revision <= revision) {
			return fmt.Errorf("a bookmark at revision %d, after %d and before %+v", revision, f.position, want)
		}
		f.position = revision
		return nil
	}
	got := told{e.Type, revision, keyOf(e.Object), thingOf(e.Object)}
	if !ok || got != want {
		return fmt.Errorf("after revision %d: got %+v, want %+v", f.position, got, want)
	}
	f.position = revision
	f.model.counts.add("event")
	if e.Type == watch.Deleted {
		delete(f.state, got.Key)
	} else {
		f.state[got.Key] = got.Thing
	}
	return nil
}
