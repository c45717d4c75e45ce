// SPDX-License-Identifier: Apache-2.0

package livestore

import (
	"context"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/client-go/tools/cache"

	"github.com/openpacific/pacific/pkg/waittest"
)

// TestInformerSharesObjects: what an informer of this process keeps are the store's own objects, at the start and after
// changes too.
func TestInformerSharesObjects(t *testing.T) {
	store := newPodStore(t)
	seen := make(chan string, 10)
	kept, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: store.ListerWatcher(), ObjectType: &example.Pod{},
		Handler: cache.ResourceEventHandlerFuncs{UpdateFunc: func(old, now any) {
			seen <- old.(*example.Pod).Spec.NodeName + " " + now.(*example.Pod).Spec.NodeName
		}},
	})
	first, second := simplePod("first"), simplePod("second")
	store.Replace(map[string]runtime.Object{podKey(first): first, podKey(second): second})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { informer.RunWithContext(ctx) })
	t.Cleanup(running.Wait)
	t.Cleanup(cancel)
	shared := func() bool {
		tree, _ := store.mirror.snapshot()
		same := tree.Len() == len(kept.List())
		tree.Ascend(func(e *entry) bool {
			object, _, _ := kept.GetByKey("ns/" + e.object.(*example.Pod).Name)
			same = same && object == any(e.object)
			return same
		})
		return same
	}
	waittest.Eventually(t, "the informer has what the store has, and no copies", shared)
	store.Apply([]Change{{Key: podKey(first), Object: simplePod("first", onNode("a"))}, {Key: podKey(second)}})
	if got, want := <-seen, " a"; got != want {
		t.Errorf("the informer saw %q, want %q", got, want)
	}
	waittest.Eventually(t, "the informer follows", shared)
}
