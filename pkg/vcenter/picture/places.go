// SPDX-License-Identifier: Apache-2.0

package picture

import (
	"maps"
	"slices"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/namespace"
)

// index maps the id of a container to the ids of the machines in it.
type index map[string]map[string]struct{}

func (x index) move(id, from, to string) {
	if from == to {
		return
	}
	delete(x[from], id)
	if len(x[from]) == 0 {
		delete(x, from)
	}
	if to == "" {
		return
	}
	if x[to] == nil {
		x[to] = map[string]struct{}{}
	}
	x[to][id] = struct{}{}
}

// places is which folder lies where, what namespace each stands for, and what is
// said of those by others.
type places struct {
	vcenter  string
	tree     *namespace.Tree
	detached map[string]bool
	granted  *namespace.Names // Nil: each folder has its own.
	// of are the places of what lies in each folder, as far as they were asked for.
	of map[string]*facts.Place
	// told are the namespaces as the followers know them; stale says that they may
	// be others now.
	told  []facts.Namespace
	stale bool
}

func (p *places) reset() {
	p.tree, p.of, p.told = namespace.NewTree(""), map[string]*facts.Place{}, nil
	if p.granted != nil {
		p.tree.SetNames(*p.granted)
	}
}

func (p *places) id(folder string) facts.ID {
	if folder == "" {
		return facts.ID{}
	}
	return facts.ID{VCenter: p.vcenter, Type: facts.TypeFolder, Value: folder}
}

// changed takes note that other places may be right.
func (p *places) changed() {
	clear(p.of)
	p.stale = true
}

// in says where what is in a folder lies.
func (p *places) in(folder string) *facts.Place {
	if place := p.of[folder]; place != nil {
		return place
	}
	at := p.tree.Locate(folder)
	place := &facts.Place{Namespace: at.Namespace, Folder: p.id(at.Folder), Direct: at.Direct,
		Detached: p.detached[at.Folder]}
	for _, id := range p.tree.Path(folder) {
		place.Folders = append(place.Folders, p.id(id))
	}
	p.of[folder] = place
	return place
}

// all are the folders that are detached.
func (p *places) all() map[facts.ID]bool {
	ids := make(map[facts.ID]bool, len(p.detached))
	for folder := range p.detached {
		ids[p.id(folder)] = true
	}
	return ids
}

// namespaces lists the folders that stand for namespaces. It is the same list as
// long as nothing in it differs.
func (p *places) namespaces() []facts.Namespace {
	if !p.stale {
		return p.told
	}
	p.stale = false
	list := make([]facts.Namespace, 0, len(p.told))
	for _, n := range p.tree.Folders() {
		told := facts.Namespace{Name: n.Name, Folder: p.id(n.Folder), Path: n.Path, Detached: p.detached[n.Folder]}
		if p.granted != nil {
			told.Refused = p.granted.Refused[n.Folder]
		}
		list = append(list, told)
	}
	if !slices.Equal(list, p.told) {
		p.told = list
	}
	return p.told
}

// detach names the folders whose namespaces were deleted, and returns the folders
// for whose contents that is news.
func (p *places) detach(folders map[string]bool) []string {
	before := p.detached
	p.detached = map[string]bool{}
	for folder, detached := range folders {
		if detached {
			p.detached[folder] = true
		}
	}
	all := maps.Clone(p.detached)
	maps.Copy(all, before)
	var affected []string
	for folder := range all {
		if p.detached[folder] != before[folder] {
			affected = append(affected, p.tree.Below(folder)...)
		}
	}
	return affected
}

// grant says which folders have which names, and returns the folders for whose
// contents that is news.
func (p *places) grant(names namespace.Names) []string {
	p.granted = &names
	return p.tree.SetNames(names)
}
