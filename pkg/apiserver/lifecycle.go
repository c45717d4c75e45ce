// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/ledger"
)

// lifecycle says what of a server runs when:
//
//	           elected                      lease lost
//	standby ────────────▶ serves and reigns ──────────▶ serves, not ready ──▶ (elected again)
//
// and it ends, for a new process to begin, once another process has taken a term.
type lifecycle struct {
	leadership *ledger.Leadership
	// ground is what all else stands on, from the start until all else has ended: a
	// request under way needs what follows vCenter to see its own effect.
	ground []task
	// always runs on every replica.
	always []task
	// begin is called once, when this process is elected for the first time. Nothing
	// is served and nobody reigns before it has returned. Its error ends the process.
	begin func(ctx context.Context, term uint64) error
	// serving runs from then on to the end.
	serving []task
	// reigning runs in each reign, and nothing of it is left when a reign has ended.
	reigning []task
}

// task runs until ctx ends, and returns when all its goroutines have. An error ends
// the process.
type task func(ctx context.Context) error

// run returns when everything has ended: with ctx, or for the first error.
func (l lifecycle) run(ctx context.Context) error {
	below, sink := context.WithCancel(context.WithoutCancel(ctx))
	defer sink()
	standing, below := errgroup.WithContext(below)
	for _, task := range l.ground {
		standing.Go(func() error { return task(below) })
	}
	above, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(below, stop)() // nothing stands on what is broken
	err := l.stand(above)
	sink()
	if broken := standing.Wait(); err == nil {
		err = broken
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// stand runs what stands on the ground.
func (l lifecycle) stand(ctx context.Context) error {
	running, ctx := errgroup.WithContext(ctx)
	for _, task := range l.always {
		running.Go(func() error { return task(ctx) })
	}
	began := make(chan struct{})
	running.Go(func() error {
		return l.leadership.Run(ctx, func(term uint64) {
			running.Go(func() error {
				if err := l.begin(ctx, term); err != nil {
					return err
				}
				close(began)
				return together(ctx, l.serving)
			})
		}, func(reign context.Context) error {
			select {
			case <-began:
				return together(reign, l.reigning)
			case <-reign.Done():
				return nil
			}
		})
	})
	return running.Wait()
}

// together runs tasks until all have ended.
func together(ctx context.Context, tasks []task) error {
	running, ctx := errgroup.WithContext(ctx)
	for _, task := range tasks {
		running.Go(func() error { return task(ctx) })
	}
	return running.Wait()
}

// untilDone calls f until it succeeds, with pauses that grow; it fails only when
// ctx ends. failing is what is logged of a failure.
func untilDone(ctx context.Context, logger klog.Logger, failing string, f func(context.Context) error) error {
	backoff := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 7, Cap: 5 * time.Second}
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		delay := backoff.Step()
		logger.Error(err, failing, "retryIn", delay)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(delay):
		}
	}
}

// writesInReign lets requests that change something pass during a reign only, so
// that no controller writes to kube-apiserver after the lead was lost, however late
// it hears of that.
type writesInReign struct {
	next  http.RoundTripper
	reign interface{ Holds() error }
}

func (w writesInReign) RoundTrip(request *http.Request) (*http.Response, error) {
	switch request.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return w.next.RoundTrip(request)
	}
	if err := w.reign.Holds(); err != nil {
		if request.Body != nil {
			_ = request.Body.Close()
		}
		return nil, fmt.Errorf("%s is not sent to kube-apiserver: %w", request.Method, err)
	}
	return w.next.RoundTrip(request)
}

// WrappedRoundTripper is what client-go looks for.
func (w writesInReign) WrappedRoundTripper() http.RoundTripper { return w.next }
