// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2/ktesting"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/waittest"
)

func startEtcd(t *testing.T, folder string) *Embedded {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	etcd, err := Embed(ctx, folder)
	if err != nil {
		t.Fatal(err)
	}
	return etcd
}

func newLedger(client *clientv3.Client, now time.Time) *Ledger {
	return &Ledger{Client: client, Prefix: "/pacific", Clock: clocktesting.NewFakePassiveClock(now)}
}

func TestTermsRiseWhateverTheClockSays(t *testing.T) {
	folder := t.TempDir()
	at := time.Unix(1_800_000_000, 0)

	etcd := startEtcd(t, folder)
	var got []uint64
	for _, now := range []time.Time{at, at, at.Add(-time.Hour), at.Add(time.Hour)} {
		term, err := newLedger(etcd.Client(), now).NewTerm(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, term)
	}
	if err := etcd.Close(); err != nil {
		t.Fatal(err)
	}

	etcd = startEtcd(t, folder) // the records survive the process
	defer etcd.Close()
	term, err := newLedger(etcd.Client(), time.Unix(0, 0)).NewTerm(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, term)

	want := []uint64{1_800_000_000, 1_800_000_001, 1_800_000_002, 1_800_003_600, 1_800_003_601}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("terms (-want +got):\n%s", diff)
	}
}

func TestDetachments(t *testing.T) {
	etcd := startEtcd(t, t.TempDir())
	defer etcd.Close()
	ledger := newLedger(etcd.Client(), time.Now())
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	a := Detachment{Folder: "group-v1", Namespace: "team-a", Time: at}
	b := Detachment{Folder: "group-v2", Namespace: "team-b", Time: at}
	for _, detachment := range []Detachment{a, b, a} {
		if err := ledger.Detach(t.Context(), detachment); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{"group-v2", "group-v3"} {
		if err := ledger.Attach(t.Context(), folder); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ledger.Detachments(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]Detachment{"group-v1": a}, got); diff != "" {
		t.Errorf("detachments (-want +got):\n%s", diff)
	}
}

// replica runs a Leadership and reports what becomes of it.
type replica struct {
	*Leadership
	terms chan uint64
	done  chan error
	stop  context.CancelFunc
}

// longLease is longer than any test waits, in seconds.
const longLease = 60

func startReplica(t *testing.T, ledger *Ledger, identity string, leaseSeconds int) *replica {
	t.Helper()
	logger, ctx := ktesting.NewTestContext(t)
	ctx, stop := context.WithCancel(ctx)
	r := &replica{
		Leadership: &Leadership{
			Ledger: ledger, Identity: identity, LeaseSeconds: leaseSeconds, Logger: logger,
			Backoff: wait.Backoff{Duration: 10 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 8, Cap: time.Second},
		},
		terms: make(chan uint64, 2), done: make(chan error, 1), stop: stop,
	}
	go func() { r.done <- r.Run(ctx, func(term uint64) { r.terms <- term }) }()
	t.Cleanup(stop)
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

	first := startReplica(t, ledger, "first", longLease)
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
		if _, err := client.Revoke(t.Context(), lease.ID); err != nil {
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

	if _, err := ledger.NewTerm(t.Context()); err != nil { // as another leader would
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

func TestAloneASuccessorNeedNotWait(t *testing.T) {
	etcd := startEtcd(t, t.TempDir())
	defer etcd.Close()
	ledger := newLedger(etcd.Client(), time.Unix(1_800_000_000, 0))
	var terms []uint64
	for range 2 { // the first is still there, as one that was killed is to a lease
		logger, ctx := ktesting.NewTestContext(t)
		alone := &Leadership{Ledger: ledger, Alone: true, Logger: logger}
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		elected, done := make(chan uint64, 1), make(chan error, 1)
		go func() { done <- alone.Run(ctx, func(term uint64) { elected <- term }) }()
		terms = append(terms, receive(t, "term", elected))
		waittest.Eventually(t, "leads", alone.Leads)
	}
	if diff := cmp.Diff([]uint64{1_800_000_000, 1_800_000_001}, terms); diff != "" {
		t.Errorf("terms (-want +got):\n%s", diff)
	}
	if lease := leaderLease(t, ledger); lease != 0 {
		t.Errorf("a lease was taken: %x", lease)
	}
}
