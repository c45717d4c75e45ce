// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"

	vspherev1 "github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/livestore"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/namespace"
)

// What the keys of all objects start with. The name of an AvailabilityZone
// follows; of a Zone its namespace, a slash and its name.
const (
	AvailabilityZonePrefix = "/availabilityzones/"
	ZonePrefix             = "/zones/"
)

// TypeCluster is the type of managed object that the projection follows.
const TypeCluster = "ClusterComputeResource"

const pathName = "name"

// ClusterPaths are the properties of a ClusterComputeResource that the projection
// reads.
func ClusterPaths() []string { return []string{pathName} }

// Projector follows the clusters of the inventory, and through Namespaces the
// vSphere Namespaces, and keeps two mirrors at the API objects that they make. Its
// methods may be called from any goroutine. The zero value knows nothing yet.
type Projector struct {
	mu       sync.Mutex
	instance string
	zones    livestore.Mirror // of AvailabilityZones
	parts    livestore.Mirror // of Zones
	// clusters are the names by id; nil until the inventory was read.
	clusters map[string]string
	// namespaces are by key; nil until they were given.
	namespaces map[string]place
	// members are the ids of the clusters of each zone, in order.
	members map[string][]string
}

// Attach hands everything to two mirrors, and every change from here on. The
// instance is vCenter's id. Nothing is handed over before both the clusters and
// the vSphere Namespaces are known: half of them would be wrong.
func (p *Projector) Attach(instance string, availabilityZones, zones livestore.Mirror) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.instance, p.zones, p.parts = instance, availabilityZones, zones
	p.replace()
}

// Apply implements inventory.Handler.
func (p *Projector) Apply(update inventory.Update) {
	p.mu.Lock()
	defer p.mu.Unlock()
	moved := update.Initial
	if update.Initial || p.clusters == nil {
		p.clusters = map[string]string{}
	}
	for _, object := range update.Changed {
		name, _ := object.Properties[pathName].(string)
		if known, found := p.clusters[object.Ref.Value]; object.Ref.Type == TypeCluster && (!found || known != name) {
			p.clusters[object.Ref.Value] = name
			moved = true
		}
	}
	for _, ref := range update.Removed {
		if _, found := p.clusters[ref.Value]; found && ref.Type == TypeCluster {
			delete(p.clusters, ref.Value)
			moved = true
		}
	}
	if moved {
		p.replace()
	}
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
		for _, zone := range p.zonesOf(before) {
			if after.pools[zone] == "" {
				parts = append(parts, livestore.Change{Key: partKey(before.name, zone)})
				touched[zone] = struct{}{}
			}
		}
		for _, zone := range p.zonesOf(after) {
			parts = append(parts, livestore.Change{Key: partKey(after.name, zone), Object: p.part(after, zone)})
			if before.pools[zone] != after.pools[zone] || before.folder != after.folder {
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
	p.members = map[string][]string{}
	for _, id := range slices.Sorted(maps.Keys(p.clusters)) {
		zone := namespace.Label(p.clusters[id], "zone", id)
		p.members[zone] = append(p.members[zone], id)
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
		for _, zone := range p.zonesOf(at) {
			parts[partKey(at.name, zone)] = p.part(at, zone)
		}
	}
	p.zones.Replace(zones)
	p.parts.Replace(parts)
}

// zonesOf are the zones in which a namespace has a pool, in order: those that are
// there. The two feeds may tell of a change one after the other.
func (p *Projector) zonesOf(at place) []string {
	var zones []string
	for _, zone := range slices.Sorted(maps.Keys(at.pools)) {
		if len(p.members[zone]) > 0 {
			zones = append(zones, zone)
		}
	}
	return zones
}

func partKey(namespace, zone string) string { return ZonePrefix + namespace + "/" + zone }
