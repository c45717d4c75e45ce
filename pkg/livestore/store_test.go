// SPDX-License-Identifier: Apache-2.0

package livestore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/openpacific/pacific/pkg/waittest"
)

func TestSequence(t *testing.T) {
	s := NewSequence(3)
	if got, want := s.Next(), uint64(3<<30+1); got != want {
		t.Errorf("the first revision of term 3 is %d, want %d", got, want)
	}
	if got, want := s.Next(), uint64(3<<30+2); got != want {
		t.Errorf("the second revision of term 3 is %d, want %d", got, want)
	}
	s.Begin(5)
	if got, want := s.Next(), uint64(5<<30+1); got != want {
		t.Errorf("the first revision after the begin of term 5 is %d, want %d", got, want)
	}
	if got := NewCounter(7).Next(); got != 8 {
		t.Errorf("the first revision after 7 is %d", got)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"resource":      func(c *Config) { c.GroupResource.Resource = "" },
		"codec":         func(c *Config) { c.Codec = nil },
		"new function":  func(c *Config) { c.NewFunc = nil },
		"list function": func(c *Config) { c.NewListFunc = nil },
		"sequence":      func(c *Config) { c.Sequence = nil },
		"prefix":        func(c *Config) { c.ResourcePrefix = "pods" },
		"root prefix":   func(c *Config) { c.ResourcePrefix = "/" },
		"history":       func(c *Config) { c.HistoryAge = time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			config := podConfig(t)
			spoil(&config)
			if _, err := New(config); err == nil {
				t.Error("no error")
			}
		})
	}
}

func simplePod(name string, change ...func(*example.Pod)) *example.Pod {
	pod := &example.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("uid-" + name)}}
	for _, f := range change {
		f(pod)
	}
	return pod
}

func onNode(node string) func(*example.Pod) {
	return func(pod *example.Pod) { pod.Spec.NodeName = node }
}

func withUID(uid types.UID) func(*example.Pod) {
	return func(pod *example.Pod) { pod.UID = uid }
}

// seen is an event in short.
type seen struct {
	Type     watch.EventType
	Name     string
	Node     string
	Revision string
}

func seenFrom(e watch.Event) seen {
	pod := e.Object.(*example.Pod)
	return seen{e.Type, pod.Name, pod.Spec.NodeName, pod.ResourceVersion}
}

func watchAll(t *testing.T, s storage.Interface, opts storage.ListOptions) watch.Interface {
	t.Helper()
	opts.Recursive = true
	if opts.Predicate.Label == nil {
		bookmarks := opts.Predicate.AllowWatchBookmarks
		opts.Predicate = storage.Everything
		opts.Predicate.AllowWatchBookmarks = bookmarks
	}
	w, err := s.Watch(t.Context(), "/pods", opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return w
}

func expectEvents(t *testing.T, w watch.Interface, want ...seen) {
	t.Helper()
	var got []seen
	for range want {
		got = append(got, seenFrom(next(t, w)))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events differ (-want +got):\n%s", diff)
	}
}

func TestFeeding(t *testing.T) {
	key := func(name string) string { return "/pods/ns/" + name }
	for _, test := range []struct {
		name string
		feed func(*Store)
		want []seen
	}{
		{
			name: "deletions of a batch come first",
			feed: func(s *Store) {
				s.Apply([]Change{{key("c"), simplePod("c")}, {key("a"), nil}, {key("b"), simplePod("b", onNode("2"))}})
			},
			want: []seen{{watch.Deleted, "a", "1", "2"}, {watch.Added, "c", "", "3"}, {watch.Modified, "b", "2", "4"}},
		},
		{
			name: "what changes nothing is no event",
			feed: func(s *Store) {
				s.Apply([]Change{{key("a"), simplePod("a", onNode("1"))}, {key("gone"), nil}})
				s.Apply([]Change{{key("a"), simplePod("a", onNode("1"),
					func(p *example.Pod) { p.ResourceVersion = "77"; p.Labels = map[string]string{} })}})
				s.Apply(nil)
				s.Apply([]Change{{key("a"), simplePod("a", onNode("2"))}})
			},
			want: []seen{{watch.Modified, "a", "2", "2"}},
		},
		{
			name: "another uid is another object",
			feed: func(s *Store) { s.Apply([]Change{{key("a"), simplePod("a", withUID("other"))}}) },
			want: []seen{{watch.Deleted, "a", "1", "2"}, {watch.Added, "a", "", "3"}},
		},
		{
			name: "deleted and created again",
			feed: func(s *Store) { s.Apply([]Change{{key("a"), nil}, {key("a"), simplePod("a", onNode("1"))}}) },
			want: []seen{{watch.Deleted, "a", "1", "2"}, {watch.Added, "a", "1", "3"}},
		},
		{
			name: "created and deleted in one batch was never there",
			feed: func(s *Store) {
				s.Apply([]Change{{key("c"), simplePod("c")}, {key("c"), nil}, {key("d"), simplePod("d")}})
			},
			want: []seen{{watch.Added, "d", "", "2"}},
		},
		{
			name: "the whole truth again is compared",
			feed: func(s *Store) {
				s.Replace(map[string]runtime.Object{key("c"): simplePod("c"), key("b"): simplePod("b", onNode("2"))})
				s.Replace(map[string]runtime.Object{key("c"): simplePod("c"), key("b"): simplePod("b", onNode("3"))})
			},
			want: []seen{{watch.Deleted, "a", "1", "2"}, {watch.Modified, "b", "2", "3"}, {watch.Added, "c", "", "4"},
				{watch.Modified, "b", "3", "5"}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStore(t, podConfig(t))
			s.Apply([]Change{{key("early"), simplePod("early")}})
			s.Replace(map[string]runtime.Object{key("a"): simplePod("a", onNode("1")), key("b"): simplePod("b", onNode("1"))})
			w := watchAll(t, s, storage.ListOptions{ResourceVersion: "1"})
			test.feed(s)
			expectEvents(t, w, test.want...)
			last := test.want[len(test.want)-1].Revision
			if revision, err := s.GetCurrentResourceVersion(t.Context()); err != nil || fmt.Sprint(revision) != last {
				t.Errorf("the store is at revision %d (%v), want %s", revision, err, last)
			}
		})
	}
}

// A projection may keep what it handed over and hand it over again; what readers hold must not change under them.
func TestObjectsGivenTwiceStayAsTheyWere(t *testing.T) {
	s := newPodStore(t)
	first, second := simplePod("a", onNode("1")), simplePod("a", onNode("2"))
	s.Apply([]Change{{"/pods/ns/a", first}})
	w := watchAll(t, s, storage.ListOptions{ResourceVersion: "1"})
	added := next(t, w).Object
	s.Apply([]Change{{"/pods/ns/a", second}})
	s.Apply([]Change{{"/pods/ns/a", first}})
	expectEvents(t, w, seen{watch.Modified, "a", "2", "3"}, seen{watch.Modified, "a", "1", "4"})
	if got := added.(*example.Pod).ResourceVersion; got != "2" {
		t.Errorf("the first event is of revision %s by now, was 2", got)
	}
}

func TestBeforeTheFirstReplace(t *testing.T) {
	unavailable := errors.New("not yet")
	config := podConfig(t)
	config.Unavailable = func() error { return unavailable }
	s := newStore(t, config)
	ctx := t.Context()
	pod := &example.Pod{}
	noUpdate := func(runtime.Object, storage.ResponseMeta) (runtime.Object, *uint64, error) {
		t.Error("the update function is called")
		return nil, nil, nil
	}
	_, revisionErr := s.GetCurrentResourceVersion(ctx)
	_, statsErr := s.Stats(ctx)
	soon, cancel := context.WithCancel(ctx)
	cancel()
	for name, err := range map[string]error{
		"get":    s.Get(ctx, "/pods/ns/a", storage.GetOptions{}, pod),
		"create": s.Create(ctx, "/pods/ns/a", simplePod("a"), pod, 0),
		"update": s.GuaranteedUpdate(ctx, "/pods/ns/a", pod, true, nil, noUpdate, nil),
		"delete": s.Delete(ctx, "/pods/ns/a", pod, nil, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{}),
		"list": s.GetList(soon, "/pods", storage.ListOptions{Recursive: true, Predicate: storage.Everything},
			&example.PodList{}),
		"revision": revisionErr,
		"stats":    statsErr,
	} {
		if !errors.Is(err, unavailable) {
			t.Errorf("%s: %v, want %v", name, err, unavailable)
		}
	}
	if s.Ready() || s.ReadinessCheck() == nil {
		t.Error("the store says that it is ready")
	}

	initial := watchAll(t, s, storage.ListOptions{SendInitialEvents: ptr.To(true),
		Predicate: storage.SelectionPredicate{AllowWatchBookmarks: true}})
	later := watchAll(t, s, storage.ListOptions{SendInitialEvents: ptr.To(false)})
	listed := make(chan error, 1)
	list := &example.PodList{}
	go func() {
		listed <- s.GetList(ctx, "/pods", storage.ListOptions{Recursive: true, Predicate: storage.Everything}, list)
	}()
	s.Replace(map[string]runtime.Object{"/pods/ns/a": simplePod("a")})
	expectEvents(t, initial, seen{watch.Added, "a", "", "1"}, seen{watch.Bookmark, "", "", "1"})
	if err := <-listed; err != nil || len(list.Items) != 1 || list.ResourceVersion != "1" {
		t.Errorf("the list that has waited: %+v, %v", list, err)
	}
	// This watch wants what comes after the start: nothing of it is lost even if it has not begun yet.
	waittest.Eventually(t, "the watch", func() bool {
		s.Apply([]Change{{"/pods/ns/a", simplePod("a", onNode(fmt.Sprint(time.Now().UnixNano())))}})
		return len(later.ResultChan()) > 0
	})
	if !s.Ready() || s.ReadinessCheck() != nil {
		t.Error("the store says that it is not ready")
	}
}

func TestDefaultUnavailable(t *testing.T) {
	s := newStore(t, podConfig(t))
	if err := s.Get(t.Context(), "/pods/ns/a", storage.GetOptions{},
		&example.Pod{}); !apierrors.IsServiceUnavailable(err) {
		t.Errorf("got %v, want 503", err)
	}
}

func TestReadsOfTheFuture(t *testing.T) {
	config := podConfig(t)
	config.FreshnessWait = 20 * time.Millisecond
	s := newStore(t, config)
	s.Replace(nil)
	ctx := t.Context()
	everything := storage.ListOptions{Recursive: true, Predicate: storage.Everything}
	opts := everything
	opts.ResourceVersion, opts.ResourceVersionMatch = "99", metav1.ResourceVersionMatchNotOlderThan
	if err := s.GetList(ctx, "/pods", opts, &example.PodList{}); !storage.IsTooLargeResourceVersion(err) {
		t.Errorf("list not older than the future: %v", err)
	}
	opts.ResourceVersionMatch = metav1.ResourceVersionMatchExact
	if err := s.GetList(ctx, "/pods", opts, &example.PodList{}); !storage.IsTooLargeResourceVersion(err) {
		t.Errorf("list of the future: %v", err)
	}
	if err := s.Get(ctx, "/pods/ns/a", storage.GetOptions{ResourceVersion: "99"},
		&example.Pod{}); !storage.IsTooLargeResourceVersion(err) {
		t.Errorf("get of the future: %v", err)
	}
	for _, initial := range []*bool{nil, ptr.To(true)} {
		w := watchAll(t, s, storage.ListOptions{ResourceVersion: "99", SendInitialEvents: initial})
		if err := apierrors.FromObject(next(t, w).Object); !storage.IsTooLargeResourceVersion(err) {
			t.Errorf("watch of the future: %v", err)
		}
	}

	// A future that comes in time is worth the wait.
	config.FreshnessWait = 30 * time.Second
	config.Sequence = NewCounter(0)
	s = newStore(t, config)
	s.Replace(nil)
	listed := make(chan error, 1)
	opts = everything
	opts.ResourceVersion = "2"
	list := &example.PodList{}
	go func() { listed <- s.GetList(ctx, "/pods", opts, list) }()
	s.Apply([]Change{{"/pods/ns/a", simplePod("a")}})
	if err := <-listed; err != nil || list.ResourceVersion != "2" || len(list.Items) != 1 {
		t.Errorf("the list that has waited: %+v, %v", list, err)
	}
}

func TestHistoryEnds(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Now())
	config := podConfig(t)
	config.Clock = clock
	config.HistorySize = 3
	s := newStore(t, config)
	s.Replace(nil)
	move := func(n int) {
		for i := range n {
			s.Apply([]Change{{"/pods/ns/a", simplePod("a", onNode(fmt.Sprint(clock.Now(), i)))}})
		}
	}
	exact := func(revision string) error {
		return s.GetList(t.Context(), "/pods", storage.ListOptions{Recursive: true, Predicate: storage.Everything,
			ResourceVersion: revision, ResourceVersionMatch: metav1.ResourceVersionMatchExact}, &example.PodList{})
	}
	move(3)
	if err := exact("1"); err != nil || s.CompactRevision() != 0 {
		t.Errorf("a history within its size: %v, compacted to %d", err, s.CompactRevision())
	}
	move(1)
	if err := exact("1"); !apierrors.IsResourceExpired(err) || s.CompactRevision() != 2 {
		t.Errorf("a history beyond its size: %v, compacted to %d", err, s.CompactRevision())
	}
	w := watchAll(t, s, storage.ListOptions{ResourceVersion: "1"})
	if err := apierrors.FromObject(next(t, w).Object); !apierrors.IsResourceExpired(err) {
		t.Errorf("a watch from before the history: %v", err)
	}
	clock.Step(6 * time.Minute)
	move(1)
	if err := exact("4"); !apierrors.IsResourceExpired(err) || s.CompactRevision() != 5 {
		t.Errorf("a history beyond its age: %v, compacted to %d", err, s.CompactRevision())
	}
	if err := exact("5"); err != nil {
		t.Errorf("the state before the last change: %v", err)
	}
}

// A change of every object at once must not outrun those who watch.
func TestHistoryHoldsAChangeOfEverything(t *testing.T) {
	config := podConfig(t)
	config.HistorySize = 1
	s := newStore(t, config)
	world := func(node string) map[string]runtime.Object {
		objects := map[string]runtime.Object{}
		for i := range 500 {
			name := fmt.Sprintf("pod-%03d", i)
			objects["/pods/ns/"+name] = simplePod(name, onNode(node), withUID(types.UID(node)))
		}
		return objects
	}
	s.Replace(world("1"))
	w := watchAll(t, s, storage.ListOptions{ResourceVersion: "1"})
	s.Replace(world("2"))
	for i := range 1000 {
		if e := next(t, w); e.Type == watch.Error {
			t.Fatalf("event %d: %v", i, e.Object)
		}
	}
}

func TestSlowWatcher(t *testing.T) {
	config := podConfig(t)
	config.HistorySize = 64
	s := newStore(t, config)
	s.Replace(nil)
	slow := watchAll(t, s, storage.ListOptions{ResourceVersion: "1"})
	fast := watchAll(t, s, storage.ListOptions{ResourceVersion: "1"})
	const events = 2000
	for i := range events {
		s.Apply([]Change{{"/pods/ns/a", simplePod("a", onNode(fmt.Sprint(i)))}})
		if got := seenFrom(next(t, fast)); got.Node != fmt.Sprint(i) {
			t.Fatalf("the fast watcher sees %+v as event %d", got, i)
		}
	}
	// What the slow one gets is without gaps, and then it learns that it is too slow.
	for i := range events {
		e := next(t, slow)
		if e.Type == watch.Error {
			if err := apierrors.FromObject(e.Object); !apierrors.IsResourceExpired(err) {
				t.Errorf("the slow watcher ends with %v", err)
			}
			if _, ok := <-slow.ResultChan(); ok {
				t.Error("there is an event after the error")
			}
			return
		}
		if got := seenFrom(e); got.Node != fmt.Sprint(i) {
			t.Fatalf("the slow watcher sees %+v as event %d", got, i)
		}
	}
	t.Error("the slow watcher has never been told that it is too slow")
}

// conflicting refuses as often as it is told to, and changes the object by the hand of another each time if it is to
// move.
type conflicting struct {
	directBackend
	mu      sync.Mutex
	refuse  int
	move    bool
	refused int
}

func (b *conflicting) trouble(key string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refused == b.refuse {
		return nil
	}
	b.refused++
	if b.move {
		go b.store.Apply([]Change{{key, simplePod("a", onNode(fmt.Sprint("other-", b.refused)))}})
	}
	return fmt.Errorf("reconfigure: %w", ErrConflict)
}

func (b *conflicting) Update(ctx context.Context, key string, current, desired runtime.Object) error {
	if err := b.trouble(key); err != nil {
		return err
	}
	return b.directBackend.Update(ctx, key, current, desired)
}

func (b *conflicting) Delete(ctx context.Context, key string, current runtime.Object) error {
	if err := b.trouble(key); err != nil {
		return err
	}
	return b.directBackend.Delete(ctx, key, current)
}

func TestConflicts(t *testing.T) {
	const key = "/pods/ns/a"
	for _, test := range []struct {
		name   string
		refuse int
		move   bool
		want   func(error) bool
	}{
		{name: "the object moves", refuse: 3, move: true, want: func(err error) bool { return err == nil }},
		{name: "the object does not move", refuse: 2, want: func(err error) bool { return err == nil }},
		{name: "no end", refuse: 100, move: true, want: apierrors.IsConflict},
	} {
		t.Run(test.name, func(t *testing.T) {
			setup := func() (*Store, *conflicting) {
				b := &conflicting{refuse: test.refuse, move: test.move}
				config := podConfig(t)
				config.Backend = b
				config.ConflictWait = 50 * time.Millisecond
				if test.move {
					config.ConflictWait = 30 * time.Second
				}
				s := newStore(t, config)
				b.store = s
				s.Replace(map[string]runtime.Object{key: simplePod("a")})
				return s, b
			}
			s, b := setup()
			out := &example.Pod{}
			var inputs []string
			err := s.GuaranteedUpdate(t.Context(), key, out, false, nil,
				storage.SimpleUpdate(func(obj runtime.Object) (runtime.Object, error) {
					pod := obj.(*example.Pod)
					inputs = append(inputs, pod.Spec.NodeName)
					pod.Labels = map[string]string{"mine": "yes"}
					return pod, nil
				}), nil)
			if !test.want(err) {
				t.Errorf("update: %v", err)
			}
			if test.move {
				for i, node := range inputs[1:] {
					if want := fmt.Sprint("other-", i+1); node != want {
						t.Errorf("attempt %d works on the state of %q, not on that of %q", i+1, node, want)
					}
				}
			}
			if err == nil && (out.Labels["mine"] != "yes" || b.refused != test.refuse) {
				t.Errorf("updated to %+v after %d conflicts", out, b.refused)
			}

			s, _ = setup()
			if err := s.Delete(t.Context(), key, out, nil, storage.ValidateAllObjectFunc, nil,
				storage.DeleteOptions{}); !test.want(err) {
				t.Errorf("delete: %v", err)
			}
		})
	}
}

// ending is an outside world in which an update ends an object, and nothing can be created.
type ending struct{ directBackend }

var errRefused = errors.New("no space left on the datastore")

func (b *ending) Create(context.Context, string, runtime.Object) error { return errRefused }

func (b *ending) Update(ctx context.Context, key string, current, _ runtime.Object) error {
	return b.Delete(ctx, key, current)
}

func TestWritesThatEndOtherwise(t *testing.T) {
	b := &ending{}
	config := podConfig(t)
	config.Backend = b
	s := newStore(t, config)
	b.store = s
	s.Replace(map[string]runtime.Object{"/pods/ns/a": simplePod("a")})
	touch := storage.SimpleUpdate(func(obj runtime.Object) (runtime.Object, error) {
		obj.(*example.Pod).Labels = map[string]string{"touched": "yes"}
		return obj, nil
	})
	if err := s.GuaranteedUpdate(t.Context(), "/pods/ns/a", &example.Pod{}, false, nil, touch,
		nil); !storage.IsNotFound(err) {
		t.Errorf("an update that ends the object: %v", err)
	}
	if err := s.Create(t.Context(), "/pods/ns/b", simplePod("b"), &example.Pod{}, 0); err != errRefused {
		t.Errorf("a creation that fails: %v, want %v itself", err, errRefused)
	}
	if err := s.GuaranteedUpdate(t.Context(), "/pods/ns/b", &example.Pod{}, true, nil, touch, nil); err != errRefused {
		t.Errorf("an update that creates and fails: %v, want %v itself", err, errRefused)
	}
	readOnly := podConfig(t)
	plain, err := New(readOnly)
	if err != nil {
		t.Fatal(err)
	}
	plain.Replace(nil)
	if err := plain.Create(t.Context(), "/pods/ns/b", simplePod("b"), nil, 0); !apierrors.IsMethodNotSupported(err) {
		t.Errorf("a creation without a backend: %v", err)
	}
}

func TestWhatCallersGetIsTheirs(t *testing.T) {
	s := newPodStore(t)
	s.Apply([]Change{{"/pods/ns/a", simplePod("a", func(p *example.Pod) { p.Labels = map[string]string{"k": "v"} })}})
	spoil := func(pod *example.Pod) { pod.Labels["k"] = "spoilt" }
	out := &example.Pod{}
	if err := s.Get(t.Context(), "/pods/ns/a", storage.GetOptions{}, out); err != nil {
		t.Fatal(err)
	}
	spoil(out)
	refuse := errors.New("no")
	_ = s.GuaranteedUpdate(t.Context(), "/pods/ns/a", out, false, nil,
		storage.SimpleUpdate(func(obj runtime.Object) (runtime.Object, error) {
			spoil(obj.(*example.Pod))
			return nil, refuse
		}), nil)
	_ = s.Delete(t.Context(), "/pods/ns/a", out, nil, func(_ context.Context, obj runtime.Object) error {
		spoil(obj.(*example.Pod))
		return refuse
	}, nil, storage.DeleteOptions{})
	if got := s.mirror.get("/pods/ns/a").object.(*example.Pod).Labels["k"]; got != "v" {
		t.Errorf("a caller has changed the store: %q", got)
	}
}

func TestDecorator(t *testing.T) {
	s := newStore(t, podConfig(t))
	decorate := func(prefix string) (storage.Interface, func(), error) {
		var decorator generic.StorageDecorator = s.Decorator()
		config := storagebackend.NewDefaultConfig("/registry", s.config.Codec).ForResource(podResource)
		above, destroy, err := decorator(config, prefix, func(obj runtime.Object) (string, error) {
			return storage.NamespaceKeyFunc("/pods/", obj)
		},
			s.config.NewFunc, s.config.NewListFunc, podAttrs, nil, nil)
		return above, destroy, err
	}
	if _, _, err := decorate("/apples"); err == nil {
		t.Error("a registry of another prefix is taken")
	}
	above, destroy, err := decorate("/pods")
	if err != nil {
		t.Fatal(err)
	}
	defer destroy()
	if err := above.ReadinessCheck(); err == nil {
		t.Error("the cache is ready before the store")
	}
	s.Replace(map[string]runtime.Object{"/pods/ns/a": simplePod("a")})
	waitReady(t, above)
	w := watchAll(t, above, storage.ListOptions{SendInitialEvents: ptr.To(true),
		Predicate: storage.SelectionPredicate{AllowWatchBookmarks: true}})
	expectEvents(t, w, seen{watch.Added, "a", "", "1"}, seen{watch.Bookmark, "", "", "1"})
}
