// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/namespace"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/records"
)

// Sight returns how a folder or a pool is called and where it lies, if it is there.
func (p *Projector) Sight(id facts.ID) (records.Sight, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.see(id)
}

func (p *Projector) see(id facts.ID) (records.Sight, bool) {
	if id.VCenter != p.instance {
		return records.Sight{}, false
	}
	switch id.Type {
	case facts.TypeFolder:
		for _, folder := range p.folders {
			if folder.Folder == id {
				return records.Sight{Name: folder.Path, Parent: p.id(p.root)}, true
			}
		}
	case facts.TypePool:
		if pool := p.pools[id.Value]; pool != nil {
			return records.Sight{Name: namespace.Decode(pool.name), Parent: p.idOfPool(pool.parent)}, true
		}
	}
	return records.Sight{}, false
}

// Recognised says whether what a record names was recognised.
func (p *Projector) Recognised(id facts.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, known := p.known[id]
	return known
}

// Expected is how something that a record names has to be called and where it has to
// lie for it to be destroyed.
func (p *Projector) Expected(record *records.Stored, id facts.ID) records.Sight {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, known := p.known[id]
	if now, there := p.see(id); there && known {
		return now
	}
	return record.Seen[id]
}

// recognise returns the managed-object id of what a record names, if it is there and
// is what it was: of this vCenter, and called as it was and where it was when it was
// seen last. Once recognised, it may be renamed and moved before everybody's eyes.
// Empty: it is not.
func (p *Projector) recognise(record *records.Stored, id facts.ID) string {
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
