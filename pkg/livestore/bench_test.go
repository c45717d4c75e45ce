// SPDX-License-Identifier: Apache-2.0

package livestore

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/apis/example"
	"k8s.io/apiserver/pkg/storage"
)

const benchObjects = 10000

// benchWorld has 10,000 objects of some size in 100 namespaces.
func benchWorld(node string) map[string]apiruntime.Object {
	objects := make(map[string]apiruntime.Object, benchObjects)
	for i := range benchObjects {
		pod := &example.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: fmt.Sprintf("namespace-%02d", i%100),
			Name:      fmt.Sprintf("machine-%05d", i),
			UID:       types.UID(fmt.Sprintf("5012d6a4-0000-4000-8000-%012d", i)),
			Labels:    map[string]string{"app": fmt.Sprint("app-", i%10), "tier": "backend", "index": fmt.Sprint(i)},
			Annotations: map[string]string{"description": fmt.Sprintf(
				"machine %d of the benchmark, with a text of ordinary length", i)},
			Finalizers: []string{"example.com/machine"},
		}}
		pod.Spec.NodeName = node
		objects[podKey(pod)] = pod
	}
	return objects
}

func benchStore(b *testing.B) *Store {
	s := newStore(b, podConfig(b))
	s.Replace(benchWorld("1"))
	return s
}

func benchList(b *testing.B, s storage.Interface, prefix string, opts storage.ListOptions, want int) {
	b.Helper()
	opts.Recursive = true
	if opts.Predicate.Label == nil {
		limit := opts.Predicate.Limit
		opts.Predicate = storage.Everything
		opts.Predicate.Limit = limit
	}
	b.ReportAllocs()
	for b.Loop() {
		list := &example.PodList{}
		if err := s.GetList(context.Background(), prefix, opts, list); err != nil {
			b.Fatal(err)
		}
		if len(list.Items) != want {
			b.Fatalf("%d items, want %d", len(list.Items), want)
		}
	}
}

func BenchmarkGetList(b *testing.B) {
	b.Run("all", func(b *testing.B) { benchList(b, benchStore(b), "/pods", storage.ListOptions{}, benchObjects) })
	b.Run("page=500", func(b *testing.B) {
		benchList(b, benchStore(b), "/pods", storage.ListOptions{Predicate: storage.SelectionPredicate{Limit: 500}}, 500)
	})
	b.Run("namespace", func(b *testing.B) {
		benchList(b, benchStore(b), "/pods/namespace-42", storage.ListOptions{}, benchObjects/100)
	})
	b.Run("selector", func(b *testing.B) {
		predicate := storage.SelectionPredicate{Label: metav1Selector("app=app-7"), Field: storage.Everything.Field,
			GetAttrs: podAttrs}
		benchList(b, benchStore(b), "/pods", storage.ListOptions{Predicate: predicate}, benchObjects/10)
	})
	b.Run("exact,1000 changes ago", func(b *testing.B) {
		s := benchStore(b)
		for i := range 1000 {
			s.Apply([]Change{{"/pods/namespace-00/machine-00000", simplePod("x", onNode(fmt.Sprint(i)))}})
		}
		benchList(b, s, "/pods", storage.ListOptions{ResourceVersion: "1",
			ResourceVersionMatch: metav1.ResourceVersionMatchExact}, benchObjects)
	})
	b.Run("cached", func(b *testing.B) {
		benchList(b, cachedWorldOver(b, benchStore(b)), "/pods", storage.ListOptions{}, benchObjects)
	})
}

func BenchmarkGet(b *testing.B) {
	s := benchStore(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Get(context.Background(), "/pods/namespace-42/machine-00042", storage.GetOptions{},
			&example.Pod{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkApply(b *testing.B) {
	b.Run("one", func(b *testing.B) {
		s := benchStore(b)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			s.Apply([]Change{{"/pods/namespace-42/machine-00042", simplePod("x", onNode(fmt.Sprint(i)))}})
		}
	})
	b.Run("one that changes nothing", func(b *testing.B) {
		s := benchStore(b)
		s.Apply([]Change{{"/pods/namespace-42/machine-00042", simplePod("x")}})
		b.ReportAllocs()
		for b.Loop() {
			s.Apply([]Change{{"/pods/namespace-42/machine-00042", simplePod("x")}})
		}
	})
	b.Run("all of 10000", func(b *testing.B) {
		s := benchStore(b)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			b.StopTimer()
			world := benchWorld(fmt.Sprint("other-", i))
			b.StartTimer()
			s.Replace(world)
		}
	})
	b.Run("all of 10000 that change nothing", func(b *testing.B) {
		s := benchStore(b)
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			world := benchWorld("1")
			b.StartTimer()
			s.Replace(world)
		}
	})
}

func BenchmarkGuaranteedUpdate(b *testing.B) {
	s := benchStore(b)
	count := 0
	b.ReportAllocs()
	for b.Loop() {
		err := s.GuaranteedUpdate(context.Background(), "/pods/namespace-42/machine-00042", &example.Pod{}, false, nil,
			storage.SimpleUpdate(func(obj apiruntime.Object) (apiruntime.Object, error) {
				count++
				obj.(*example.Pod).Spec.NodeName = fmt.Sprint(count)
				return obj, nil
			}), nil)
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMemory reports what the objects cost by themselves, in the store, and in the store with the cache above it.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		empty := heap()
		objects := benchWorld("1")
		own := heap()
		s := newStore(b, podConfig(b))
		s.Replace(objects)
		clear(objects)
		objects = nil
		stored := heap()
		w := cachedWorldOver(b, s)
		benchOnce(b, w)
		cached := heap()
		b.ReportMetric(float64(own-empty)/benchObjects, "B/object-alone")
		b.ReportMetric(float64(stored-empty)/benchObjects, "B/object-stored")
		b.ReportMetric(float64(cached-empty)/benchObjects, "B/object-cached")
		runtime.KeepAlive(w)
	}
}

func benchOnce(b *testing.B, s storage.Interface) {
	list := &example.PodList{}
	if err := s.GetList(context.Background(), "/pods", storage.ListOptions{Recursive: true, Predicate: storage.Everything},
		list); err != nil || len(list.Items) != benchObjects {
		b.Fatalf("%d items: %v", len(list.Items), err)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
