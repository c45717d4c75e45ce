// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/apimachinery/pkg/api/equality"
	k8stypes "k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/failure"
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
	if !found || s.record == nil || s.record.deleting() {
		return nil
	}
	if !b.Projector.isSynced() {
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
func (b *Backend) lookAgain(ctx context.Context, s state) error {
	return b.amend(ctx, s.record.uid(), func(record *Record) {
		for _, id := range record.things() {
			if now, there := b.Projector.sight(id); there && b.Projector.isKnown(id) && !record.Bring {
				record.see(id, now)
			}
		}
	})
}

func (b *Backend) realiseFolder(ctx context.Context, s state) error {
	record, uid := s.record, s.record.uid()
	if record.Folder.IsZero() && s.folder == "" || record.Bring {
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
	if folder, detached := b.Projector.folderNamed(record.Metadata.Name); detached && folder != "" && record.MakingFolder {
		// Made for it, and detached before that could be written down.
		return fmt.Errorf("its Kubernetes Namespace was deleted, and so will it be: %w", failure.Unavailable)
	}
	folder, err := b.createFolder(ctx, uid, record.Metadata.Name)
	if err != nil {
		return err
	}
	err = b.amend(ctx, uid, func(record *Record) {
		record.Folder, record.MakingFolder = b.Projector.ID(folder), false
		record.see(record.Folder, Sight{Name: record.Metadata.Name, Parent: b.Projector.ID(b.Projector.namespacesFolder())})
	})
	if err != nil {
		return err
	}
	return b.Refresher.Refresh(ctx, types.ManagedObjectReference{Type: TypeFolder, Value: folder})
}

// hasFolder says whether the folder of a record is there. Without an error, one that
// is not is to be made again.
func (b *Backend) hasFolder(ctx context.Context, record *stored) (bool, error) {
	id := record.Folder
	if id != b.Projector.ID(id.Value) {
		return false, fmt.Errorf("its folder %s lies in another vCenter, %s: nothing is made for it in this one: %w", id.Value, id.VCenter, failure.Unavailable)
	}
	if !b.Projector.knowsFolder(id.Value) {
		err := b.Refresher.Refresh(ctx, types.ManagedObjectReference{Type: TypeFolder, Value: id.Value})
		if err != nil && !errors.Is(err, failure.NotFound) {
			return false, err
		}
	}
	switch {
	case !b.Projector.knowsFolder(id.Value) && record.kept(id):
		return false, fmt.Errorf("its folder %s, which Pacific did not make, does not lie in the namespaces folder of vCenter any more: "+
			"move it back, or delete the vSphere Namespace: %w", id.Value, failure.Unavailable)
	case !b.Projector.knowsFolder(id.Value):
		return false, nil
	case !b.Projector.isKnown(id):
		return false, fmt.Errorf("the folder %s of vCenter is not called as its folder was when it was seen last, and is taken for another one: %w",
			id.Value, failure.Unavailable)
	}
	return true, nil
}

// createFolder makes the folder of a namespace. One of its name that is there
// already is its own only if an attempt before may have made it, and nothing lies
// in it.
func (b *Backend) createFolder(ctx context.Context, uid k8stypes.UID, name string) (string, error) {
	root := types.ManagedObjectReference{Type: TypeFolder, Value: b.Projector.namespacesFolder()}
	operation := fmt.Sprintf("create the folder of vSphere Namespace %q", name)
	again := false
	err := b.amend(ctx, uid, func(record *Record) { again, record.MakingFolder = record.MakingFolder, true })
	if err != nil {
		return "", err
	}
	var made string
	err = b.Writer.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) error {
		response, err := methods.CreateFolder(ctx, client, &types.CreateFolder{This: root, Name: name})
		if err == nil {
			made = response.Returnval.Value
		}
		return err
	})
	if again && errors.Is(err, failure.AlreadyExists) {
		return b.folderMade(ctx, name)
	}
	if err != nil && b.refused(err) {
		if undone := b.amend(context.WithoutCancel(ctx), uid, func(record *Record) { record.MakingFolder = false }); undone != nil {
			return "", undone
		}
	}
	return made, err
}

// folderMade returns the folder that an attempt before has made. An error of the
// kind failure.AlreadyExists says that something lies in it, so that it may well
// be somebody else's; failure.NotFound that there is none.
func (b *Backend) folderMade(ctx context.Context, name string) (string, error) {
	root := types.ManagedObjectReference{Type: TypeFolder, Value: b.Projector.namespacesFolder()}
	operation := fmt.Sprintf("look for the folder of vSphere Namespace %q", name)
	id, err := b.child(ctx, operation, root, name)
	if err != nil {
		return "", err
	}
	var folder mo.Folder
	if err := b.retrieve(ctx, operation, types.ManagedObjectReference{Type: TypeFolder, Value: id}, []string{"childEntity"}, &folder); err != nil {
		return "", err
	}
	if len(folder.ChildEntity) > 0 {
		return "", fmt.Errorf("the namespaces folder of vCenter has a folder called %q already, %s, and something lies in it: "+
			"delete the vSphere Namespace, or rename the folder: %w", name, id, failure.AlreadyExists)
	}
	return id, nil
}

// child returns the child of a name. The error's kind is failure.NotFound when
// there is none.
func (b *Backend) child(ctx context.Context, operation string, parent types.ManagedObjectReference, name string) (string, error) {
	var id string
	err := b.Session.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) error {
		found, err := object.NewSearchIndex(client).FindChild(ctx, object.NewReference(client, parent), name)
		if err == nil && found != nil {
			id = found.Reference().Value
		}
		return err
	})
	if err == nil && id == "" {
		err = fmt.Errorf("%s: there is none: %w", operation, failure.NotFound)
	}
	return id, err
}

func (b *Backend) realisePools(ctx context.Context, uid k8stypes.UID) error {
	s, found := b.Projector.findUID(uid)
	if !found || s.record == nil {
		return nil
	}
	record := s.record.clone()
	if err := b.possible(s, record); err != nil {
		return err
	}
	if err := b.undisturbed(ctx, s, record); err != nil {
		return err
	}
	for i, zone := range record.Zones {
		if err := b.realisePool(ctx, s, zone, record.portion(i), record.Resources != nil); err != nil {
			return err
		}
	}
	if err := b.leaveZones(ctx, s); err != nil {
		return err
	}
	return b.amend(ctx, uid, func(now *Record) {
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
func (b *Backend) possible(s state, record *Record) error {
	roots := b.Projector.roots()
	for _, zone := range record.Zones {
		root, found := roots[zone]
		switch _, there := s.pools[zone]; {
		case there:
		case !found:
			return fmt.Errorf("vCenter has no cluster any more that is the zone %q and that the account may see: give the zone up: %w", zone, failure.Unavailable)
		case root.drsOff:
			return fmt.Errorf("%s: %w", drsOff(zone), failure.Unavailable)
		}
	}
	return nil
}

// undisturbed refuses limits for pools that were there before, that nobody has
// taken over by name, and in which somebody else's machines run.
func (b *Backend) undisturbed(ctx context.Context, s state, record *Record) error {
	if record.Resources == nil {
		return nil
	}
	for i, zone := range record.Zones {
		have, there := s.pools[zone]
		if !there || !record.kept(b.Projector.poolID(have.id)) || slices.Contains(record.Spec.ResourcePools, have.id) || have.has == record.portion(i) {
			continue
		}
		found, err := b.dwellersOf(ctx, s, have.id)
		if err != nil {
			return err
		}
		if found.stranger != "" {
			return fmt.Errorf("the virtual machine %s runs in the resource pool %s of zone %q and does not lie in the folder of the namespace: "+
				"to limit it too, take the pool over by adding %q to spec.resourcePools: %w", found.stranger, have.id, zone, have.id, failure.AlreadyExists)
		}
	}
	return nil
}

// realisePool makes the pool of one zone, and when limit is set gives it its part.
func (b *Backend) realisePool(ctx context.Context, s state, zone string, share portion, limit bool) error {
	have, there := s.pools[zone]
	if !there {
		id, fresh, err := b.createPool(ctx, s, zone, share)
		if err != nil {
			return err
		}
		have = pool{id: id}
		if fresh {
			have.has = share
		}
	}
	if id := b.Projector.poolID(have.id); s.record.Pools[zone] != id {
		err := b.amend(ctx, s.record.uid(), func(record *Record) {
			record.setPool(zone, id)
			record.see(id, Sight{Name: s.name, Parent: b.Projector.poolID(b.Projector.roots()[zone].pool)})
		})
		if err != nil {
			return err
		}
	}
	ref := types.ManagedObjectReference{Type: TypeResourcePool, Value: have.id}
	limited := limit && have.has != share
	if limited {
		if err := b.limitPool(ctx, s.name, zone, ref, share); err != nil {
			return err
		}
	}
	if limited || !there {
		return b.Refresher.Refresh(ctx, ref)
	}
	return nil
}

// createPool makes the pool of a zone. fresh says that it has the limits already.
// One of its name that is there already is the namespace's own only if an attempt
// before may have made it, and nothing lies in it.
func (b *Backend) createPool(ctx context.Context, s state, zone string, share portion) (id string, fresh bool, err error) {
	operation := fmt.Sprintf("create the resource pool of vSphere Namespace %q in zone %q", s.name, zone)
	root, found := b.Projector.roots()[zone]
	if !found {
		return "", false, fmt.Errorf("%s: there is no such cluster any more: %w", operation, failure.Unavailable)
	}
	uid, again := s.record.uid(), false
	err = b.amend(ctx, uid, func(record *Record) {
		if again = record.making(zone); !again {
			record.MakingPools = append(record.MakingPools, zone)
		}
	})
	if err != nil {
		return "", false, err
	}
	parent := types.ManagedObjectReference{Type: TypeResourcePool, Value: root.pool}
	err = b.Writer.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) error {
		response, err := methods.CreateResourcePool(ctx, client, &types.CreateResourcePool{This: parent, Name: s.name, Spec: share.newSpec()})
		if err == nil {
			id, fresh = response.Returnval.Value, true
		}
		return err
	})
	if err == nil || !b.refused(err) {
		return id, fresh, err
	}
	if errors.Is(err, failure.AlreadyExists) {
		found, failed := b.poolNamed(ctx, s.name, zone)
		switch {
		case failed != nil:
			return "", false, failed
		case again && found.empty():
			return found.id, false, nil
		}
		err = occupied(s.name, zone, found.id)
	}
	if again {
		return "", false, err
	}
	if undone := b.amend(context.WithoutCancel(ctx), uid, func(record *Record) { record.made(zone) }); undone != nil {
		return "", false, undone
	}
	return "", false, err
}

func (b *Backend) limitPool(ctx context.Context, name, zone string, ref types.ManagedObjectReference, share portion) error {
	operation := fmt.Sprintf("set the limits of vSphere Namespace %q in zone %q", name, zone)
	return b.Writer.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) error {
		_, err := methods.UpdateConfig(ctx, client, &types.UpdateConfig{
			This:   ref,
			Config: &types.ResourceConfigSpec{CpuAllocation: share.cpu.spec(), MemoryAllocation: share.memory.spec()},
		})
		return err
	})
}
