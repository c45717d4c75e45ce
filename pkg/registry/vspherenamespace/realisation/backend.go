// SPDX-License-Identifier: Apache-2.0

package realisation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	k8stypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/projected"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/projection"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/records"
)

// defaultTimeout bounds a write, below the 34 s that the API server gives a
// request that changes something.
const defaultTimeout = 30 * time.Second

// reachableTimeout is how long vCenter may take to tell its time.
const reachableTimeout = 3 * time.Second

// FolderVerbs act on one folder of vCenter each, if still says directly before that they are still to; folder.Verbs
// does. Errors come with their failure kind.
type FolderVerbs interface {
	Create(ctx context.Context, parent facts.ID, name string) (facts.ID, error)
	Move(ctx context.Context, id, into facts.ID, still func(facts.Lineage) error) error
	Destroy(ctx context.Context, id facts.ID, still func(facts.Container) error) error
}

// FolderReader tells of folders what vCenter itself says at this moment; folder.Verbs does.
type FolderReader interface {
	Named(ctx context.Context, parent facts.ID, name string) (facts.Container, error)
	Lineage(ctx context.Context, id facts.ID) (facts.Lineage, error)
}

// PoolVerbs act on one resource pool of vCenter each, as FolderVerbs do on folders; pool.Verbs does.
type PoolVerbs interface {
	Create(ctx context.Context, parent facts.ID, name string, cpu, memory facts.Allocation) (facts.ID, error)
	Limit(ctx context.Context, id facts.ID, cpu, memory facts.Allocation, still func(facts.Container) error) error
	Destroy(ctx context.Context, id facts.ID, still func(facts.Container) error) error
}

// PoolReader tells of resource pools what vCenter itself says at this moment; pool.Verbs does.
type PoolReader interface {
	Named(ctx context.Context, parent facts.ID, name string) (facts.Container, error)
	Machines(ctx context.Context, id facts.ID) ([]facts.Entity, error)
}

// Refresher reads one object now and has the Projector see it before it returns.
type Refresher interface {
	Refresh(ctx context.Context, id facts.ID) error
}

// Document is a record as it is kept.
type Document struct {
	Value    []byte
	Revision int64
}

// Documents keeps the records. It bounds each call itself.
type Documents interface {
	List(ctx context.Context) (map[string]Document, error)
	// Put stores a document in place of the one of that revision, 0 for none.
	Put(ctx context.Context, id string, value []byte, revision int64) (int64, error)
	Delete(ctx context.Context, id string, revision int64) error
}

// Folders knows which folders are detached, and under which names folders may be
// served. When a method returns, the Projector knows it too.
type Folders interface {
	Detach(ctx context.Context, folder facts.ID, namespace string) error
	// Attach takes that back, and forgets a folder that is gone.
	Attach(ctx context.Context, folder facts.ID) error
	// Reserve takes a name for a folder, or with none for the one that is to be
	// made. The error's kind is failure.AlreadyExists when the name is somebody
	// else's. It may be called any number of times.
	Reserve(ctx context.Context, name string, folder facts.ID) error
	// Release takes that back, as long as no folder is served under the name.
	Release(ctx context.Context, name string) error
}

// Backend carries out what is written to the live store. Its fields are set
// before use.
type Backend struct {
	// Ready says why nothing may be changed now, nil when something may.
	Ready func() error
	// Reachable returns nil when vCenter answers now.
	Reachable    func(ctx context.Context) error
	FolderVerbs  FolderVerbs
	FolderReader FolderReader
	PoolVerbs    PoolVerbs
	PoolReader   PoolReader
	Projector    *projection.Projector
	Refresher    Refresher
	Documents    Documents
	Folders      Folders
	// StoragePolicies are those that a namespace may be given. Nil: any.
	StoragePolicies StoragePolicies
	Logger          klog.Logger
	// Timeout bounds one write whose context has no earlier end. Zero: 30 s.
	Timeout time.Duration

	writes sync.Mutex      // one change of a record at a time
	unsure map[string]bool // guarded by writes: uids of records of which a write was not confirmed
	turns  turns
}

// Restore reads the records and shows them. It must have returned before anything
// is served. instance is vCenter's own uuid.
func (b *Backend) Restore(ctx context.Context, instance string) error {
	documents, err := b.Documents.List(ctx)
	if err != nil {
		return err
	}
	kept := make(map[k8stypes.UID]*records.Stored, len(documents))
	for id, document := range documents {
		record, err := records.Decode(document.Value)
		if err != nil {
			// The others are to be served all the same.
			b.Logger.Error(err, "Cannot read the record of a vSphere Namespace, it is shown without", "record", id)
			continue
		}
		kept[record.UID()] = &records.Stored{Record: record, Revision: document.Revision}
	}
	b.Projector.Restore(kept, instance)
	return nil
}

// Create implements registry.Backend.
func (b *Backend) Create(ctx context.Context, object *v1alpha1.Namespace) error {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	operation := fmt.Sprintf("create vSphere Namespace %q", object.Name)
	if err := b.Ready(); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	if err := b.reachable(ctx, operation); err != nil {
		return err
	}
	if err := b.available(&v1alpha1.Namespace{}, object); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	record := &records.Record{}
	record.Take(object)
	b.give(record, &v1alpha1.Namespace{}, object)
	if err := b.plan(ctx, record, object); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	uid := record.UID()
	if err := b.begin(ctx, record); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	err := b.attempt(ctx, uid, func(ctx context.Context) (bool, error) {
		if !b.untouched(uid) || b.Folders.Release(ctx, object.Name) != nil {
			return false, nil
		}
		// Nothing has come of it and nothing will: it is as if it had never been asked.
		return true, b.drop(ctx, uid)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	return nil
}

// attempt makes what a record asks for. Where vCenter says no, and undo can take back that it was asked, the user is
// told so; else what was asked stands in the record: it is accepted, and goes on. All of that is one turn, so that the
// controller makes nothing meanwhile by a record that is about to go.
func (b *Backend) attempt(ctx context.Context, uid k8stypes.UID, undo func(context.Context) (bool, error)) error {
	done, err := b.turns.take(ctx, uid)
	if err == nil {
		defer done()
		err = b.realise(ctx, uid)
	}
	if err == nil {
		return nil
	}
	if b.refused(err) {
		switch undone, failed := undo(context.WithoutCancel(ctx)); {
		case failed != nil:
			// It may be undone all the same, so that it must not be called accepted.
			return fmt.Errorf("%w: %s; and it could not be found out whether what was asked is taken back: %w",
				failure.Unavailable, err.Error(), failed)
		case undone:
			return err
		}
	}
	b.Projector.SetProblem(uid, err.Error())
	return nil
}

// reachable says at once when vCenter is away, before anything is promised.
func (b *Backend) reachable(ctx context.Context, operation string) error {
	soon, cancel := context.WithTimeout(ctx, reachableTimeout)
	defer cancel()
	err := b.Reachable(soon)
	switch {
	case err == nil:
		return nil
	case soon.Err() != nil && ctx.Err() == nil:
		return fmt.Errorf("%s: vCenter does not answer now, try again: %w", operation, failure.Unavailable)
	}
	return fmt.Errorf("%s: %w", operation, err)
}

// refused says whether vCenter has said no for good.
func (b *Backend) refused(err error) bool {
	switch failure.KindOf(err) {
	case failure.Forbidden, failure.Invalid, failure.ResourceExhausted, failure.AlreadyExists, failure.NotFound:
		return true
	}
	return false
}

// untouched says whether nothing was made in vCenter for a record.
func (b *Backend) untouched(uid k8stypes.UID) bool {
	record := b.Projector.Record(uid)
	if record == nil || !record.Folder.IsZero() && !record.Bring || record.MakingFolder || len(record.MakingPools) > 0 {
		return false
	}
	for _, id := range record.Pools {
		if !record.Keeps(id) {
			return false
		}
	}
	return true
}

// Update implements registry.Backend.
func (b *Backend) Update(ctx context.Context, before, object *v1alpha1.Namespace) error {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	operation := fmt.Sprintf("update vSphere Namespace %q", before.Name)
	if err := b.Ready(); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	if err := b.available(before, object); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	zones := before.Spec.Zones
	reshare := !slices.Equal(zones, object.Spec.Zones) ||
		!slices.Equal(before.Spec.ResourcePools, object.Spec.ResourcePools) ||
		!equality.Semantic.DeepEqual(before.Spec.Resources, object.Spec.Resources)
	if !slices.Equal(zones, object.Spec.Zones) || reshare && len(zones) == 0 {
		var err error
		if zones, err = b.zones(object.Spec.Zones, before.Spec.Zones); err != nil {
			return fmt.Errorf("%s: %w", operation, err)
		}
	}
	var previous *records.Record
	err := b.change(ctx, before, func(s projection.State) (*records.Record, error) {
		record := &records.Record{}
		if s.Record != nil {
			previous = s.Record.Record
			record = previous.Clone()
		} else {
			record.Folder = b.Projector.ID(s.Folder)
			record.Kept = []facts.ID{record.Folder}
		}
		if sight, there := b.Projector.Sight(record.Folder); there && s.Folder != "" {
			record.See(record.Folder, sight)
		}
		record.Take(object)
		b.give(record, before, object)
		if reshare {
			record.Settle(s.PoolIDs())
			record.Resources = object.Spec.Resources.DeepCopy()
			return record, b.planPools(record, object, zones)
		}
		return record, nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	if !reshare || object.DeletionTimestamp != nil {
		return nil
	}
	err = b.attempt(ctx, object.UID, func(ctx context.Context) (bool, error) {
		return true, b.retract(ctx, object.UID, previous)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	return nil
}

// retract takes back limits and zones that vCenter refused. What it did take of
// them stays as it is, and shows.
func (b *Backend) retract(ctx context.Context, uid k8stypes.UID, previous *records.Record) error {
	if previous == nil {
		previous = &records.Record{}
	}
	return b.amend(ctx, uid, func(record *records.Record) {
		maps.DeleteFunc(record.Pools, func(zone string, id facts.ID) bool {
			return record.Keeps(id) && previous.Pools[zone] != id
		})
		record.Want(previous.Zones)
		record.Resources, record.Spec.ResourcePools = previous.Resources, previous.Spec.ResourcePools
	})
}

// Delete implements registry.Backend: the record goes. What there is in vCenter
// has gone before, or stays and is not served any more.
func (b *Backend) Delete(ctx context.Context, object *v1alpha1.Namespace) error {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	operation := fmt.Sprintf("delete vSphere Namespace %q", object.Name)
	if err := b.Ready(); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	s, err := b.current(object)
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	if s.Folder != "" && !b.Projector.Detached(s.Folder) {
		if err := b.Folders.Detach(ctx, b.Projector.ID(s.Folder), s.Name); err != nil {
			return fmt.Errorf("%s: %w: %w", operation, failure.Unavailable, err)
		}
	}
	if s.Record == nil {
		return nil
	}
	if err := b.drop(ctx, object.UID); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	return nil
}

// current returns what is known of a namespace, provided that it stands where
// object does.
func (b *Backend) current(object *v1alpha1.Namespace) (projection.State, error) {
	s, found := b.Projector.State(object.Name)
	if !found || s.Object == nil || !projected.Same(s.Object, object) {
		return projection.State{}, fmt.Errorf("it has changed: %w", failure.Conflict)
	}
	return s, nil
}

// change writes the record of a namespace that stands where object does.
func (b *Backend) change(ctx context.Context, object *v1alpha1.Namespace,
	next func(projection.State) (*records.Record, error)) error {
	b.writes.Lock()
	defer b.writes.Unlock()
	if err := b.settle(ctx); err != nil {
		return err
	}
	s, err := b.current(object)
	if err != nil {
		return err
	}
	var revision int64
	if s.Record != nil {
		revision = s.Record.Revision
	}
	record, err := next(s)
	if err != nil {
		return err
	}
	return b.write(ctx, record, revision)
}

// amend changes the record of a uid, if there is one.
func (b *Backend) amend(ctx context.Context, uid k8stypes.UID, amend func(*records.Record)) error {
	b.writes.Lock()
	defer b.writes.Unlock()
	if err := b.settle(ctx); err != nil {
		return err
	}
	current := b.Projector.Record(uid)
	if current == nil {
		return fmt.Errorf("the vSphere Namespace of uid %s is gone: %w", uid, failure.NotFound)
	}
	next := current.Clone()
	amend(next)
	if equality.Semantic.DeepEqual(current.Record, next) {
		return nil
	}
	return b.write(ctx, next, current.Revision)
}

// begin writes the first record of a namespace.
func (b *Backend) begin(ctx context.Context, record *records.Record) error {
	b.writes.Lock()
	defer b.writes.Unlock()
	if err := b.settle(ctx); err != nil {
		return err
	}
	// It may be known since a moment ago alone, by that settling: whoever asked for it was not told what became of it,
	// and asks again.
	if s, found := b.Projector.State(record.Metadata.Name); found && s.Record != nil {
		return fmt.Errorf("it has been asked for before: %w", failure.AlreadyExists)
	}
	return b.write(ctx, record, 0)
}

func (b *Backend) write(ctx context.Context, record *records.Record, revision int64) error {
	value, err := record.Encode()
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("store the record of vSphere Namespace %q: %w: %w", record.Metadata.Name, failure.Timeout,
			ctx.Err())
	}
	// It does not end with ctx: a write that is given up while it is under way
	// may still arrive, after whoever asks what became of it.
	next, err := b.Documents.Put(context.WithoutCancel(ctx), string(record.UID()), value, revision)
	if err == nil {
		b.Projector.SetRecord(record.UID(), &records.Stored{Record: record, Revision: next})
		return nil
	}
	if b.settled(ctx, record, value, revision) {
		return nil
	}
	return transient(err)
}

func (b *Backend) drop(ctx context.Context, uid k8stypes.UID) error {
	b.writes.Lock()
	defer b.writes.Unlock()
	if err := b.settle(ctx); err != nil {
		return err
	}
	current := b.Projector.Record(uid)
	if current == nil {
		return nil
	}
	err := b.Documents.Delete(context.WithoutCancel(ctx), string(uid), current.Revision)
	if err == nil {
		b.Projector.SetRecord(uid, nil)
		return nil
	}
	if b.dropped(ctx, uid, current.Revision) {
		return nil
	}
	return transient(err)
}

func (b *Backend) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := b.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	return context.WithTimeout(ctx, timeout)
}
