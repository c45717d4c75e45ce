// SPDX-License-Identifier: Apache-2.0

package projected

import (
	"context"
	"fmt"
	"time"

	"github.com/openpacific/pacific/pkg/failure"
)

// patience is how long the inventory may take to show a write before the object is read on purpose.
const patience = time.Second

// Wait returns nil as soon as done says so, and ctx's error when that ends first. It is asked at once, and after each
// step in which the projection looked at the id, whatever came of that.
func (o *Objects[T]) Wait(ctx context.Context, id string, done func() bool) error {
	moved := make(chan struct{}, 1)
	o.wait(id, moved)
	defer o.unwait(id, moved)
	for !done() {
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Await waits for the effect of a write. Where that takes longer than it should, read reads the object on purpose,
// again and again; nil: there is nothing but to wait. It wraps failure.Timeout when ctx ends first.
func (o *Objects[T]) Await(ctx context.Context, id string, read func(context.Context), done func() bool) error {
	for grace := patience; ; grace *= 2 {
		wait, stop := ctx, context.CancelFunc(func() {})
		if read != nil {
			wait, stop = context.WithTimeout(ctx, grace)
		}
		err := o.Wait(wait, id, done)
		stop()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", failure.Timeout, ctx.Err())
		}
		read(ctx)
	}
}

func (o *Objects[T]) wait(id string, moved chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.waiters == nil {
		o.waiters = map[string]map[chan struct{}]struct{}{}
	}
	if o.waiters[id] == nil {
		o.waiters[id] = map[chan struct{}]struct{}{}
	}
	o.waiters[id][moved] = struct{}{}
}

func (o *Objects[T]) unwait(id string, moved chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.waiters[id], moved)
	if len(o.waiters[id]) == 0 {
		delete(o.waiters, id)
	}
}

// wake has those look again who wait for an id.
func (o *Objects[T]) wake(id string) {
	for moved := range o.waiters[id] {
		select {
		case moved <- struct{}{}:
		default:
		}
	}
}

// wakeAll has everybody look again: of what is gone, a whole truth says nothing.
func (o *Objects[T]) wakeAll() {
	for id := range o.waiters {
		o.wake(id)
	}
}
