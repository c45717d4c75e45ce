// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
)

const (
	defaultMaxWait = 20 * time.Second
	defaultGrace   = 10 * time.Second
	// destroyTimeout bounds the clearing away of what lies in vCenter.
	destroyTimeout = 5 * time.Second
)

// Collector follows the inventory. Its fields are set before Run and not
// changed afterwards.
type Collector struct {
	Session *vcenter.Session
	Kinds   []Kind
	Handler Handler
	// NamespacesFolder is the name of a folder in the VM folder of the only
	// datacenter, or a full inventory path like /DC0/vm/Namespaces. Empty:
	// Namespaces.
	NamespacesFolder string
	// MaxWait is how long one wait for updates may last, in whole seconds.
	// Zero: 20 s.
	MaxWait time.Duration
	// Grace is how much longer than it was asked to vCenter may take to answer
	// a wait before the silence counts as a loss. Zero: 10 s.
	Grace time.Duration

	Logger  klog.Logger
	Clock   clock.WithTicker // Nil: the real one.
	Metrics *Metrics         // Nil: not measured.

	// turns serialises the turns of the stream with Refresh. It guards what
	// follows, and calls to Handler.
	turns   sync.Mutex
	paths   []map[string]bool
	objects map[types.ManagedObjectReference]entry
	counts  []int
	initial bool // The initial update was handed on.
	folder  types.ManagedObjectReference
	root    types.ManagedObjectReference
	vcenter string
	// refreshed holds the objects that Refresh has read since the wait under
	// way began, with the number of that Refresh: what the wait brings for them
	// may be older.
	refreshed map[types.ManagedObjectReference]uint64
	refreshes uint64
	handed    uint64          // Turns that were committed.
	missing   map[string]bool // Said in the log.

	mu     sync.Mutex // Guards status, following.
	status Status
	// following: the stream is up, so status.Err is void.
	following bool
}

func (c *Collector) clock() clock.WithTicker {
	if c.Clock == nil {
		return clock.RealClock{}
	}
	return c.Clock
}

// Run follows the inventory until ctx ends; then it clears away what it made
// in vCenter and returns nil. It returns an error only for a Collector that is
// put together wrongly. It may be called once.
func (c *Collector) Run(ctx context.Context) error {
	if err := c.prepare(); err != nil {
		return err
	}
	retry, said := newRetry(), ""
	for ctx.Err() == nil {
		lasted, err := c.follow(ctx)
		if ctx.Err() != nil {
			break
		}
		if lasted {
			retry, said = newRetry(), ""
		}
		err = vcenter.Translate(err)
		c.setErr(err)
		if message := err.Error(); message != said {
			said = message
			c.Logger.Error(err, "Lost the stream of the inventory; it is built anew")
		}
		timer := c.clock().NewTimer(retry.Step())
		select {
		case <-ctx.Done():
		case <-timer.C():
		}
		timer.Stop()
	}
	c.setErr(errors.New("the inventory was shut down"))
	return nil
}

func newRetry() *wait.Backoff {
	return &wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.3, Steps: 100, Cap: 5 * time.Second}
}

func (c *Collector) prepare() error {
	c.turns.Lock()
	defer c.turns.Unlock()
	if c.objects != nil {
		return errors.New("the collector was run before")
	}
	if len(c.Kinds) == 0 || len(c.Kinds) > 63 {
		return fmt.Errorf("a collector follows 1 to 63 kinds, not %d", len(c.Kinds))
	}
	seen := map[string]bool{}
	for _, kind := range c.Kinds {
		if kind.Type == "" || seen[kind.Type] || len(kind.Paths) == 0 {
			return fmt.Errorf("the kind %q is nameless, given twice, or without paths", kind.Type)
		}
		seen[kind.Type] = true
		paths := make(map[string]bool, len(kind.Paths))
		for _, path := range kind.Paths {
			paths[path] = true
		}
		c.paths = append(c.paths, paths)
	}
	c.objects = map[types.ManagedObjectReference]entry{}
	c.counts = make([]int, len(c.Kinds))
	c.refreshed = map[types.ManagedObjectReference]uint64{}
	c.missing = map[string]bool{}
	return nil
}

// Status may be called at any time.
func (c *Collector) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	status := c.status
	status.Objects = make(map[string]int, len(c.Kinds))
	for _, kind := range c.Kinds {
		status.Objects[kind.Type] = c.status.Objects[kind.Type]
	}
	if c.following {
		status.Err = nil
		return status
	}
	// Without a login, why there is none says more than what it led to.
	if err := c.Session.Err(); err != nil {
		status.Err = err
	} else if status.Err == nil {
		status.Err = fmt.Errorf("the inventory is being read: %w", failure.Unavailable)
	}
	return status
}

func (c *Collector) setErr(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.following, c.status.Err = false, err
}

// turned notes that vCenter was heard of and that the stream is up.
func (c *Collector) turned() {
	now := c.clock().Now()
	c.mu.Lock()
	c.following, c.status.LastUpdate = true, now
	c.mu.Unlock()
	c.Metrics.turned(now)
}

// hand commits t and hands what differs to the handler. The caller holds turns.
func (c *Collector) hand(t *turn, folder types.ManagedObjectReference) {
	c.handed++
	changed, removed := t.commit(c.counts, c.handed)
	update := Update{Initial: !c.initial, VCenter: c.vcenter, NamespacesFolder: folder, Changed: changed, Removed: removed}
	if !update.Initial && len(changed) == 0 && len(removed) == 0 && folder == c.folder {
		return
	}
	c.initial, c.folder = true, folder
	counts := make(map[string]int, len(c.Kinds))
	for i, kind := range c.Kinds {
		counts[kind.Type] = c.counts[i]
	}
	c.Handler.Apply(update)
	c.mu.Lock()
	c.status.Synced, c.status.NamespacesFolder, c.status.Objects = true, folder, counts
	c.mu.Unlock()
	c.Metrics.updated(counts)
}

// Refresh reads one object now and has what differs applied before it returns,
// so that the effect of a write is seen without waiting for the stream. An
// object that is gone is removed. One that is new is taken in if it lies under
// its kind's root; else the error's kind is failure.NotFound. What the stream
// brings later for the object wins; what it brings from before is not applied.
func (c *Collector) Refresh(ctx context.Context, ref types.ManagedObjectReference) error {
	operation := fmt.Sprintf("refresh %s %s", ref.Type, ref.Value)
	c.turns.Lock()
	ready, before, mark, folder, root := c.initial, c.objects[ref], c.refreshed[ref], c.folder, c.root
	c.turns.Unlock()
	if !ready {
		return fmt.Errorf("%s: the inventory was not read yet: %w", operation, failure.Unavailable)
	}
	kinds := before.kinds
	var contents map[int]types.ObjectContent
	read := func(ctx context.Context, client *vim25.Client) (err error) {
		if kinds == 0 {
			if kinds, err = c.place(ctx, client, ref, folder, root); err != nil {
				return err
			}
		}
		contents, err = c.fetch(ctx, client, ref, kinds)
		return err
	}
	// Read without the lock, so that many can be refreshed at a time.
	if err := c.Session.Do(ctx, operation, read); err != nil {
		return err
	}

	c.turns.Lock()
	defer c.turns.Unlock()
	if c.objects[ref].turn != before.turn || c.refreshed[ref] != mark {
		// Somebody else was faster, and may have read later than we did.
		kinds = c.objects[ref].kinds
		if err := c.Session.Do(ctx, operation, read); err != nil {
			return err
		}
	}
	t := newTurn(c.Kinds, c.paths, false, c.objects)
	d := t.draft(ref)
	d.kinds = kinds
	for i := range c.Kinds {
		content, ok := contents[i]
		switch {
		case kinds&(1<<i) == 0:
		case !ok:
			d.kinds = 0
		default:
			if err := c.sayMissing(ref, content.MissingSet); err != nil {
				return fmt.Errorf("%s: %w", operation, vcenter.Translate(err))
			}
			t.replace(i, content)
		}
	}
	c.refreshes++
	c.refreshed[ref] = c.refreshes
	c.hand(t, c.folder)
	return nil
}

// fetch reads one object as each of kinds. Nothing for a kind says that the
// object is gone.
func (c *Collector) fetch(ctx context.Context, client *vim25.Client, ref types.ManagedObjectReference, kinds uint64) (map[int]types.ObjectContent, error) {
	contents := map[int]types.ObjectContent{}
	for i, kind := range c.Kinds {
		if kinds&(1<<i) == 0 {
			continue
		}
		found, err := retrieve(ctx, client, kind, []types.ManagedObjectReference{ref})
		if err != nil {
			return nil, err
		}
		for _, content := range found {
			contents[i] = content
		}
	}
	return contents, nil
}

// place returns which kinds an object that is not known belongs to.
func (c *Collector) place(ctx context.Context, client *vim25.Client, ref, folder, rootFolder types.ManagedObjectReference) (uint64, error) {
	for i, kind := range c.Kinds {
		if kind.Type != ref.Type {
			continue
		}
		root := rootFolder
		if kind.Root == RootNamespaces {
			root = folder
		}
		parent := ref
		for range 64 { // Deeper than any inventory.
			next, err := parentOf(ctx, client, parent)
			if err != nil {
				return 0, err
			}
			if next == nil {
				break
			}
			if *next == root {
				return 1 << i, nil
			}
			parent = *next
		}
	}
	return 0, fmt.Errorf("%s %s does not lie where the inventory is followed: %w", ref.Type, ref.Value, failure.NotFound)
}
