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
	case detached && !record.kept(folder):
		// Made for it, and detached before that could be written down.
		return fmt.Errorf("its Kubernetes Namespace was deleted, and so will it be: %w", failure.Unavailable)
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
	err := b.Writer.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) error {
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
	err = b.Writer.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) error {
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
	return b.Writer.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) error {
		_, err := methods.UpdateConfig(ctx, client, &types.UpdateConfig{
			This:   ref,
			Config: &types.ResourceConfigSpec{CpuAllocation: cpu.spec(), MemoryAllocation: memory.spec()},
		})
		return err
	})
}
