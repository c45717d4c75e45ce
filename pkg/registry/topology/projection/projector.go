// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/openpacific/pacific/pkg/apis/topology/v1alpha1"
	vspherev1 "github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/namespace"
	"github.com/openpacific/pacific/pkg/registry/projected"
)

// Projector follows the clusters and resource pools, and through Namespaces the
// vSphere Namespaces, and shows the API objects that they make. Its methods may be
// called from any goroutine. The zero value knows nothing yet.
type Projector struct {
	// Clusters are those that are zones. Set before use.
	Clusters namespace.Zones

	zones projected.Objects[v1alpha1.AvailabilityZone] // by name
	parts projected.Objects[v1alpha1.Zone]             // by namespace and name

	mu      sync.Mutex
	vcenter string // its own id
	// clusters are those that are zones by id; nil until the inventory was read.
	clusters map[string]facts.Cluster
	// pools are the ids of the pools' clusters by the pools'.
	pools map[string]string
	// namespaces are by name; nil until they were given.
	namespaces map[string]place
	// members are the ids of the clusters of each zone, in order, and zone is the
	// one of each cluster.
	members map[string][]string
	zone    map[string]string
}

// AvailabilityZones are what is shown of clusters. Nothing is before both the
// clusters and the vSphere Namespaces are known: half of them would be wrong.
func (p *Projector) AvailabilityZones() *projected.Objects[v1alpha1.AvailabilityZone] {
	return &p.zones
}

// Zones are what is shown of the resource pools of vSphere Namespaces.
func (p *Projector) Zones() *projected.Objects[v1alpha1.Zone] { return &p.parts }

// Take implements facts.Follower.
func (p *Projector) Take(step facts.Step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	moved := step.Initial || p.vcenter != step.VCenter
	p.vcenter = step.VCenter
	if step.Initial || p.clusters == nil {
		p.clusters, p.pools = map[string]facts.Cluster{}, map[string]string{}
	}
	for _, cluster := range step.Clusters {
		known, found := p.clusters[cluster.ID.Value]
		switch {
		case !p.Clusters.Has(cluster.Name):
			delete(p.clusters, cluster.ID.Value)
			moved = moved || found
		case known != cluster:
			p.clusters[cluster.ID.Value] = cluster
			moved = true
		}
	}
	for _, pool := range step.Pools {
		if p.pools[pool.ID.Value] != pool.Owner.Value {
			p.pools[pool.ID.Value] = pool.Owner.Value
			moved = moved || p.uses(pool.ID.Value)
		}
	}
	for _, id := range step.Removed {
		switch id.Type {
		case facts.TypeCluster:
			if _, found := p.clusters[id.Value]; found {
				delete(p.clusters, id.Value)
				moved = true
			}
		case facts.TypePool:
			delete(p.pools, id.Value)
			moved = moved || p.uses(id.Value)
		}
	}
	if moved {
		p.replace()
	}
}

// uses says whether a vSphere Namespace has a pool.
func (p *Projector) uses(pool string) bool {
	for _, at := range p.namespaces {
		if slices.Contains(at.pools, pool) {
			return true
		}
	}
	return false
}

// Namespaces is where the vSphere Namespaces are handed in as they are shown.
type Namespaces struct{ projector *Projector }

// Namespaces returns where the vSphere Namespaces are handed in.
func (p *Projector) Namespaces() Namespaces { return Namespaces{p} }

// Replace takes all vSphere Namespaces.
func (n Namespaces) Replace(objects iter.Seq[*vspherev1.Namespace]) {
	p := n.projector
	p.mu.Lock()
	defer p.mu.Unlock()
	p.namespaces = map[string]place{}
	for namespace := range objects {
		p.namespaces[namespace.Name] = placeOf(namespace)
	}
	p.replace()
}

// Apply takes the vSphere Namespaces that changed. Most changes are of their
// usage, which is nothing to the zones.
func (n Namespaces) Apply(changes []projected.Change[vspherev1.Namespace]) {
	p := n.projector
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.namespaces == nil {
		return // Replace comes first
	}
	touched := map[string]struct{}{}
	for _, change := range changes {
		before := p.namespaces[change.Name]
		var after place
		if change.Object != nil {
			after = placeOf(change.Object)
			p.namespaces[change.Name] = after
		} else {
			delete(p.namespaces, change.Name)
		}
		if p.complete() && !before.equal(after) {
			p.change(before, after, touched)
		}
	}
	for zone := range touched {
		p.zones.Set(zone, p.availabilityZone(zone))
	}
	p.zones.Flush()
	p.parts.Flush()
}

// change shows that a vSphere Namespace lies elsewhere now, and notes which zones
// tell of that.
func (p *Projector) change(before, after place, touched map[string]struct{}) {
	had, has := p.poolsOf(before), p.poolsOf(after)
	for zone := range had {
		if has[zone] == "" {
			p.parts.Drop(partID(before.name, zone))
			touched[zone] = struct{}{}
		}
	}
	for zone, pool := range has {
		p.parts.Set(partID(after.name, zone), p.part(after, zone, pool))
		if had[zone] != pool || before.folder != after.folder {
			touched[zone] = struct{}{}
		}
	}
}

func (p *Projector) complete() bool { return p.clusters != nil && p.namespaces != nil }

// replace shows everything anew; what is new in it is found out elsewhere. The
// clusters change so rarely that nothing smarter is worth it.
func (p *Projector) replace() {
	p.members, p.zone = map[string][]string{}, map[string]string{}
	for _, id := range slices.Sorted(maps.Keys(p.clusters)) {
		zone := namespace.Label(p.clusters[id].Name, "zone", id)
		p.members[zone], p.zone[id] = append(p.members[zone], id), zone
	}
	if !p.complete() {
		return
	}
	p.zones.Begin()
	for zone := range p.members {
		p.zones.Set(zone, p.availabilityZone(zone))
	}
	p.zones.Flush()
	p.parts.Begin()
	for _, at := range p.namespaces {
		for zone, pool := range p.poolsOf(at) {
			p.parts.Set(partID(at.name, zone), p.part(at, zone, pool))
		}
	}
	p.parts.Flush()
}

// poolsOf are the pools of a namespace by their zones: those that are there.
func (p *Projector) poolsOf(at place) map[string]string {
	pools := make(map[string]string, len(at.pools))
	for _, pool := range at.pools {
		if zone := p.zone[p.pools[pool]]; zone != "" && pools[zone] == "" {
			pools[zone] = pool
		}
	}
	return pools
}

func partID(namespace, zone string) string { return namespace + "/" + zone }
