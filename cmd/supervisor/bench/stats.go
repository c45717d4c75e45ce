// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"slices"
	"time"
)

// median returns the middle of the values, the mean of the two middle ones where their number is even, 0 where there
// are none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// better returns how many times better Pacific is than the CRD, 0 where that cannot be told.
func better(pacific, crd float64, higherIsBetter bool) float64 {
	if higherIsBetter {
		pacific, crd = crd, pacific
	}
	if pacific <= 0 {
		return 0
	}
	return crd / pacific
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
