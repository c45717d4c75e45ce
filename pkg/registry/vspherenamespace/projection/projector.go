// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8stypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/namespace"
	"github.com/openpacific/pacific/pkg/registry/projected"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/records"
)

// usageInterval is how often usage is looked at.
const usageInterval = 15 * time.Second

// Projector follows the inventory and the records, and shows the API objects that
// they make. Its methods may be called from any goroutine.
type Projector struct {
	shown projected.Objects[v1alpha1.Namespace] // by name

	clock  clock.WithTicker
	logger klog.Logger
	zones  namespace.Zones

	mu       sync.Mutex
	synced   bool
	instance string
	root     string // the namespaces folder
	// parents are the folders that those below the namespaces folder lie in.
	parents map[string]string
	// left are the folders that lay there once, and do not any more.
	left     map[string]bool
	clusters map[string]cluster
	networks map[string]string // name by id
	pools    map[string]*pool
	machines map[string]*machine
	members  map[string]map[*machine]struct{} // by the folder of the namespace
	records  map[k8stypes.UID]*records.Stored
	detached map[facts.ID]bool
	problems map[k8stypes.UID]problem
	births   map[string]metav1.Time // by folder
	// known are the folders and pools of records that were recognised, as they were
	// seen last.
	known map[facts.ID]records.Sight
	// folders are those that stand for namespaces.
	folders []facts.Namespace
	// changed yields when folders has changed.
	changed  chan struct{}
	policies facts.StoragePolicies
	// policyNames are the names of storage policies by id. Nil: not read yet.
	policyNames map[string]string
	// libraries are the names of content libraries by id. Nil: not read yet.
	libraries map[string]string
	// stale: folders, pools, clusters or records are other ones than those the
	// entries were made of.
	stale    bool
	dirty    map[string]struct{} // names of the entries to look at
	entries  map[string]*entry   // by name
	byPool   map[string]string   // the name of the entry, by pool
	byFolder map[string]string   // and by folder
}

// pool is a resource pool.
type pool struct {
	id, name, parent string
	cluster          string
	// root: it is the one that holds everything in its cluster.
	root bool
	has  records.Portion
	// now is the usage as vCenter tells it, shown the one at the last look.
	now, shown usage
}

type usage struct{ mhz, bytes int64 }

// cluster is a zone.
type cluster struct {
	name string
	// drsOff: it can have no resource pools.
	drsOff bool
}

// machine is a virtual machine.
type machine struct {
	folder, pool string // folder is that of its namespace
	on, template bool
	// committed is the space as vCenter tells it, shown is it at the last look.
	committed int64
	shown     space
}

// entry is a vSphere Namespace that is served.
type entry struct {
	name   string
	folder string // empty: not there
	// refused is the folder's own name, where it may not have that.
	refused string
	record  *records.Stored
	zones   []zone // by name
	object  *v1alpha1.Namespace
}

type zone struct {
	name string
	pool *pool
}

// Config is what a Projector needs.
type Config struct {
	Clock  clock.WithTicker // Nil: the real one.
	Logger klog.Logger
	// Zones are the clusters that are zones.
	Zones namespace.Zones
}

// NewProjector makes a Projector that knows nothing yet.
func NewProjector(config Config) *Projector {
	p := &Projector{
		clock: config.Clock, logger: config.Logger, zones: config.Zones,
		records: map[k8stypes.UID]*records.Stored{}, problems: map[k8stypes.UID]problem{}, births: map[string]metav1.Time{}, entries: map[string]*entry{},
		changed: make(chan struct{}, 1), known: map[facts.ID]records.Sight{},
	}
	if p.clock == nil {
		p.clock = clock.RealClock{}
	}
	p.reset()
	return p
}

// Namespaces are what is shown of vSphere Namespaces.
func (p *Projector) Namespaces() *projected.Objects[v1alpha1.Namespace] { return &p.shown }

func (p *Projector) reset() {
	if p.left == nil {
		p.left = map[string]bool{}
	}
	for id := range p.parents {
		p.left[id] = true // until it is told of
	}
	p.parents = map[string]string{}
	p.clusters = map[string]cluster{}
	p.networks = map[string]string{}
	p.pools = map[string]*pool{}
	p.machines = map[string]*machine{}
	p.members = map[string]map[*machine]struct{}{}
	p.dirty = map[string]struct{}{}
	p.byPool, p.byFolder = map[string]string{}, map[string]string{}
	p.stale = true
}

// Take implements facts.Follower.
func (p *Projector) Take(step facts.Step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if step.Initial {
		p.reset()
		p.synced = true
		p.poke()
	}
	if step.VCenter != "" && step.VCenter != p.instance {
		p.instance, p.stale = step.VCenter, true
	}
	if !maps.Equal(step.Detached, p.detached) {
		p.stale = true
	}
	p.root, p.detached = step.Root.Value, step.Detached
	if !slices.Equal(step.Namespaces, p.folders) {
		// Names are what the listener grants: they are not news to it.
		news := !slices.EqualFunc(step.Namespaces, p.folders,
			func(a, b facts.Namespace) bool { return a.Folder == b.Folder && a.Path == b.Path })
		if p.folders, p.stale = step.Namespaces, true; news {
			p.poke()
		}
	}
	p.change(step)
	for _, id := range step.Removed {
		p.remove(id)
	}
	if step.Resumed {
		p.doubt()
	}
	if step.Initial {
		p.shown.Begin() // reset has all of it looked at
	}
	p.publish()
}

func (p *Projector) change(step facts.Step) {
	for _, folder := range step.Folders {
		p.parents[folder.ID.Value] = folder.Parent.Value
		delete(p.left, folder.ID.Value)
	}
	for _, cluster := range step.Clusters {
		p.changeCluster(cluster)
	}
	for i := range step.Pools {
		p.changePool(&step.Pools[i])
	}
	for _, machine := range step.Machines {
		p.changeMachine(machine)
	}
	for _, network := range step.Networks {
		p.changeNetwork(network)
	}
}

// changeCluster takes in a cluster that is a zone.
func (p *Projector) changeCluster(told facts.Cluster) {
	id := told.ID.Value
	before, known := p.clusters[id]
	next := cluster{name: told.Name, drsOff: told.DRSOff}
	switch {
	case !p.zones.Has(next.name):
		delete(p.clusters, id)
		p.stale = p.stale || known
	case before != next:
		p.clusters[id] = next
		p.stale = true
	}
}

func (p *Projector) changePool(told *facts.Pool) {
	id := told.ID.Value
	next := &pool{
		id: id, name: told.Name, parent: told.Parent.Value, cluster: told.Owner.Value,
		root: told.Parent.Type == facts.TypeCluster,
		has:  records.Portion{CPU: told.CPU, Memory: told.Memory},
		now:  usage{mhz: told.UsedCPU, bytes: told.UsedMemory},
	}
	before := p.pools[id]
	if before == nil {
		next.shown = next.now
		p.pools[id] = next
		p.stale = true
		return
	}
	next.shown = before.shown
	if before.name != next.name || before.parent != next.parent || before.cluster != next.cluster ||
		before.root != next.root {
		p.stale = true
	}
	if before.has != next.has {
		p.dirty[p.byPool[id]] = struct{}{}
	}
	*before = *next // the entries point at it
}

func (p *Projector) changeMachine(told *facts.Live) {
	id, committed := told.ID.Value, int64(0)
	if told.Space != nil {
		committed = told.Space.Committed
	}
	m := p.machines[id]
	if m == nil {
		m = &machine{committed: committed}
		m.shown = p.spaceOf(id, m)
		p.machines[id] = m
	}
	before := *m
	m.folder, m.pool, m.template = told.Place.Folder.Value, told.Pool.Value, told.Template
	m.on = told.PowerState == facts.PoweredOn
	m.committed = committed
	if before.folder != m.folder {
		p.leave(before.folder, m)
		if p.members[m.folder] == nil {
			p.members[m.folder] = map[*machine]struct{}{}
		}
		p.members[m.folder][m] = struct{}{}
	}
	if before.folder != m.folder || before.pool != m.pool || before.on != m.on || before.template != m.template {
		p.mark(before.folder)
		p.mark(m.folder)
	}
}

func (p *Projector) leave(folder string, m *machine) {
	delete(p.members[folder], m)
	if len(p.members[folder]) == 0 {
		delete(p.members, folder)
	}
}

// mark has the namespace of a folder looked at.
func (p *Projector) mark(folder string) {
	if name := p.byFolder[folder]; name != "" {
		p.dirty[name] = struct{}{}
	}
}

func (p *Projector) remove(gone facts.ID) {
	id := gone.Value
	switch gone.Type {
	case facts.TypeFolder:
		delete(p.parents, id)
		p.left[id] = true
	case facts.TypeCluster:
		delete(p.clusters, id)
		p.stale = true
	case facts.TypeNetwork, facts.TypePortgroup, facts.TypeOpaqueNetwork:
		delete(p.networks, id)
	case facts.TypePool:
		delete(p.pools, id)
		p.stale = true
	case facts.TypeMachine:
		if m := p.machines[id]; m != nil {
			delete(p.machines, id)
			p.leave(m.folder, m)
			p.mark(m.folder)
		}
	}
}

// arrange finds out which vSphere Namespaces there are: what folder, record and
// pools each of them has. The outcome depends on what there is alone, and not on
// the order in which it came.
func (p *Projector) arrange() {
	before := p.entries
	p.entries, p.byPool, p.byFolder = map[string]*entry{}, map[string]string{}, map[string]string{}
	byFolder, byName := map[string]*records.Stored{}, map[string][]*records.Stored{}
	for _, uid := range slices.Sorted(maps.Keys(p.records)) {
		record := p.records[uid]
		if folder := p.recognise(record, record.Folder); folder != "" {
			byFolder[folder] = record
		} else if record.Folder.IsZero() && record.MakingFolder {
			byName[record.Metadata.Name] = append(byName[record.Metadata.Name], record)
		}
	}
	linked := map[*records.Stored]bool{}
	paths := map[string]string{}
	folders := slices.Clone(p.folders)
	// Those without a name last.
	slices.SortStableFunc(folders, func(a, b facts.Namespace) int { return cmp.Compare(b.Name, a.Name) })
	for _, folder := range folders {
		id := folder.Folder.Value
		name, record := folder.Name, byFolder[id]
		if record == nil && len(byName[name]) > 0 {
			record = byName[name][0]
		}
		if name == "" && record != nil && p.entries[record.Metadata.Name] == nil {
			name = record.Metadata.Name // until it is granted one
		}
		if name == "" || record == nil && folder.Detached {
			continue
		}
		linked[record], paths[name] = true, folder.Path
		p.entries[name] = &entry{name: name, folder: id, record: record, refused: folder.Refused}
		p.byFolder[id] = name
	}
	for _, uid := range slices.Sorted(maps.Keys(p.records)) {
		record := p.records[uid]
		name := record.Metadata.Name
		if linked[record] {
			continue
		}
		if p.entries[name] != nil {
			p.logger.Info("A vSphere Namespace without a folder is not shown: another folder has its name", "name", name, "uid",
				uid)
			continue
		}
		p.entries[name] = &entry{name: name, record: record}
		paths[name] = name
	}
	rooted := p.rooted()
	recorded := map[string]bool{}
	for _, record := range p.records {
		for _, id := range record.Pools {
			if value := p.recognise(record, id); value != "" {
				recorded[value] = true
			}
		}
	}
	// What is written down is nobody else's.
	maps.DeleteFunc(rooted, func(_ place, pool *pool) bool { return recorded[pool.id] })
	for name, e := range p.entries {
		e.zones = p.zonesOf(e, paths[name], rooted)
		for _, z := range e.zones {
			p.byPool[z.pool.id] = name
		}
		if old := before[name]; old != nil {
			e.object = old.object
		}
		p.dirty[name] = struct{}{}
	}
	for name := range before {
		p.dirty[name] = struct{}{}
	}
	p.stale = false
}

// publish shows what there is.
func (p *Projector) publish() {
	if p.stale {
		p.arrange()
	}
	delete(p.dirty, "")
	for _, name := range slices.Sorted(maps.Keys(p.dirty)) {
		e := p.entries[name]
		if e == nil {
			p.shown.Drop(name)
			continue
		}
		p.shown.Set(name, p.project(e))
		e.object = p.shown.Get(name)
	}
	clear(p.dirty)
	p.shown.Flush()
}

func (p *Projector) poke() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Look shows the usage of now.
func (p *Projector) Look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, pool := range p.pools {
		if pool.shown != pool.now {
			pool.shown = pool.now
			p.dirty[p.byPool[id]] = struct{}{}
		}
	}
	p.lookAtStorage()
	p.publish()
}

// Run looks at the usage every so often until ctx ends.
func (p *Projector) Run(ctx context.Context) error {
	ticker := p.clock.NewTicker(usageInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
			p.Look()
		}
	}
}
