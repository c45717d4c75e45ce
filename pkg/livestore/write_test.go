// SPDX-License-Identifier: Apache-2.0

package livestore

import (
	"context"
	"fmt"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/feature"
)

// gated is an outside world in which an update begins when it says so, and ends when it is let.
type gated struct {
	directBackend
	begun chan string
	end   chan struct{}
}

func (b *gated) Update(ctx context.Context, key string, current, desired runtime.Object) error {
	b.begun <- key
	<-b.end
	return b.directBackend.Update(ctx, key, current, desired)
}

func setNode(node string) storage.UpdateFunc {
	return storage.SimpleUpdate(func(obj runtime.Object) (runtime.Object, error) {
		obj.(*example.Pod).Spec.NodeName = node
		return obj, nil
	})
}

func TestWritesToAKeyTakeTurns(t *testing.T) {
	b := &gated{begun: make(chan string), end: make(chan struct{})}
	config := podConfig(t)
	config.Backend = b
	s := newStore(t, config)
	b.store = s
	s.Replace(map[string]runtime.Object{"/pods/ns/a": simplePod("a"), "/pods/ns/b": simplePod("b")})
	update := func(ctx context.Context, key, node string) error {
		return s.GuaranteedUpdate(ctx, key, &example.Pod{}, false, nil, setNode(node), nil)
	}
	results := make(chan error, 2)
	go func() { results <- update(t.Context(), "/pods/ns/a", "1") }()
	<-b.begun

	// Another write to the key waits for its turn no longer than its context allows.
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := update(canceled, "/pods/ns/a", "2"); !apierrors.IsTimeout(err) {
		t.Errorf("a write that has no time to wait: %v", err)
	}
	// A write to another key does not wait, nor do reads.
	go func() { results <- update(t.Context(), "/pods/ns/b", "1") }()
	if key := <-b.begun; key != "/pods/ns/b" {
		t.Errorf("the write to %s begins", key)
	}
	if err := s.Get(t.Context(), "/pods/ns/a", storage.GetOptions{}, &example.Pod{}); err != nil {
		t.Error(err)
	}
	close(b.end)
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := len(s.writers.held); n != 0 {
		t.Errorf("%d locks are left", n)
	}
}

func TestConcurrentUpdatesLoseNothing(t *testing.T) {
	s := newPodStore(t)
	s.Apply([]Change{{"/pods/ns/a", simplePod("a")}})
	const writers, updates = 8, 50
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for range updates {
				err := s.GuaranteedUpdate(t.Context(), "/pods/ns/a", &example.Pod{}, false, nil,
					storage.SimpleUpdate(func(obj runtime.Object) (runtime.Object, error) {
						obj.(*example.Pod).Generation++
						return obj, nil
					}), nil)
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	out := &example.Pod{}
	if err := s.Get(t.Context(), "/pods/ns/a", storage.GetOptions{}, out); err != nil ||
		out.Generation != writers*updates {
		t.Errorf("%d of %d updates are there (%v)", out.Generation, writers*updates, err)
	}
	if want := fmt.Sprint(2 + writers*updates); out.ResourceVersion != want {
		t.Errorf("the object is at revision %s, want %s", out.ResourceVersion, want)
	}
}

// vanishing is an outside world in which what is created is gone before the creation returns.
type vanishing struct{ directBackend }

func (b *vanishing) Create(ctx context.Context, key string, obj runtime.Object) error {
	if err := b.directBackend.Create(ctx, key, obj); err != nil {
		return err
	}
	return b.directBackend.Delete(ctx, key, obj)
}

func TestCreateReturnsWhatWasCreated(t *testing.T) {
	b := &vanishing{}
	config := podConfig(t)
	config.Backend = b
	s := newStore(t, config)
	b.store = s
	s.Replace(nil)
	out := &example.Pod{}
	if err := s.Create(t.Context(), "/pods/ns/a", simplePod("a"), out, 0); err != nil || out.Name != "a" ||
		out.ResourceVersion != "2" {
		t.Errorf("created %+v, %v", out.ObjectMeta, err)
	}
}

// lazy is an outside world that takes a deletion for a wish.
type lazy struct{ directBackend }

func (*lazy) Create(context.Context, string, runtime.Object) error { return nil }
func (*lazy) Delete(context.Context, string, runtime.Object) error { return nil }

func TestBackendThatReturnsTooEarly(t *testing.T) {
	b := &lazy{}
	config := podConfig(t)
	config.Backend = b
	s := newStore(t, config)
	b.store = s
	s.Replace(map[string]runtime.Object{"/pods/ns/a": simplePod("a")})
	out := &example.Pod{}
	if err := s.Create(t.Context(), "/pods/ns/b", simplePod("b"), out, 0); !storage.IsInternalError(err) {
		t.Errorf("a creation without effect: %v", err)
	}
	if err := s.Delete(t.Context(), "/pods/ns/a", out, nil, storage.ValidateAllObjectFunc, nil,
		storage.DeleteOptions{}); err != nil || out.Name != "a" || out.ResourceVersion != "1" {
		t.Errorf("a deletion that goes on: %+v, %v", out.ObjectMeta, err)
	}
}

func TestFeatureSupport(t *testing.T) {
	checker := FeatureSupport(feature.NewDefaultFeatureSupportChecker())
	if !checker.Supports(storage.RequestWatchProgress) {
		t.Error("requests for watch progress are not supported")
	}
	checker.MarkUnsupported(storage.RangeStream)
	if checker.Supports(storage.RangeStream) {
		t.Error("what others say of other features is not passed on")
	}
}
