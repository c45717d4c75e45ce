// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"
	"time"

	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/vcenter"
)

// Object is a managed object and its properties by the path that was asked
// for, each as govmomi decodes it (a types struct by value, ArrayOf… types for
// lists). A path without a value is absent. Objects are immutable: a change
// makes a new one.
type Object struct {
	Ref        types.ManagedObjectReference
	Properties map[string]any
}

// Update is one consistent step of the inventory.
type Update struct {
	// Initial says that Changed is everything there is. True exactly once per
	// Collector, in its first update; a rebuild after a lost session is diffed
	// and comes as changes.
	Initial bool
	// NamespacesFolder is the folder that the RootNamespaces kinds lie in. It
	// changes when the folder was deleted and made again.
	NamespacesFolder types.ManagedObjectReference
	// Changed are the objects that are new or have a changed property. Their
	// properties are all those that are known, not only the changed ones.
	Changed []Object
	// Removed are the objects that are gone, or lie no longer under the root.
	Removed []types.ManagedObjectReference
}

// Handler takes the updates, in order, from one goroutine at a time. The next
// one is fetched only when Apply has returned.
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

// Kind is a type of managed object to follow: everything of that type below
// Root, at any depth, Root itself excluded.
type Kind struct {
	// Type as vCenter names it, like VirtualMachine.
	Type string
	Root Root
	// Paths are the properties to follow. They should be leaves: asking for
	// config.hardware means that any change in it reads all of it again.
	Paths []string
}

// Collector follows the inventory. Its fields are set before Run and not
// changed afterwards.
type Collector struct {
	Session *vcenter.Session
	Kinds   []Kind
	Handler Handler
	// NamespacesFolder is a name in the VM folder of the only datacenter, or a
	// full inventory path like /DC0/vm/Namespaces. Empty: Namespaces.
	NamespacesFolder string
	// MaxWait is how long one wait for updates may last. Zero: 20 s.
	MaxWait time.Duration

	Logger  klog.Logger
	Clock   clock.WithTicker // Nil: the real one.
	Metrics *Metrics         // Nil: not measured.
}

// Status is how a Collector is doing.
type Status struct {
	// Synced: the first full set was applied. Never goes back.
	Synced bool
	// LastUpdate is when vCenter was last heard of, also when it had nothing new.
	LastUpdate time.Time
	// Err is why the inventory is not being followed now, nil when it is.
	Err error
	// NamespacesFolder is the folder as last resolved.
	NamespacesFolder types.ManagedObjectReference
	// Objects counts the known objects by Kind.Type.
	Objects map[string]int
}

// Metrics measures a Collector.
type Metrics struct{}

// Run follows the inventory until ctx ends.
func (c *Collector) Run(ctx context.Context) error { return nil }

// Status may be called at any time.
func (c *Collector) Status() Status { return Status{} }

// Refresh reads one object now and has the difference applied before it
// returns.
func (c *Collector) Refresh(ctx context.Context, ref types.ManagedObjectReference) error { return nil }
