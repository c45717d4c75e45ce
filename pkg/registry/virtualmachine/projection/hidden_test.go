// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
)

// TestWhoIsKeptFromTheAccountIsServed: of a machine that the account may not see since before a process began nothing
// is told but where it lay.
func TestWhoIsKeptFromTheAccountIsServed(t *testing.T) {
	memory, objects := newMemory(), population(t)
	before, mirror := restarted(memory)
	before.Apply(initial(objects...))
	want := uids(mirror)
	var hidden []inventory.Object
	for _, o := range objects {
		hidden = append(hidden, inventory.Object{Ref: o.Ref, Hidden: true,
			Properties: map[string]any{machine.PathParent: o.Properties[machine.PathParent]}})
	}
	after, mirror := restarted(memory)
	after.Apply(initial(hidden...))
	if diff := cmp.Diff(want, uids(mirror)); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
}
