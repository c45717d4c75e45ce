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

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/namespace"
)

// deepest is how many folders may lie in one another in vCenter, and more.
const deepest = 100

// ancestry is the way from a folder up to its datacenter.
type ancestry struct {
	folder     mo.Folder
	above      []string // the folders that it lies in, nearest first
	datacenter string
}

// adoptable refuses a folder that cannot become the vSphere Namespace of a name,
// and returns the one in which it lies. One that can is moved from there into the
// namespaces folder, with all that lies in it.
func (b *Backend) adoptable(ctx context.Context, name, id string) (from string, err error) {
	found, err := b.ancestry(ctx, id)
	switch {
	case errors.Is(err, failure.NotFound):
		return "", fmt.Errorf("spec.folder: vCenter has no folder %s that the account may see: %w", id, failure.Invalid)
	case err != nil:
		return "", err
	}
	root := b.Projector.namespacesFolder()
	home, err := b.ancestry(ctx, root)
	if err != nil {
		return "", err
	}
	called := namespace.Decode(found.folder.Name)
	var refusal string
	switch {
	case !slices.Contains(found.folder.ChildType, TypeVirtualMachine):
		refusal = "it does not hold virtual machines: give the id of a VM folder"
	case len(found.above) == 0:
		refusal = "it is the folder of all virtual machines of its datacenter: give one that lies in it"
	case id == root || slices.Contains(home.above, id):
		refusal = "the namespaces folder itself lies in it: give one beside that"
	case slices.Contains(found.above, root):
		refusal = "it lies in a vSphere Namespace already: move it out of there first"
	case found.datacenter != home.datacenter:
		refusal = "it lies in another datacenter than the namespaces folder, and vCenter moves no folder between two"
	case called != name:
		refusal = fmt.Sprintf("it is called %q, and a vSphere Namespace has the name of its folder: rename the folder to %q first", called, name)
	default:
		return found.above[0], nil
	}
	return "", fmt.Errorf("spec.folder: %s cannot be taken over, %s: %w", id, refusal, failure.Invalid)
}

// ancestry reads the way up from a folder.
func (b *Backend) ancestry(ctx context.Context, id string) (ancestry, error) {
	operation := fmt.Sprintf("find out where folder %s lies", id)
	var way ancestry
	for at := id; len(way.above) < deepest; {
		var folder mo.Folder
		if err := b.retrieve(ctx, operation, types.ManagedObjectReference{Type: TypeFolder, Value: at}, []string{pathName, pathParent, "childType"}, &folder); err != nil {
			return ancestry{}, err
		}
		if at == id {
			way.folder = folder
		}
		switch {
		case folder.Parent == nil:
			return way, nil
		case folder.Parent.Type != TypeFolder:
			way.datacenter = folder.Parent.Value
			return way, nil
		}
		at = folder.Parent.Value
		way.above = append(way.above, at)
	}
	return ancestry{}, fmt.Errorf("%s: it lies in more than %d others: %w", operation, deepest, failure.Invalid)
}

// bringFolder moves the folder of a record that is to be taken over to where
// vSphere Namespaces lie, and attaches it if it was one before.
func (b *Backend) bringFolder(ctx context.Context, record *Record) error {
	if record.Folder != b.Projector.ID(record.Folder.Value) {
		return fmt.Errorf("spec.folder: %s lies in another vCenter, %s: delete the vSphere Namespace: %w", record.Folder.Value, record.Folder.VCenter, failure.Invalid)
	}
	ref := types.ManagedObjectReference{Type: TypeFolder, Value: record.Folder.Value}
	if err := b.moveFolder(ctx, record, ref); err != nil {
		return err
	}
	if b.Projector.isDetached(record.Folder.Value) {
		if err := b.Folders.Attach(ctx, record.Folder); err != nil {
			return fmt.Errorf("attach folder %s: %w: %w", record.Folder, failure.Unavailable, err)
		}
	}
	if err := b.Refresher.Refresh(ctx, ref); err != nil {
		return err
	}
	return b.amend(ctx, record.uid(), func(record *Record) {
		record.Bring = false
		record.see(record.Folder, Sight{Name: record.Metadata.Name, Parent: b.Projector.ID(b.Projector.namespacesFolder())})
	})
}

// moveFolder looks at everything anew that was looked at when the folder was asked
// for: that may be long ago.
func (b *Backend) moveFolder(ctx context.Context, record *Record, ref types.ManagedObjectReference) error {
	operation := fmt.Sprintf("move folder %s of vSphere Namespace %q into the namespaces folder", ref.Value, record.Metadata.Name)
	root := types.ManagedObjectReference{Type: TypeFolder, Value: b.Projector.namespacesFolder()}
	var folder mo.Folder
	if err := b.retrieve(ctx, operation, ref, []string{pathName, pathParent}, &folder); err != nil {
		return err
	}
	if folder.Parent != nil && *folder.Parent == root {
		if called := namespace.Decode(folder.Name); called != record.Metadata.Name {
			return fmt.Errorf("spec.folder: %s is called %q by now: rename it to %q, or delete the vSphere Namespace: %w",
				ref.Value, called, record.Metadata.Name, failure.Invalid)
		}
		return nil
	}
	from, err := b.adoptable(ctx, record.Metadata.Name, ref.Value)
	if err != nil {
		return err
	}
	if b.Projector.ID(from) != record.Seen[record.Folder].Parent {
		return fmt.Errorf("spec.folder: %s was moved within vCenter since it was asked for: "+
			"move it back, or delete the vSphere Namespace and ask for it again: %w", ref.Value, failure.Invalid)
	}
	_, err = b.Writer.RunTask(ctx, operation, func(ctx context.Context, client *vim25.Client) (types.ManagedObjectReference, error) {
		response, err := methods.MoveIntoFolder_Task(ctx, client, &types.MoveIntoFolder_Task{This: root, List: []types.ManagedObjectReference{ref}})
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return response.Returnval, nil
	})
	return err
}
