// SPDX-License-Identifier: Apache-2.0

package contentlibrary

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/vmware/govmomi/vapi/rest"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/vcenter"
)

const (
	defaultInterval = time.Minute
	// defaultTimeout is enough for thousands of items, and for a vCenter that
	// takes a second for each call.
	defaultTimeout = 10 * time.Minute
	// jitter is how much longer than the interval a pause may be, so that
	// replicas do not ask at the same time.
	jitter = 0.1
)

// Session carries out calls with a login at vCenter's REST endpoints;
// vcenter.RESTSession does. Errors of Do come with their failure kind.
type Session interface {
	Do(ctx context.Context, operation string, f func(context.Context, *rest.Client) error) error
}

// Catalogue follows vCenter's content libraries. Its fields are set before Run.
// Its other methods may be called from any goroutine, and never wait for vCenter.
type Catalogue struct {
	Session Session
	// Interval is how long after a reading the next one comes. Zero: 1 min.
	Interval time.Duration
	// Timeout bounds a reading. Zero: 10 min.
	Timeout time.Duration

	Logger klog.Logger
	Clock  clock.Clock // Nil: the real one.

	mu    sync.Mutex // Guards known.
	known *contents
}

// Run reads until ctx ends; then it returns nil. After a failure it tries again
// within a second, and ever more rarely up to 30 s.
func (c *Catalogue) Run(ctx context.Context) error {
	retry, said := vcenter.NewRetry(), ""
	for turn := 0; ctx.Err() == nil; {
		next, err := c.read(ctx, turn)
		var pause time.Duration
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			pause = retry.Step()
			if message := err.Error(); message != said {
				said = message
				c.Logger.Error(err, "Could not read the content libraries; what was read last stands")
			}
		default:
			c.publish(next)
			if said != "" {
				c.Logger.Info("Read the content libraries again")
			}
			retry, said = vcenter.NewRetry(), ""
			pause = wait.Jitter(c.interval(), jitter)
			turn++
		}
		timer := c.clock().NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C():
		}
		timer.Stop()
	}
	return nil
}

func (c *Catalogue) clock() clock.Clock {
	if c.Clock == nil {
		return clock.RealClock{}
	}
	return c.Clock
}

func (c *Catalogue) interval() time.Duration {
	if c.Interval <= 0 {
		return defaultInterval
	}
	return c.Interval
}

// read reads everything that may have changed since what is known was read.
func (c *Catalogue) read(ctx context.Context, turn int) (*contents, error) {
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	before := c.contents()
	var next *contents
	err := c.Session.Do(ctx, "read the content libraries", func(ctx context.Context, client *rest.Client) (err error) {
		next, err = readAll(ctx, client, before, turn)
		return err
	})
	return next, err
}

func (c *Catalogue) publish(next *contents) {
	c.mu.Lock()
	before := c.known
	c.known = next
	c.mu.Unlock()
	if before == nil {
		c.Logger.Info("Read the content libraries", "libraries", len(next.shelves), "images", next.images)
	}
	if next.hidden > 0 && (before == nil || before.hidden != next.hidden) {
		c.Logger.Info("Some content libraries or items are hidden from the account, so their images cannot be used; "+
			"a role that may read them counts only as a global permission", "hidden", next.hidden)
	}
}

func (c *Catalogue) contents() *contents {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known
}

// Synced says whether the libraries were read since the start.
func (c *Catalogue) Synced() bool { return c.contents() != nil }

// Names returns the names of all libraries, sorted. vCenter may have several of
// one name: they are one to whoever goes by names. Nil before Synced.
func (c *Catalogue) Names() []string {
	known := c.contents()
	if known == nil {
		return nil
	}
	return slices.Clone(known.names)
}

// Libraries returns the names of the libraries that hold an image of this name,
// sorted: of its Kubernetes name, as ImageName makes it, or of the name that it
// has in vCenter, which several may have. What looks like a Kubernetes name is
// never taken for the other, so that nobody makes an image pass for another one
// by naming theirs. None before Synced.
func (c *Catalogue) Libraries(image string) []string {
	known := c.contents()
	if known == nil {
		return nil
	}
	return slices.Clone(known.byImage[image])
}
