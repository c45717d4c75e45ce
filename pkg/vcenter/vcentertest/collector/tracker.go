// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"fmt"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// trackerReference is where property collectors find the tracker: the simulator
// makes one collector per session by reflection, without any field set.
func trackerReference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "VcentertestTracker", Value: "tracker"}
}

func trackerOf(ctx *simulator.Context) *Tracker {
	return ctx.Map.Get(trackerReference()).(*Tracker)
}

// facts are what checks need to know of an entity without taking its lock: the
// simulator takes locks in both directions between a folder and its children.
type facts struct {
	name         string
	parent       types.ManagedObjectReference
	instanceUUID string
}

// Tracker hears of every change that the simulator notifies, numbers it, and
// wakes whoever waits. It is called with the changed object's lock held.
//
// It stands in the registry beside managed objects, and the simulator looks for
// a type of package mo in each of those: the view is never used.
type Tracker struct {
	mo.ListView

	mu        sync.Mutex
	sequence  uint64
	structure uint64 // the sequence number of the last change of who is where
	changed   map[types.ManagedObjectReference]uint64
	removed   map[types.ManagedObjectReference]bool
	entities  map[types.ManagedObjectReference]facts
	// unfinished machines are on their way into being, outside any lock; no
	// view shows them yet.
	unfinished map[types.ManagedObjectReference]bool
	clones     int
	// shown says, by entity and account, whether a permission on the entity
	// itself shows it.
	shown map[types.ManagedObjectReference]map[string]bool
	// veiled machines have files that vCenter cannot read.
	veiled map[types.ManagedObjectReference]bool
	// show changes the properties of a kind before anybody sees them.
	show    map[string]func(types.ManagedObjectReference, *types.DynamicProperty)
	next    chan struct{}
	waiting int
}

// NewTracker returns a tracker that hears of nothing until it is registered.
func NewTracker() *Tracker {
	t := &Tracker{
		changed:    make(map[types.ManagedObjectReference]uint64),
		removed:    make(map[types.ManagedObjectReference]bool),
		entities:   make(map[types.ManagedObjectReference]facts),
		unfinished: make(map[types.ManagedObjectReference]bool),
		shown:      make(map[types.ManagedObjectReference]map[string]bool),
		veiled:     make(map[types.ManagedObjectReference]bool),
		show:       make(map[string]func(types.ManagedObjectReference, *types.DynamicProperty)),
		next:       make(chan struct{}),
	}
	t.Self = trackerReference()
	return t
}

// Register has the tracker hear of the changes of a vCenter whose registry has its
// service instance, and puts a property collector of this package over the one
// that is there. It comes before anything that is to be tracked.
func (t *Tracker) Register(registry *simulator.Registry) {
	registry.Put(t)
	registry.AddHandler(t)

	content := registry.Get(types.ManagedObjectReference{Type: "ServiceInstance",
		Value: "ServiceInstance"}).(*simulator.ServiceInstance).Content
	collector := new(propertyCollector)
	collector.Self = content.PropertyCollector
	registry.Put(collector)
}

// Show has a function change copies of the properties of a kind before anybody sees them. It is called before anything
// is tracked.
func (t *Tracker) Show(kind string, as func(types.ManagedObjectReference, *types.DynamicProperty)) {
	t.show[kind] = as
}

// showing changes the properties of contents, which are copies.
func (t *Tracker) showing(contents []types.ObjectContent) {
	for _, content := range contents {
		if show := t.show[content.Obj.Type]; show != nil {
			for i := range content.PropSet {
				show(content.Obj, &content.PropSet[i])
			}
		}
	}
}

// wait returns a channel that is closed at the next change.
func (t *Tracker) wait() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next
}

// parked counts a wait that found nothing to tell, until the returned function
// is called.
func (t *Tracker) parked() (done func()) {
	add := func(n int) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.waiting += n
	}
	add(1)
	return func() { add(-1) }
}

// Waiters is how many waits found nothing to tell and wait.
func (t *Tracker) Waiters() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting
}

// Wake makes waiters look again.
func (t *Tracker) Wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notify()
}

func (t *Tracker) notify() {
	close(t.next)
	t.next = make(chan struct{})
}

func (t *Tracker) mark(ref types.ManagedObjectReference, structural bool) {
	t.sequence++
	t.changed[ref] = t.sequence
	if structural {
		t.structure = t.sequence
	}
}

// since lists what changed after a sequence number, and the number to ask with
// next time.
func (t *Tracker) since(seen uint64) (changed map[types.ManagedObjectReference]bool, structural bool, now uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	changed = make(map[types.ManagedObjectReference]bool)
	if t.sequence > seen {
		for ref, sequence := range t.changed {
			if sequence > seen {
				changed[ref] = true
			}
		}
	}
	return changed, t.structure > seen, t.sequence
}

func (t *Tracker) structureSequence() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.structure
}

// visible says whether a view may show an object.
func (t *Tracker) visible(ref types.ManagedObjectReference) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.removed[ref] && !t.unfinished[ref]
}

// Parent is the folder or other entity that an entity lies in, and the zero
// reference where it lies in none.
func (t *Tracker) Parent(ref types.ManagedObjectReference) types.ManagedObjectReference {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.entities[ref].parent
}

// ChildNamed finds another entity of that name and of the same kind directly in
// a folder.
func (t *Tracker) ChildNamed(parent types.ManagedObjectReference, name string,
	except types.ManagedObjectReference) (types.ManagedObjectReference, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ref, f := range t.entities {
		if f.parent == parent && f.name == name && ref != except && !t.removed[ref] {
			return ref, true
		}
	}
	return types.ManagedObjectReference{}, false
}

// At finds the one folder or virtual machine at a path, or at the end of one.
func (t *Tracker) At(path string) (types.ManagedObjectReference, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	names := strings.Split(strings.Trim(path, "/"), "/")
	var found []types.ManagedObjectReference
	for ref := range t.entities {
		if t.removed[ref] || ref.Type != "Folder" && ref.Type != "VirtualMachine" {
			continue
		}
		at, n := ref, len(names)-1
		for ; n >= 0 && t.entities[at].name == names[n]; n-- {
			at = t.entities[at].parent
		}
		// A path that begins at the root ends below the root folder.
		if n < 0 && (!strings.HasPrefix(path, "/") || t.entities[at].parent.Value == "") {
			found = append(found, ref)
		}
	}
	if len(found) != 1 {
		return types.ManagedObjectReference{}, fmt.Errorf("there are %d folders and virtual machines at %q, not one",
			len(found), path)
	}
	return found[0], nil
}

// InstanceUUIDTaken says whether another machine has the identifier.
func (t *Tracker) InstanceUUIDTaken(id string, except types.ManagedObjectReference) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ref, f := range t.entities {
		if f.instanceUUID == id && ref != except && !t.removed[ref] {
			return true
		}
	}
	return false
}

// BeginClone keeps new machines out of sight until the clone's task has ended:
// the simulator goes on writing to a clone after the task that creates it.
func (t *Tracker) BeginClone() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clones++
}

// Finish shows all machines: those that were put into the registry without a task.
func (t *Tracker) Finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.unfinished)
	t.notify()
}

func (t *Tracker) learn(e mo.Entity) {
	entity := e.Entity()
	f := facts{name: entity.Name}
	if entity.Parent != nil {
		f.parent = *entity.Parent
	}
	if vm, ok := e.(*mo.VirtualMachine); ok && vm.Config != nil {
		f.instanceUUID = vm.Config.InstanceUuid
	}
	t.entities[entity.Self] = f
}

// PutObject implements simulator.RegisterObject.
func (t *Tracker) PutObject(_ *simulator.Context, o mo.Reference) {
	t.mu.Lock()
	defer t.mu.Unlock()
	entity, ok := o.(mo.Entity)
	if ok {
		ref := o.Reference()
		if _, known := t.entities[ref]; !known && ref.Type == "VirtualMachine" {
			t.unfinished[ref] = true
		}
		if vm, ok := o.(*simulator.VirtualMachine); ok {
			entity = &vm.VirtualMachine
		}
		t.learn(entity)
	}
	t.mark(o.Reference(), ok)
	t.notify()
}

// UpdateObject implements simulator.RegisterObject.
func (t *Tracker) UpdateObject(_ *simulator.Context, o mo.Reference, changes []types.PropertyChange) {
	t.mu.Lock()
	defer t.mu.Unlock()
	structural := false
	if entity, ok := o.(mo.Entity); ok {
		before := t.entities[o.Reference()].parent
		t.learn(entity)
		structural = before != t.entities[o.Reference()].parent
	}
	t.mark(o.Reference(), structural)
	if task, ok := o.(*mo.Task); ok {
		t.taskChanged(task, changes)
	}
	t.notify()
}

// taskChanged looks again at what a task that ended was about, since the
// simulator does not notify everything that its tasks do.
func (t *Tracker) taskChanged(task *mo.Task, changes []types.PropertyChange) {
	ended := false
	for _, change := range changes {
		if change.Name == "info.state" {
			ended = task.Info.State == types.TaskInfoStateSuccess || task.Info.State == types.TaskInfoStateError
		}
	}
	if !ended {
		return
	}
	switch task.Info.DescriptionId {
	case "VirtualMachine.cloneVm":
		if t.clones > 0 {
			t.clones--
		}
	}
	if t.clones == 0 && len(t.unfinished) > 0 && createsMachines(task.Info.DescriptionId) {
		t.finish(task)
	}
	if task.Info.Entity == nil {
		return
	}
	switch task.Info.DescriptionId {
	case "VirtualMachine.powerOn", "VirtualMachine.powerOff", "VirtualMachine.suspend", "VirtualMachine.reconfigVm",
		"VirtualMachine.rename":
		t.mark(*task.Info.Entity, false)
	default:
		t.mark(*task.Info.Entity, true)
	}
}

func createsMachines(descriptionID string) bool {
	switch descriptionID {
	case "Folder.createVm", "Folder.registerVm", "VirtualMachine.cloneVm":
		return true
	}
	return false
}

// finish shows the machine that a task made. A clone's machines were made by
// tasks that ended while the clone's was running, so its end shows all.
func (t *Tracker) finish(task *mo.Task) {
	if task.Info.DescriptionId == "VirtualMachine.cloneVm" {
		clear(t.unfinished)
		return
	}
	if ref, ok := task.Info.Result.(types.ManagedObjectReference); ok {
		delete(t.unfinished, ref)
	}
}

// RemoveObject implements simulator.RegisterObject.
func (t *Tracker) RemoveObject(_ *simulator.Context, ref types.ManagedObjectReference) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, entity := t.entities[ref]
	if entity {
		t.removed[ref] = true
		delete(t.entities, ref)
		delete(t.shown, ref)
		delete(t.unfinished, ref)
		delete(t.veiled, ref)
	}
	t.mark(ref, entity)
	t.notify()
}
