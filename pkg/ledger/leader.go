// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/failure"
)

// ErrSucceeded ends Leadership.Run when another process led in between: its
// resourceVersions are ahead of what this one holds, so that this one must start
// anew.
var ErrSucceeded = errors.New("another replica took over; this process must start again with a new term")

const defaultLeaseSeconds = 5

var (
	errNotLeading = fmt.Errorf("this replica does not lead at the moment, try again: %w", failure.Unavailable)
	errLost       = errors.New("the leader's lease was lost")
)

// Leadership lets one process at a time reign.
//
//	standing by ──elected──▶ reigning ──lease lost──▶ standing by, with a term
//
// A reign is the time for which one lease is held. It is over as soon as etcd has
// not confirmed it for LeaseSeconds, counted from before each question, so that it
// ends here before it ends there, in a process that was stopped for a while too.
//
// Whose reign is over goes on serving reads, since they stay true as long as vCenter
// answers, and writes nothing. Elected again when nobody led in between, it goes on
// with its term. Once another process has taken a term Run returns ErrSucceeded,
// whatever this one is doing.
type Leadership struct {
	Ledger *Ledger
	// Identity names this replica to people who look into etcd.
	Identity string
	// Alone says that nobody else is to stand: Run takes a term and reigns without a
	// lease, so that a successor of this process need not wait for one to run out.
	// The term stands for the lease: whoever takes one ends this reign. Identity means
	// nothing then.
	Alone bool
	// LeaseSeconds is how long a dead leader stays leader, and how long a reign
	// lasts that etcd does not confirm. Zero: 5.
	LeaseSeconds int
	// Backoff is between failed attempts to stand for election.
	Backoff wait.Backoff
	Clock   clock.Clock // Nil: the real one.
	Logger  klog.Logger

	term    atomic.Uint64         // 0: none was taken yet.
	reign   atomic.Pointer[reign] // Nil: there is none.
	watched sync.WaitGroup
}

// reign is one time that the lead is held.
type reign struct {
	// ctx ends with it, for the cause.
	ctx context.Context
	// until is to when etcd has confirmed it.
	until atomic.Pointer[time.Time]
	// election is what stands in etcd for it; nil when alone.
	election *concurrency.Election
}

// Leads says whether this process reigns now.
func (l *Leadership) Leads() bool { return l.Holds() == nil }

// Holds says why this process may not write now, nil when it may. It asks nobody.
// The error's kind is failure.Unavailable.
func (l *Leadership) Holds() error {
	r := l.reign.Load()
	if r == nil || r.ctx.Err() != nil || !l.clock().Now().Before(*r.until.Load()) {
		return errNotLeading
	}
	return nil
}

// Confirm is like Holds, and has etcd confirm both the term and the lease.
func (l *Leadership) Confirm(ctx context.Context) error {
	if err := l.Holds(); err != nil {
		return err
	}
	r := l.reign.Load()
	if r == nil {
		return errNotLeading
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	conditions := []clientv3.Cmp{l.Ledger.inTerm(l.term.Load())}
	if r.election != nil {
		conditions = append(conditions, elected(r.election))
	}
	response, err := l.Ledger.Client.Txn(ctx).If(conditions...).Commit()
	if err != nil {
		return fmt.Errorf("have etcd confirm that this replica leads: %w: %w", failure.Unavailable, err)
	}
	if !response.Succeeded {
		return fmt.Errorf("etcd says that this replica does not lead any more: %w", failure.Unavailable)
	}
	return nil
}

// elected holds while an election that was won is not over.
func elected(election *concurrency.Election) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(election.Key()), "=", election.Rev())
}

// Run stands for election until ctx ends. begun is called once, with this process's
// term, when it is elected for the first time. during is called for each reign, with
// a context that ends with it; Run does not stand again before it returned, and ends
// with its error.
func (l *Leadership) Run(ctx context.Context, begun func(term uint64), during func(context.Context) error) error {
	ctx, end := context.WithCancelCause(ctx)
	defer l.watched.Wait()
	defer end(nil)
	backoff := l.Backoff
	for {
		err := l.stand(ctx, end, begun, during)
		var ended *endedError
		switch {
		case errors.Is(context.Cause(ctx), ErrSucceeded), errors.Is(err, ErrSucceeded):
			return ErrSucceeded
		case errors.As(err, &ended):
			return ended.cause
		case ctx.Err() != nil:
			return nil
		}
		if errors.Is(err, errLost) { // stand again at once
			backoff = l.Backoff
			continue
		}
		delay := backoff.Step()
		l.Logger.Error(err, "Cannot take the lead, trying again", "retryIn", delay)
		select {
		case <-ctx.Done():
		case <-l.clock().After(delay):
		}
	}
}

// endedError is what during returned while the reign went on.
type endedError struct{ cause error }

func (e *endedError) Error() string { return e.cause.Error() }

// stand stands for election once and reigns when elected. It never returns nil
// before ctx ends.
func (l *Leadership) stand(ctx context.Context, end context.CancelCauseFunc, begun func(uint64),
	during func(context.Context) error) error {
	var lease *concurrency.Session
	r := &reign{}
	if !l.Alone {
		var err error
		if lease, err = l.newSession(ctx); err != nil {
			return err
		}
		defer func() { _ = lease.Close() }() // revokes the lease, so that a successor need not wait for it
		if r.election, err = l.campaign(ctx, lease); err != nil {
			return err
		}
	}
	if err := l.enterTerm(ctx, end, r, begun); err != nil {
		return err
	}
	// Nothing is known of the time since etcd was last asked.
	if err := l.confirm(ctx, r, lease); err != nil {
		return err
	}
	return l.rule(ctx, r, lease, during)
}

// campaign returns once elected.
func (l *Leadership) campaign(ctx context.Context, lease *concurrency.Session) (*concurrency.Election, error) {
	election := concurrency.NewElection(lease, l.Ledger.leaderKey())
	campaign, stop := context.WithCancel(ctx)
	defer stop()
	go func() { // a campaign does not notice that its own lease was lost
		select {
		case <-lease.Done():
			stop()
		case <-campaign.Done():
		}
	}()
	if err := election.Campaign(campaign, l.Identity); err != nil {
		return nil, fmt.Errorf("stand for election in etcd: %w", err)
	}
	return election, nil
}

// rule has during run for as long as a reign lasts, and returns why it ended.
func (l *Leadership) rule(ctx context.Context, r *reign, lease *concurrency.Session,
	during func(context.Context) error) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	r.ctx = ctx
	l.reign.Store(r)
	l.Logger.Info("Leading", "identity", l.Identity, "alone", l.Alone, "term", l.term.Load())
	var running sync.WaitGroup
	running.Go(func() { end(l.keep(ctx, r, lease)) })
	err := during(ctx)
	if err != nil && ctx.Err() == nil {
		end(&endedError{cause: err})
	}
	<-ctx.Done()
	l.reign.Store(nil)
	running.Wait()
	l.Logger.Info("Not leading any more", "identity", l.Identity, "term", l.term.Load(), "reason",
		context.Cause(ctx).Error())
	return context.Cause(ctx)
}

// keep has etcd confirm a reign again and again, and returns when it is over.
func (l *Leadership) keep(ctx context.Context, r *reign, lease *concurrency.Session) error {
	var lost <-chan struct{}
	if lease != nil {
		lost = lease.Done()
	}
	for {
		left := r.until.Load().Sub(l.clock().Now())
		if left <= 0 {
			return fmt.Errorf("%w: etcd did not confirm it in time", errLost)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-lost:
			return errLost
		case <-l.clock().After(min(left, l.lease()/5)):
		}
		if !l.clock().Now().Before(*r.until.Load()) {
			continue
		}
		if err := l.confirm(ctx, r, lease); errors.Is(err, errLost) {
			return err
		}
	}
}

// confirm asks etcd for as long as a reign is known to last, and prolongs it. The
// error wraps errLost when etcd says that it is over.
func (l *Leadership) confirm(ctx context.Context, r *reign, lease *concurrency.Session) error {
	asked := l.clock().Now()
	ctx, cancel := context.WithTimeout(ctx, l.lease())
	defer cancel()
	conditions := []clientv3.Cmp{l.Ledger.inTerm(l.term.Load())}
	if lease != nil {
		_, err := l.Ledger.Client.KeepAliveOnce(ctx, lease.Lease())
		switch {
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			return errLost
		case err != nil:
			return fmt.Errorf("prolong the lease: %w", err)
		}
		conditions = append(conditions, elected(r.election))
	}
	response, err := l.Ledger.Client.Txn(ctx).If(conditions...).Commit()
	if err != nil {
		return fmt.Errorf("have etcd confirm the lead: %w", err)
	}
	if !response.Succeeded {
		return errLost
	}
	until := asked.Add(l.lease())
	r.until.Store(&until)
	return nil
}

func (l *Leadership) newSession(ctx context.Context) (*concurrency.Session, error) {
	grant, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	lease, err := l.Ledger.Client.Grant(grant, int64(l.leaseSeconds()))
	if err != nil {
		return nil, fmt.Errorf("take a lease from etcd: %w", err)
	}
	// Close revokes the lease under the session's own context, which must not have ended with ctx by then.
	session, err := concurrency.NewSession(l.Ledger.Client, concurrency.WithLease(lease.ID),
		concurrency.WithTTL(l.leaseSeconds()),
		concurrency.WithContext(context.WithoutCancel(ctx)))
	if err != nil {
		return nil, fmt.Errorf("keep a lease of etcd alive: %w", err)
	}
	return session, nil
}

// enterTerm takes a term, or sees that the one that was taken is the last one.
func (l *Leadership) enterTerm(ctx context.Context, end context.CancelCauseFunc, r *reign, begun func(uint64)) error {
	if l.term.Load() == 0 {
		var conditions []clientv3.Cmp
		if r.election != nil {
			conditions = append(conditions, elected(r.election))
		}
		taken, err := l.Ledger.NewTerm(ctx, conditions...)
		if err != nil {
			return err
		}
		l.term.Store(taken)
		l.watched.Go(func() { l.awaitSuccessor(ctx, taken, end) })
		begun(taken)
		return nil
	}
	current, err := l.Ledger.CurrentTerm(ctx)
	if err != nil {
		return err
	}
	if current != l.term.Load() {
		return ErrSucceeded
	}
	return nil
}

// awaitSuccessor ends everything when there is another term in etcd.
func (l *Leadership) awaitSuccessor(ctx context.Context, term uint64, end context.CancelCauseFunc) {
	backoff := l.Backoff
	for ctx.Err() == nil {
		current, revision, err := l.Ledger.lastTerm(ctx)
		if err == nil && current != term {
			l.Logger.Info("Another replica has taken a term", "term", term, "taken", current)
			end(ErrSucceeded)
			return
		}
		if err == nil && l.awaitChange(ctx, revision) {
			backoff = l.Backoff
			continue
		}
		select {
		case <-ctx.Done():
		case <-l.clock().After(backoff.Step()):
		}
	}
}

// awaitChange says whether the term is another one than at a revision; else etcd
// could not be asked any more.
func (l *Leadership) awaitChange(ctx context.Context, revision int64) bool {
	ctx, stop := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer stop()
	for answer := range l.Ledger.Client.Watch(ctx, l.Ledger.termKey(), clientv3.WithRev(revision+1)) {
		if len(answer.Events) > 0 {
			return true
		}
	}
	return false
}

func (l *Leadership) leaseSeconds() int {
	if l.LeaseSeconds == 0 {
		return defaultLeaseSeconds
	}
	return l.LeaseSeconds
}

func (l *Leadership) lease() time.Duration { return time.Duration(l.leaseSeconds()) * time.Second }

func (l *Leadership) clock() clock.Clock {
	if l.Clock == nil {
		return clock.RealClock{}
	}
	return l.Clock
}
