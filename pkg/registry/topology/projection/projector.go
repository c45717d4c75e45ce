// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"

	vspherev1 "github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/livestore"
	"github.com/openpacific/pacific/pkg/namespace"
)

// What the keys of all objects start with. The name of an AvailabilityZone
// follows; of a Zone its namespace, a slash and its name.
const (
	AvailabilityZonePrefix = "/availabilityzones/"
	ZonePrefix             = "/zones/"
)

// Projector follows the clusters and resource pools, and through Namespaces the
// vSphere Namespaces, and keeps two mirrors at the API objects that they make. Its
// methods may be called from any goroutine. The zero value knows nothing yet.
type Projector struct {
	// Clusters are those that are zones. Set before use.
	Clusters namespace.Zones

	mu      sync.Mutex
	vcenter string           // its own id
	zones   livestore.Mirror // of AvailabilityZones
	parts   livestore.Mirror // of Zones
	// clusters are those that are zones by id; nil until the inventory was read.
	clusters map[string]facts.Cluster
	// pools are the ids of the pools' clusters by the pools'.
	pools map[string]string
	// namespaces are by key; nil until they were given.
	namespaces map[string]place
	// members are the ids of the clusters of each zone, in order, and zone is the
	// one of each cluster.
	members map[string][]string
	zone    map[string]string
}

// Attach hands everything to two mirrors, and every change from here on. Nothing
// is handed over before both the clusters and the vSphere Namespaces are known:
// half of them would be wrong.
func (p *Projector) Attach(availabilityZones, zones livestore.Mirror) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.zones, p.parts = availabilityZones, zones
	p.replace()
}

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

// Namespaces is where the vSphere Namespaces are handed in. It is a mirror of
// them, as their store is.
type Namespaces struct{ projector *Projector }

// Namespaces returns where the vSphere Namespaces are handed in.
func (p *Projector) Namespaces() Namespaces { return Namespaces{p} }

// Replace takes all vSphere Namespaces.
func (n Namespaces) Replace(objects map[string]runtime.Object) {
	p := n.projector
	p.mu.Lock()
	defer p.mu.Unlock()
	p.namespaces = make(map[string]place, len(objects))
	for key, object := range objects {
		if namespace, ok := object.(*vspherev1.Namespace); ok {
			p.namespaces[key] = placeOf(namespace)
		}
	}
	p.replace()
}

// Apply takes the vSphere Namespaces that changed. Most changes are of their
// usage, which is nothing to the zones.
func (n Namespaces) Apply(changes []livestore.Change) {
	p := n.projector
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.namespaces == nil {
		return // Replace comes first
	}
	var parts []livestore.Change
	touched := map[string]struct{}{}
	for _, change := range changes {
		before := p.namespaces[change.Key]
		var after place
		if object, ok := change.Object.(*vspherev1.Namespace); ok {
			after = placeOf(object)
			p.namespaces[change.Key] = after
		} else {
			delete(p.namespaces, change.Key)
		}
		if before.equal(after) {
			continue
		}
		had, has := p.poolsOf(before), p.poolsOf(after)
		for _, zone := range slices.Sorted(maps.Keys(had)) {
			if has[zone] == "" {
				parts = append(parts, livestore.Change{Key: partKey(before.name, zone)})
				touched[zone] = struct{}{}
			}
		}
		for _, zone := range slices.Sorted(maps.Keys(has)) {
			parts = append(parts, livestore.Change{Key: partKey(after.name, zone), Object: p.part(after, zone, has[zone])})
			if had[zone] != has[zone] || before.folder != after.folder {
				touched[zone] = struct{}{}
			}
		}
	}
	if len(parts) == 0 || !p.complete() {
		return
	}
	zones := make([]livestore.Change, 0, len(touched))
	for _, zone := range slices.Sorted(maps.Keys(touched)) {
		zones = append(zones, livestore.Change{Key: AvailabilityZonePrefix + zone, Object: p.availabilityZone(zone)})
	}
	if len(zones) > 0 {
		p.zones.Apply(zones)
	}
	p.parts.Apply(parts)
}

func (p *Projector) complete() bool {
	return p.zones != nil && p.clusters != nil && p.namespaces != nil
}

// replace hands everything to the mirrors, which find out what is new in it. The
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
	zones := make(map[string]runtime.Object, len(p.members))
	for zone := range p.members {
		zones[AvailabilityZonePrefix+zone] = p.availabilityZone(zone)
	}
	parts := map[string]runtime.Object{}
	for _, at := range p.namespaces {
		for zone, pool := range p.poolsOf(at) {
			parts[partKey(at.name, zone)] = p.part(at, zone, pool)
		}
	}
	p.zones.Replace(zones)
	p.parts.Replace(parts)
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

func partKey(namespace, zone string) string { return ZonePrefix + namespace + "/" + zone }
