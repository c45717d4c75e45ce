// SPDX-License-Identifier: Apache-2.0

package realisation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	k8stypes "k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/projection"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/records"
)

// leaveZones lets go of the zones that are not wanted any more: the pools that
// Pacific made go once nothing lies in them, the others are nothing to the namespace
// any more once none of its machines is in them.
func (b *Backend) leaveZones(ctx context.Context, s projection.State) error {
	for _, zone := range s.Record.Touched() {
		if slices.Contains(s.Record.Zones, zone) {
			continue
		}
		gone, err := b.leaveZone(ctx, s, zone)
		if err != nil {
			return err
		}
		if !gone {
			continue
		}
		err = b.amend(ctx, s.Record.UID(), func(record *records.Record) {
			delete(record.Pools, zone)
			record.Leaving = slices.DeleteFunc(record.Leaving, func(left string) bool { return left == zone })
			record.Made(zone)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// leaveZone says whether nothing of the namespace is left in a zone.
func (b *Backend) leaveZone(ctx context.Context, s projection.State, zone string) (bool, error) {
	gone, err := b.destroyPools(ctx, s, zone)
	if id := s.Record.Pools[zone]; err != nil || !gone || !s.Record.Keeps(id) || id != b.Projector.PoolID(id.Value) {
		return gone, err
	}
	found, err := b.dwellersOf(ctx, s, s.Record.Pools[zone])
	if errors.Is(err, failure.NotFound) {
		return true, nil
	}
	return found.own == 0, err
}

// destroyPools destroys the pools that Pacific made in a zone and in which nothing
// lies, and says whether none of them is left.
func (b *Backend) destroyPools(ctx context.Context, s projection.State, zone string) (bool, error) {
	ids, err := b.poolsMade(ctx, s, zone)
	if err != nil {
		return false, err
	}
	left := false
	for _, id := range ids {
		gone, err := b.destroyPool(ctx, s, zone, id)
		if err != nil {
			return false, err
		}
		left = left || !gone
	}
	return !left, nil
}

// poolsMade returns the pools that Pacific made in a zone: the one that is written
// down, and one that may have been made and not written down.
func (b *Backend) poolsMade(ctx context.Context, s projection.State, zone string) ([]facts.ID, error) {
	var ids []facts.ID
	if recorded := s.Record.Pools[zone]; !recorded.IsZero() {
		ids = append(ids, recorded)
	}
	// Without an object another vSphere Namespace has the name, and the pools.
	if s.Object != nil && s.Record.IsMaking(zone) {
		switch named, err := b.poolNamed(ctx, s.Name, zone); {
		case errors.Is(err, failure.NotFound):
		case err != nil:
			return nil, err
		case !slices.Contains(ids, named.ID):
			ids = append(ids, named.ID)
		}
	}
	return slices.DeleteFunc(ids, s.Record.Keeps), nil
}

// Dismantle removes from vCenter what Pacific made for the namespace of a uid and
// what is empty. The rest stays, detached. It may be called any number of times.
func (b *Backend) Dismantle(ctx context.Context, uid k8stypes.UID) error {
	if err := b.Ready(); err != nil {
		return err
	}
	done, err := b.turns.take(ctx, uid)
	if err != nil {
		return err
	}
	defer done()
	if err := b.catchUp(ctx); err != nil {
		return err
	}
	s, found := b.Projector.StateOfUID(uid)
	if !found || s.Record == nil {
		return nil
	}
	if !b.Projector.Synced() {
		return fmt.Errorf("the inventory has not been read yet: %w", failure.Unavailable)
	}
	// Before anything else, so that a kill cannot bring back what was deleted.
	folder := b.Projector.ID(s.Folder)
	if s.Folder == "" {
		folder = s.Record.Folder
	}
	if s.Folder != "" && !b.Projector.Detached(s.Folder) {
		if err := b.Folders.Detach(ctx, folder, s.Name); err != nil {
			return fmt.Errorf("detach folder %s: %w: %w", folder, failure.Unavailable, err)
		}
	}
	for _, zone := range s.Record.Touched() {
		if _, err := b.destroyPools(ctx, s, zone); err != nil {
			return err
		}
	}
	if s.Record.Folder.IsZero() && s.Record.MakingFolder {
		if folder, err = b.writeDown(ctx, s, folder); err != nil {
			return err
		}
		if s, found = b.Projector.StateOfUID(uid); !found || s.Record == nil {
			return nil
		}
	}
	if folder.IsZero() || folder != b.Projector.ID(folder.Value) {
		return nil
	}
	gone := false
	if s.Record.Keeps(folder) {
		gone = s.Folder == ""
	} else if gone, err = b.destroyFolder(ctx, s, folder); err != nil {
		return err
	}
	if gone && b.Projector.Detached(folder.Value) {
		if err := b.Folders.Attach(ctx, folder); err != nil {
			return fmt.Errorf("forget folder %s: %w: %w", folder, failure.Unavailable, err)
		}
	}
	return nil
}

// writeDown notes in the record which folder was made for it, before that is
// destroyed: whoever comes after a kill has to know of which folder it is recorded
// that it is detached. folder is the one that the inventory has, if any.
func (b *Backend) writeDown(ctx context.Context, s projection.State, folder facts.ID) (facts.ID, error) {
	if folder.IsZero() && s.Object != nil {
		made, err := b.folderMade(ctx, s.Name)
		if err != nil && !errors.Is(err, failure.NotFound) && !errors.Is(err, failure.AlreadyExists) {
			return facts.ID{}, err
		}
		folder = made
	}
	if folder.IsZero() {
		return folder, nil
	}
	return folder, b.amend(ctx, s.Record.UID(), func(record *records.Record) {
		record.Folder, record.MakingFolder = folder, false
		record.See(folder, records.Sight{Name: s.Name, Parent: b.Projector.NamespacesFolder()})
	})
}

// What keeps something from being destroyed, by what vCenter itself says directly before.
var (
	errOccupied = fmt.Errorf("something lies in it: %w", failure.Conflict)
	errAnother  = fmt.Errorf("it is not what it was: %w", failure.Conflict)
)

// destroyPool destroys a pool in which nothing lies, and says whether it is gone.
func (b *Backend) destroyPool(ctx context.Context, s projection.State, zone string, id facts.ID) (bool, error) {
	if id != b.Projector.PoolID(id.Value) {
		return true, nil // it lies in another vCenter
	}
	var now facts.Container
	switch err := b.PoolVerbs.Destroy(ctx, id, b.wanted(s, id, &now)); {
	case errors.Is(err, errOccupied):
		b.Logger.Info("A resource pool of a deleted vSphere Namespace stays in vCenter: something lies in it", "namespace",
			s.Name, "zone", zone, "pool", id)
		return false, nil
	case errors.Is(err, errAnother):
		return true, b.other(s, id, sightOf(now.Entity))
	case err != nil && !errors.Is(err, failure.NotFound):
		return false, fmt.Errorf("zone %q: %w", zone, err)
	}
	return true, b.forget(ctx, id)
}

// destroyFolder destroys a folder in which nothing lies, and says whether it is
// gone.
func (b *Backend) destroyFolder(ctx context.Context, s projection.State, id facts.ID) (bool, error) {
	var now facts.Container
	switch err := b.FolderVerbs.Destroy(ctx, id, b.wanted(s, id, &now)); {
	case errors.Is(err, errOccupied):
		b.Logger.Info("The folder of a deleted vSphere Namespace stays in vCenter, detached: something lies in it",
			"namespace", s.Name, "folder", id)
		return false, nil
	case errors.Is(err, errAnother):
		return false, b.other(s, id, sightOf(now.Entity))
	case err != nil && !errors.Is(err, failure.NotFound):
		return false, err
	}
	return true, b.forget(ctx, id)
}

// wanted says that something is to be destroyed that is empty and is what the record means. What vCenter has it for is
// noted in seen.
func (b *Backend) wanted(s projection.State, id facts.ID, seen *facts.Container) func(facts.Container) error {
	return func(now facts.Container) error {
		*seen = now
		switch {
		case !now.Empty():
			return errOccupied
		case !b.same(s, id, sightOf(now.Entity)):
			return errAnother
		}
		return nil
	}
}

// same says whether what is to be destroyed is what the record means, by what vCenter
// itself says at this moment. What was made and not written down was found by name.
func (b *Backend) same(s projection.State, id facts.ID, now records.Sight) bool {
	return !slices.Contains(s.Record.Things(), id) || b.Projector.Expected(s.Record, id) == now
}

// other says that something is not what the record means. Where it was a moment ago,
// it has been renamed or moved, and the inventory will tell: then it is an error, and
// it is decided anew. Else it is another thing, and is left alone.
func (b *Backend) other(s projection.State, id facts.ID, now records.Sight) error {
	if _, there := b.Projector.Sight(id); there && b.Projector.Recognised(id) {
		return fmt.Errorf("%s of vSphere Namespace %q has been renamed or moved just now: %w", id.Value, s.Name,
			failure.Unavailable)
	}
	b.Logger.Info("Something stays in vCenter: it has the id of what Pacific made, but is called otherwise or lies "+
		"elsewhere", "namespace", s.Name,
		"id", id, "called", now.Name, "parent", now.Parent, "was", s.Record.Seen[id])
	return nil
}

// forget has the inventory know that an object is gone: who reads it next must not
// take the object for one that is there and belongs to nobody.
func (b *Backend) forget(ctx context.Context, id facts.ID) error {
	if err := b.Refresher.Refresh(ctx, id); err != nil && !errors.Is(err, failure.NotFound) {
		return err
	}
	return nil
}
