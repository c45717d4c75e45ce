// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
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

func trackerOf(ctx *simulator.Context) *tracker {
	return ctx.Map.Get(trackerReference()).(*tracker)
}

// facts are what checks need to know of an entity without taking its lock: the
// simulator takes locks in both directions between a folder and its children.
type facts struct {
	name         string
	parent       types.ManagedObjectReference
	instanceUUID string
}

// tracker hears of every change that the simulator notifies, numbers it, and
// wakes whoever waits. It is called with the changed object's lock held.
//
// It stands in the registry beside managed objects, and the simulator looks for
// a type of package mo in each of those: the view is never used.
type tracker struct {
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
	next       chan struct{}
	waiting    int
}

func newTracker() *tracker {
	t := &tracker{
		changed:    make(map[types.ManagedObjectReference]uint64),
		removed:    make(map[types.ManagedObjectReference]bool),
		entities:   make(map[types.ManagedObjectReference]facts),
		unfinished: make(map[types.ManagedObjectReference]bool),
		next:       make(chan struct{}),
	}
	t.Self = trackerReference()
	return t
}

// wait returns a channel that is closed at the next change.
func (t *tracker) wait() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next
}

// parked counts a wait that found nothing to tell, until the returned function
// is called.
func (t *tracker) parked() (done func()) {
	add := func(n int) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.waiting += n
	}
	add(1)
	return func() { add(-1) }
}

// waiters is how many waits found nothing to tell and wait.
func (t *tracker) waiters() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting
}

// wake makes waiters look again.
func (t *tracker) wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notify()
}

func (t *tracker) notify() {
	close(t.next)
	t.next = make(chan struct{})
}

func (t *tracker) mark(ref types.ManagedObjectReference, structural bool) {
	t.sequence++
	t.changed[ref] = t.sequence
	if structural {
		t.structure = t.sequence
	}
}

// since lists what changed after a sequence number, and the number to ask with
// next time.
func (t *tracker) since(seen uint64) (changed map[types.ManagedObjectReference]bool, structural bool, now uint64) {
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

func (t *tracker) structureSequence() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.structure
}

// visible says whether a view may show an object.
func (t *tracker) visible(ref types.ManagedObjectReference) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.removed[ref] && !t.unfinished[ref]
}

func (t *tracker) parent(ref types.ManagedObjectReference) types.ManagedObjectReference {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.entities[ref].parent
}

// childNamed finds another entity of that name and of the same kind directly in
// a folder.
func (t *tracker) childNamed(parent types.ManagedObjectReference, name string, except types.ManagedObjectReference) (types.ManagedObjectReference, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ref, f := range t.entities {
		if f.parent == parent && f.name == name && ref != except && !t.removed[ref] {
			return ref, true
		}
	}
	return types.ManagedObjectReference{}, false
}

// instanceUUIDTaken says whether another machine has the identifier.
func (t *tracker) instanceUUIDTaken(id string, except types.ManagedObjectReference) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ref, f := range t.entities {
		if f.instanceUUID == id && ref != except && !t.removed[ref] {
			return true
		}
	}
	return false
}

// beginClone keeps new machines out of sight until the clone's task has ended:
// the simulator goes on writing to a clone after the task that creates it.
func (t *tracker) beginClone() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clones++
}

func (t *tracker) learn(e mo.Entity) {
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
func (t *tracker) PutObject(_ *simulator.Context, o mo.Reference) {
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
func (t *tracker) UpdateObject(_ *simulator.Context, o mo.Reference, changes []types.PropertyChange) {
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
func (t *tracker) taskChanged(task *mo.Task, changes []types.PropertyChange) {
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
	case "VirtualMachine.powerOn", "VirtualMachine.powerOff", "VirtualMachine.suspend", "VirtualMachine.reconfigVm", "VirtualMachine.rename":
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
func (t *tracker) finish(task *mo.Task) {
	if task.Info.DescriptionId == "VirtualMachine.cloneVm" {
		clear(t.unfinished)
		return
	}
	if ref, ok := task.Info.Result.(types.ManagedObjectReference); ok {
		delete(t.unfinished, ref)
	}
}

// RemoveObject implements simulator.RegisterObject.
func (t *tracker) RemoveObject(_ *simulator.Context, ref types.ManagedObjectReference) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, entity := t.entities[ref]
	if entity {
		t.removed[ref] = true
		delete(t.entities, ref)
		delete(t.unfinished, ref)
	}
	t.mark(ref, entity)
	t.notify()
}
