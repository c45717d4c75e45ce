// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/failure"
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
	if _, err := ledger.NewTerm(t.Context()); err != nil {
		t.Fatal(err)
	}
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

// What a process writes counts only while no other one has taken a term.
func TestWritesAreFencedByTheTerm(t *testing.T) {
	etcd := startEtcd(t, t.TempDir())
	defer etcd.Close()
	at := time.Unix(1_800_000_000, 0)
	first, second, never := newLedger(etcd.Client(), at), newLedger(etcd.Client(), at), newLedger(etcd.Client(), at)
	kept := func(l *Ledger) *Documents { return &Documents{Ledger: l, Kind: "things"} }
	if _, err := first.NewTerm(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := first.Detach(t.Context(), Detachment{Folder: "group-v1"}); err != nil {
		t.Fatal(err)
	}
	revision, err := kept(first).Put(t.Context(), "a", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.NewTerm(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, ledger := range map[string]*Ledger{"whoever was succeeded": first, "whoever never led": never} {
		_, put := kept(ledger).Put(t.Context(), "a", []byte("2"), revision)
		_, putNew := kept(ledger).Put(t.Context(), "b", []byte("2"), 0)
		for verb, err := range map[string]error{
			"detach": ledger.Detach(t.Context(), Detachment{Folder: "group-v2"}),
			"attach": ledger.Attach(t.Context(), "group-v1"),
			"put":    put, "put something new": putNew, "delete": kept(ledger).Delete(t.Context(), "a", revision),
		} {
			if !errors.Is(err, failure.Unavailable) {
				t.Errorf("%s by %s ended with %v, want %v", verb, name, err, failure.Unavailable)
			}
			if errors.Is(err, ErrSucceeded) != (ledger == first) {
				t.Errorf("%s by %s ended with %v", verb, name, err)
			}
		}
	}
	detached, err := second.Detachments(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	documents, err := kept(second).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"group-v1"}, slices.Sorted(maps.Keys(detached))); diff != "" {
		t.Errorf("detached (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]Document{"a": {Value: []byte("1"), Revision: revision}}, documents); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}

	// And whoever did succeed goes on where the other one stopped.
	if _, err := kept(second).Put(t.Context(), "a", []byte("3"), 0); !errors.Is(err, failure.Conflict) {
		t.Errorf("a write over another one ended with %v, want %v", err, failure.Conflict)
	}
	if _, err := kept(second).Put(t.Context(), "a", []byte("3"), revision); err != nil {
		t.Error(err)
	}
	if err := kept(second).Delete(t.Context(), "a", revision); !errors.Is(err, failure.Conflict) {
		t.Errorf("a removal of what was written since ended with %v, want %v", err, failure.Conflict)
	}
	if err := errors.Join(kept(second).Delete(t.Context(), "nothing", 0),
		kept(second).Delete(t.Context(), "nothing", revision)); err != nil {
		t.Error(err)
	}
}

func TestInstallation(t *testing.T) {
	const given, other = "0f8a3e52-6c1d-4b7a-9e21-5d3c7f60a914", "7d1c2b3a-0e4f-4a5b-8c6d-9e0f1a2b3c4d"
	etcd := startEtcd(t, t.TempDir())
	defer etcd.Close()
	made := newLedger(etcd.Client(), time.Now())
	told := newLedger(etcd.Client(), time.Now())
	told.Prefix = "/told"
	if id, err := made.Installed(t.Context()); id != "" || err != nil {
		t.Errorf("before there is one: %q, %v", id, err)
	}
	id, err := made.Installation(t.Context(), "")
	if err != nil || ValidateInstallation(id) != nil {
		t.Fatalf("a new one: %q, %v", id, err)
	}
	for _, test := range []struct {
		name   string
		ledger *Ledger
		wanted string
		id     string
		kind   error
	}{
		{"again", made, "", id, nil},
		{"the same by flag", made, id, id, nil},
		{"another one by flag", made, other, "", failure.Invalid},
		{"no UUID", told, "lab", "", failure.Invalid},
		{"in capitals", told, strings.ToUpper(given), "", failure.Invalid},
		{"a new etcd told which", told, given, given, nil},
		{"and without a flag then", told, "", given, nil},
		{"and told otherwise", told, other, "", failure.Invalid},
	} {
		got, err := test.ledger.Installation(t.Context(), test.wanted)
		if got != test.id || !errors.Is(err, test.kind) {
			t.Errorf("%s: %q, %v; want %q, %v", test.name, got, err, test.id, test.kind)
		}
	}
	for ledger, want := range map[*Ledger]string{made: id, told: given} {
		if got, err := ledger.Installed(t.Context()); got != want || err != nil {
			t.Errorf("below %s: %q, %v; want %q", ledger.Prefix, got, err, want)
		}
	}
}

// TestRecordKeys: all replicas have one key, whoever was first; a new one is made beside it; and what is no key is not
// taken for one, nor printed.
func TestRecordKeys(t *testing.T) {
	etcd := startEtcd(t, t.TempDir())
	defer etcd.Close()
	first, second := newLedger(etcd.Client(), time.Now()), newLedger(etcd.Client(), time.Now())
	keys := func(l *Ledger, name string) map[string]string {
		t.Helper()
		list, err := l.RecordKeys(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]string{"first": list[0].Name}
		for _, key := range list {
			if len(key.Bytes) != recordKeyBytes || strings.Contains(fmt.Sprintf("%v %+v %s", key, key, key), string(key.Bytes)) {
				t.Errorf("a key of %d bytes, printed as %v", len(key.Bytes), key)
			}
			found[key.Name] = string(key.Bytes)
		}
		return found
	}
	one := keys(first, "1")
	if diff := cmp.Diff(one, keys(second, "1")); diff != "" {
		t.Errorf("another replica (-want +got):\n%s", diff)
	}
	both := keys(second, "2")
	if both["first"] != "2" || both["1"] != one["1"] || both["2"] == one["1"] {
		t.Errorf("a new key: %v", slices.Sorted(maps.Keys(both)))
	}
	both["first"] = "1"
	if diff := cmp.Diff(both, keys(first, "1")); diff != "" {
		t.Errorf("whoever has not heard of the new one yet (-want +got):\n%s", diff)
	}
	if _, err := etcd.Client().Put(t.Context(), "/pacific/recordkeys/2", "hunter2"); err != nil {
		t.Fatal(err)
	}
	_, err := first.RecordKeys(t.Context(), "1")
	if !errors.Is(err, failure.Invalid) || !strings.Contains(err.Error(), "/pacific/recordkeys/2") ||
		strings.Contains(err.Error(), "hunter2") {
		t.Errorf("what is no key: %v", err)
	}
	for name, good := range map[string]bool{"1": true, "2026-11": true, "": false, "a/b": false, "A": false,
		strings.Repeat("a", 64): false} {
		if err := ValidateRecordKeyName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}
