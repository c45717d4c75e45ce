// SPDX-License-Identifier: Apache-2.0

package contentlibrary

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/vmware/govmomi/vapi/library"
	"github.com/vmware/govmomi/vapi/rest"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// Confirm asks vCenter whether an item still has contents. The error says that it has not, as a Conflict, or why that cannot
// be told.
func (c *Catalogue) Confirm(ctx context.Context, contents facts.Contents) error {
	var found *library.Item
	operation := "see whether an item of a content library is as it was"
	err := c.Session.Do(ctx, operation, func(ctx context.Context, client *rest.Client) (err error) {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		found, err = library.NewManager(client).GetLibraryItem(ctx, contents.Item)
		return err
	})
	switch {
	case errors.Is(err, failure.NotFound):
		return fmt.Errorf("the item %s is not in its content library any more: %w", contents.Item, failure.Conflict)
	case err != nil:
		return err
	}
	modified := timeOf(cmp.Or(found.LastModifiedTime, found.CreationTime))
	if found.ContentVersion != contents.Version || !modified.Equal(contents.Modified) {
		return fmt.Errorf("the item %q of a content library was changed, and has the version %s of its contents where %s was "+
			"meant: %w", found.Name, found.ContentVersion, contents.Version, failure.Conflict)
	}
	return nil
}

// Contents are those that all items have. known is false as long as some may be missing: because not all libraries can be
// read now, or one has not been synchronised.
func (c *Catalogue) Contents() (all []facts.Contents, known bool) {
	if !c.Synced() || c.Err() != nil {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.shelves {
		if s.read == nil || s.read.problem != "" {
			return nil, false
		}
		for _, found := range s.read.items {
			all = append(all, facts.Contents{Item: found.fact.ID, Version: found.fact.Version, Modified: found.fact.Modified},
				found.fact.Contents())
		}
	}
	return all, true
}
