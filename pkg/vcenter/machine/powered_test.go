// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"testing"

	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
)

// TestPoweredNamesWhoDidIt by what vCenter noted of it.
func TestPoweredNamesWhoDidIt(t *testing.T) {
	l := newLab(t)
	web, other := l.vm("/DC0/vm/Namespaces/team-a/web-1"), l.vm("/DC0/vm/Namespaces/team-a/db-1")
	l.do(web.PowerOff(t.Context()))
	history := &machine.History{Session: l.verbs.Writer.(*vcenter.Writer).Session, Clock: clock.RealClock{}}
	stranger := l.id(web.Reference())
	stranger.VCenter = "another"
	before := l.vcenter.Calls()["QueryEvents"]
	for name, test := range map[string]struct {
		id    facts.ID
		state string
		want  string
	}{
		"it is off":               {l.id(web.Reference()), facts.PoweredOff, `VSPHERE.LOCAL\administrator`},
		"nobody suspended it":     {l.id(web.Reference()), facts.Suspended, ""},
		"nobody did it to others": {l.id(other.Reference()), facts.PoweredOff, ""},
		"one of another vCenter":  {stranger, facts.PoweredOff, ""},
	} {
		if got, err := history.Powered(t.Context(), test.id, test.state); err != nil || got != test.want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, test.want)
		}
	}
	if calls := l.vcenter.Calls()["QueryEvents"] - before; calls != 3 {
		t.Errorf("vCenter was asked %d times", calls)
	}
}
