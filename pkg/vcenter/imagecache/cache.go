// SPDX-License-Identifier: Apache-2.0

package imagecache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// copyTimeout bounds one copy: a large disk takes hours on slow storage.
const copyTimeout = 6 * time.Hour

type reference = types.ManagedObjectReference

// Writer carries out calls that act; vcenter.Writer does. Errors come with their failure kind.
type Writer interface {
	Do(ctx context.Context, operation string, f func(context.Context, *vim25.Client) error) error
	RunTask(ctx context.Context, operation string,
		start func(context.Context, *vim25.Client) (task reference, err error)) (*types.TaskInfo, error)
	WatchTask(ctx context.Context, operation string,
		start func(context.Context, *vim25.Client) (task reference, err error),
		progress func(percent int32)) (*types.TaskInfo, error)
}

// Stores know the datastores; placement.Chooser does.
type Stores interface {
	Store(name string) (store facts.Datastore, found bool)
	Stores() []facts.Datastore
}

// Items know the items of content libraries.
type Items interface {
	// Confirm asks vCenter whether an item still has those contents. The error says that it has not, as a Conflict, or why
	// that cannot be told.
	Confirm(ctx context.Context, contents facts.Contents) error
	// Contents are those of all items. known is false as long as some may be missing.
	Contents() (all []facts.Contents, known bool)
}

// Cache keeps copies. Its fields are set before use; its methods may be called from any goroutine. Errors have a
// failure kind.
type Cache struct {
	Writer       Writer
	Installation string
	Stores       Stores
	Items        Items
	// Hidden is how many machines and folders vCenter is known to keep from the account. Machines of that kind may stand
	// on anything, and are among those of no datastore. Nil: none is known.
	Hidden func() int
	Logger klog.Logger
	Clock  clock.Clock // Nil: the real one.
	// Interval is how long after a sweep the next one begins, and Grace for how long what is to go is left. Zero: half an
	// hour, and an hour.
	Interval, Grace time.Duration

	mu     sync.Mutex // Guards what follows, and what the discs have.
	discs  map[key]*disc
	tops   map[facts.ID]string  // directories of this installation, by datastore
	unused map[string]time.Time // since when, by the path of a copy
	swept  map[string]bool      // directories that are being cleaned
}

// key says which disk on which datastore.
type key struct {
	store facts.ID
	entry string
	name  string // the digest of the file's name
}

// disc is a disk of which there is a copy, or is to be one.
type disc struct {
	// file is the copy. Empty: there is none that is known.
	file string
	// users hold it, or wait for it.
	users map[*user]bool
	// copying says that it is being looked for, or copied, and stop ends that.
	copying bool
	stop    context.CancelFunc
	percent int32
}

// user is one who asked for a disk.
type user struct {
	progress func(int32)
	done     chan error // nil: it is there
}

// Keep returns a whole copy of a disk of an item on the datastore of that name, and makes it where there is none.
// progress is told how far that is, in per cent, and not at all where nothing has to be copied. The copy is there at
// least until release is called.
func (c *Cache) Keep(ctx context.Context, datastore string, origin facts.Origin,
	progress func(percent int32)) (file string, release func(), err error) {
	operation := fmt.Sprintf("keep a copy of %s on the datastore %q", origin.File, datastore)
	store, found := c.Stores.Store(datastore)
	if !found {
		return "", nil, fmt.Errorf("%s: vCenter has no such datastore: %w", operation, failure.NotFound)
	}
	k := key{store: store.ID, entry: entry(origin.Contents), name: digest(origin.Name)}
	u := &user{progress: progress, done: make(chan error, 1)}
	c.mu.Lock()
	if _, busy := c.swept[path(store.Name, top(c.Installation), k.entry)]; busy {
		c.mu.Unlock()
		return "", nil, fmt.Errorf("%s: what is left there of it is being cleaned up: %w", operation, failure.Unavailable)
	}
	d := c.discs[k]
	if d == nil {
		d = &disc{users: map[*user]bool{}}
		if c.discs == nil {
			c.discs = map[key]*disc{}
		}
		c.discs[k] = d
	}
	d.users[u] = true
	switch {
	case d.file != "":
		u.done <- nil
	case !d.copying:
		// Whoever asked first may give up, and others wait for it too.
		working, stop := context.WithTimeout(context.WithoutCancel(ctx), copyTimeout)
		d.copying, d.stop, d.percent = true, stop, 0
		go func() {
			defer stop()
			file, err := c.find(working, store, k, origin, func(percent int32) { c.tell(d, percent) })
			c.finished(k, d, file, err)
		}()
	}
	far := d.percent
	c.mu.Unlock()
	if far > 0 {
		progress(far)
	}
	release = sync.OnceFunc(func() { c.leave(k, d, u) })
	select {
	case err = <-u.done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		release()
		return "", nil, fmt.Errorf("%s: %w", operation, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return d.file, release, nil
}

// tell tells all who wait for a disk how far it is.
func (c *Cache) tell(d *disc, percent int32) {
	c.mu.Lock()
	var told []func(int32)
	if percent > d.percent {
		d.percent = percent
		for u := range d.users {
			told = append(told, u.progress)
		}
	}
	c.mu.Unlock()
	for _, progress := range told {
		progress(percent)
	}
}

// finished tells all who wait what came of it.
func (c *Cache) finished(k key, d *disc, file string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d.copying, d.stop, d.file, d.percent = false, nil, file, 0
	for u := range d.users {
		u.done <- err
		if err != nil {
			delete(d.users, u)
		}
	}
	if err != nil && c.discs[k] == d {
		delete(c.discs, k)
	}
}

// leave ends the use of a disk. What nobody waits for any more is not copied to its end.
func (c *Cache) leave(k key, d *disc, u *user) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(d.users, u)
	if len(d.users) == 0 && d.copying {
		d.stop()
		// Whoever comes next begins anew.
		if c.discs[k] == d {
			delete(c.discs, k)
		}
	}
}

// Doubt has a copy looked for again when it is asked for next: it may be gone.
func (c *Cache) Doubt(file string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, d := range c.discs {
		if d.file == file {
			delete(c.discs, k)
		}
	}
}

// find looks for a copy, and makes one where there is none.
func (c *Cache) find(ctx context.Context, store facts.Datastore, k key, origin facts.Origin,
	progress func(int32)) (file string, err error) {
	g, err := c.ground(ctx, store, true)
	if err != nil {
		return "", err
	}
	there, err := g.list(ctx, k.entry)
	if err != nil && !errors.Is(err, failure.NotFound) {
		return "", err
	}
	if name := wholeOf(there, k.name); name != "" {
		return g.path(k.entry, name+diskSuffix), nil
	}
	if err := g.makeDirectory(ctx, k.entry); err != nil {
		return "", err
	}
	return c.copy(ctx, g, k, origin, progress)
}

// copy copies a disk under a name that nothing had before, and then says that it is whole.
func (c *Cache) copy(ctx context.Context, g *ground, k key, origin facts.Origin,
	progress func(int32)) (file string, err error) {
	name := k.name + "-" + attempt()
	file = g.path(k.entry, name+diskSuffix)
	c.Logger.Info("Copying a disk of a content library to another place, from which machines get theirs", "from", origin.File,
		"to", file)
	err = g.copyDisk(ctx, origin.File, file, progress)
	if err == nil {
		// While it was copied the library may have put other contents there, or have been about to.
		err = c.Items.Confirm(ctx, origin.Contents)
	}
	if err != nil {
		// What cannot be deleted now is swept away later.
		_ = g.discard(ctx, k.entry, name)
		return "", err
	}
	return file, g.makeDirectory(ctx, k.entry, name+wholeSuffix)
}

func (c *Cache) clock() clock.Clock {
	if c.Clock == nil {
		return clock.RealClock{}
	}
	return c.Clock
}
