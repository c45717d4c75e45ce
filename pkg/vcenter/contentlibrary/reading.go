// SPDX-License-Identifier: Apache-2.0

package contentlibrary

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/vapi/library"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
)

const (
	// calls is how many calls are under way at once, and callsEach how many of one library.
	calls     = 4
	callsEach = 2
	// callTimeout bounds each call: one that hangs keeps others from their turn.
	callTimeout = 10 * time.Second
	// rounds is how many readings it takes until each item of a library that nobody is given was looked at again.
	rounds = 10
	// borne is in how many readings in a row an item may be listed and not found until the others are read all the same: some
	// ten minutes, in which vCenter has long started its services again.
	borne = 5
	// enough is after how many failures in one reading no more descriptors are asked for: it is the library's storage, or
	// what vCenter copies files with.
	enough = 3
	// maxProblem bounds what is told of a failure, in bytes: a parser's words may have all of a descriptor in them, and they
	// become the message of a condition.
	maxProblem = 512
	// subscribed is the type of a library that is a copy of another one.
	subscribed = "SUBSCRIBED"
)

// shelf is what is known of a library. The Catalogue's mu guards it.
type shelf struct {
	id string
	// read is what was read last. Nil: nothing was.
	read *contents
	// underWay says that it is being read.
	underWay bool
	// failures is how often in a row it could not be read, err why, and next when it is to be tried again.
	failures int
	err      error
	next     time.Time
	// misses are the items that were listed and not found, and in how many readings in a row. It is not changed any more.
	misses map[string]int
	// told is what the Handler was told of it last, nil for nothing, and untold says that there may be something else to
	// tell.
	told   *facts.Library
	untold bool
}

// called is its name, if it was read, else its id.
func (s *shelf) called(read *contents) string {
	if read == nil || read.name == "" {
		return s.id
	}
	return strconv.Quote(read.name)
}

// facts is what there is to tell of it. Nil: nothing.
func (s *shelf) facts() *facts.Library {
	if s.read == nil || s.read.name == "" {
		return nil
	}
	told := &facts.Library{ID: s.id, Name: s.read.name, Problem: s.read.problem}
	if s.failures >= doubted {
		told.Problem = problem(s.err)
	}
	for _, id := range slices.Sorted(maps.Keys(s.read.items)) {
		found := s.read.items[id]
		if found.fact.Type == "" {
			continue
		}
		if found.lost {
			found.fact.Problem = "vCenter lists the item and does not find it"
		}
		told.Items = append(told.Items, found.fact)
	}
	return told
}

// problem is what is told of a failure.
func problem(err error) string {
	const rest = "..."
	text := err.Error()
	if len(text) > maxProblem {
		text = text[:maxProblem-len(rest)] + rest
	}
	return strings.ToValidUTF8(text, "") // it may have been cut within a character
}

// backoff is how long after so many failures in a row something is tried again.
func backoff(failures int, interval time.Duration) time.Duration {
	pause := min(interval<<min(failures-1, 5), longest*interval)
	return wait.Jitter(pause*4/5, 0.25)
}

// contents are what one reading of a library found. They are not changed any more.
type contents struct {
	name   string    // Empty: the account may not read it.
	synced time.Time // Zero for a library that is not subscribed, and one that was not synchronised yet.
	turn   int       // Which reading it was.
	items  map[string]item
	// problem says why items are as they were read before.
	problem string
	// hidden is how many libraries and items the account may not read.
	hidden int
}

// like says whether there are the same images of the same names in both.
func (c *contents) like(other *contents) bool {
	if c == nil || other == nil {
		return c == other
	}
	return c.name == other.name && c.hidden == other.hidden && maps.EqualFunc(c.items, other.items, func(a, b item) bool {
		return a.kind == b.kind && a.fact.Name == b.fact.Name
	})
}

// item is what is known of an item.
type item struct {
	kind string
	// fact is for the Handler. Its type is empty when no image is made of it.
	fact facts.Item
	// described are the contents of which it was read last what there is to know, and unusable those whose descriptor cannot be
	// used: it is not read again.
	described, unusable edition
	// failures is how often in a row its descriptor could not be read, and next when it is to be tried again.
	failures int
	next     time.Time
	// lost says that vCenter goes on listing it and does not find it: all else is as it was read last.
	lost bool
}

// edition says which contents an item has. The version alone does not: after vCenter was restored from a backup, it counts on
// from what it was then, and gives numbers again that other contents had.
type edition struct {
	version  string
	modified time.Time
}

func (i item) edition() edition { return edition{i.fact.Version, i.fact.Modified} }

// reading is one reading on its way.
type reading struct {
	manager *library.Manager
	// inventory is where templates are. Nil: nobody asks there.
	inventory Inventory
	turns     chan struct{}
	clock     clock.Clock
	interval  time.Duration
	given     func(library string) bool
	keeps     func(key string) bool
	before    *contents // Nil: none.
	// misses are those before, and after the reading those after it.
	misses map[string]int

	// each says that each item is looked at. Set before items are.
	each bool

	mu       sync.Mutex // Guards what follows.
	next     *contents
	failures int      // of descriptors
	missing  []string // items that were listed and not found
}

// call makes one call, in its turn and with a deadline.
func (r *reading) call(ctx context.Context, f func(context.Context) error) error {
	select {
	case r.turns <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-r.turns }()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return vcenter.Translate(f(ctx))
}

// list returns the ids of the libraries.
func (r *reading) list(ctx context.Context) (ids []string, err error) {
	err = r.call(ctx, func(ctx context.Context) (err error) {
		ids, err = r.manager.ListLibraries(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the libraries: %w", err)
	}
	return ids, nil
}

// library reads a library: all of it or nothing. Nil without an error: there is none.
func (r *reading) library(ctx context.Context, id string) (*contents, error) {
	var found *library.Library
	err := r.call(ctx, func(ctx context.Context) (err error) {
		found, err = r.manager.GetLibraryByID(ctx, id)
		return err
	})
	if err != nil {
		return r.absent(ctx, id, "read its properties", err)
	}
	r.next = &contents{name: found.Name, items: map[string]item{}}
	if r.before != nil {
		r.next.turn = r.before.turn + 1
	}
	if found.LastSyncTime != nil {
		r.next.synced = *found.LastSyncTime
	} else if found.Type == subscribed {
		r.next.problem = "it is subscribed, and vCenter has not synchronised it yet"
		if r.before != nil {
			r.next.items = r.before.items
		}
		return r.next, nil
	}
	ids, err := r.listItems(ctx, id)
	if err != nil {
		return r.absent(ctx, id, listItems, err)
	}
	r.each = r.before == nil || r.given == nil || r.given(found.Name) || !r.before.synced.Equal(r.next.synced)
	group, bound := errgroup.WithContext(ctx)
	group.SetLimit(callsEach)
	for _, id := range ids {
		group.Go(func() error { return r.item(bound, id) })
	}
	err = group.Wait()
	if err == nil && len(r.missing) > 0 {
		if ids, err = r.listItems(ctx, id); err != nil {
			return r.absent(ctx, id, listItems, err)
		}
		err = r.stillThere(ids)
	} else if err == nil {
		r.misses = nil
	}
	if err != nil {
		if r.before == nil { // nobody knows its name otherwise
			err = fmt.Errorf("called %q: %w", found.Name, err)
		}
		return nil, err
	}
	return r.next, nil
}

const listItems = "list its items"

// listItems returns the ids of a library's items.
func (r *reading) listItems(ctx context.Context, library string) (ids []string, err error) {
	err = r.call(ctx, func(ctx context.Context) (err error) {
		ids, err = r.manager.ListLibraryItems(ctx, library)
		return err
	})
	return ids, err
}

// stillThere fails if an item that was not found is listed afterwards: see absent. One of which that is so again and again
// fails no more: it stays as it was read before, and of one that never was there is nothing to tell.
func (r *reading) stillThere(ids []string) (err error) {
	misses := map[string]int{}
	for _, id := range r.missing {
		if !slices.Contains(ids, id) {
			continue
		}
		misses[id] = r.misses[id] + 1
		if misses[id] < borne {
			err = fmt.Errorf("vCenter lists its item %s and does not find it: %w", id, failure.Unavailable)
		} else if r.before != nil && r.before.items[id].kind != "" {
			lost := r.before.items[id]
			lost.lost = true
			r.next.items[id] = lost
		}
	}
	r.misses = misses
	return err
}

// absent says what becomes of a library that is gone or hidden: of one that the account could read, what was read stands.
// vCenter finds nothing while the service is not there for a moment, as when it starts: what it lists afterwards is not
// gone.
func (r *reading) absent(ctx context.Context, id, operation string, err error) (*contents, error) {
	switch {
	case errors.Is(err, failure.NotFound):
		ids, failed := r.list(ctx)
		if failed == nil && slices.Contains(ids, id) {
			failed = fmt.Errorf("%s: vCenter lists it and does not find it: %w", operation, failure.Unavailable)
		}
		return nil, failed
	case !errors.Is(err, failure.Forbidden):
		return nil, fmt.Errorf("%s: %w", operation, err)
	case r.before == nil || r.before.name == "":
		return &contents{hidden: 1}, nil
	}
	hidden := *r.before
	hidden.hidden, hidden.problem = 1, operation+": "+problem(err)
	return &hidden, nil
}

// item reads an item, as far as it may be another one than before.
func (r *reading) item(ctx context.Context, id string) error {
	var now item
	if r.before != nil {
		now = r.before.items[id]
	}
	if r.due(id, now) {
		var found *library.Item
		err := r.call(ctx, func(ctx context.Context) (err error) {
			found, err = r.manager.GetLibraryItem(ctx, id)
			return err
		})
		switch {
		case errors.Is(err, failure.NotFound):
			r.mu.Lock()
			defer r.mu.Unlock()
			r.missing = append(r.missing, id)
			return nil
		case errors.Is(err, failure.Forbidden):
			r.mu.Lock()
			defer r.mu.Unlock()
			r.next.hidden++
			if now.kind != "" {
				r.next.items[id] = now
			}
			return nil
		case err != nil:
			return fmt.Errorf("read its item %s: %w", id, err)
		}
		now = now.with(found)
	}
	if err := r.describeNew(ctx, &now); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next.items[id] = now
	return nil
}

// due says whether an item is to be looked at in this reading.
func (r *reading) due(id string, known item) bool {
	if r.each || known.kind == "" || known.lost { // one without a type may be about to get one
		return true
	}
	digest := fnv.New32a()
	_, _ = digest.Write([]byte(id))
	return int(digest.Sum32()%rounds) == r.next.turn%rounds
}

// with is what is known of an item that was looked at.
func (i item) with(found *library.Item) item {
	i.kind, i.lost = found.Type, false
	i.fact.ID, i.fact.Name, i.fact.Version = found.ID, found.Name, found.ContentVersion
	i.fact.Type = ""
	switch kind := strings.ToLower(found.Type); kind {
	case facts.ItemOVF, facts.ItemISO:
		i.fact.Type = kind
	case library.ItemTypeVMTX:
		i.fact.Type = facts.ItemVM
	}
	i.fact.Created, i.fact.Modified = timeOf(found.CreationTime), timeOf(cmp.Or(found.LastModifiedTime, found.CreationTime))
	i.fact.NotCompliant = found.SecurityCompliance != nil && !*found.SecurityCompliance
	return i
}

func timeOf(told *time.Time) time.Time {
	if told == nil {
		return time.Time{}
	}
	return told.UTC()
}

// describeNew reads what there is to know of an item whose contents are others than those that it was read of: its descriptor,
// or the template that it stands for, if it has one, and where its files lie. It fails only when the whole reading is to end.
func (r *reading) describeNew(ctx context.Context, now *item) error {
	if now.fact.Type == "" || now.unusable == now.edition() || now.described == now.edition() || r.clock.Now().Before(now.next) {
		return nil
	}
	r.mu.Lock()
	failures := r.failures
	r.mu.Unlock()
	if failures >= enough {
		now.fact.Problem = cmp.Or(now.fact.Problem,
			"its descriptor has not been read: those of other items of the library cannot be read now")
		return nil
	}
	var image *facts.Image
	var files map[string]facts.ItemFile
	var err error
	switch now.fact.Type {
	case facts.ItemVM:
		image, files, err = r.template(ctx, now.fact.ID)
	case facts.ItemOVF:
		image, err = r.describe(ctx, now.fact.ID)
	}
	if err == nil && files == nil {
		files, err = r.files(ctx, now.fact.ID)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case vcenter.LoginEnded(err):
		return err
	case err == nil:
		now.fact.Image, now.fact.Files, now.fact.Problem = image, files, ""
		if image != nil {
			now.fact.ImageVersion = now.fact.Version
		}
		now.described, now.unusable, now.failures, now.next = now.edition(), edition{}, 0, time.Time{}
	case errors.Is(err, errUnusable), errors.Is(err, errUnusableTemplate):
		now.fact.Problem, now.unusable = problem(err), now.edition()
		now.failures, now.next = 0, time.Time{}
	default:
		now.fact.Problem = problem(err)
		now.failures++
		now.next = r.clock.Now().Add(backoff(now.failures, r.interval))
		r.mu.Lock()
		r.failures++
		r.mu.Unlock()
	}
	return nil
}

// files asks where the files of an item lie.
func (r *reading) files(ctx context.Context, item string) (map[string]facts.ItemFile, error) {
	var stored []library.Storage
	err := r.call(ctx, func(ctx context.Context) (err error) {
		stored, err = r.manager.ListLibraryItemStorage(ctx, item)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask where its files lie: %w", err)
	}
	files := make(map[string]facts.ItemFile, len(stored))
	for _, file := range stored {
		// Of one that is not there yet, as in a library that is a copy of another one, no place is told.
		if len(file.StorageURIs) > 0 {
			files[file.Name] = facts.ItemFile{URL: file.StorageURIs[0], Size: file.Size}
		}
	}
	return files, nil
}
