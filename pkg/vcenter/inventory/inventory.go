// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// Object is a managed object and its properties by the path that was asked
// for, each as govmomi decodes it: plain values and types structs by value,
// ArrayOf… structs by value for lists, types.OptionValue for
// config.extraConfig["key"]. A path without a value is absent. Objects and what
// they hold are never modified: a change makes a new one.
type Object struct {
	Ref        types.ManagedObjectReference
	Properties map[string]any
	// Hidden says that vCenter keeps the object from the account now, or some
	// of its properties, without it being gone: what is kept is as it was read
	// last, and a change of it is not seen.
	Hidden bool
}

// Update is one consistent step of the inventory.
type Update struct {
	// Initial says that Changed is everything there is. It is true exactly
	// once per Collector, in its first update; what a rebuild after a loss
	// finds is diffed and comes as changes.
	Initial bool
	// Resumed says that the stream was lost since the update before: what is called
	// otherwise or lies elsewhere by now may be the same object, or another one that
	// has its id, in a vCenter that was restored. What a rebuild finds unchanged comes
	// in no update.
	Resumed bool
	// VCenter is vCenter's own id, about.instanceUuid, without which no id of
	// an object names anything.
	VCenter string
	// NamespacesFolder is the folder that the RootNamespaces kinds lie in, and
	// zero when there are none. It changes when the folder was deleted and
	// made again, or another one took its place.
	NamespacesFolder types.ManagedObjectReference
	// Changed are the objects that are new or have a property that differs,
	// with all their properties; also those that became Hidden, or no longer
	// are.
	Changed []Object
	// Removed are the objects of which vCenter said, when it was asked for
	// each, that they are gone or lie no longer under the root. What the
	// account may merely not see any more is not among them, but Hidden.
	Removed []types.ManagedObjectReference
}

// Handler takes the updates in order, one at a time. The Collector waits for
// Apply before it goes on. Apply must not call Refresh.
type Handler interface {
	Apply(Update)
}

// Root says where a kind's objects are looked for.
type Root int

const (
	// RootNamespaces is the namespaces folder.
	RootNamespaces Root = iota
	// RootInventory is vCenter's root folder.
	RootInventory
)

// Kind is a type of managed object to follow: all of that type, and of those
// derived from it, below Root at any depth, Root itself excluded.
type Kind struct {
	// Type as vCenter names it, like VirtualMachine. No two kinds of a
	// Collector have the same.
	Type string
	Root Root
	// Paths are the properties to follow. They should be leaves: asking for
	// config.hardware means that any change in it reads all of it again.
	Paths []string
	// Reduce, where it is set, gives what is kept of a property's value, and
	// handed out in its place: of a long value the part that matters. What it
	// drops takes no memory, and a change of it is none. Nil keeps nothing.
	Reduce func(path string, value any) any
}

// reduce gives what is kept of a value.
func (k Kind) reduce(path string, value any) any {
	if k.Reduce == nil || value == nil {
		return value
	}
	return k.Reduce(path, value)
}

// Status is how a Collector is doing.
type Status struct {
	// Synced: the first full set was applied. It never goes back.
	Synced bool
	// LastUpdate is when vCenter was last heard of, also when it had nothing
	// new.
	LastUpdate time.Time
	// Err is why the inventory is not being followed now, nil when it is.
	Err error
	// NamespacesFolder is the folder as last found.
	NamespacesFolder types.ManagedObjectReference
	// Objects counts the known objects by Kind.Type, and Hidden those of them
	// that vCenter keeps from the account.
	Objects, Hidden map[string]int
}
