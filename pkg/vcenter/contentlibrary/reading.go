// SPDX-License-Identifier: Apache-2.0

package contentlibrary

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/vapi/library"
	"github.com/vmware/govmomi/vapi/rest"
	"golang.org/x/sync/errgroup"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
)

const (
	// calls is how many calls are under way at once.
	calls = 4
	// rounds is how many readings it takes until each item was read again.
	rounds = 10
)

// contents are what one reading found. They are not changed any more.
type contents struct {
	shelves map[string]*shelf // by the library's identifier
	names   []string
	byImage map[string][]string // names of libraries by name of image
	images  int
	// hidden is how many libraries and items the account may not read.
	hidden int
}

// shelf is a library with its items.
type shelf struct {
	id, name string
	synced   time.Time       // Zero for a library that is not subscribed.
	items    map[string]item // by identifier
}

type item struct{ name, kind string }

// reading is one reading on its way.
type reading struct {
	manager *library.Manager
	before  *contents // Nil: none.
	turn    int
	hidden  atomic.Int64
}

// readAll reads all libraries. Items that before knows are read again only in
// their turn.
func readAll(ctx context.Context, client *rest.Client, before *contents, turn int) (*contents, error) {
	r := &reading{manager: library.NewManager(client), before: before, turn: turn}
	ids, err := r.manager.ListLibraries(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the libraries: %w", vcenter.Translate(err))
	}
	shelves := make([]*shelf, len(ids))
	group, bound := errgroup.WithContext(ctx)
	group.SetLimit(calls)
	for i, id := range ids {
		group.Go(func() (err error) {
			shelves[i], err = r.shelf(bound, id)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	shelves = slices.DeleteFunc(shelves, func(s *shelf) bool { return s == nil })
	if err := r.items(ctx, shelves); err != nil {
		return nil, err
	}
	return arrange(shelves, int(r.hidden.Load())), nil
}

// absent says whether something cannot be read since it is gone or hidden.
func (r *reading) absent(err error) bool {
	if errors.Is(err, failure.Forbidden) {
		r.hidden.Add(1)
		return true
	}
	return errors.Is(err, failure.NotFound)
}

// shelf reads a library and the identifiers of its items. Nil: there is none.
func (r *reading) shelf(ctx context.Context, id string) (*shelf, error) {
	found, err := r.manager.GetLibraryByID(ctx, id)
	if err != nil {
		if err = vcenter.Translate(err); r.absent(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("read library %s: %w", id, err)
	}
	s := &shelf{id: id, name: found.Name, items: map[string]item{}}
	if found.LastSyncTime != nil {
		s.synced = *found.LastSyncTime
	}
	ids, err := r.manager.ListLibraryItems(ctx, id)
	if err != nil {
		if err = vcenter.Translate(err); r.absent(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("list the items of library %q: %w", found.Name, err)
	}
	for _, itemID := range ids {
		s.items[itemID] = r.known(s, itemID)
	}
	return s, nil
}

// known returns what is known of an item, and nothing when it is to be read.
func (r *reading) known(s *shelf, id string) item {
	if r.before == nil || r.before.shelves[s.id] == nil {
		return item{}
	}
	before := r.before.shelves[s.id]
	digest := fnv.New32a()
	_, _ = digest.Write([]byte(id))
	if !before.synced.Equal(s.synced) || int(digest.Sum32()%rounds) == r.turn%rounds {
		return item{}
	}
	return before.items[id]
}

// items reads the items that are not known.
func (r *reading) items(ctx context.Context, shelves []*shelf) error {
	type place struct {
		shelf *shelf
		id    string
		found item
	}
	var places []*place
	for _, s := range shelves {
		for id, known := range s.items {
			// One without a type may be about to get one.
			if known.kind == "" {
				places = append(places, &place{shelf: s, id: id})
			}
		}
	}
	group, bound := errgroup.WithContext(ctx)
	group.SetLimit(calls)
	for _, p := range places {
		group.Go(func() error {
			found, err := r.manager.GetLibraryItem(bound, p.id)
			if err != nil {
				if err = vcenter.Translate(err); r.absent(err) {
					return nil
				}
				return fmt.Errorf("read item %s of library %q: %w", p.id, p.shelf.name, err)
			}
			p.found = item{name: found.Name, kind: found.Type}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, p := range places {
		p.shelf.items[p.id] = p.found
	}
	return nil
}

// arrange finds out which library has which image.
func arrange(shelves []*shelf, hidden int) *contents {
	c := &contents{shelves: map[string]*shelf{}, byImage: map[string][]string{}, hidden: hidden}
	for _, s := range shelves {
		c.shelves[s.id] = s
		c.names = append(c.names, s.name)
		for id, found := range s.items {
			if !isImage(found.kind) {
				continue
			}
			c.images++
			name := ImageName(id)
			c.byImage[name] = append(c.byImage[name], s.name)
			if !imageName.MatchString(found.name) {
				c.byImage[found.name] = append(c.byImage[found.name], s.name)
			}
		}
	}
	c.names = sorted(c.names)
	for image, names := range c.byImage {
		c.byImage[image] = sorted(names)
	}
	return c
}

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
