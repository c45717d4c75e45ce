// SPDX-License-Identifier: Apache-2.0

package realisation_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/folder"
	"github.com/openpacific/pacific/pkg/vcenter/pool"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// notReigning is a reign that is over.
type notReigning struct{}

func (notReigning) Holds() error                  { return errors.New("another replica leads") }
func (notReigning) Confirm(context.Context) error { return errors.New("another replica leads") }

// Whoever does not lead, or does not know what is there now, leaves vCenter and the
// records alone.
func TestNothingIsDoneWithoutAReignOrAnInventory(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	if err := s.create(fresh("made")); err != nil {
		t.Fatal(err)
	}
	current := s.get("made")
	desired := current.DeepCopy()
	desired.Labels = map[string]string{"team": "d"}
	for name, writer := range map[string]*vcenter.Writer{
		"no reign": {Session: w.session, Reign: notReigning{}, Following: vcentertest.Following},
		"no inventory": {Session: w.session, Reign: vcentertest.Reign{},
			Following: func() error { return errors.New("the namespaces folder was renamed") }},
	} {
		verbs, pools := &folder.Verbs{Session: w.session, Writer: writer}, &pool.Verbs{Session: w.session, Writer: writer}
		s.backend.Ready, s.backend.FolderVerbs, s.backend.PoolVerbs = writer.Ready, verbs, pools
		for verb, act := range map[string]func() error{
			"create":    func() error { return s.backend.Create(t.Context(), fresh("team-c")) },
			"update":    func() error { return s.backend.Update(t.Context(), current, desired) },
			"delete":    func() error { return s.backend.Delete(t.Context(), current) },
			"realise":   func() error { return s.backend.Realise(t.Context(), current.UID) },
			"dismantle": func() error { return s.backend.Dismantle(t.Context(), current.UID) },
		} {
			before, records := w.vcenter.Calls(), w.records.next
			if err := act(); !errors.Is(err, failure.Unavailable) {
				t.Errorf("%s with %s: %v", verb, name, err)
			}
			after := w.vcenter.Calls()
			delete(before, "WaitForUpdatesEx") // the inventory goes on
			delete(after, "WaitForUpdatesEx")
			if diff := cmp.Diff(before, after); diff != "" || w.records.next != records {
				t.Errorf("%s with %s wrote %d records and called vCenter (-before +after):\n%s", verb, name, w.records.next-records,
					diff)
			}
		}
	}
}
