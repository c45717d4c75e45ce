// SPDX-License-Identifier: Apache-2.0

package facts_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/pkg/facts"
)

// TestSizes: what a class says nothing of stays as somebody made it in vCenter, unless the class before said it.
func TestSizes(t *testing.T) {
	unsaid := facts.Allocation{Limit: facts.Unsaid, Reservation: facts.Unsaid}
	live := facts.Size{CPUs: 2, MemoryMB: 2048, CPU: facts.Allocation{Limit: 3000, Reservation: 100},
		Memory: facts.Allocation{Limit: -1, Reservation: 2048}}
	reserves := facts.Size{CPUs: 4, MemoryMB: 4096, CPU: facts.Allocation{Limit: facts.Unsaid, Reservation: 500},
		Memory: facts.Allocation{Limit: 4096, Reservation: facts.Unsaid}}
	plain := facts.Size{CPUs: 4, MemoryMB: 4096, CPU: unsaid, Memory: unsaid}
	for name, test := range map[string]struct{ got, want facts.Size }{
		"nothing said": {plain.Over(live), facts.Size{CPUs: 4, MemoryMB: 4096, CPU: live.CPU, Memory: live.Memory}},
		"some said": {reserves.Over(live), facts.Size{CPUs: 4, MemoryMB: 4096,
			CPU: facts.Allocation{Limit: 3000, Reservation: 500}, Memory: facts.Allocation{Limit: 4096, Reservation: 2048}}},
		"no more said": {plain.After(reserves), facts.Size{CPUs: 4, MemoryMB: 4096,
			CPU: facts.Allocation{Limit: facts.Unsaid}, Memory: facts.Allocation{Limit: -1, Reservation: facts.Unsaid}}},
		"never said":       {plain.After(plain), plain},
		"another is said":  {reserves.After(reserves), reserves},
		"taken away stays": {plain.After(plain.After(reserves)), plain.After(reserves)},
	} {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
