// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	k8stypes "k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/namespace"
)

// leaveZones lets go of the zones that are not wanted any more: the pools that
// Pacific made go once nothing lies in them, the others are nothing to the namespace
// any more once none of its machines is in them.
func (b *Backend) leaveZones(ctx context.Context, s state) error {
	for _, zone := range s.record.touched() {
		if slices.Contains(s.record.Zones, zone) {
			continue
		}
		gone, err := b.leaveZone(ctx, s, zone)
		if err != nil {
			return err
		}
		if !gone {
			continue
		}
		err = b.amend(ctx, s.record.uid(), func(record *Record) {
			delete(record.Pools, zone)
			record.Leaving = slices.DeleteFunc(record.Leaving, func(left string) bool { return left == zone })
			record.made(zone)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// leaveZone says whether nothing of the namespace is left in a zone.
func (b *Backend) leaveZone(ctx context.Context, s state, zone string) (bool, error) {
	gone, err := b.destroyPools(ctx, s, zone)
	if id := s.record.Pools[zone]; err != nil || !gone || !s.record.kept(id) || id != b.Projector.poolID(id.Value) {
		return gone, err
	}
	found, err := b.dwellersOf(ctx, s, s.record.Pools[zone].Value)
	if errors.Is(err, failure.NotFound) {
		return true, nil
	}
	return found.own == 0, err
}

// destroyPools destroys the pools that Pacific made in a zone and in which nothing
// lies, and says whether none of them is left.
func (b *Backend) destroyPools(ctx context.Context, s state, zone string) (bool, error) {
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
func (b *Backend) poolsMade(ctx context.Context, s state, zone string) ([]facts.ID, error) {
	var ids []facts.ID
	if recorded := s.record.Pools[zone]; !recorded.IsZero() {
		ids = append(ids, recorded)
	}
	// Without an object another vSphere Namespace has the name, and the pools.
	if s.object != nil && s.record.making(zone) {
		switch named, err := b.poolNamed(ctx, s.name, zone); {
		case errors.Is(err, failure.NotFound):
		case err != nil:
			return nil, err
		case !slices.Contains(ids, b.Projector.poolID(named.id)):
			ids = append(ids, b.Projector.poolID(named.id))
		}
	}
	return slices.DeleteFunc(ids, s.record.kept), nil
}

// Dismantle removes from vCenter what Pacific made for the namespace of a uid and
// what is empty. The rest stays, detached. It may be called any number of times.
func (b *Backend) Dismantle(ctx context.Context, uid k8stypes.UID) error {
	if err := b.Writer.Ready(); err != nil {
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
	s, found := b.Projector.findUID(uid)
	if !found || s.record == nil {
		return nil
	}
	if !b.Projector.isSynced() {
		return fmt.Errorf("the inventory has not been read yet: %w", failure.Unavailable)
	}
	// Before anything else, so that a kill cannot bring back what was deleted.
	folder := b.Projector.ID(s.folder)
	if s.folder == "" {
		folder = s.record.Folder
	}
	if s.folder != "" && !b.Projector.isDetached(s.folder) {
		if err := b.Folders.Detach(ctx, folder, s.name); err != nil {
			return fmt.Errorf("detach folder %s: %w: %w", folder, failure.Unavailable, err)
		}
	}
	for _, zone := range s.record.touched() {
		if _, err := b.destroyPools(ctx, s, zone); err != nil {
			return err
		}
	}
	if s.record.Folder.IsZero() && s.record.MakingFolder {
		if folder, err = b.writeDown(ctx, s, folder); err != nil {
			return err
		}
		if s, found = b.Projector.findUID(uid); !found || s.record == nil {
			return nil
		}
	}
	if folder.IsZero() || folder != b.Projector.ID(folder.Value) {
		return nil
	}
	gone := false
	if s.record.kept(folder) {
		gone = s.folder == ""
	} else if gone, err = b.destroyFolder(ctx, s, folder); err != nil {
		return err
	}
	if gone && b.Projector.isDetached(folder.Value) {
		if err := b.Folders.Attach(ctx, folder); err != nil {
			return fmt.Errorf("forget folder %s: %w: %w", folder, failure.Unavailable, err)
		}
	}
	return nil
}

// writeDown notes in the record which folder was made for it, before that is
// destroyed: whoever comes after a kill has to know of which folder it is recorded
// that it is detached. folder is the one that the inventory has, if any.
func (b *Backend) writeDown(ctx context.Context, s state, folder facts.ID) (facts.ID, error) {
	if folder.IsZero() && s.object != nil {
		made, err := b.folderMade(ctx, s.name)
		if err != nil && !errors.Is(err, failure.NotFound) && !errors.Is(err, failure.AlreadyExists) {
			return facts.ID{}, err
		}
		folder = b.Projector.ID(made)
	}
	if folder.IsZero() {
		return folder, nil
	}
	return folder, b.amend(ctx, s.record.uid(), func(record *Record) {
		record.Folder, record.MakingFolder = folder, false
		record.see(folder, Sight{Name: s.name, Parent: b.Projector.ID(b.Projector.namespacesFolder())})
	})
}

// destroyPool destroys a pool in which nothing lies, and says whether it is gone.
func (b *Backend) destroyPool(ctx context.Context, s state, zone string, id facts.ID) (bool, error) {
	operation := fmt.Sprintf("remove the resource pool of vSphere Namespace %q in zone %q", s.name, zone)
	if id != b.Projector.poolID(id.Value) {
		return true, nil // it lies in another vCenter
	}
	ref := types.ManagedObjectReference{Type: TypeResourcePool, Value: id.Value}
	switch pool, err := b.readPool(ctx, operation, id.Value); {
	case errors.Is(err, failure.NotFound):
		return true, b.forget(ctx, ref)
	case err != nil:
		return false, err
	case !pool.empty():
		b.Logger.Info("A resource pool of a deleted vSphere Namespace stays in vCenter: something lies in it", "namespace", s.name, "zone", zone, "pool", id)
		return false, nil
	case !b.same(s, id, pool.sight):
		return true, b.other(s, id, pool.sight)
	}
	// What comes into it in between moves to the pool above and keeps running.
	return b.destroy(ctx, operation, ref, func(ctx context.Context, client *vim25.Client) (types.ManagedObjectReference, error) {
		response, err := methods.Destroy_Task(ctx, client, &types.Destroy_Task{This: ref})
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return response.Returnval, nil
	})
}

// destroyFolder destroys a folder in which nothing lies, and says whether it is
// gone.
func (b *Backend) destroyFolder(ctx context.Context, s state, id facts.ID) (bool, error) {
	operation := fmt.Sprintf("remove the folder of vSphere Namespace %q", s.name)
	ref := types.ManagedObjectReference{Type: TypeFolder, Value: id.Value}
	var folder mo.Folder
	err := b.retrieve(ctx, operation, ref, []string{pathName, pathParent, "childEntity"}, &folder)
	sight := Sight{Name: namespace.Decode(folder.Name)}
	if folder.Parent != nil {
		sight.Parent = b.Projector.ID(folder.Parent.Value)
	}
	switch {
	case errors.Is(err, failure.NotFound):
		return true, b.forget(ctx, ref)
	case err != nil:
		return false, err
	case len(folder.ChildEntity) > 0:
		b.Logger.Info("The folder of a deleted vSphere Namespace stays in vCenter, detached: something lies in it", "namespace", s.name, "folder", id)
		return false, nil
	case !b.same(s, id, sight):
		return false, b.other(s, id, sight)
	}
	// Not Destroy_Task: what comes into the folder in between keeps its files.
	return b.destroy(ctx, operation, ref, func(ctx context.Context, client *vim25.Client) (types.ManagedObjectReference, error) {
		response, err := methods.UnregisterAndDestroy_Task(ctx, client, &types.UnregisterAndDestroy_Task{This: ref})
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return response.Returnval, nil
	})
}

// same says whether what is to be destroyed is what the record means, by what vCenter
// itself says at this moment. What was made and not written down was found by name.
func (b *Backend) same(s state, id facts.ID, now Sight) bool {
	return !slices.Contains(s.record.things(), id) || b.Projector.expected(s.record, id) == now
}

// other says that something is not what the record means. Where it was a moment ago,
// it has been renamed or moved, and the inventory will tell: then it is an error, and
// it is decided anew. Else it is another thing, and is left alone.
func (b *Backend) other(s state, id facts.ID, now Sight) error {
	if _, there := b.Projector.sight(id); there && b.Projector.isKnown(id) {
		return fmt.Errorf("%s of vSphere Namespace %q has been renamed or moved just now: %w", id.Value, s.name, failure.Unavailable)
	}
	b.Logger.Info("Something stays in vCenter: it has the id of what Pacific made, but is called otherwise or lies elsewhere", "namespace", s.name,
		"id", id, "called", now.Name, "parent", now.Parent, "was", s.record.Seen[id])
	return nil
}

func (b *Backend) destroy(ctx context.Context, operation string, ref types.ManagedObjectReference,
	start func(context.Context, *vim25.Client) (types.ManagedObjectReference, error)) (bool, error) {
	_, err := b.Writer.RunTask(ctx, operation, start)
	if err != nil && !errors.Is(err, failure.NotFound) {
		return false, err
	}
	return true, b.forget(ctx, ref)
}

// forget has the inventory know that an object is gone: who reads it next must not
// take the object for one that is there and belongs to nobody.
func (b *Backend) forget(ctx context.Context, ref types.ManagedObjectReference) error {
	if err := b.Refresher.Refresh(ctx, ref); err != nil && !errors.Is(err, failure.NotFound) {
		return err
	}
	return nil
}
