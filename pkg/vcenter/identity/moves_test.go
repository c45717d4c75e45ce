// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/waittest"
)

// Machines that move are in one document at least at any time, so that a process that ends then loses none.
func TestWhatMovesIsWrittenWhereItComesFirst(t *testing.T) {
	r := lead(t, etcd(t))
	const machines = 16
	move := func(to string) {
		for i := range machines {
			r.Note(machineID(fmt.Sprintf("vm-%d", i)), folderID(fmt.Sprintf("%s-%d", to, i)), who(fmt.Sprintf("name-%d", i)))
		}
	}
	move("from")
	if err := r.write(); err != nil {
		t.Fatal(err)
	}
	ctx, fail := context.WithCancel(t.Context())
	writes := 0
	r.kept.after = func() {
		seen := map[string]bool{}
		for _, p := range pages(t, r.kept) {
			for _, row := range p.Machines {
				seen[row.ID] = true
			}
		}
		if len(seen) < machines {
			t.Errorf("after %q only %d of %d machines are written down", r.kept.take(), len(seen), machines)
		}
		if writes++; writes == 2 {
			fail()
		}
	}
	move("to")
	if err := r.Memory.write(ctx); err == nil || writes < 2 {
		t.Fatalf("%d writes, then %v", writes, err)
	}
	// What was broken off may still be done by then.
	waittest.Eventually(t, "the rest is written", func() bool { return r.write() == nil })
	if got := len(r.kept.stored(t)); got != machines {
		t.Errorf("%d documents in the end, want %d", got, machines)
	}
}

// A machine that is written down in two folders has moved from the one to the other: which of them counts is told by
// where it lies.
func TestAMachineInTwoFolders(t *testing.T) {
	x, a, b := machineID("vm-1"), folderID("a"), folderID("b")
	server := etcd(t)
	first := lead(t, server)
	for folder, name := range map[string]string{"a": "before", "b": "after"} {
		value := fmt.Sprintf(`{"version":1,"folder":"vc/Folder/%s","machines":[{"id":"vm-1","uid":"u","name":"%s"}]}`,
			folder, name)
		if _, err := first.kept.Documents.Put(t.Context(), "vc/Folder/"+folder+"/0", []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		note func(*Memory)
		want []string
	}{
		"a":                {func(m *Memory) { m.Note(x, a, facts.Identity{UID: "u", Name: "before"}) }, []string{"before"}},
		"b":                {func(m *Memory) { m.Note(x, b, facts.Identity{UID: "u", Name: "now"}) }, []string{"now"}},
		"b without a name": {func(m *Memory) { m.Note(x, b, facts.Identity{UID: "u"}) }, []string{"after"}},
		"elsewhere":        {func(m *Memory) { m.Note(x, folderID("c"), facts.Identity{UID: "u"}) }, nil},
		"a machine beside": {func(m *Memory) { m.Note(machineID("vm-2"), a, who("x")) }, []string{"before", "x"}},
		"gone":             {func(m *Memory) { m.Keep(func(facts.ID) bool { return false }) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := standby(t, server)
			r.begin()
			for folder, want := range map[facts.ID]string{a: "before", b: "after"} {
				if got, _ := r.Recall(x, folder); got.Name != want {
					t.Errorf("in %s it is %q, want %q", folder, got.Name, want)
				}
			}
			test.note(r.Memory)
			var got []string
			for _, c := range r.changes() {
				if c.value == nil {
					continue
				}
				p, err := decode(c.value)
				if err != nil {
					t.Fatal(err)
				}
				for _, row := range p.Machines {
					got = append(got, row.Name)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("written (-want +got):\n%s", diff)
			}
		})
	}
}
