// SPDX-License-Identifier: Apache-2.0

package realisation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	k8stypes "k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/projection"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/records"
)

// turns lets one at a time work on a namespace.
type turns struct {
	mu   sync.Mutex
	held map[k8stypes.UID]chan struct{}
}

func (t *turns) take(ctx context.Context, uid k8stypes.UID) (func(), error) {
	for {
		t.mu.Lock()
		if t.held == nil {
			t.held = map[k8stypes.UID]chan struct{}{}
		}
		taken := t.held[uid]
		if taken == nil {
			free := make(chan struct{})
			t.held[uid] = free
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				delete(t.held, uid)
				t.mu.Unlock()
				close(free)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-taken:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for another change of the same vSphere Namespace: %w: %w", failure.Timeout, ctx.Err())
		}
	}
}

// Realise makes in vCenter what the record of a uid wants and what is not there
// yet. It may be called at any time and any number of times.
func (b *Backend) Realise(ctx context.Context, uid k8stypes.UID) error {
	done, err := b.turns.take(ctx, uid)
	if err != nil {
		return err
	}
	defer done()
	return b.realise(ctx, uid)
}

// realise is Realise. The turn is held.
func (b *Backend) realise(ctx context.Context, uid k8stypes.UID) error {
	if err := b.Ready(); err != nil {
		return err
	}
	if err := b.catchUp(ctx); err != nil {
		return err
	}
	s, found := b.Projector.StateOfUID(uid)
	if !found || s.Record == nil || s.Record.Deleting() {
		return nil
	}
	if !b.Projector.Synced() {
		return fmt.Errorf("the inventory has not been read yet: %w", failure.Unavailable)
	}
	if err := b.lookAgain(ctx, s); err != nil {
		return err
	}
	if err := b.realiseFolder(ctx, s); err != nil {
		return err
	}
	if err := b.realisePools(ctx, uid); err != nil {
		return err
	}
	b.Projector.SetProblem(uid, "")
	return nil
}

// lookAgain writes down how folder and pools are called and where they lie by now.
func (b *Backend) lookAgain(ctx context.Context, s projection.State) error {
	return b.amend(ctx, s.Record.UID(), func(record *records.Record) {
		for _, id := range record.Things() {
			if now, there := b.Projector.Sight(id); there && b.Projector.Recognised(id) && !record.Bring {
				record.See(id, now)
			}
		}
	})
}

func (b *Backend) realiseFolder(ctx context.Context, s projection.State) error {
	record, uid := s.Record, s.Record.UID()
	if record.Folder.IsZero() && s.Folder == "" || record.Bring {
		// Before there is a folder of that name: none is served in a Kubernetes
		// Namespace that is somebody else's, not even for a moment. One that was made
		// and not written down has been granted the name, and the Namespace is its own.
		if err := b.Folders.Reserve(ctx, record.Metadata.Name, record.Folder); err != nil {
			return err
		}
	}
	if record.Bring {
		return b.bringFolder(ctx, record.Record)
	}
	if !record.Folder.IsZero() {
		if there, err := b.hasFolder(ctx, record); there || err != nil {
			return err
		}
	}
	if folder, detached := b.Projector.FolderNamed(record.Metadata.Name); detached && folder != "" && record.MakingFolder {
		// Made for it, and detached before that could be written down.
		return fmt.Errorf("its Kubernetes Namespace was deleted, and so will it be: %w", failure.Unavailable)
	}
	folder, err := b.createFolder(ctx, uid, record.Metadata.Name)
	if err != nil {
		return err
	}
	err = b.amend(ctx, uid, func(record *records.Record) {
		record.Folder, record.MakingFolder = folder, false
		record.See(record.Folder, records.Sight{Name: record.Metadata.Name, Parent: b.Projector.NamespacesFolder()})
	})
	if err != nil {
		return err
	}
	return b.Refresher.Refresh(ctx, folder)
}

// hasFolder says whether the folder of a record is there. Without an error, one that
// is not is to be made again.
func (b *Backend) hasFolder(ctx context.Context, record *records.Stored) (bool, error) {
	id := record.Folder
	if id != b.Projector.ID(id.Value) {
		return false, fmt.Errorf("its folder %s lies in another vCenter, %s: nothing is made for it in this one: %w",
			id.Value, id.VCenter, failure.Unavailable)
	}
	if !b.Projector.KnowsFolder(id.Value) {
		err := b.Refresher.Refresh(ctx, id)
		if err != nil && !errors.Is(err, failure.NotFound) {
			return false, err
		}
	}
	switch {
	case !b.Projector.KnowsFolder(id.Value) && record.Keeps(id):
		return false, fmt.Errorf("its folder %s, which Pacific did not make, does not lie in the namespaces folder of "+
			"vCenter any more: "+
			"move it back, or delete the vSphere Namespace: %w", id.Value, failure.Unavailable)
	case !b.Projector.KnowsFolder(id.Value):
		return false, nil
	case !b.Projector.Recognised(id):
		return false, fmt.Errorf("the folder %s of vCenter is not called as its folder was when it was seen last, and is "+
			"taken for another one: %w",
			id.Value, failure.Unavailable)
	}
	return true, nil
}

// createFolder makes the folder of a namespace. One of its name that is there
// already is its own only if an attempt before may have made it, and nothing lies
// in it.
func (b *Backend) createFolder(ctx context.Context, uid k8stypes.UID, name string) (facts.ID, error) {
	again := false
	err := b.amend(ctx, uid, func(record *records.Record) { again, record.MakingFolder = record.MakingFolder, true })
	if err != nil {
		return facts.ID{}, err
	}
	made, err := b.FolderVerbs.Create(ctx, b.Projector.NamespacesFolder(), name)
	if again && errors.Is(err, failure.AlreadyExists) {
		found, failed := b.folderMade(ctx, name)
		if errors.Is(failed, failure.NotFound) {
			return facts.ID{}, err // something else has the name
		}
		return found, failed
	}
	// What an attempt before may have made is there whatever became of this one.
	if err != nil && !again && b.refused(err) {
		if undone := b.amend(context.WithoutCancel(ctx), uid,
			func(record *records.Record) { record.MakingFolder = false }); undone != nil {
			return facts.ID{}, undone
		}
	}
	return made, err
}

// folderMade returns the folder that an attempt before has made. An error of the
// kind failure.AlreadyExists says that something lies in it, so that it may well
// be somebody else's; failure.NotFound that there is none.
func (b *Backend) folderMade(ctx context.Context, name string) (facts.ID, error) {
	folder, err := b.FolderReader.Named(ctx, b.Projector.NamespacesFolder(), name)
	if err != nil {
		return facts.ID{}, err
	}
	if !folder.Empty() {
		return facts.ID{}, fmt.Errorf("the namespaces folder of vCenter has a folder called %q already, %s, and something "+
			"lies in it: "+
			"delete the vSphere Namespace, or rename the folder: %w", name, folder.ID.Value, failure.AlreadyExists)
	}
	return folder.ID, nil
}

func (b *Backend) realisePools(ctx context.Context, uid k8stypes.UID) error {
	s, found := b.Projector.StateOfUID(uid)
	if !found || s.Record == nil {
		return nil
	}
	record := s.Record.Clone()
	if err := b.possible(s, record); err != nil {
		return err
	}
	if err := b.undisturbed(ctx, s, record); err != nil {
		return err
	}
	for i, zone := range record.Zones {
		if err := b.realisePool(ctx, s, zone, record.Portion(i), record.Resources != nil); err != nil {
			return err
		}
	}
	if err := b.leaveZones(ctx, s); err != nil {
		return err
	}
	return b.amend(ctx, uid, func(now *records.Record) {
		// Unless other limits have come in between.
		if equality.Semantic.DeepEqual(now.Resources, record.Resources) && slices.Equal(now.Zones, record.Zones) {
			if now.Resources != nil {
				now.Applied = now.Resources
			}
			now.Resources = nil
		}
	})
}

// possible says why a pool that is to be made cannot be, before any is: nothing is
// left half made.
func (b *Backend) possible(s projection.State, record *records.Record) error {
	roots := b.Projector.Roots()
	for _, zone := range record.Zones {
		root, found := roots[zone]
		switch _, there := s.Pools[zone]; {
		case there:
		case !found:
			return fmt.Errorf("vCenter has no cluster any more that is the zone %q and that the account may see: give the "+
				"zone up: %w", zone, failure.Unavailable)
		case root.DRSOff:
			return fmt.Errorf("%s: %w", drsOff(zone), failure.Unavailable)
		}
	}
	return nil
}

// undisturbed refuses limits for pools that were there before, that nobody has
// taken over by name, and in which somebody else's machines run.
func (b *Backend) undisturbed(ctx context.Context, s projection.State, record *records.Record) error {
	if record.Resources == nil {
		return nil
	}
	for i, zone := range record.Zones {
		have, there := s.Pools[zone]
		if !there || !record.Keeps(have.ID) || slices.Contains(record.Spec.ResourcePools, have.ID.Value) ||
			have.Has == record.Portion(i) {
			continue
		}
		found, err := b.dwellersOf(ctx, s, have.ID)
		if err != nil {
			return err
		}
		if found.stranger != "" {
			return fmt.Errorf("the virtual machine %s runs in the resource pool %s of zone %q and does not lie in the folder "+
				"of the namespace: to limit it too, take the pool over by adding %q to spec.resourcePools: %w",
				found.stranger, have.ID.Value, zone, have.ID.Value, failure.AlreadyExists)
		}
	}
	return nil
}

// realisePool makes the pool of one zone, and when limit is set gives it its part.
func (b *Backend) realisePool(ctx context.Context, s projection.State, zone string, share records.Portion,
	limit bool) error {
	have, there, err := b.hasPool(ctx, s, zone)
	if err != nil {
		return err
	}
	if !there {
		id, fresh, err := b.createPool(ctx, s, zone, share)
		if err != nil {
			return err
		}
		have = projection.Pool{ID: id}
		if fresh {
			have.Has = share
		}
	}
	id := have.ID
	if !there || s.Record.Pools[zone] != id {
		err := b.amend(ctx, s.Record.UID(), func(record *records.Record) {
			record.SetPool(zone, id)
			record.See(id, records.Sight{Name: s.Name, Parent: b.Projector.Roots()[zone].Pool})
		})
		if err != nil {
			return err
		}
	}
	limited := limit && have.Has != share
	if limited {
		err := b.PoolVerbs.Limit(ctx, id, share.CPU, share.Memory, b.limitable(s.Record.UID(), id))
		if err != nil {
			return fmt.Errorf("zone %q: %w", zone, err)
		}
	}
	if limited || !there {
		return b.Refresher.Refresh(ctx, id)
	}
	return nil
}

// limitable says that a pool is what the record means still: limits throttle whatever is in it.
func (b *Backend) limitable(uid k8stypes.UID, id facts.ID) func(facts.Container) error {
	return func(now facts.Container) error {
		record := b.Projector.Record(uid)
		if record == nil || b.Projector.Expected(record, id) != sightOf(now.Entity) {
			return fmt.Errorf("the resource pool %s is called %q now and lies in %s: it has been renamed or moved just now, "+
				"or is another one: %w", id.Value, now.Name, now.Parent.Value, failure.Unavailable)
		}
		return nil
	}
}

// hasPool returns the pool of a zone, if it is there: one that was written down a moment ago may be new to the
// inventory.
func (b *Backend) hasPool(ctx context.Context, s projection.State, zone string) (projection.Pool, bool, error) {
	have, there := s.Pools[zone]
	recorded := s.Record.Pools[zone]
	if there || recorded.IsZero() || recorded != b.Projector.PoolID(recorded.Value) {
		return have, there, nil
	}
	if err := b.Refresher.Refresh(ctx, recorded); err != nil && !errors.Is(err, failure.NotFound) {
		return have, false, err
	}
	if now, found := b.Projector.StateOfUID(s.Record.UID()); found {
		have, there = now.Pools[zone]
	}
	return have, there, nil
}

// createPool makes the pool of a zone. fresh says that it has the limits already.
// One of its name that is there already is the namespace's own only if it is the one
// that is written down or an attempt before may have made it, and nothing lies in it
// but machines of the namespace.
func (b *Backend) createPool(ctx context.Context, s projection.State, zone string, share records.Portion,
) (id facts.ID, fresh bool, err error) {
	root, found := b.Projector.Roots()[zone]
	if !found {
		return facts.ID{}, false, fmt.Errorf("vCenter has no cluster any more that is the zone %q: %w", zone,
			failure.Unavailable)
	}
	uid, again := s.Record.UID(), false
	err = b.amend(ctx, uid, func(record *records.Record) {
		if again = record.IsMaking(zone); !again {
			record.MakingPools = append(record.MakingPools, zone)
		}
	})
	if err != nil {
		return facts.ID{}, false, err
	}
	id, err = b.PoolVerbs.Create(ctx, root.Pool, s.Name, share.CPU, share.Memory)
	if err == nil {
		return id, true, nil
	}
	err = fmt.Errorf("zone %q: %w", zone, err)
	if !b.refused(err) {
		return facts.ID{}, false, err
	}
	if errors.Is(err, failure.AlreadyExists) {
		found, failed := b.poolNamed(ctx, s.Name, zone)
		free := false
		if failed == nil && (again || found.ID == s.Record.Pools[zone]) {
			free, failed = b.holdsNobodyElse(ctx, s, found)
		}
		switch {
		case errors.Is(failed, failure.NotFound): // something else has the name
		case failed != nil:
			return facts.ID{}, false, failed
		case free:
			return found.ID, false, nil
		default:
			err = occupied(s.Name, zone, found.ID.Value)
		}
	}
	if again {
		return facts.ID{}, false, err
	}
	if undone := b.amend(context.WithoutCancel(ctx), uid,
		func(record *records.Record) { record.Made(zone) }); undone != nil {
		return facts.ID{}, false, undone
	}
	return facts.ID{}, false, err
}
