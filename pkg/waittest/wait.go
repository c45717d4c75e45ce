// SPDX-License-Identifier: Apache-2.0

package waittest

import (
	"context"
	"errors"
	"testing"
	"time"
)

const (
	// patience is how long Eventually waits. It is for what ends the test, and not for what the test is about: a machine
	// that does much besides must not fail it.
	patience = 30 * time.Second
	// pollInterval is how often is looked at what is looked at in this process, and askInterval at what is asked for.
	pollInterval = 5 * time.Millisecond
	askInterval  = 25 * time.Millisecond
)

// Eventually fails the test unless the condition is met within half a minute.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := limited(patience)
	defer cancel()
	err := repeat(ctx, pollInterval, func() error {
		if condition() {
			return nil
		}
		return errors.New("the condition is not met")
	})
	if err != nil {
		t.Fatalf("not within %s: %s", patience, what)
	}
}

// Within fails the test unless f succeeds within the deadline, which ends the context that f is given. It returns how
// long that took.
func Within(t testing.TB, deadline time.Duration, what string, f func(ctx context.Context) error) time.Duration {
	t.Helper()
	began := time.Now()
	ctx, cancel := limited(deadline)
	defer cancel()
	if err := Poll(ctx, func() error { return f(ctx) }); err != nil {
		t.Fatalf("not within %s: %s: %v", deadline, what, err)
	}
	return time.Since(began)
}

// limited is not derived from the test's own context, which has ended when a test is cleaned up: that waits too.
func limited(deadline time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), deadline)
}

// Poll calls f until it succeeds or ctx ends; then it returns f's last error.
func Poll(ctx context.Context, f func() error) error { return repeat(ctx, askInterval, f) }

func repeat(ctx context.Context, interval time.Duration, f func() error) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}
