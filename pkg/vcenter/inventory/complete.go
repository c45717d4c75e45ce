// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/vim25/types"
)

// A process that begins has nothing to hold a full set against. When the account's role on the namespaces folder goes
// away while the set is put together, and comes back, what the set does not tell would count as not there, and clients
// would be told that it is deleted. So the full set is looked through once more before anybody hears of it. What is
// kept from the account all the time is not told, and shows when it is seen.

// complete says whether a full set tells all that the account may see below the namespaces folder.
func (s *stream) complete(ctx context.Context, gathered []types.PropertyFilterUpdate) error {
	if s.folder == (types.ManagedObjectReference{}) {
		return nil
	}
	told := map[types.ManagedObjectReference]bool{}
	var untold []types.ManagedObjectReference
	for _, filterUpdate := range gathered {
		kind, ok := s.kinds[filterUpdate.Filter]
		if !ok || s.Kinds[kind].Root != RootNamespaces {
			continue
		}
		for _, update := range filterUpdate.ObjectSet {
			if !told[update.Obj] && kept(update.MissingSet) {
				untold = append(untold, update.Obj)
			}
			told[update.Obj] = true
		}
	}
	children, err := s.listed(ctx)
	if err != nil {
		return err
	}
	for ref := range children {
		// What was made since is told of with the next set.
		if s.children[ref] && !told[ref] {
			untold = append(untold, ref)
		}
	}
	found := map[types.ManagedObjectReference]found{}
	for batch := range slices.Chunk(untold, rereadBatch) {
		if err := s.ask(ctx, batch, found); err != nil {
			return err
		}
	}
	for _, ref := range untold {
		if found[ref].readable {
			return fmt.Errorf("%w: %s %s was not told, and can be read now", errShifted, ref.Type, ref.Value)
		}
	}
	return nil
}

// kept says whether the place of an object is kept from the account.
func kept(missing []types.MissingProperty) bool {
	return slices.ContainsFunc(missing, func(m types.MissingProperty) bool {
		_, denied := m.Fault.Fault.(types.BaseSecurityError)
		return denied && m.Path == "parent"
	})
}

// listed are the objects directly in the namespaces folder that are of kinds which are followed.
func (s *stream) listed(ctx context.Context) (map[types.ManagedObjectReference]bool, error) {
	contents, err := retrieve(ctx, s.client, []types.ManagedObjectReference{s.folder},
		types.PropertySpec{Type: s.folder.Type, PathSet: []string{"childEntity"}})
	if _, denied := noPermission(err); denied {
		return nil, errFolderGone
	}
	if err != nil {
		return nil, fmt.Errorf("list the namespaces folder: %w", err)
	}
	if len(contents) != 1 || len(contents[0].MissingSet) > 0 {
		return nil, errFolderGone
	}
	listed := map[types.ManagedObjectReference]bool{}
	for _, property := range contents[0].PropSet {
		children, _ := property.Val.(types.ArrayOfManagedObjectReference)
		for _, ref := range children.ManagedObjectReference {
			if slices.ContainsFunc(s.Kinds, func(kind Kind) bool {
				return kind.Root == RootNamespaces &&
					kind.Type == ref.Type
			}) {
				listed[ref] = true
			}
		}
	}
	return listed, nil
}
