// SPDX-License-Identifier: Apache-2.0

package realisation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/namespace"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/records"
)

// adoptable refuses a folder that cannot become the vSphere Namespace of a name. One that can is moved from where it
// lies into the namespaces folder, of which home is the lineage, with all that lies in it.
func adoptable(name string, found, home facts.Lineage) error {
	called := namespace.Decode(found.Name)
	var refusal string
	switch {
	case !found.HoldsMachines:
		refusal = "it does not hold virtual machines: give the id of a VM folder"
	case len(found.Above) == 0:
		refusal = "it is the folder of all virtual machines of its datacenter: give one that lies in it"
	case found.ID == home.ID || slices.Contains(home.Above, found.ID):
		refusal = "the namespaces folder itself lies in it: give one beside that"
	case slices.Contains(found.Above, home.ID):
		refusal = "it lies in a vSphere Namespace already: move it out of there first"
	case found.Datacenter != home.Datacenter:
		refusal = "it lies in another datacenter than the namespaces folder, and vCenter moves no folder between two"
	case called != name:
		refusal = fmt.Sprintf("it is called %q, and a vSphere Namespace has the name of its folder: rename the folder to "+
			"%q first", called, name)
	default:
		return nil
	}
	return fmt.Errorf("spec.folder: %s cannot be taken over, %s: %w", found.ID.Value, refusal, failure.Invalid)
}

// findAdoptable returns a folder that can become the vSphere Namespace of a name.
func (b *Backend) findAdoptable(ctx context.Context, name, id string) (facts.Lineage, error) {
	found, err := b.FolderReader.Lineage(ctx, b.Projector.ID(id))
	switch {
	case errors.Is(err, failure.NotFound):
		return facts.Lineage{}, fmt.Errorf("spec.folder: vCenter has no folder %s that the account may see: %w", id,
			failure.Invalid)
	case err != nil:
		return facts.Lineage{}, err
	}
	home, err := b.FolderReader.Lineage(ctx, b.Projector.NamespacesFolder())
	if err != nil {
		return facts.Lineage{}, err
	}
	return found, adoptable(name, found, home)
}

// bringFolder moves the folder of a record that is to be taken over to where
// vSphere Namespaces lie, and attaches it if it was one before.
func (b *Backend) bringFolder(ctx context.Context, record *records.Record) error {
	if record.Folder != b.Projector.ID(record.Folder.Value) {
		return fmt.Errorf("spec.folder: %s lies in another vCenter, %s: delete the vSphere Namespace: %w",
			record.Folder.Value, record.Folder.VCenter, failure.Invalid)
	}
	if err := b.moveFolder(ctx, record); err != nil {
		return err
	}
	if b.Projector.Detached(record.Folder.Value) {
		if err := b.Folders.Attach(ctx, record.Folder); err != nil {
			return fmt.Errorf("attach folder %s: %w: %w", record.Folder, failure.Unavailable, err)
		}
	}
	if err := b.Refresher.Refresh(ctx, record.Folder); err != nil {
		// No refusal, whatever it is: who takes back now that it was asked leaves a folder that is served with nobody's
		// wish.
		return fmt.Errorf("look at folder %s: %w: %w", record.Folder, failure.Unavailable, err)
	}
	return b.amend(ctx, record.UID(), func(record *records.Record) {
		record.Bring = false
		record.See(record.Folder, records.Sight{Name: record.Metadata.Name, Parent: b.Projector.NamespacesFolder()})
	})
}

// errThere says that a folder that is to be moved lies where it is to lie.
var errThere = fmt.Errorf("the folder has been moved: %w", failure.Conflict)

// moveFolder looks at everything anew that was looked at when the folder was asked
// for: that may be long ago.
func (b *Backend) moveFolder(ctx context.Context, record *records.Record) error {
	name, id, root := record.Metadata.Name, record.Folder, b.Projector.NamespacesFolder()
	home, err := b.FolderReader.Lineage(ctx, root)
	if err != nil {
		return err
	}
	err = b.FolderVerbs.Move(ctx, id, root, func(now facts.Lineage) error {
		if now.Parent == root {
			if called := namespace.Decode(now.Name); called != name {
				return fmt.Errorf("spec.folder: %s is called %q by now: rename it to %q, or delete the vSphere Namespace: %w",
					id.Value, called, name, failure.Invalid)
			}
			return errThere
		}
		if err := adoptable(name, now, home); err != nil {
			return err
		}
		if now.Parent != record.Seen[id].Parent {
			return fmt.Errorf("spec.folder: %s was moved within vCenter since it was asked for: "+
				"move it back, or delete the vSphere Namespace and ask for it again: %w", id.Value, failure.Invalid)
		}
		return nil
	})
	if errors.Is(err, errThere) {
		return nil
	}
	return err
}
