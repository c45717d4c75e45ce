// SPDX-License-Identifier: Apache-2.0

package picture

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/namespace"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
)

// Picture is the inventory.Handler that decodes. Its methods may be called from any
// goroutine, but not by a follower while it takes a step.
type Picture struct {
	// Followers are handed each step, in this order.
	Followers []facts.Follower
	// Keys prove the records in machines, as far as Kinds has not read them before.
	Keys *machine.Keys

	mu       sync.Mutex // Guards what follows, and lets one step at a time through.
	root     facts.ID
	places   places
	hosts    map[string]*facts.Host
	clusters map[string]*facts.Cluster
	machines map[string]*seen
	byFolder index
	byHost   index
	// synced: the first step was taken.
	synced bool
}

// seen is a machine as the followers have it, and the ids of what it lies and runs
// in.
type seen struct {
	*facts.Live
	folder, host string
}

// Apply implements inventory.Handler.
func (p *Picture) Apply(update inventory.Update) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if update.Initial || !p.synced {
		p.reset()
	}
	p.synced = p.synced || update.Initial
	t := p.begin(update.VCenter)
	t.step.Initial, t.step.Resumed = update.Initial, update.Resumed
	if p.places.vcenter != update.VCenter {
		p.places.vcenter = update.VCenter
		t.all()
	}
	if root := t.id(update.NamespacesFolder); root.Value != "" && root != p.root {
		p.root = root
		t.moved(p.places.tree.SetRoot(root.Value))
	}
	for _, object := range update.Changed {
		t.change(object)
	}
	for _, ref := range update.Removed {
		t.remove(ref)
	}
	t.tell()
}

func (p *Picture) reset() {
	p.root = facts.ID{}
	p.places.reset()
	p.hosts, p.clusters, p.machines = map[string]*facts.Host{}, map[string]*facts.Cluster{}, map[string]*seen{}
	p.byFolder, p.byHost = index{}, index{}
}

// Namespaces lists the namespaces, detached ones too, by name.
func (p *Picture) Namespaces() []facts.Namespace {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(p.places.told), func(n facts.Namespace) bool { return n.Name == "" })
	slices.SortFunc(list, func(a, b facts.Namespace) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// SetDetached names the folders, by managed-object id, whose namespaces were
// deleted. When it returns, every follower has been told.
func (p *Picture) SetDetached(folders map[string]bool) {
	p.say(func() []string { return p.places.detach(folders) })
}

// SetNames says under which names folders are served; no other is served from then
// on. When it returns, every follower has been told.
func (p *Picture) SetNames(names namespace.Names) {
	p.say(func() []string { return p.places.grant(names) })
}

// say takes in what somebody else says of folders, and tells of those for whose
// contents that is news.
func (p *Picture) say(what func() []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.places.tree == nil {
		p.reset()
	}
	t := p.begin(p.places.vcenter)
	t.moved(what())
	if p.synced {
		t.tell()
	}
}

func (p *Picture) begin(vcenter string) *take {
	return &take{Picture: p, decoder: decoder(vcenter), step: facts.Step{VCenter: vcenter}, affected: map[string]bool{}}
}

// take is one step on its way to the followers.
type take struct {
	*Picture
	decoder
	step facts.Step
	// affected are the machines of which something differs: true for those that were
	// decoded for this step, so that nobody else has them yet.
	affected map[string]bool
}

func (t *take) mark(machines map[string]struct{}) {
	for id := range machines {
		t.affected[id] = t.affected[id]
	}
}

func (t *take) all() {
	for id := range t.machines {
		t.affected[id] = t.affected[id]
	}
	t.places.changed()
}

// moved takes note of folders for whose contents another place is right.
func (t *take) moved(folders []string) {
	for _, folder := range folders {
		t.mark(t.byFolder[folder])
	}
	t.places.changed()
}

func (t *take) change(object inventory.Object) {
	props, id := properties(object.Properties), object.Ref.Value
	switch object.Ref.Type {
	case facts.TypeFolder:
		folder := t.folder(object.Ref, props)
		t.moved(t.places.tree.Set(id, folder.Name, folder.Parent.Value))
		t.step.Folders = append(t.step.Folders, folder)
	case facts.TypeCluster:
		cluster := t.cluster(object.Ref, props)
		t.clusters[id] = &cluster
		t.renamed(cluster.ID)
		t.step.Clusters = append(t.step.Clusters, cluster)
	case facts.TypeHost:
		host := t.host(object.Ref, props)
		t.hosts[id] = &host
		t.mark(t.byHost[id])
		t.step.Hosts = append(t.step.Hosts, host)
	case facts.TypePool:
		t.step.Pools = append(t.step.Pools, t.pool(object.Ref, props))
	case facts.TypeNetwork, facts.TypePortgroup, facts.TypeOpaqueNetwork:
		t.step.Networks = append(t.step.Networks, t.network(object.Ref, props))
	case facts.TypeDatastore:
		t.step.Datastores = append(t.step.Datastores, t.datastore(object.Ref, props))
	case facts.TypeMachine:
		t.machine(object, props)
	}
}

// renamed takes note of a cluster that is another one now.
func (t *take) renamed(cluster facts.ID) {
	for id, host := range t.hosts {
		if host.Parent == cluster {
			t.mark(t.byHost[id])
		}
	}
}

func (t *take) machine(object inventory.Object, props properties) {
	id, live := object.Ref.Value, t.live(object, props)
	m := t.machines[id]
	if m == nil {
		m = &seen{}
		t.machines[id] = m
	} else if live.InstanceUUID == "" {
		// vCenter tells no configuration of a machine whose host is away or whose
		// files are unreadable.
		live.Configuration = m.Configuration
	}
	folder, host := props.ref(pathParent).Value, props.ref(machine.PathHost).Value
	t.byFolder.move(id, m.folder, folder)
	t.byHost.move(id, m.host, host)
	m.Live, m.folder, m.host = live, folder, host
	t.affected[id] = true
}

func (t *take) remove(ref types.ManagedObjectReference) {
	id := t.id(ref)
	t.step.Removed = append(t.step.Removed, id)
	switch ref.Type {
	case facts.TypeFolder:
		t.moved(t.places.tree.Remove(ref.Value))
	case facts.TypeCluster:
		delete(t.clusters, ref.Value)
		t.renamed(id)
	case facts.TypeHost:
		delete(t.hosts, ref.Value)
		t.mark(t.byHost[ref.Value])
	case facts.TypeMachine:
		if m := t.machines[ref.Value]; m != nil {
			t.byFolder.move(ref.Value, m.folder, "")
			t.byHost.move(ref.Value, m.host, "")
			delete(t.machines, ref.Value)
			delete(t.affected, ref.Value)
		}
	}
}

// tell hands the step on, if there is something in it.
func (t *take) tell() {
	for _, id := range slices.Sorted(maps.Keys(t.affected)) {
		m := t.machines[id]
		if !t.affected[id] {
			again := *m.Live
			m.Live = &again
		}
		m.Place, m.Host, m.Cluster = t.places.in(m.folder), t.hosts[m.host], nil
		if m.Host != nil {
			m.Cluster = t.clusters[m.Host.Parent.Value]
		}
		t.step.Machines = append(t.step.Machines, m.Live)
	}
	t.step.Root = t.root
	t.step.Namespaces, t.step.Detached = t.places.namespaces(), t.places.all()
	for _, follower := range t.Followers {
		follower.Take(t.step)
	}
}

// decoder makes facts of the objects of one vCenter.
type decoder string

func (d decoder) id(ref types.ManagedObjectReference) facts.ID {
	if ref == (types.ManagedObjectReference{}) {
		return facts.ID{}
	}
	return facts.ID{VCenter: string(d), Type: ref.Type, Value: ref.Value}
}
