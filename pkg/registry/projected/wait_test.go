// SPDX-License-Identifier: Apache-2.0

package projected_test

import (
	"context"
	"errors"
	"testing"

	"github.com/openpacific/pacific/pkg/failure"
)

// TestWait has somebody wait for each way in which something can come about. The condition is asked for under no lock
// that the projection needs.
func TestWait(t *testing.T) {
	for name, do := range map[string]func(set, same, drop, anew func()){
		"it changes":                        func(set, _, _, _ func()) { set() },
		"it was looked at, and is the same": func(_, same, _, _ func()) { same() },
		"it goes":                           func(_, _, drop, _ func()) { drop() },
		"a whole truth leaves it out":       func(_, _, _, anew func()) { anew() },
	} {
		t.Run(name, func(t *testing.T) {
			o, _ := newObjects()
			truth(o, map[string]*thing{"1": a("u1", "web", "True"), "2": a("u2", "db", "True")})
			asked, happened := make(chan struct{}, 10), make(chan struct{})
			done := make(chan error)
			go func() {
				done <- o.Wait(t.Context(), "1", func() bool {
					o.Get("1")
					var so bool
					select {
					case <-happened:
						so = true
					default:
					}
					asked <- struct{}{}
					return so
				})
			}()
			<-asked
			o.Set("2", a("u2", "db", "False"))
			o.Flush()
			close(happened)
			do(
				func() { o.Set("1", a("u1", "web", "False")) },
				func() { o.Set("1", a("u1", "web", "True")) },
				func() { o.Drop("1") },
				func() { o.Begin() },
			)
			o.Flush()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if len(asked) != 1 {
				t.Errorf("it was asked %d times for what happened to it once, and to another", len(asked))
			}
		})
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	o, _ := newObjects()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	never := func() bool { return false }
	if err := o.Wait(ctx, "1", never); !errors.Is(err, context.Canceled) {
		t.Errorf("wait: %v", err)
	}
	if err := o.Await(ctx, "1", nil, never); !errors.Is(err, failure.Timeout) {
		t.Errorf("await: %v", err)
	}
}

// Where the inventory is slow to show a write, the object is read on purpose.
func TestAwaitReads(t *testing.T) {
	o, _ := newObjects()
	read := func(context.Context) {
		o.Set("1", a("u1", "web", "True"))
		o.Flush()
	}
	if err := o.Await(t.Context(), "1", read, func() bool { return o.Get("1") != nil }); err != nil {
		t.Error(err)
	}
}
