// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"maps"
	"slices"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/namespace"
)

// changeNetwork takes in a network, a port group or an opaque network.
func (p *Projector) changeNetwork(told facts.Network) {
	if told.Uplinks {
		delete(p.networks, told.ID.Value)
		return
	}
	p.networks[told.ID.Value] = namespace.Decode(told.Name)
}

// Networks returns the names of the networks and port groups that machines may
// use, sorted. Several of one name, in different datacenters, are one.
func (p *Projector) Networks() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Compact(slices.Sorted(maps.Values(p.networks)))
}
