// SPDX-License-Identifier: Apache-2.0

package storagepolicy

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter"
)

const (
	defaultInterval = 30 * time.Second
	defaultTimeout  = 2 * time.Minute
	// share is how much longer a pause is, at least, than the reading before it.
	share = 20
	// jitter is how much longer than the interval a pause may be, so that
	// replicas do not ask at the same time.
	jitter = 0.1
)

// Session keeps the login at vCenter; vcenter.Session does. Errors of Do come with
// their failure kind.
type Session interface {
	Connect(ctx context.Context) (*vcenter.Connection, error)
	Do(ctx context.Context, operation string, f func(context.Context, *vim25.Client) error) error
}

// Handler is told what vCenter says, whenever that is something else than before.
type Handler interface {
	SetStoragePolicies(facts.StoragePolicies)
}

// Catalogue follows vCenter's storage policies. Its fields are set before Run. Its
// other methods may be called from any goroutine, and never wait for vCenter.
type Catalogue struct {
	Session Session
	Handler Handler // Called by Run, one call at a time. Nil: nobody.
	// Interval is how long after a reading the next one comes. Zero: 30 s.
	Interval time.Duration
	// Timeout bounds a reading. Zero: 2 min.
	Timeout time.Duration
	Logger  klog.Logger
	Clock   clock.Clock // Nil: the real one.

	mu      sync.Mutex             // Guards what follows.
	answer  *facts.StoragePolicies // Nil: nothing was read yet.
	changed chan struct{}
}

// Policies returns the policies, by name, and whether they were read at all.
func (c *Catalogue) Policies() ([]facts.StoragePolicy, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answer == nil {
		return nil, false
	}
	return slices.Clone(c.answer.Policies), true
}

// Answer returns all that was read last, and whether anything was.
func (c *Catalogue) Answer() (facts.StoragePolicies, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answer == nil {
		return facts.StoragePolicies{}, false
	}
	return *c.answer, true
}

// Changed returns a channel that is closed when there are other Policies than
// now. To miss nothing, call it before Policies.
func (c *Catalogue) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.changed
}

// Run reads until ctx ends; then it returns nil. After a failure it tries again
// within a second, and ever more rarely up to 30 s, or to what the failed reading
// took; after a new login at once.
func (c *Catalogue) Run(ctx context.Context) error {
	clock := c.clock()
	retry, said := vcenter.NewRetry(), ""
	for {
		connection, err := c.Session.Connect(ctx)
		if ctx.Err() != nil {
			return nil
		}
		began := clock.Now()
		if err == nil {
			err = c.read(ctx)
			if ctx.Err() != nil {
				return nil
			}
			if err == nil {
				if said != "" {
					c.Logger.Info("Read the storage policies again")
				}
				retry, said = vcenter.NewRetry(), ""
				c.rest(ctx, connection, max(wait.Jitter(c.interval(), jitter), share*clock.Since(began)))
				continue
			}
		}
		if message := err.Error(); message != said {
			said = message
			c.Logger.Error(err, "Cannot read the storage policies, what was read last stands")
		}
		// A service that does not answer in time is not asked all the time.
		c.rest(ctx, connection, max(retry.Step(), clock.Since(began)))
	}
}

// rest waits out a pause, or until the login is lost.
func (c *Catalogue) rest(ctx context.Context, connection *vcenter.Connection, pause time.Duration) {
	timer := c.clock().NewTimer(pause)
	defer timer.Stop()
	var lost <-chan struct{}
	if connection != nil {
		lost = connection.Lost()
	}
	select {
	case <-ctx.Done():
	case <-timer.C():
	case <-lost:
	}
}

// read asks for everything once.
func (c *Catalogue) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	var answer facts.StoragePolicies
	err := c.Session.Do(ctx, "read the storage policies", func(ctx context.Context, client *vim25.Client) (err error) {
		answer, err = reading{client: client}.answer(ctx)
		return err
	})
	if err != nil {
		return explain(err)
	}
	c.keep(answer)
	return nil
}

// keep makes an answer the one that counts, and tells whoever is to know.
func (c *Catalogue) keep(answer facts.StoragePolicies) {
	c.mu.Lock()
	before := c.answer
	if before != nil && reflect.DeepEqual(*before, answer) {
		c.mu.Unlock()
		return
	}
	c.answer = &answer
	if c.changed != nil && (before == nil || !slices.Equal(before.Policies, answer.Policies)) {
		close(c.changed)
		c.changed = nil
	}
	c.mu.Unlock()
	if c.Handler != nil {
		c.Handler.SetStoragePolicies(answer)
	}
}

func (c *Catalogue) clock() clock.Clock {
	if c.Clock == nil {
		return clock.RealClock{}
	}
	return c.Clock
}

func (c *Catalogue) interval() time.Duration {
	if c.Interval == 0 {
		return defaultInterval
	}
	return c.Interval
}

func (c *Catalogue) timeout() time.Duration {
	if c.Timeout == 0 {
		return defaultTimeout
	}
	return c.Timeout
}

// errNone is what an empty list of policies is taken for.
var errNone = fmt.Errorf("vCenter names no storage policy: grant the account the privilege %s on vCenter itself",
	privilege)
