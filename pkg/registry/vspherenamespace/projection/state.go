// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8stypes "k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/records"
)

// State is what is known of a vSphere Namespace.
type State struct {
	Name string
	// Folder is its managed-object id. Empty: it has none.
	Folder string
	// Record is nil as long as nobody ever wrote to it.
	Record *records.Stored
	// Pools are those that it has, by zone.
	Pools map[string]Pool
	// Object is how it is served. Nil: it is not, since another one has its name.
	Object *v1alpha1.Namespace
}

// PoolIDs are the ids of its pools, by zone.
func (s State) PoolIDs() map[string]facts.ID {
	ids := make(map[string]facts.ID, len(s.Pools))
	for zone, pool := range s.Pools {
		ids[zone] = pool.ID
	}
	return ids
}

// Pool is a resource pool of a vSphere Namespace, and what it may take.
type Pool struct {
	ID  facts.ID
	Has records.Portion
}

func (p *Projector) stateOf(e *entry) State {
	s := State{Name: e.name, Folder: e.folder, Record: e.record, Pools: map[string]Pool{}, Object: e.object}
	for _, zone := range e.zones {
		s.Pools[zone.name] = Pool{ID: p.idOfPool(zone.pool.id), Has: zone.pool.has}
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

// State returns what is known of the vSphere Namespace that is served under a name.
func (p *Projector) State(name string) (State, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.entries[name]; e != nil {
		return p.stateOf(e), true
	}
	return State{}, false
}

// StateOfUID returns what is known of the one of a uid that somebody wrote to, served or not.
func (p *Projector) StateOfUID(uid k8stypes.UID) (State, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.entries {
		if e.record != nil && e.record.UID() == uid {
			return p.stateOf(e), true
		}
	}
	if record := p.records[uid]; record != nil {
		return State{Name: record.Metadata.Name, Record: record}, true
	}
	return State{}, false
}

// FolderNamed returns the folder that has the name of a namespace, detached or
// not.
func (p *Projector) FolderNamed(name string) (folder string, detached bool) {
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
	return facts.ID{VCenter: p.instance, Type: facts.TypeFolder, Value: folder}
}

// PoolID returns the id of a resource pool.
func (p *Projector) PoolID(pool string) facts.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.idOfPool(pool)
}

func (p *Projector) idOfPool(pool string) facts.ID {
	if pool == "" {
		return facts.ID{}
	}
	return facts.ID{VCenter: p.instance, Type: facts.TypePool, Value: pool}
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

// Synced says whether the inventory was read.
func (p *Projector) Synced() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.synced
}

// SetRecord shows a record from here on; nil takes it away.
func (p *Projector) SetRecord(uid k8stypes.UID, record *records.Stored) {
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

// Record returns the record of a uid, nil without one.
func (p *Projector) Record(uid k8stypes.UID) *records.Stored {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.records[uid]
}

// Restore takes in all records and the identity of vCenter.
func (p *Projector) Restore(kept map[k8stypes.UID]*records.Stored, instance string) {
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
