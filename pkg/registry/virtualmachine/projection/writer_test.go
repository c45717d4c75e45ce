// SPDX-License-Identifier: Apache-2.0

package projection_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
	vcmachine "github.com/openpacific/pacific/pkg/vcenter/machine"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// notReigning is a reign that is over.
type notReigning struct{}

func (notReigning) Holds() error                  { return errors.New("another replica leads") }
func (notReigning) Confirm(context.Context) error { return errors.New("another replica leads") }

// Whoever does not lead, or does not know what is there now, leaves vCenter alone.
func TestNothingIsDoneWithoutAReignOrAnInventory(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	s := serve(t, v)
	s.askDeletion("team-a/web-1")
	current := s.get("team-a/web-1")
	desired := current.DeepCopy()
	desired.Labels = map[string]string{"app": "web"}
	id := state(t, s, "team-a/web-1").ID
	wanted := func(facts.Machine) error { return nil }
	for name, writer := range map[string]*vcenter.Writer{
		"no reign": {Session: s.session, Reign: notReigning{}, Following: vcentertest.Following},
		"no inventory": {Session: s.session, Reign: vcentertest.Reign{},
			Following: func() error { return errors.New("the namespaces folder was renamed") }},
	} {
		verbs := &vcmachine.Verbs{Writer: writer, Keys: keys(), Root: s.projector.NamespacesFolder}
		s.backend.Verbs, s.backend.Ready = verbs, writer.Ready
		for verb, act := range map[string]func() error{
			"update":   func() error { return s.backend.Update(t.Context(), current, desired) },
			"delete":   func() error { return s.backend.Delete(t.Context(), current) },
			"on":       func() error { return verbs.PowerOn(t.Context(), id, wanted) },
			"off":      func() error { return verbs.PowerOff(t.Context(), id, wanted) },
			"suspend":  func() error { return verbs.Suspend(t.Context(), id, wanted) },
			"shutdown": func() error { return verbs.ShutdownGuest(t.Context(), id, wanted) },
			"standby":  func() error { return verbs.StandbyGuest(t.Context(), id, wanted) },
			"destroy":  func() error { return verbs.Destroy(t.Context(), id, wanted) },
			"record":   func() error { return verbs.WriteRecord(t.Context(), id, facts.Head{UID: "u"}, nil, wanted) },
			"amend": func() error {
				return verbs.Amend(t.Context(), id, func(now facts.Machine) (facts.Head, error) { return *now.Head, nil })
			},
		} {
			before := v.Calls()
			if err := act(); !errors.Is(err, failure.Unavailable) {
				t.Errorf("%s with %s: %v", verb, name, err)
			}
			after := v.Calls()
			delete(before, "WaitForUpdatesEx") // the inventory goes on
			delete(after, "WaitForUpdatesEx")
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("%s with %s called vCenter (-before +after):\n%s", verb, name, diff)
			}
		}
	}
}
