// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/namespace"
)

// place is a name in a cluster.
type place struct{ cluster, name string }

// rooted returns the pools that lie directly in the root pool of their cluster.
func (p *Projector) rooted() map[place]*pool {
	rooted := map[place]*pool{}
	for _, pool := range p.pools {
		if parent := p.pools[pool.parent]; parent != nil && parent.root {
			rooted[place{pool.cluster, namespace.Decode(pool.name)}] = pool
		}
	}
	return rooted
}

// zonesOf finds the pools of a namespace: those that are written down, and where
// nobody has declared zones those of its name.
func (p *Projector) zonesOf(e *entry, path string, rooted map[place]*pool) []zone {
	var zones []zone
	for id, cluster := range p.clusters {
		name := namespace.Label(cluster.name, "zone", id)
		var found *pool
		if e.record != nil {
			if recorded := p.pools[p.recognise(e.record, e.record.Pools[name])]; recorded != nil && recorded.cluster == id {
				found = recorded
			}
		}
		if found == nil && (e.record == nil || e.record.Live()) {
			found = rooted[place{id, path}]
		}
		if found != nil {
			zones = append(zones, zone{name: name, pool: found})
		}
	}
	slices.SortFunc(zones, func(a, b zone) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.pool.id, b.pool.id))
	})
	// Clusters of one name in two datacenters are one zone to us: the first is it.
	return slices.CompactFunc(zones, func(a, b zone) bool { return a.name == b.name })
}

// Root is the root resource pool of a zone.
type Root struct {
	Pool facts.ID
	// DRSOff says that nothing can be made in it.
	DRSOff bool
}

// Roots returns the root resource pool of each zone.
func (p *Projector) Roots() map[string]Root {
	p.mu.Lock()
	defer p.mu.Unlock()
	zones := map[string]Root{}
	for _, id := range slices.Sorted(maps.Keys(p.pools)) {
		pool := p.pools[id]
		cluster, found := p.clusters[pool.cluster]
		if !pool.root || !found {
			continue
		}
		name := namespace.Label(cluster.name, "zone", pool.cluster)
		if _, taken := zones[name]; !taken {
			zones[name] = Root{Pool: p.idOfPool(id), DRSOff: cluster.drsOff}
		}
	}
	return zones
}

// TakeablePool returns the zone of a resource pool that the namespace of a name
// may take over, or why it may not.
func (p *Projector) TakeablePool(id, name string) (zone, refusal string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pool := p.pools[id]
	if pool == nil || p.clusters[pool.cluster] == (cluster{}) {
		return "", "vCenter has no such resource pool in a cluster that is a zone and that the account may see"
	}
	zone = namespace.Label(p.clusters[pool.cluster].name, "zone", pool.cluster)
	if pool.root {
		return zone, "it is the one of the whole cluster: give one that lies in it"
	}
	for other, owner := range p.byPool {
		for at := p.pools[other]; at != nil && owner != name; at = p.pools[at.parent] {
			if at == pool {
				return zone, fmt.Sprintf("the vSphere Namespace %q has %s, which is it or lies in it", owner, other)
			}
		}
	}
	return zone, ""
}

// PoolsNamed returns the pools of that name directly below the root pools, by
// zone.
func (p *Projector) PoolsNamed(name string) map[string]facts.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := map[string]facts.ID{}
	for at, pool := range p.rooted() {
		if cluster, known := p.clusters[at.cluster]; known && at.name == name {
			found[namespace.Label(cluster.name, "zone", at.cluster)] = p.idOfPool(pool.id)
		}
	}
	return found
}
