// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/v3/concurrency"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"
)

// ErrSucceeded ends Leadership.Run when another replica led in between: its
// resourceVersions are ahead of what this process holds, so that this process
// must start anew.
var ErrSucceeded = errors.New("another replica took over; this process must start again with a new term")

// Leadership makes one replica at a time the leader.
//
//	standing by ──elected──▶ leading ──lease lost──▶ standing by
//
// A leader whose lease was lost goes on serving reads, since they stay true as
// long as vCenter answers, but Leads reports false, so that it is not ready and
// writes nothing. When it is elected again and nobody led in between it goes
// on with its term; else Run returns ErrSucceeded.
type Leadership struct {
	Ledger *Ledger
	// Identity names this replica to people who look into etcd.
	Identity string
	// Alone says that nobody else can stand: Run takes a term and leads without
	// a lease, so that a successor of this process need not wait for one to run
	// out. Identity and LeaseSeconds mean nothing then.
	Alone bool
	// LeaseSeconds is how long a dead leader stays leader.
	LeaseSeconds int
	// Backoff is between failed attempts to stand for election.
	Backoff wait.Backoff
	Logger  klog.Logger

	leads atomic.Bool
	term  atomic.Uint64 // 0: none was taken yet.
}

// Leads says whether this process is the leader now.
func (l *Leadership) Leads() bool { return l.leads.Load() }

// Holds says why this process may not write now, nil when it may.
func (l *Leadership) Holds() error {
	if l.Leads() {
		return nil
	}
	return errors.New("this replica does not lead at the moment, try again")
}

// Confirm is like Holds, and asks etcd whether nobody has led since.
func (l *Leadership) Confirm(ctx context.Context) error {
	if err := l.Holds(); err != nil {
		return err
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

// Run stands for election until ctx ends. elected is called once, with this
// process's term, when it leads for the first time.
func (l *Leadership) Run(ctx context.Context, elected func(term uint64)) error {
	var term uint64
	backoff := l.Backoff
	for {
		var err error
		if l.Alone {
			err = l.leadAlone(ctx, &term, elected)
		} else {
			err = l.lead(ctx, &term, elected)
		}
		l.leads.Store(false)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrSucceeded):
			return err
		}
		delay := backoff.Step()
		if err == nil { // led and lost the lease: stand again at once
			backoff, delay = l.Backoff, 0
		} else {
			l.Logger.Error(err, "Cannot take the lead, trying again", "retryIn", delay)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(delay):
		}
	}
}

// leadAlone takes a term and leads until ctx ends.
func (l *Leadership) leadAlone(ctx context.Context, term *uint64, elected func(uint64)) error {
	if err := l.enterTerm(ctx, term, elected); err != nil {
		return err
	}
	l.leads.Store(true)
	l.Logger.Info("Leading alone", "term", *term)
	<-ctx.Done()
	return nil
}

// lead stands for election once and, when elected, returns nil after the lease
// was lost.
func (l *Leadership) lead(ctx context.Context, term *uint64, elected func(uint64)) error {
	lease, err := l.newSession(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = lease.Close() }() // revokes the lease, so that a successor need not wait for it

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
		return fmt.Errorf("stand for election in etcd: %w", err)
	}
	if err := l.enterTerm(ctx, term, elected); err != nil {
		return err
	}
	l.leads.Store(true)
	l.Logger.Info("Leading", "identity", l.Identity, "term", *term)
	select {
	case <-ctx.Done():
	case <-lease.Done():
		l.Logger.Info("Lost the leader's lease", "identity", l.Identity, "term", *term)
	}
	return nil
}

func (l *Leadership) newSession(ctx context.Context) (*concurrency.Session, error) {
	grant, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	lease, err := l.Ledger.Client.Grant(grant, int64(l.LeaseSeconds))
	if err != nil {
		return nil, fmt.Errorf("take a lease from etcd: %w", err)
	}
	// Close revokes the lease under the session's own context, which must not have ended with ctx by then.
	session, err := concurrency.NewSession(l.Ledger.Client, concurrency.WithLease(lease.ID), concurrency.WithTTL(l.LeaseSeconds),
		concurrency.WithContext(context.WithoutCancel(ctx)))
	if err != nil {
		return nil, fmt.Errorf("keep a lease of etcd alive: %w", err)
	}
	return session, nil
}

func (l *Leadership) enterTerm(ctx context.Context, term *uint64, elected func(uint64)) error {
	if *term == 0 {
		taken, err := l.Ledger.NewTerm(ctx)
		if err != nil {
			return err
		}
		*term = taken
		l.term.Store(taken)
		elected(taken)
		return nil
	}
	current, err := l.Ledger.CurrentTerm(ctx)
	if err != nil {
		return err
	}
	if current != *term {
		return ErrSucceeded
	}
	return nil
}
