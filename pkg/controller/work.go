// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// Queue holds the keys of what is to be looked at, each once.
type Queue = workqueue.TypedRateLimitingInterface[string]

// NewQueue returns a queue whose name is in its metrics. After a failure a key
// comes again after first, then after twice as long each time, up to longest. It is
// to be shut down.
func NewQueue(name string, first, longest time.Duration) Queue {
	return workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.NewTypedItemExponentialFailureRateLimiter[string](first, longest),
		workqueue.TypedRateLimitingQueueConfig[string]{Name: name})
}

// Enqueue returns what an informer is to call to have a queue hold the key of each
// object that comes, changes or goes.
func Enqueue(queue Queue, key func(metav1.Object) string) cache.ResourceEventHandlerFuncs {
	add := func(object any) {
		if final, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = final.Obj
		}
		accessor, ok := object.(metav1.Object)
		if !ok {
			utilruntime.HandleError(fmt.Errorf("queue an object: got a %T", object))
			return
		}
		queue.Add(key(accessor))
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, object any) { add(object) }, DeleteFunc: add}
}

// Worker is how keys are worked on.
type Worker struct {
	// Sync makes one step for a key and returns after how long to come again; zero:
	// when the key is queued again.
	Sync func(ctx context.Context, key string) (again time.Duration, err error)
	// Failed is told of Sync's error. The key comes again.
	Failed func(key string, err error)
	// Timeout bounds one call of Sync.
	Timeout time.Duration
}

// Work takes keys from the queue, as many at once as workers says and none twice at
// once, until ctx ends. It returns when all calls have, and the queue is shut down.
func (w Worker) Work(ctx context.Context, queue Queue, workers int) {
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for w.next(ctx, queue) {
			}
		})
	}
	<-ctx.Done()
	queue.ShutDown()
	running.Wait()
}

func (w Worker) next(ctx context.Context, queue Queue) bool {
	key, stop := queue.Get()
	if stop {
		return false
	}
	defer queue.Done(key)
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	again, err := w.Sync(ctx, key)
	if err != nil {
		w.Failed(key, err)
		queue.AddRateLimited(key)
		return true
	}
	queue.Forget(key)
	if again > 0 {
		queue.AddAfter(key, again)
	}
	return true
}
