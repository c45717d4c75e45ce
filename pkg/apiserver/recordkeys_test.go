// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"errors"
	"testing"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// TestReplicasHaveOneKey: what one has written counts for the next. One that has stood by since before there was a new
// key does not lead without it, since what is proven by that would count as somebody else's: it starts anew.
func TestReplicasHaveOneKey(t *testing.T) {
	w := newWorld(t)
	v := vcentertest.Run(t, vcentertest.Options{})
	first := w.start("first", v, nil)
	first.serves("team-a/web-1")
	if err := first.label("team-a/web-1", "of-the-first"); err != nil {
		t.Fatal(err)
	}
	labelled := func(r *replica) {
		t.Helper()
		r.serves("team-a/web-1")
		if vm, err := r.get("team-a/web-1"); err != nil || vm.Labels["n"] != "of-the-first" {
			t.Errorf("%s shows %v, %v", r.name, vm.GetLabels(), err)
		}
	}
	second, third := w.start("second", v, nil), (*replica)(nil)
	first.stop()
	if err := first.ended(); err != nil {
		t.Fatal(err)
	}
	labelled(second)

	third = w.start("third", v, nil)
	if _, err := second.leadership.Ledger.RecordKeys(t.Context(), "new"); err != nil {
		t.Fatal(err)
	}
	second.stop()
	if err := second.ended(); err != nil {
		t.Fatal(err)
	}
	if err := third.ended(); !errors.Is(err, errKeys) {
		t.Errorf("it ended with %v", err)
	}
	labelled(w.start("third again", v, nil))
}
