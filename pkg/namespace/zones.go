// SPDX-License-Identifier: Apache-2.0

package namespace

import "slices"

// Zones are the names of the clusters that are zones, as the vSphere Client shows them. None at all: each cluster is
// one.
type Zones []string

// Has says whether a cluster with that name in vCenter is a zone.
func (z Zones) Has(cluster string) bool {
	return len(z) == 0 || slices.Contains(z, Decode(cluster))
}
