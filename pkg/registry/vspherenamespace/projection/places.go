// SPDX-License-Identifier: Apache-2.0

package projection

import "github.com/openpacific/pacific/pkg/facts"

// KnowsFolder says whether a folder lies below the namespaces folder.
func (p *Projector) KnowsFolder(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.namespaceOf(id) != ""
}

// Left says that a folder lay below the namespaces folder, and does not any more.
func (p *Projector) Left(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, told := p.parents[id]
	return p.namespaceOf(id) == "" && (told || p.left[id])
}

// LiesIn says whether a folder is the one of a namespace, or lies below it.
func (p *Projector) LiesIn(id, folder string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.namespaceOf(id) == folder
}

// Detached says whether the Kubernetes Namespace of a folder was deleted.
func (p *Projector) Detached(id string) bool {
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

// NamespacesFolder is the folder in which those of vSphere Namespaces lie.
func (p *Projector) NamespacesFolder() facts.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.id(p.root)
}
