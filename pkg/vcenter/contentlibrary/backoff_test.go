// SPDX-License-Identifier: Apache-2.0

package contentlibrary

import (
	"testing"
	"time"
)

// What cannot be read is tried ever more rarely, and not by all replicas at once.
func TestBackoff(t *testing.T) {
	const interval = 20 * time.Second
	for failures, most := range map[int]time.Duration{
		1: interval, 2: 2 * interval, 3: 4 * interval, 4: 8 * interval, 5: 15 * interval, 6: 15 * interval,
		1000: 15 * interval,
	} {
		seen := map[time.Duration]bool{}
		for range 100 {
			pause := backoff(failures, interval)
			if pause < most*4/5 || pause > most {
				t.Errorf("after %d failures %s, want between %s and %s", failures, pause, most*4/5, most)
			}
			seen[pause] = true
		}
		if len(seen) < 50 {
			t.Errorf("after %d failures there are %d different pauses", failures, len(seen))
		}
	}
}
