// SPDX-License-Identifier: Apache-2.0

package realisation

import (
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8stypes "k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/namespace"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/records"
)

// state is what is known of a vSphere Namespace that is served.
type state struct {
	name   string
	folder string
	record *records.Stored // nil: nobody ever wrote to it
	pools  map[string]pool
	object *v1alpha1.Namespace
}

func (e *entry) state() state {
	s := state{name: e.name, folder: e.folder, record: e.record, pools: map[string]pool{}, object: e.object}
	for _, zone := range e.zones {
		s.pools[zone.name] = *zone.pool
	}
	return s
}

// Find returns the vSphere Namespace of a name as it is served. It must not be
// changed.
func (p *Projector) Find(name string) (*v1alpha1.Namespace, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.entries[name]; e != nil && e.object != nil {
		return e.object, true
	}
	return nil, false
}

func (p *Projector) find(name string) (state, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.entries[name]; e != nil {
		return e.state(), true
	}
	return state{}, false
}

func (p *Projector) findUID(uid k8stypes.UID) (state, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.entries {
		if e.record != nil && e.record.UID() == uid {
			return e.state(), true
		}
	}
	if record := p.records[uid]; record != nil {
		return state{name: record.Metadata.Name, record: record}, true
	}
	return state{}, false
}

// folderNamed returns the folder that has the name of a namespace, detached or
// not.
func (p *Projector) folderNamed(name string) (folder string, detached bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.folders {
		if f.Name == name || f.Path == name {
			return f.Folder.Value, f.Detached
		}
	}
	return "", false
}

// Folders lists the folders that stand for vSphere Namespaces, detached ones and
// those without a name too, and says whether they are known.
func (p *Projector) Folders() ([]facts.Namespace, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.folders), p.synced
}

// FoldersChanged yields after folders came, went or were renamed in vCenter. Several
// changes may come as one. It is for one listener.
func (p *Projector) FoldersChanged() <-chan struct{} { return p.changed }

// ID returns the id of a folder.
func (p *Projector) ID(folder string) facts.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.id(folder)
}

func (p *Projector) id(folder string) facts.ID {
	if folder == "" {
		return facts.ID{}
	}
	return facts.ID{VCenter: p.instance, Type: TypeFolder, Value: folder}
}

// poolID returns the id of a resource pool.
func (p *Projector) poolID(pool string) facts.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.idOfPool(pool)
}

func (p *Projector) idOfPool(pool string) facts.ID {
	if pool == "" {
		return facts.ID{}
	}
	return facts.ID{VCenter: p.instance, Type: TypeResourcePool, Value: pool}
}

func (p *Projector) poolIDs(pools map[string]pool) map[string]facts.ID {
	ids := make(map[string]facts.ID, len(pools))
	for zone, pool := range pools {
		ids[zone] = p.poolID(pool.id)
	}
	return ids
}

// sight returns how a folder or a pool is called and where it lies, if it is there.
func (p *Projector) sight(id facts.ID) (records.Sight, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.see(id)
}

func (p *Projector) see(id facts.ID) (records.Sight, bool) {
	if id.VCenter != p.instance {
		return records.Sight{}, false
	}
	switch id.Type {
	case TypeFolder:
		for _, folder := range p.folders {
			if folder.Folder == id {
				return records.Sight{Name: folder.Path, Parent: p.id(p.root)}, true
			}
		}
	case TypeResourcePool:
		if pool := p.pools[id.Value]; pool != nil {
			return records.Sight{Name: namespace.Decode(pool.name), Parent: p.idOfPool(pool.parent)}, true
		}
	}
	return records.Sight{}, false
}

// isKnown says whether what a record names was recognised.
func (p *Projector) isKnown(id facts.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, known := p.known[id]
	return known
}

// expected is how something that a record names has to be called and where it has to
// lie for it to be destroyed.
func (p *Projector) expected(record *records.Stored, id facts.ID) records.Sight {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, known := p.known[id]
	if now, there := p.see(id); there && known {
		return now
	}
	return record.Seen[id]
}

// recognised returns the managed-object id of what a record names, if it is there and
// is what it was: of this vCenter, and called as it was and where it was when it was
// seen last. Once recognised, it may be renamed and moved before everybody's eyes.
// Empty: it is not.
func (p *Projector) recognised(record *records.Stored, id facts.ID) string {
	now, there := p.see(id)
	if !there {
		return ""
	}
	if _, known := p.known[id]; !known && record.Seen[id] != now {
		return ""
	}
	p.known[id] = now
	return id.Value
}

// doubt forgets what was recognised and is called otherwise or lies elsewhere since
// it was seen last, when nobody looked on: vCenter may have been restored meanwhile.
func (p *Projector) doubt() {
	for id, last := range p.known {
		if now, there := p.see(id); !there || now != last {
			delete(p.known, id)
			p.stale = true
		}
	}
}

// Awaited says whether a vSphere Namespace of a name still waits for its folder, or for
// the inventory to tell of it.
func (p *Projector) Awaited(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, record := range p.records {
		if _, there := p.see(record.Folder); record.Metadata.Name == name && (!there || record.Bring) && !record.Deleting() {
			return true
		}
	}
	return false
}

// knowsFolder says whether a folder lies below the namespaces folder.
func (p *Projector) knowsFolder(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.namespaceOf(id) != ""
}

// liesIn says whether a folder is the one of a namespace, or lies below it.
func (p *Projector) liesIn(id, folder string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.namespaceOf(id) == folder
}

// isDetached says whether the Kubernetes Namespace of a folder was deleted.
func (p *Projector) isDetached(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.detached[p.id(id)]
}

// namespaceOf returns the folder that stands for the namespace which a folder is of,
// "" where it is of none.
func (p *Projector) namespaceOf(id string) string {
	for range len(p.parents) + 1 {
		parent, known := p.parents[id]
		switch {
		case !known:
			return ""
		case parent == p.root:
			return id
		}
		id = parent
	}
	return ""
}

// Terminating are the folders whose vSphere Namespaces are being deleted.
func (p *Projector) Terminating() map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	ending := map[string]bool{}
	for _, e := range p.entries {
		if e.folder != "" && e.record != nil && e.record.Deleting() {
			ending[e.folder] = true
		}
	}
	return ending
}

func (p *Projector) namespacesFolder() facts.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.id(p.root)
}

func (p *Projector) isSynced() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.synced
}

// root is the root resource pool of a zone.
type root struct {
	pool string
	// drsOff: nothing can be made in it.
	drsOff bool
}

// roots returns the root resource pool of each zone.
func (p *Projector) roots() map[string]root {
	p.mu.Lock()
	defer p.mu.Unlock()
	zones := map[string]root{}
	for _, id := range slices.Sorted(maps.Keys(p.pools)) {
		pool := p.pools[id]
		cluster, found := p.clusters[pool.cluster]
		if !pool.root || !found {
			continue
		}
		name := namespace.Label(cluster.name, "zone", pool.cluster)
		if _, taken := zones[name]; !taken {
			zones[name] = root{pool: id, drsOff: cluster.drsOff}
		}
	}
	return zones
}

// takeablePool returns the zone of a resource pool that the namespace of a name
// may take over, or why it may not.
func (p *Projector) takeablePool(id, name string) (zone, refusal string) {
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

// poolsNamed returns the pools of that name directly below the root pools, by
// zone.
func (p *Projector) poolsNamed(name string) map[string]facts.ID {
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

// setRecord shows a record from here on; nil takes it away.
func (p *Projector) setRecord(uid k8stypes.UID, record *records.Stored) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if record == nil {
		delete(p.records, uid)
		delete(p.problems, uid)
	} else {
		// What this process writes down it has just looked at.
		before := p.records[uid]
		for _, id := range record.Things() {
			if before == nil || !slices.Contains(before.Things(), id) {
				p.known[id] = record.Seen[id]
				if now, there := p.see(id); there {
					p.known[id] = now
				}
			}
		}
		p.records[uid] = record
	}
	p.stale = true
	p.publish()
}

func (p *Projector) record(uid k8stypes.UID) *records.Stored {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.records[uid]
}

// restore takes in all records and the identity of vCenter.
func (p *Projector) restore(kept map[k8stypes.UID]*records.Stored, instance string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.records, p.instance = kept, instance
	p.stale = true
	p.publish()
}

// SetBirth says since when a folder is known. vCenter keeps no such time: until
// somebody says so, a namespace that nobody wrote to has no age.
func (p *Projector) SetBirth(folder string, at metav1.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.births[folder]; known.Equal(&at) || folder == "" {
		return
	}
	p.births[folder] = at
	for name, e := range p.entries {
		if e.folder == folder {
			p.dirty[name] = struct{}{}
		}
	}
	p.publish()
}

// SetProblem shows on a namespace that is not ready why. An empty message takes
// it back.
func (p *Projector) SetProblem(uid k8stypes.UID, message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.problems[uid].message == message {
		return
	}
	if message == "" {
		delete(p.problems, uid)
	} else {
		p.problems[uid] = problem{message: message}
	}
	for name, e := range p.entries {
		if e.object != nil && e.object.UID == uid {
			p.dirty[name] = struct{}{}
		}
	}
	p.publish()
}
