// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
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
	if err := b.realiseFolder(ctx, s); err != nil {
		return err
	}
	if err := b.realisePools(ctx, uid); err != nil {
		return err
	}
	b.Projector.SetProblem(uid, "")
	return nil
}

func (b *Backend) realiseFolder(ctx context.Context, s state) error {
	record, uid := s.record, s.record.uid()
	if record.Bring {
		return b.bringFolder(ctx, record.Record)
	}
	if record.Folder != "" {
		if b.Projector.knowsFolder(record.Folder) {
			return nil
		}
		ref := types.ManagedObjectReference{Type: TypeFolder, Value: record.Folder}
		if err := b.Refresher.Refresh(ctx, ref); err == nil && b.Projector.knowsFolder(record.Folder) {
			return nil
		} else if err != nil && !errors.Is(err, failure.NotFound) {
			return err
		}
		if record.kept(record.Folder) {
			return fmt.Errorf("its folder %s, which Pacific did not make, does not lie in the namespaces folder of vCenter any more: "+
				"move it back, or delete the vSphere Namespace: %w", record.Folder, failure.Unavailable)
		}
	}
	folder, detached := b.Projector.folderNamed(record.Metadata.Name)
	switch {
	case folder == "":
		made, err := b.createFolder(ctx, record.Metadata.Name)
		if err != nil {
			return err
		}
		folder = made
	case detached:
		if err := b.Folders.Attach(ctx, folder); err != nil {
			return fmt.Errorf("attach folder %s: %w: %w", folder, failure.Unavailable, err)
		}
	}
	if err := b.amend(ctx, uid, func(record *Record) { record.Folder = folder }); err != nil {
		return err
	}
	return b.Refresher.Refresh(ctx, types.ManagedObjectReference{Type: TypeFolder, Value: folder})
}

func (b *Backend) createFolder(ctx context.Context, name string) (string, error) {
	root := types.ManagedObjectReference{Type: TypeFolder, Value: b.Projector.namespacesFolder()}
	operation := fmt.Sprintf("create the folder of vSphere Namespace %q", name)
	var made string
	err := b.Session.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) error {
		response, err := methods.CreateFolder(ctx, client, &types.CreateFolder{This: root, Name: name})
		if err == nil {
			made = response.Returnval.Value
		}
		return err
	})
	if errors.Is(err, failure.AlreadyExists) {
		// Made by whoever was killed before writing it down.
		return b.child(ctx, operation, root, name, err)
	}
	return made, err
}

// child returns the child of a name, or otherwise.
func (b *Backend) child(ctx context.Context, operation string, parent types.ManagedObjectReference, name string, otherwise error) (string, error) {
	var id string
	err := b.Session.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) error {
		found, err := object.NewSearchIndex(client).FindChild(ctx, object.NewReference(client, parent), name)
		if err == nil && found != nil {
			id = found.Reference().Value
		}
		return err
	})
	if err != nil {
		return "", err
	}
	if id == "" {
		return "", otherwise
	}
	return id, nil
}

func (b *Backend) realisePools(ctx context.Context, uid k8stypes.UID) error {
	s, found := b.Projector.findUID(uid)
	if !found || s.record == nil {
		return nil
	}
	record := s.record.clone()
	for i, zone := range record.Zones {
		cpu, memory := allocation{limit: unlimited}, allocation{limit: unlimited}
		if record.Resources != nil {
			cpu, memory = shares(*record.Resources, i, len(record.Zones))
		} else if record.Applied != nil {
			cpu, memory = shares(*record.Applied, i, len(record.Zones))
		}
		have, there := s.pools[zone]
		if !there {
			id, fresh, err := b.createPool(ctx, s.name, zone, cpu, memory)
			if err != nil {
				return err
			}
			have = pool{id: id}
			if fresh {
				have.cpu, have.memory = cpu, memory
			}
		}
		if record.Pools[zone] != have.id {
			if err := b.amend(ctx, uid, func(record *Record) {
				if record.Pools == nil {
					record.Pools = map[string]string{}
				}
				record.Pools[zone] = have.id
			}); err != nil {
				return err
			}
		}
		ref := types.ManagedObjectReference{Type: TypeResourcePool, Value: have.id}
		limited := record.Resources != nil && (have.cpu != cpu || have.memory != memory)
		if limited {
			if err := b.limitPool(ctx, s.name, zone, ref, cpu, memory); err != nil {
				return err
			}
		}
		if limited || !there {
			if err := b.Refresher.Refresh(ctx, ref); err != nil {
				return err
			}
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

func (b *Backend) createPool(ctx context.Context, name, zone string, cpu, memory allocation) (id string, fresh bool, err error) {
	operation := fmt.Sprintf("create the resource pool of vSphere Namespace %q in zone %q", name, zone)
	root, found := b.Projector.rootPools()[zone]
	if !found {
		return "", false, fmt.Errorf("%s: there is no such cluster any more: %w", operation, failure.Unavailable)
	}
	parent := types.ManagedObjectReference{Type: TypeResourcePool, Value: root}
	err = b.Session.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) error {
		response, err := methods.CreateResourcePool(ctx, client, &types.CreateResourcePool{This: parent, Name: name, Spec: newSpec(cpu, memory)})
		if err == nil {
			id, fresh = response.Returnval.Value, true
		}
		return err
	})
	if errors.Is(err, failure.AlreadyExists) {
		id, err = b.child(ctx, operation, parent, name, err)
	}
	return id, fresh, err
}

func (b *Backend) limitPool(ctx context.Context, name, zone string, ref types.ManagedObjectReference, cpu, memory allocation) error {
	operation := fmt.Sprintf("set the limits of vSphere Namespace %q in zone %q", name, zone)
	return b.Session.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) error {
		_, err := methods.UpdateConfig(ctx, client, &types.UpdateConfig{
			This:   ref,
			Config: &types.ResourceConfigSpec{CpuAllocation: cpu.spec(), MemoryAllocation: memory.spec()},
		})
		return err
	})
}

// leaveZones removes the pools, of those that Pacific made, in which nothing lies
// and whose zone is not wanted any more.
func (b *Backend) leaveZones(ctx context.Context, s state) error {
	for _, zone := range slices.Sorted(maps.Keys(s.record.Pools)) {
		id := s.record.Pools[zone]
		if slices.Contains(s.record.Zones, zone) || s.record.kept(id) {
			continue
		}
		gone, err := b.destroyPool(ctx, s.name, zone, id)
		if err != nil {
			return err
		}
		if !gone {
			continue
		}
		if err := b.amend(ctx, s.record.uid(), func(record *Record) { delete(record.Pools, zone) }); err != nil {
			return err
		}
	}
	return nil
}

// Dismantle removes from vCenter what Pacific made for the namespace of a uid and
// what is empty. The rest stays, detached. It may be called any number of times.
func (b *Backend) Dismantle(ctx context.Context, uid k8stypes.UID) error {
	done, err := b.turns.take(ctx, uid)
	if err != nil {
		return err
	}
	defer done()
	s, found := b.Projector.findUID(uid)
	if !found || s.record == nil {
		return nil
	}
	// Before anything else, so that a kill cannot bring back what was deleted.
	folder := s.folder
	if folder == "" {
		folder = s.record.Folder
	}
	if s.folder != "" && !b.Projector.isDetached(folder) {
		if err := b.Folders.Detach(ctx, folder, s.name); err != nil {
			return fmt.Errorf("detach folder %s: %w: %w", folder, failure.Unavailable, err)
		}
	}
	pools := maps.Clone(s.record.Pools)
	if pools == nil {
		pools = map[string]string{}
	}
	for zone, pool := range s.pools { // made and not written down
		if slices.Contains(s.record.Zones, zone) {
			pools[zone] = pool.id
		}
	}
	for _, zone := range slices.Sorted(maps.Keys(pools)) {
		if s.record.kept(pools[zone]) {
			continue
		}
		if _, err := b.destroyPool(ctx, s.name, zone, pools[zone]); err != nil {
			return err
		}
	}
	if folder == "" {
		return nil
	}
	gone := false
	if s.record.kept(folder) {
		gone = s.folder == ""
	} else if gone, err = b.destroyFolder(ctx, s.name, folder); err != nil {
		return err
	}
	if gone && b.Projector.isDetached(folder) {
		if err := b.Folders.Attach(ctx, folder); err != nil {
			return fmt.Errorf("forget folder %s: %w: %w", folder, failure.Unavailable, err)
		}
	}
	return nil
}

// destroyPool destroys a pool in which nothing lies, and says whether it is gone.
func (b *Backend) destroyPool(ctx context.Context, name, zone, id string) (bool, error) {
	operation := fmt.Sprintf("remove the resource pool of vSphere Namespace %q in zone %q", name, zone)
	ref := types.ManagedObjectReference{Type: TypeResourcePool, Value: id}
	var pool mo.ResourcePool
	err := b.retrieve(ctx, operation, ref, []string{"vm", "resourcePool"}, &pool)
	switch {
	case errors.Is(err, failure.NotFound):
		return true, nil
	case err != nil:
		return false, err
	case len(pool.Vm) > 0 || len(pool.ResourcePool) > 0:
		b.Logger.Info("A resource pool of a deleted vSphere Namespace stays in vCenter: something lies in it", "namespace", name, "zone", zone, "pool", id)
		return false, nil
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
func (b *Backend) destroyFolder(ctx context.Context, name, id string) (bool, error) {
	operation := fmt.Sprintf("remove the folder of vSphere Namespace %q", name)
	ref := types.ManagedObjectReference{Type: TypeFolder, Value: id}
	var folder mo.Folder
	err := b.retrieve(ctx, operation, ref, []string{"childEntity"}, &folder)
	switch {
	case errors.Is(err, failure.NotFound):
		return true, nil
	case err != nil:
		return false, err
	case len(folder.ChildEntity) > 0:
		b.Logger.Info("The folder of a deleted vSphere Namespace stays in vCenter, detached: something lies in it", "namespace", name, "folder", id)
		return false, nil
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

func (b *Backend) retrieve(ctx context.Context, operation string, ref types.ManagedObjectReference, paths []string, into any) error {
	return b.Session.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) error {
		return property.DefaultCollector(client).RetrieveOne(ctx, ref, paths, into)
	})
}

func (b *Backend) destroy(ctx context.Context, operation string, ref types.ManagedObjectReference,
	start func(context.Context, *vim25.Client) (types.ManagedObjectReference, error)) (bool, error) {
	_, err := b.Session.RunTask(ctx, operation, start)
	if err != nil && !errors.Is(err, failure.NotFound) {
		return false, err
	}
	if err := b.Refresher.Refresh(ctx, ref); err != nil && !errors.Is(err, failure.NotFound) {
		return true, err
	}
	return true, nil
}
