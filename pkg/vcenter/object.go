// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// Refer makes of an id what vCenter's methods take. An id of another vCenter is a failure.Conflict: in this one it may
// be that of anything.
func Refer(client *vim25.Client, id facts.ID) (types.ManagedObjectReference, error) {
	if here := client.ServiceContent.About.InstanceUuid; id.VCenter != here {
		return types.ManagedObjectReference{}, fmt.Errorf("%s %s is one of the vCenter %s, and this is %s: %w",
			id.Type, id.Value, id.VCenter, here, failure.Conflict)
	}
	return types.ManagedObjectReference{Type: id.Type, Value: id.Value}, nil
}

// Identify is the id of what vCenter's methods return.
func Identify(client *vim25.Client, ref types.ManagedObjectReference) facts.ID {
	return facts.ID{VCenter: client.ServiceContent.About.InstanceUuid, Type: ref.Type, Value: ref.Value}
}

// Entity is what was read of an object: its name and where it lies.
func Entity(client *vim25.Client, read mo.ManagedEntity) facts.Entity {
	now := facts.Entity{ID: Identify(client, read.Self), Name: read.Name}
	if read.Parent != nil {
		now.Parent = Identify(client, *read.Parent)
	}
	return now
}

// Child returns the child of a name of a folder or a resource pool. The error's kind is failure.NotFound when there is
// none of the same type as its parent.
func Child(ctx context.Context, client *vim25.Client, parent facts.ID,
	name string) (child types.ManagedObjectReference, err error) {
	ref, err := Refer(client, parent)
	if err != nil {
		return child, err
	}
	found, err := object.NewSearchIndex(client).FindChild(ctx, object.NewReference(client, ref), name)
	switch {
	case err != nil:
		return child, err
	case found == nil || found.Reference().Type != parent.Type:
		return child, fmt.Errorf("there is none: %w", failure.NotFound)
	}
	return found.Reference(), nil
}

// DatacenterOf is the datacenter that something lies in: paths of files are told by it.
func DatacenterOf(ctx context.Context, client *vim25.Client, of types.ManagedObjectReference) (types.ManagedObjectReference,
	error) {
	ancestors, err := mo.Ancestors(ctx, client, property.DefaultCollector(client).Reference(), of)
	if err != nil {
		return types.ManagedObjectReference{}, err
	}
	for _, ancestor := range ancestors {
		if ancestor.Self.Type == "Datacenter" {
			return ancestor.Self, nil
		}
	}
	return types.ManagedObjectReference{}, fmt.Errorf("%s %s lies in no datacenter: %w", of.Type, of.Value, failure.NotFound)
}

// Chain are the files of a disk: its own, and those that it stands on.
func Chain(backing types.BaseVirtualDeviceBackingInfo) (files []string) {
	for backing != nil {
		file, ok := backing.(types.BaseVirtualDeviceFileBackingInfo)
		if !ok {
			return files
		}
		files = append(files, file.GetVirtualDeviceFileBackingInfo().FileName)
		backing = parentOf(backing)
	}
	return files
}

// parentOf is what a disk stands on, nil where it stands by itself.
func parentOf(backing types.BaseVirtualDeviceBackingInfo) types.BaseVirtualDeviceBackingInfo {
	switch b := backing.(type) {
	case *types.VirtualDiskFlatVer2BackingInfo:
		if b.Parent != nil {
			return b.Parent
		}
	case *types.VirtualDiskSeSparseBackingInfo:
		if b.Parent != nil {
			return b.Parent
		}
	case *types.VirtualDiskSparseVer2BackingInfo:
		if b.Parent != nil {
			return b.Parent
		}
	}
	return nil
}
