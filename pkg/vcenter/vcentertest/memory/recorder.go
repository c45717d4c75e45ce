// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Companion keeps something of objects that is no property of theirs.
type Companion interface {
	// RememberOf is what it keeps of an object, as JSON; nil is nothing.
	RememberOf(object mo.Reference) (json.RawMessage, error)
	// RecallOf takes that back.
	RecallOf(object mo.Reference, kept json.RawMessage) error
}

// Part is something of vCenter's that lies outside its inventory.
type Part interface {
	Remember() ([]byte, error)
	Recall(kept []byte) error
}

// Recorder writes what changes in a registry into a store. The fields are set before it is registered.
type Recorder struct {
	Store    *Store
	Registry *simulator.Registry
	// Companions and Parts are by the name under which they are kept.
	Companions map[string]Companion
	Parts      map[string]Part

	mu      sync.Mutex
	changed map[types.ManagedObjectReference]bool

	parting sync.Mutex        // is held while parts are written, and taken before writing
	writing sync.Mutex        // guards what follows
	written map[string]uint64 // what was written last, by key
	told    int32             // the last event that was written
	counted int64
	packer  packer
}

// Reference implements simulator.RegisterObject.
func (*Recorder) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "VcentertestMemory", Value: "memory"}
}

// PutObject implements simulator.RegisterObject.
func (r *Recorder) PutObject(_ *simulator.Context, o mo.Reference) { r.Mark(o.Reference()) }

// UpdateObject implements simulator.RegisterObject.
func (r *Recorder) UpdateObject(_ *simulator.Context, o mo.Reference, changes []types.PropertyChange) {
	for _, change := range changes {
		if change.Name != "recentTask" {
			r.Mark(o.Reference())
			return
		}
	}
}

// RemoveObject implements simulator.RegisterObject.
func (r *Recorder) RemoveObject(_ *simulator.Context, ref types.ManagedObjectReference) { r.Mark(ref) }

// Mark has an object written with the next commit, if it is one that is remembered. The simulator does not tell of every
// change.
func (r *Recorder) Mark(ref types.ManagedObjectReference) {
	if !remembered(ref) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = map[types.ManagedObjectReference]bool{}
	}
	r.changed[ref] = true
}

// Commit writes what has changed since the last one, in one transaction; with whole it looks at everything but machines
// for changes that nobody told of. Nothing may change meanwhile.
func (r *Recorder) Commit(whole bool) error {
	r.mu.Lock()
	changed := r.changed
	r.changed = nil
	r.mu.Unlock()
	refs := r.silent(changed)
	if whole {
		for _, object := range r.Registry.AllReference("") {
			if ref := object.Reference(); remembered(ref) && !many(ref.Type) && !changed[ref] {
				refs = append(refs, ref)
			}
		}
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	made := &batch{meta: map[string]string{}, objects: map[string][]byte{}}
	sums, err := r.collect(made, refs)
	if err == nil {
		err = r.write(made, sums)
	}
	if err != nil {
		for _, ref := range refs {
			r.Mark(ref)
		}
	}
	return err
}

// silent are the objects that have changed, with those that change with them without a word: what room there is on the
// datastores of machines, and what snapshots know of each other.
func (r *Recorder) silent(changed map[types.ManagedObjectReference]bool) (refs []types.ManagedObjectReference) {
	with := map[types.ManagedObjectReference]bool{}
	for ref := range changed {
		with[ref] = true
		vm, ok := r.Registry.Get(ref).(*simulator.VirtualMachine)
		if !ok {
			continue
		}
		for _, datastore := range vm.Datastore {
			with[datastore] = true
		}
		if vm.Snapshot != nil {
			for _, snapshot := range snapshots(vm.Snapshot.RootSnapshotList) {
				with[snapshot] = true
			}
		}
	}
	for ref := range with {
		refs = append(refs, ref)
	}
	return refs
}

func snapshots(tree []types.VirtualMachineSnapshotTree) (refs []types.ManagedObjectReference) {
	for _, node := range tree {
		refs = append(append(refs, node.Snapshot), snapshots(node.ChildSnapshotList)...)
	}
	return refs
}

// collect puts objects into a batch that are not what was written of them last. The caller holds writing.
func (r *Recorder) collect(made *batch, refs []types.ManagedObjectReference) (map[string]uint64, error) {
	sums := map[string]uint64{}
	for _, ref := range refs {
		key := keyOf(ref)
		object := r.Registry.Get(ref)
		if object == nil {
			if _, ok := r.written[key]; ok {
				made.objects[key] = nil
			}
			continue
		}
		text, err := r.encode(object)
		if err != nil {
			return nil, err
		}
		if sum := sumOf(text); r.written[key] != sum {
			made.objects[key], sums[key] = r.packer.pack(text), sum
		}
	}
	return sums, nil
}

// write writes a batch, with what has happened and what is counted. The caller holds writing.
func (r *Recorder) write(made *batch, sums map[string]uint64) error {
	told, err := r.events(made)
	if err != nil {
		return err
	}
	counted := counter(r.Registry)
	if counted != r.counted || len(made.objects) > 0 {
		made.meta[keyCounter] = strconv.FormatInt(counted, 10)
	}
	if err := r.Store.write(made); err != nil {
		return err
	}
	if r.written == nil {
		r.written = map[string]uint64{}
	}
	for key, value := range made.objects {
		if value == nil {
			delete(r.written, key)
		}
	}
	for key, sum := range sums {
		r.written[key] = sum
	}
	r.told, r.counted = told, counted
	return nil
}

// events puts those into a batch that were not written yet, and says which is the last.
func (r *Recorder) events(made *batch) (last int32, err error) {
	manager := r.Registry.EventManager()
	ctx := &simulator.Context{Context: context.Background(), Map: r.Registry}
	last = r.told
	ctx.WithLock(manager, func() {
		page, key := history(manager)
		last = *key
		for at := page.Back(); at != nil && err == nil; at = at.Prev() {
			event, ok := at.Value.(types.BaseEvent)
			if !ok || event.GetEvent().Key <= r.told {
				break
			}
			var text json.RawMessage
			if text, err = write(event); err != nil {
				err = fmt.Errorf("write an event: %w", err)
				return
			}
			if made.events == nil {
				made.events = map[int32][]byte{}
			}
			made.events[event.GetEvent().Key] = r.packer.pack(text)
		}
		if page.Len() > 0 {
			if front, ok := page.Front().Value.(types.BaseEvent); ok {
				made.before = front.GetEvent().Key
			}
		}
	})
	return last, err
}

// CommitParts writes the parts that are not what was written of them last. It may be called at any time, but not with
// the lock of a part: whoever has that may wait for an act that is about to be written.
func (r *Recorder) CommitParts() error {
	r.parting.Lock()
	defer r.parting.Unlock()
	texts := map[string][]byte{}
	for name, part := range r.Parts {
		text, err := part.Remember()
		if err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		texts[name] = text
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	made, sums := &batch{meta: map[string]string{}, parts: map[string][]byte{}}, map[string]uint64{}
	for name, text := range texts {
		if sum := sumOf(text); r.written[name] != sum {
			made.parts[name], sums[name] = r.packer.pack(text), sum
		}
	}
	return r.write(made, sums)
}

// Complete notes that the inventory is whole.
func (r *Recorder) Complete() error {
	if err := r.Commit(true); err != nil {
		return err
	}
	if err := r.CommitParts(); err != nil {
		return err
	}
	return r.Store.write(&batch{meta: map[string]string{keyComplete: "yes", keyRoot: r.Store.Datastores()}})
}

// Close writes everything, machines too, and lets go of the store. Nothing may change meanwhile.
func (r *Recorder) Close() error {
	for _, object := range r.Registry.AllReference("") {
		r.Mark(object.Reference())
	}
	err := r.Commit(true)
	if err == nil {
		err = r.CommitParts()
	}
	if err == nil {
		err = r.Store.write(&batch{meta: map[string]string{keyClosed: "yes"}})
	}
	if closing := r.Store.Close(); err == nil {
		err = closing
	}
	return err
}

func sumOf(text []byte) uint64 {
	sum := fnv.New64a()
	_, _ = sum.Write(text)
	return sum.Sum64()
}
