// SPDX-License-Identifier: Apache-2.0

package folder

import (
	"context"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
)

const (
	pathName      = "name"
	pathParent    = "parent"
	pathChildren  = "childEntity"
	pathChildType = "childType"
)

// deepest is how many folders may lie in one another in vCenter, and more.
const deepest = 100

// Named returns the folder of a name that lies in another, with what lies in it now. The error's kind is
// failure.NotFound when there is none.
func (v *Verbs) Named(ctx context.Context, parent facts.ID, name string) (now facts.Container, err error) {
	operation := fmt.Sprintf("look for folder %q in %s", name, parent.Value)
	err = v.Session.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) error {
		found, err := vcenter.Child(ctx, client, parent, name)
		if err != nil {
			return err
		}
		now, err = contents(ctx, client, found)
		return err
	})
	return now, err
}

// Lineage reads the way up from a folder.
func (v *Verbs) Lineage(ctx context.Context, id facts.ID) (now facts.Lineage, err error) {
	operation := fmt.Sprintf("find out where folder %s lies", id.Value)
	err = v.Session.Do(ctx, operation, func(ctx context.Context, client *vim25.Client) (err error) {
		now, err = lineage(ctx, client, id)
		return err
	})
	return now, err
}

func contents(ctx context.Context, client *vim25.Client, ref reference) (facts.Container, error) {
	var folder mo.Folder
	err := property.DefaultCollector(client).RetrieveOne(ctx, ref, []string{pathName, pathParent, pathChildren}, &folder)
	if err != nil {
		return facts.Container{}, err
	}
	now := facts.Container{Entity: vcenter.Entity(client, folder.ManagedEntity)}
	for _, child := range folder.ChildEntity {
		now.Inside = append(now.Inside, vcenter.Identify(client, child))
	}
	return now, nil
}

func lineage(ctx context.Context, client *vim25.Client, id facts.ID) (facts.Lineage, error) {
	at, err := vcenter.Refer(client, id)
	if err != nil {
		return facts.Lineage{}, err
	}
	var way facts.Lineage
	for len(way.Above) < deepest {
		var folder mo.Folder
		err := property.DefaultCollector(client).RetrieveOne(ctx, at, []string{pathName, pathParent, pathChildType}, &folder)
		if err != nil {
			return facts.Lineage{}, err
		}
		if at.Value == id.Value {
			way.Entity = vcenter.Entity(client, folder.ManagedEntity)
			way.HoldsMachines = slices.Contains(folder.ChildType, facts.TypeMachine)
		}
		switch {
		case folder.Parent == nil:
			return way, nil
		case folder.Parent.Type != facts.TypeFolder:
			way.Datacenter = vcenter.Identify(client, *folder.Parent)
			return way, nil
		}
		at = *folder.Parent
		way.Above = append(way.Above, vcenter.Identify(client, at))
	}
	return facts.Lineage{}, fmt.Errorf("it lies in more than %d others: %w", deepest, failure.Invalid)
}
