// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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

// Remembered tells which machines of a vCenter a process before this one knew, each
// with the folder that it lay in or below.
type Remembered func(ctx context.Context, vcenter string) (
	machines map[types.ManagedObjectReference]types.ManagedObjectReference, err error)

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
	// NamespacesFolderID is the managed-object id that it must have. Empty: that does
	// not matter.
	NamespacesFolderID string
	// Served, if set, tells by its managed-object id which folder was the namespaces
	// folder of that vCenter so far, "" for none. Another one that got its name is not
	// followed as long as that one is there: all that lies in it would seem deleted.
	Served func(ctx context.Context, vcenter string) (folder string, err error)
	// Remembered, if set, is asked before the first reading: what that does not show, and
	// vCenter keeps from the account, is not gone.
	Remembered Remembered
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
	lost    bool // The stream was lost, and is not whole again.
	folder  types.ManagedObjectReference
	root    types.ManagedObjectReference
	vcenter string
	// refreshed holds the objects that Refresh has read since the wait under
	// way began, with the number of that reading: what the wait brings for them
	// may be older. readings numbers the readings as they begin.
	refreshed map[types.ManagedObjectReference]uint64
	readings  uint64
	handed    uint64          // Turns that were committed.
	missing   map[string]bool // Said in the log.
	hidden    int             // How many objects are, as said in the log.
	checked   time.Time       // When the hidden ones were last looked for.

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
	status.Objects, status.Hidden = make(map[string]int, len(c.Kinds)), maps.Clone(c.status.Hidden)
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
	if !c.initial {
		removed = nil // nobody has heard of them
	}
	update := Update{Initial: !c.initial, Resumed: c.initial && c.lost, VCenter: c.vcenter, NamespacesFolder: folder,
		Changed: changed, Removed: removed}
	if !update.Initial && len(changed) == 0 && len(removed) == 0 && folder == c.folder {
		return
	}
	c.initial, c.folder = true, folder
	counts := make(map[string]int, len(c.Kinds))
	for i, kind := range c.Kinds {
		counts[kind.Type] = c.counts[i]
	}
	c.Handler.Apply(update)
	hidden := c.sayHidden(changed)
	c.mu.Lock()
	c.status.Synced, c.status.NamespacesFolder, c.status.Objects, c.status.Hidden = true, folder, counts, hidden
	c.mu.Unlock()
	c.Metrics.updated(counts, hidden)
}

// sayHidden counts the hidden objects by type, and logs how many there are when
// that is another number than before. The caller holds turns.
func (c *Collector) sayHidden(changed []Object) map[string]int {
	if c.hidden == 0 && !slices.ContainsFunc(changed, func(o Object) bool { return o.Hidden }) {
		return nil
	}
	counts, total, example := map[string]int{}, 0, types.ManagedObjectReference{}
	for ref, known := range c.objects {
		if known.hidden() {
			counts[ref.Type]++
			total++
			example = ref
		}
	}
	if total != c.hidden {
		c.hidden = total
		c.Logger.Info("vCenter keeps objects from the account that it showed before; they stay as they were read last",
			"objects", total, "example", example.Value)
	}
	return counts
}

// Refresh reads one object now and has what differs applied before it returns,
// so that the effect of a write is seen without waiting for the stream. An
// object that is gone is removed. One that is new is taken in if it lies under
// its kind's root; else the error's kind is failure.NotFound. What the stream
// brings later for the object wins; what it brings from before is not applied.
//
// Many can be refreshed at a time, with the stream under way: nothing waits for
// vCenter but the caller.
func (c *Collector) Refresh(ctx context.Context, ref types.ManagedObjectReference) error {
	operation := fmt.Sprintf("refresh %s %s", ref.Type, ref.Value)
	for first := uint64(0); ; {
		r, err := c.begin(ref)
		if err != nil {
			return fmt.Errorf("%s: %w", operation, err)
		}
		if first == 0 {
			first = r.number
		}
		if err := c.Session.Do(ctx, operation, r.read); err != nil {
			return err
		}
		done, err := c.end(r, first)
		if err != nil {
			return fmt.Errorf("%s: %w", operation, vcenter.Translate(err))
		}
		if done {
			return nil
		}
	}
}

// reading is one attempt of Refresh.
type reading struct {
	collector    *Collector
	ref          types.ManagedObjectReference
	number, mark uint64
	before       entry
	folder, root types.ManagedObjectReference
	kinds        uint64
	contents     map[int]types.ObjectContent
}

func (c *Collector) begin(ref types.ManagedObjectReference) (*reading, error) {
	c.turns.Lock()
	defer c.turns.Unlock()
	if !c.initial {
		return nil, fmt.Errorf("the inventory was not read yet: %w", failure.Unavailable)
	}
	c.readings++
	return &reading{collector: c, ref: ref, number: c.readings, mark: c.refreshed[ref], before: c.objects[ref],
		folder: c.folder, root: c.root}, nil
}

func (r *reading) read(ctx context.Context, client *vim25.Client) (err error) {
	r.kinds = r.before.kinds
	if r.kinds == 0 {
		if r.kinds, err = r.collector.place(ctx, client, r.ref, r.folder, r.root); err != nil {
			return err
		}
	}
	r.contents, err = r.collector.fetch(ctx, client, r.ref, r.kinds)
	return err
}

// end applies what was read, unless the object was read or changed in between:
// what was read may be older than that. first is the number of the first
// attempt: what was read by one that began later is as good.
func (c *Collector) end(r *reading, first uint64) (done bool, err error) {
	c.turns.Lock()
	defer c.turns.Unlock()
	if c.refreshed[r.ref] > first {
		return true, nil
	}
	if c.objects[r.ref].turn != r.before.turn || c.refreshed[r.ref] != r.mark {
		return false, nil
	}
	t := newTurn(c.Kinds, c.paths, false, c.objects)
	d := t.draft(r.ref)
	d.kinds = r.kinds
	for i := range c.Kinds {
		content, ok := r.contents[i]
		switch {
		case r.kinds&(1<<i) == 0:
		case !ok:
			d.kinds = 0
		default:
			if err := c.sayMissing(r.ref, content.MissingSet); err != nil {
				return false, err
			}
			t.replace(i, content)
		}
	}
	c.refreshed[r.ref] = r.number
	c.hand(t, c.folder)
	return true, nil
}

// fetch reads one object as each of kinds. Nothing for a kind says that the
// object is gone.
func (c *Collector) fetch(ctx context.Context, client *vim25.Client, ref types.ManagedObjectReference,
	kinds uint64) (map[int]types.ObjectContent, error) {
	contents := map[int]types.ObjectContent{}
	for i, kind := range c.Kinds {
		if kinds&(1<<i) == 0 {
			continue
		}
		found, err := retrieve(ctx, client, []types.ManagedObjectReference{ref},
			types.PropertySpec{Type: kind.Type, PathSet: kind.Paths})
		if err != nil {
			return nil, err
		}
		for _, content := range found {
			if !isGone(content) {
				contents[i] = content
			}
		}
	}
	return contents, nil
}

// place returns which kinds an object that is not known belongs to.
func (c *Collector) place(ctx context.Context, client *vim25.Client, ref, folder,
	rootFolder types.ManagedObjectReference) (uint64, error) {
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
