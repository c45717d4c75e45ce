// SPDX-License-Identifier: Apache-2.0

package namespace

import (
	"cmp"
	"maps"
	"slices"
)

// Namespace is a folder that stands for a namespace.
type Namespace struct {
	// Name is the name of the namespace in Kubernetes. Empty: the folder has been granted none yet, and is not served.
	Name string
	// Folder is the managed-object id of the folder.
	Folder string
	// Path is the folder's name below the namespaces folder, as the vSphere Client shows it.
	Path string
	// Detached says that the namespace was deleted in Kubernetes while the folder stayed in vCenter.
	Detached bool
}

// Place is where an object lies.
type Place struct {
	// Namespace is the namespace's name, empty for an object outside of every namespace, and where the folder has been
	// granted none.
	Namespace string
	// Folder is the id of the folder that stands for the namespace, empty for an object outside of every one.
	Folder string
	// Direct says that the object lies in that folder itself and not in one below.
	Direct bool
}

// Tree keeps the folders below the namespaces folder. It is not safe for concurrent use.
type Tree struct {
	root    string
	folders map[string]*folder
	// below holds, per id, the ids of the folders that name it as their parent: also of a parent that has not arrived yet.
	below map[string]map[string]struct{}
	names map[string]string
	// granted are the names that folders may have. Nil: each has its own.
	granted *Names
}

// Names say which folders have which names.
type Names struct {
	// Granted are names by folder. A folder keeps its name here when it is renamed in vCenter, until it is granted
	// another.
	Granted map[string]string
	// Reserved are names without a folder. One that comes to be called so in vCenter, and was granted no name, has it.
	Reserved map[string]bool
	// Refused are the own names of folders that have another, because a Kubernetes Namespace of that name is not theirs.
	Refused map[string]string
}

func (n Names) clone() *Names {
	return &Names{Granted: maps.Clone(n.Granted), Reserved: maps.Clone(n.Reserved), Refused: maps.Clone(n.Refused)}
}

type folder struct {
	name   string
	parent string
}

// NewTree makes an empty tree. root is the id of the namespaces folder.
func NewTree(root string) *Tree {
	return &Tree{root: root, folders: map[string]*folder{}, below: map[string]map[string]struct{}{},
		names: map[string]string{}}
}

// Root is the id of the namespaces folder.
func (t *Tree) Root() string { return t.root }

// SetRoot names another namespaces folder, as after the old one was deleted and made again. It returns the ids of all
// folders when it is another one than before.
func (t *Tree) SetRoot(root string) []string {
	if t.root == root {
		return nil
	}
	t.root = root
	t.rename()
	return slices.Collect(maps.Keys(t.folders))
}

// SetNames says which folders have which names: from then on no other has any. It returns the ids of the folders for
// whose contents Locate may give another answer than before. A tree that was never told gives each folder its own name,
// or a hash of it: what is called so in Kubernetes may be somebody else's.
func (t *Tree) SetNames(names Names) []string {
	t.granted = names.clone()
	return t.rename()
}

// Set adds a folder or takes note of its new name or parent. It returns the ids of the folders for whose contents
// Locate may give another answer than before.
func (t *Tree) Set(id, name, parent string) []string {
	if id == t.root {
		return nil
	}
	old := t.folders[id]
	if old != nil && old.name == name && old.parent == parent {
		return nil
	}
	wasTop := old != nil && old.parent == t.root
	moved := old == nil || old.parent != parent
	if old != nil && moved {
		t.unlink(id, old.parent)
	}
	t.folders[id] = &folder{name: name, parent: parent}
	if moved {
		if t.below[parent] == nil {
			t.below[parent] = map[string]struct{}{}
		}
		t.below[parent][id] = struct{}{}
	}
	var affected []string
	if wasTop || parent == t.root {
		affected = t.rename()
	}
	if moved {
		affected = t.collect(id, affected)
	}
	return affected
}

// Remove forgets a folder and returns the ids of the folders for whose contents Locate may give another answer.
func (t *Tree) Remove(id string) []string {
	old := t.folders[id]
	if old == nil {
		return nil
	}
	affected := t.collect(id, nil)
	t.unlink(id, old.parent)
	delete(t.folders, id)
	if old.parent == t.root {
		affected = append(affected, t.rename()...)
	}
	return affected
}

func (t *Tree) unlink(id, parent string) {
	delete(t.below[parent], id)
	if len(t.below[parent]) == 0 {
		delete(t.below, parent)
	}
}

// rename gives every folder directly below the root its namespace name, and returns all folders below those whose name
// is another now. The outcome depends on the set of folders alone and not on the order in which they were seen.
func (t *Tree) rename() []string {
	tops := slices.Sorted(maps.Keys(t.below[t.root]))
	var names map[string]string
	if t.granted != nil {
		names = t.granted.among(tops, t.folders)
	} else {
		names = t.choose(tops)
	}
	var affected []string
	for _, id := range tops {
		if t.names[id] != names[id] {
			affected = t.collect(id, affected)
		}
	}
	t.names = names
	return affected
}

// among returns the names of those folders that have one.
func (n *Names) among(ids []string, folders map[string]*folder) map[string]string {
	names := make(map[string]string, len(ids))
	taken := make(map[string]bool, len(ids))
	for _, id := range ids {
		if name := n.Granted[id]; name != "" && !taken[name] {
			names[id], taken[name] = name, true
		}
	}
	for _, id := range ids {
		if called := Decode(folders[id].name); names[id] == "" && n.Reserved[called] && !taken[called] {
			names[id], taken[called] = called, true
		}
	}
	return names
}

// choose gives each folder its own name: those whose own name can be taken as it is come first, then the rest by id.
func (t *Tree) choose(tops []string) map[string]string {
	tops = slices.Clone(tops)
	slices.SortFunc(tops, func(a, b string) int {
		an, bn := natural(Decode(t.folders[a].name)), natural(Decode(t.folders[b].name))
		if an != bn {
			if an {
				return -1
			}
			return 1
		}
		return cmp.Compare(a, b)
	})
	names := make(map[string]string, len(tops))
	taken := make(map[string]bool, len(tops))
	for _, id := range tops {
		attempt := 0
		name := candidate(t.folders[id].name, id, attempt)
		for taken[name] {
			attempt++
			name = candidate(t.folders[id].name, id, attempt)
		}
		taken[name] = true
		names[id] = name
	}
	return names
}

// collect appends the folder and all folders below it. Between two updates that belong together folders may name each
// other as parent, so it goes to none twice.
func (t *Tree) collect(id string, to []string) []string {
	seen := map[string]bool{id: true}
	queue := []string{id}
	for len(queue) > 0 {
		next := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		to = append(to, next)
		for child := range t.below[next] {
			if !seen[child] {
				seen[child] = true
				queue = append(queue, child)
			}
		}
	}
	return to
}

// Below returns the folder and all folders below it.
func (t *Tree) Below(id string) []string { return t.collect(id, nil) }

// Locate says in which namespace an object lies whose parent folder is given.
func (t *Tree) Locate(parent string) Place {
	direct := true
	for range len(t.folders) + 1 {
		f := t.folders[parent]
		if f == nil {
			return Place{}
		}
		if f.parent == t.root {
			return Place{Namespace: t.names[parent], Folder: parent, Direct: direct}
		}
		parent, direct = f.parent, false
	}
	return Place{}
}

// Path is the way from an object whose parent folder is given up to the root: that folder, the one above it, and so on,
// with the root as the last. Empty: the root is not above it.
func (t *Tree) Path(parent string) []string {
	var path []string
	for range len(t.folders) + 1 {
		path = append(path, parent)
		if parent == t.root && parent != "" {
			return path
		}
		f := t.folders[parent]
		if f == nil {
			return nil
		}
		parent = f.parent
	}
	return nil
}

// Namespaces lists the namespaces by name: the folders that have one.
func (t *Tree) Namespaces() []Namespace {
	list := t.Folders()
	list = slices.DeleteFunc(list, func(n Namespace) bool { return n.Name == "" })
	slices.SortFunc(list, func(a, b Namespace) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// Folders lists the folders that stand for namespaces by id, also those that have no name.
func (t *Tree) Folders() []Namespace {
	list := make([]Namespace, 0, len(t.below[t.root]))
	for _, id := range slices.Sorted(maps.Keys(t.below[t.root])) {
		list = append(list, Namespace{Name: t.names[id], Folder: id, Path: Decode(t.folders[id].name)})
	}
	return list
}
