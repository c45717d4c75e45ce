// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2/ktesting"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/waittest"
)

// replica runs a Leadership and reports what becomes of it.
type replica struct {
	*Leadership
	terms  chan uint64
	reigns chan context.Context // what each reign runs with
	linger chan struct{}        // what runs in a reign ends with it when this is closed
	done   chan error           // closed after it told how Run ended

	run, release, stop func()
}

// longLease is longer than any test waits, in seconds.
const longLease = 60

func startReplica(t *testing.T, ledger *Ledger, identity string, leaseSeconds int) *replica {
	t.Helper()
	r := newReplica(t, ledger, identity, leaseSeconds)
	r.release()
	r.run()
	return r
}

func newReplica(t *testing.T, ledger *Ledger, identity string, leaseSeconds int) *replica {
	t.Helper()
	logger, ctx := ktesting.NewTestContext(t)
	ctx, stop := context.WithCancel(ctx)
	r := &replica{
		Leadership: &Leadership{
			Ledger: ledger, Identity: identity, LeaseSeconds: leaseSeconds, Logger: logger,
			Backoff: wait.Backoff{Duration: 10 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 8, Cap: time.Second},
		},
		terms: make(chan uint64, 2), reigns: make(chan context.Context, 9), linger: make(chan struct{}),
		done: make(chan error, 1), stop: stop,
	}
	r.release = sync.OnceFunc(func() { close(r.linger) })
	r.run = func() {
		go func() {
			defer close(r.done)
			r.done <- r.Run(ctx, func(term uint64) { r.terms <- term }, func(ctx context.Context) error {
				r.reigns <- ctx
				<-ctx.Done()
				<-r.linger
				return nil
			})
		}()
		t.Cleanup(func() {
			r.stop()
			r.release()
			for range r.done {
			}
		})
	}
	return r
}

func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(20 * time.Second):
		t.Fatalf("no %s after 20 s", what)
		panic("unreachable")
	}
}

func TestOneLeaderAndAWarmSuccessor(t *testing.T) {
	etcd := startEtcd(t, t.TempDir())
	defer etcd.Close()
	ledger := newLedger(etcd.Client(), time.Unix(1_800_000_000, 0))

	first := startReplica(t, newLedger(etcd.Client(), time.Unix(1_800_000_000, 0)), "first", longLease)
	firstTerm := receive(t, "term of the first", first.terms)
	waittest.Eventually(t, "the first leads", first.Leads)
	second := startReplica(t, ledger, "second", longLease)
	select {
	case term := <-second.terms:
		t.Fatalf("the second was elected (term %d) while the first leads", term)
	case <-time.After(300 * time.Millisecond):
	}

	stopped := time.Now()
	first.stop()
	if err := receive(t, "end of the first", first.done); err != nil {
		t.Errorf("the first ended with %v", err)
	}
	if term := receive(t, "term of the second", second.terms); term != firstTerm+1 {
		t.Errorf("the second's term is %d, want %d", term, firstTerm+1)
	}
	waittest.Eventually(t, "the second leads", second.Leads)
	if took := time.Since(stopped); took > longLease*time.Second/2 {
		t.Errorf("the second led only after %v: it waited for a lease that the first should have given back", took)
	}
	if first.Leads() {
		t.Error("the first still says that it leads")
	}
	second.stop()
	if err := receive(t, "end of the second", second.done); err != nil {
		t.Errorf("the second ended with %v", err)
	}
}

// revokeAll ends every lease, as an etcd that was away for longer than the
// lease does, and says which those were.
func revokeAll(t *testing.T, client *clientv3.Client) []clientv3.LeaseStatus {
	t.Helper()
	leases, err := client.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, lease := range leases.Leases {
		// Its holder may have been faster.
		if _, err := client.Revoke(t.Context(), lease.ID); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			t.Fatal(err)
		}
	}
	return leases.Leases
}

// leaderLease is the lease of whoever leads, 0 when nobody does.
func leaderLease(t *testing.T, ledger *Ledger) clientv3.LeaseID {
	t.Helper()
	response, err := ledger.Client.Get(t.Context(), ledger.leaderKey(), clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	if len(response.Kvs) == 0 {
		return 0
	}
	return clientv3.LeaseID(response.Kvs[0].Lease)
}

func TestALostLeaseKeepsTheTermUnlessSomebodyElseLed(t *testing.T) {
	etcd := startEtcd(t, t.TempDir())
	defer etcd.Close()
	ledger := newLedger(etcd.Client(), time.Unix(1_800_000_000, 0))
	leader := startReplica(t, ledger, "leader", 2)
	term := receive(t, "term", leader.terms)
	waittest.Eventually(t, "leads", leader.Leads)

	lost := revokeAll(t, etcd.Client())
	waittest.Eventually(t, "leads again, with another lease", func() bool {
		lease := leaderLease(t, ledger)
		return lease != 0 && lease != lost[0].ID && leader.Leads()
	})
	current, err := ledger.CurrentTerm(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if current != term {
		t.Errorf("the term became %d, want %d still", current, term)
	}

	// as another leader would
	if _, err := newLedger(etcd.Client(), time.Unix(1_800_000_000, 0)).NewTerm(t.Context()); err != nil {
		t.Fatal(err)
	}
	revokeAll(t, etcd.Client())
	if err := receive(t, "end of the leader", leader.done); !errors.Is(err, ErrSucceeded) {
		t.Errorf("the leader ended with %v, want %v", err, ErrSucceeded)
	}
	if leader.Leads() {
		t.Error("the leader still says that it leads")
	}
}

// What runs in a reign ends with it, and nobody stands again before it has.
func TestAReignEndsAndBegins(t *testing.T) {
	etcd := startEtcd(t, t.TempDir())
	defer etcd.Close()
	ledger := newLedger(etcd.Client(), time.Unix(1_800_000_000, 0))
	leader := newReplica(t, ledger, "leader", 2)
	leader.run()
	first := receive(t, "reign", leader.reigns)
	if err := errors.Join(leader.Holds(), leader.Confirm(t.Context())); err != nil {
		t.Errorf("in a reign: %v", err)
	}
	revokeAll(t, etcd.Client())
	receive(t, "end of the reign", first.Done())
	for what, err := range map[string]error{"holds": leader.Holds(), "is confirmed": leader.Confirm(t.Context())} {
		if !errors.Is(err, failure.Unavailable) {
			t.Errorf("a reign that is over %s: %v", what, err)
		}
	}
	select {
	case <-leader.reigns:
		t.Error("another reign began while something of the last one ran")
	case <-time.After(500 * time.Millisecond):
	}
	if lease := leaderLease(t, ledger); lease != 0 {
		t.Errorf("it stands already, with lease %x", lease)
	}
	leader.release()
	second := receive(t, "second reign", leader.reigns)
	if err := errors.Join(second.Err(), leader.Holds(), leader.Confirm(t.Context())); err != nil {
		t.Errorf("in the second reign: %v", err)
	}
	if len(leader.terms) != 1 {
		t.Errorf("%d terms were taken, want 1", len(leader.terms))
	}
	leader.stop()
	if err := receive(t, "end of the leader", leader.done); err != nil {
		t.Errorf("the leader ended with %v", err)
	}
}

// A replica that lost the lead, and stands by while another one reigns, does not go
// on with reads that get older and older.
func TestASuccessorEndsWhoeverStandsBy(t *testing.T) {
	etcd := startEtcd(t, t.TempDir())
	defer etcd.Close()
	at := time.Unix(1_800_000_000, 0)
	first := newReplica(t, newLedger(etcd.Client(), at), "first", 2)
	first.run()
	receive(t, "reign of the first", first.reigns)
	second := startReplica(t, newLedger(etcd.Client(), at), "second", longLease)
	waittest.Eventually(t, "the second stands too", func() bool {
		leases, err := etcd.Client().Leases(t.Context())
		return err == nil && len(leases.Leases) == 2
	})
	if _, err := etcd.Client().Revoke(t.Context(), leaderLease(t, first.Ledger)); err != nil {
		t.Fatal(err)
	}
	receive(t, "reign of the second", second.reigns)
	first.release()
	if err := receive(t, "end of the first", first.done); !errors.Is(err, ErrSucceeded) {
		t.Errorf("the first ended with %v, want %v", err, ErrSucceeded)
	}
	if err := second.Confirm(t.Context()); err != nil {
		t.Errorf("the second: %v", err)
	}
}

// A process that was stopped for longer than its lease knows that at once, whatever
// its goroutines have come to.
func TestAStoppedProcessDoesNotReign(t *testing.T) {
	etcd := startEtcd(t, t.TempDir())
	defer etcd.Close()
	now := clocktesting.NewFakeClock(time.Unix(1_800_000_000, 0))
	leader := newReplica(t, newLedger(etcd.Client(), now.Now()), "leader", longLease)
	leader.Clock = now
	leader.release()
	leader.run()
	ctx := receive(t, "reign", leader.reigns)
	now.SetTime(now.Now().Add(longLease * time.Second))
	if err := leader.Holds(); !errors.Is(err, failure.Unavailable) {
		t.Errorf("after the lease has run out: %v", err)
	}
	receive(t, "end of the reign", ctx.Done())
	receive(t, "second reign", leader.reigns)
}

// The memory of a process may be behind; what etcd says counts.
func TestConfirmAsksEtcd(t *testing.T) {
	for _, test := range []struct {
		name  string
		alone bool
		lose  func(*testing.T, *replica)
	}{
		{"the lease is gone", false, func(t *testing.T, r *replica) {
			if _, err := r.Ledger.Client.Delete(t.Context(), r.Ledger.leaderKey(), clientv3.WithPrefix()); err != nil {
				t.Fatal(err)
			}
		}},
		{"another term was taken", true, func(t *testing.T, r *replica) {
			if _, err := r.Ledger.Client.Put(t.Context(), r.Ledger.termKey(), "1900000000"); err != nil {
				t.Fatal(err)
			}
		}},
		{"etcd was put back", true, func(t *testing.T, r *replica) {
			if _, err := r.Ledger.Client.Delete(t.Context(), r.Ledger.termKey()); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			etcd := startEtcd(t, t.TempDir())
			defer etcd.Close()
			leader := newReplica(t, newLedger(etcd.Client(), time.Unix(1_800_000_000, 0)), "leader", longLease)
			leader.Alone = test.alone
			leader.release()
			leader.run()
			receive(t, "reign", leader.reigns)
			if err := leader.Confirm(t.Context()); err != nil {
				t.Fatal(err)
			}
			test.lose(t, leader)
			if err := leader.Confirm(t.Context()); !errors.Is(err, failure.Unavailable) {
				t.Errorf("it is confirmed: %v", err)
			}
		})
	}
}

// Whoever was elected takes no term any more when the election is over by then.
func TestNoTermWithoutTheLead(t *testing.T) {
	etcd := startEtcd(t, t.TempDir())
	defer etcd.Close()
	ledger := newLedger(etcd.Client(), time.Unix(1_800_000_000, 0))
	if _, err := ledger.NewTerm(t.Context(), clientv3.Compare(clientv3.CreateRevision("/pacific/leader/1"), "=",
		5)); err == nil {
		t.Error("a term was taken")
	}
	if current, err := ledger.CurrentTerm(t.Context()); err != nil || current != 0 {
		t.Errorf("the term is %d, %v", current, err)
	}
}

// What fails in a reign ends everything.
func TestAFailureInAReignEndsIt(t *testing.T) {
	etcd := startEtcd(t, t.TempDir())
	defer etcd.Close()
	logger, ctx := ktesting.NewTestContext(t)
	broken := errors.New("broken")
	alone := &Leadership{Ledger: newLedger(etcd.Client(), time.Unix(1_800_000_000, 0)), Alone: true, Logger: logger}
	if err := alone.Run(ctx, func(uint64) {}, func(context.Context) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("it ended with %v", err)
	}
}

// Alone, a successor reigns at once and ends the one before.
func TestAloneASuccessorNeedNotWait(t *testing.T) {
	etcd := startEtcd(t, t.TempDir())
	defer etcd.Close()
	at := time.Unix(1_800_000_000, 0)
	var terms []uint64
	var replicas []*replica
	for range 2 {
		alone := newReplica(t, newLedger(etcd.Client(), at), "", longLease)
		alone.Alone = true
		alone.release()
		alone.run()
		terms = append(terms, receive(t, "term", alone.terms))
		receive(t, "reign", alone.reigns)
		replicas = append(replicas, alone)
	}
	if diff := cmp.Diff([]uint64{1_800_000_000, 1_800_000_001}, terms); diff != "" {
		t.Errorf("terms (-want +got):\n%s", diff)
	}
	if err := receive(t, "end of the first", replicas[0].done); !errors.Is(err, ErrSucceeded) {
		t.Errorf("the first ended with %v, want %v", err, ErrSucceeded)
	}
	if err := replicas[1].Confirm(t.Context()); err != nil {
		t.Errorf("the second: %v", err)
	}
	if lease := leaderLease(t, replicas[1].Ledger); lease != 0 {
		t.Errorf("a lease was taken: %x", lease)
	}
}
