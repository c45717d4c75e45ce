// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// A key that fails comes again after longer and longer, one that succeeds starts
// anew, and one that goes on comes when it said.
func TestWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		queue := NewQueue("", time.Second, 3*time.Second)
		began := time.Now()
		var got []string
		note := func(what string) {
			got = append(got, fmt.Sprintf("%s after %s", what, time.Since(began).Round(time.Second)))
		}
		calls := 0
		worker := Worker{
			Timeout: time.Minute,
			Failed:  func(key string, err error) { note(key + " failed: " + err.Error()) },
			Sync: func(ctx context.Context, key string) (time.Duration, error) {
				if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) != time.Minute {
					t.Errorf("deadline %v, %v", deadline, ok)
				}
				switch calls++; {
				case calls <= 4:
					return 0, errors.New("not yet")
				case calls == 5:
					note(key + " goes on")
					return 10 * time.Second, nil
				case calls == 6:
					return 0, errors.New("once more")
				}
				note(key + " is done")
				return 0, nil
			},
		}
		done := make(chan struct{})
		go func() {
			worker.Work(ctx, queue, 2)
			close(done)
		}()
		queue.Add("a")
		time.Sleep(time.Minute)
		cancel()
		<-done
		if !queue.ShuttingDown() {
			t.Error("the queue is not shut down")
		}
		want := []string{
			"a failed: not yet after 0s", "a failed: not yet after 1s", "a failed: not yet after 3s",
			"a failed: not yet after 6s",
			"a goes on after 9s", "a failed: once more after 19s", "a is done after 20s",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
	})
}

// Work returns when its calls have.
func TestWorkWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		queue := NewQueue("", time.Second, time.Second)
		inside, ended := make(chan struct{}), false
		queue.Add("a")
		go func() {
			<-inside
			cancel()
		}()
		Worker{Timeout: time.Minute, Failed: func(string, error) {},
			Sync: func(ctx context.Context, _ string) (time.Duration, error) {
				close(inside)
				<-ctx.Done()
				time.Sleep(time.Second)
				ended = true
				return 0, ctx.Err()
			}}.Work(ctx, queue, 1)
		if !ended {
			t.Error("it returned before its call")
		}
	})
}

func TestEnqueue(t *testing.T) {
	queue := NewQueue("", time.Second, time.Second)
	defer queue.ShutDown()
	handler := Enqueue(queue, func(object metav1.Object) string { return object.GetName() })
	named := func(name string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	handler.OnAdd(named("added"), true)
	handler.OnUpdate(named("old"), named("changed"))
	handler.OnDelete(named("gone"))
	handler.OnDelete(cache.DeletedFinalStateUnknown{Key: "missed", Obj: named("missed")})
	handler.OnAdd(named("added"), true)
	var got []string
	for queue.Len() > 0 {
		key, _ := queue.Get()
		got = append(got, key)
	}
	if diff := cmp.Diff([]string{"added", "changed", "gone", "missed"}, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}
