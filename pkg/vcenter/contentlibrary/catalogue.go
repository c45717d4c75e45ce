// SPDX-License-Identifier: Apache-2.0

package contentlibrary

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/vmware/govmomi/vapi/library"
	"github.com/vmware/govmomi/vapi/rest"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter"
)

const (
	// defaultInterval leaves room for the reading itself, that what is new shows within 30 s.
	defaultInterval = 20 * time.Second
	// jitter is how much longer than the interval a pause may be, so that
	// replicas do not ask at the same time.
	jitter = 0.1
	// longest is how many intervals at most lie between two tries to read a library that cannot be read.
	longest = 15
	// doubted is after how many failures in a row a library counts as one that cannot be read: one alone may be a hiccup,
	// and a condition of all its images would come and go for it.
	doubted = 2
	// patience is how long after the first list what was read of the libraries is told at the latest. The first reading of
	// large ones takes some minutes, and nobody sees an image before: one of them does not keep the others back for ever.
	patience = 5 * time.Minute
)

// Session carries out calls with a login at vCenter's REST endpoints;
// vcenter.RESTSession does. Errors of Do come with their failure kind.
type Session interface {
	Do(ctx context.Context, operation string, f func(context.Context, *rest.Client) error) error
}

// Handler is told what is in the libraries, whenever that is something else than before.
type Handler interface {
	// SetLibraries is given all libraries. Those in which nothing is different are the same pointers as before.
	SetLibraries([]*facts.Library)
}

// Catalogue follows vCenter's content libraries. Its fields are set before Run.
// Its other methods may be called from any goroutine, and never wait for vCenter.
type Catalogue struct {
	Session Session
	// Inventory is where the templates are that items stand for.
	Inventory Inventory
	// Handler is told, one call at a time, once each library was read or cannot be. Nil: nobody.
	Handler Handler
	// Given says whether anybody is given a library of that name: its items are looked at at each reading, those of
	// others in their turn. Nil: all are.
	Given func(library string) bool
	// Keeps says whether somebody wants a property of an OVF, or an option of its ExtraConfig, of that key. Those properties
	// that its user may set are kept in any case. Nil: all are.
	Keeps func(key string) bool
	// Interval is how long after a reading the next one begins. Zero: 20 s.
	Interval time.Duration

	Logger klog.Logger
	Clock  clock.Clock // Nil: the real one.

	telling sync.Mutex // Held while the Handler is told.
	told    bool       // The Handler was told at all. Guarded by telling.

	mu sync.Mutex // Guards what follows, and what the shelves have.
	// err is why the libraries cannot be listed.
	err error
	// shelves are the libraries by their ids, and waiting those of the first list that were neither read yet nor count as
	// ones that cannot be read. Nil: there was no list. They are waited for since the time of that list.
	shelves map[string]*shelf
	waiting map[string]bool
	since   time.Time
	asked   bool // that there is none of those was said
	count   int  // of the libraries that the Handler was told of
	images  int
	names   []string                      // of those that were read
	byImage map[string][]facts.LibraryRef // by name of image
	hidden  int                           // how many libraries and items the account may not read
}

// Run reads until ctx ends; then it returns nil. After a failure to list the libraries it tries again within a second, and
// ever more rarely up to 30 s. A library that cannot be read is tried again after an interval, and ever more rarely up to 15
// of them, whatever becomes of the others meanwhile.
func (c *Catalogue) Run(ctx context.Context) error {
	var following sync.WaitGroup
	defer following.Wait()
	turns := make(chan struct{}, calls)
	retry, said := vcenter.NewRetry(), ""
	for ctx.Err() == nil {
		due, err := c.list(ctx, turns)
		pause := wait.Jitter(c.interval(), jitter)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			pause = retry.Step()
			if message := err.Error(); message != said {
				said = message
				c.Logger.Error(err, "Could not read the content libraries; what was read last stands")
			}
		default:
			if said != "" {
				c.Logger.Info("Read the content libraries again")
			}
			retry, said = vcenter.NewRetry(), ""
		}
		for _, s := range due {
			following.Go(func() { c.follow(ctx, s, turns) })
		}
		timer := c.clock().NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C():
		}
		timer.Stop()
	}
	return nil
}

func (c *Catalogue) clock() clock.Clock {
	if c.Clock == nil {
		return clock.RealClock{}
	}
	return c.Clock
}

func (c *Catalogue) interval() time.Duration {
	if c.Interval <= 0 {
		return defaultInterval
	}
	return c.Interval
}

// list asks which libraries there are, and returns those that it is time to read. One that is known and not listed any more
// is asked for by itself: vCenter does not list what it keeps from the account.
func (c *Catalogue) list(ctx context.Context, turns chan struct{}) ([]*shelf, error) {
	var ids []string
	err := c.Session.Do(ctx, "read the content libraries", func(ctx context.Context, client *rest.Client) (err error) {
		r := &reading{manager: library.NewManager(client), turns: turns}
		ids, err = r.list(ctx)
		return err
	})
	defer c.tell()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.goOn()
	if c.err = err; err != nil {
		return nil, err
	}
	if c.shelves == nil {
		c.shelves = map[string]*shelf{}
	}
	for _, id := range ids {
		if c.shelves[id] == nil {
			c.shelves[id] = &shelf{id: id}
		}
	}
	if c.waiting == nil {
		c.waiting, c.since = map[string]bool{}, c.clock().Now()
		for id := range c.shelves {
			c.waiting[id] = true
		}
	}
	var due []*shelf
	for _, s := range c.shelves {
		if !s.underWay && !c.clock().Now().Before(s.next) {
			s.underWay = true
			due = append(due, s)
		}
	}
	return due, nil
}

// goOn ends the wait for libraries of the first list that are still not read after a long time. Until they are, it is not
// said that all were. The caller holds mu.
func (c *Catalogue) goOn() {
	if len(c.waiting) == 0 || c.clock().Since(c.since) < patience {
		return
	}
	for id := range c.waiting {
		if s := c.shelves[id]; s.err == nil {
			s.err = errors.New("it is being read for the first time")
		}
	}
	c.Logger.Info("Some content libraries are still being read for the first time; the others are shown",
		"libraries", len(c.waiting), "after", patience)
	clear(c.waiting)
	c.asked = true
}

// follow reads a library once.
func (c *Catalogue) follow(ctx context.Context, s *shelf, turns chan struct{}) {
	c.mu.Lock()
	before, misses := s.read, s.misses
	c.mu.Unlock()
	var next *contents
	after := misses
	operation := "read content library " + s.called(before)
	err := c.Session.Do(ctx, operation, func(ctx context.Context, client *rest.Client) (err error) {
		r := &reading{
			manager: library.NewManager(client), inventory: c.Inventory, turns: turns, clock: c.clock(), interval: c.interval(),
			given: c.Given, keeps: c.Keeps, before: before, misses: misses,
		}
		next, err = r.library(ctx, s.id)
		after = r.misses
		return err
	})
	if ctx.Err() != nil {
		return
	}
	defer c.tell()
	c.mu.Lock()
	defer c.mu.Unlock()
	s.underWay, s.misses = false, after
	for id, times := range after {
		if times == borne && misses[id] < borne {
			c.Logger.Info("vCenter goes on listing an item of a content library that it does not find; the others are read without it",
				"library", s.called(next), "item", id)
		}
	}
	switch {
	case err != nil:
		s.failures++
		s.err, s.next = err, c.clock().Now().Add(backoff(s.failures, c.interval()))
		if s.failures == doubted {
			c.Logger.Error(err, "Cannot read a content library; what was read last of it stands")
		}
	case next == nil:
		delete(c.shelves, s.id)
	default:
		if s.failures >= doubted {
			c.Logger.Info("Read a content library again", "library", next.name)
		}
		s.failures, s.err, s.next, s.read = 0, nil, time.Time{}, next
	}
	s.untold = true
	if err == nil && !next.like(before) {
		c.arrange()
	}
	if err == nil || s.failures >= doubted {
		delete(c.waiting, s.id)
	}
	if len(c.waiting) == 0 && !c.asked {
		c.asked = true
		c.Logger.Info("Read the content libraries", "libraries", len(c.names), "images", c.images)
	}
}

// arrange finds out which library has which image. The caller holds mu.
func (c *Catalogue) arrange() {
	hidden := c.hidden
	c.names, c.byImage, c.hidden, c.images = nil, map[string][]facts.LibraryRef{}, 0, 0
	for _, id := range slices.Sorted(maps.Keys(c.shelves)) {
		s := c.shelves[id]
		if s.read == nil {
			continue
		}
		c.hidden += s.read.hidden
		if s.read.name == "" {
			continue
		}
		c.names = append(c.names, s.read.name)
		library := facts.LibraryRef{ID: id, Name: s.read.name}
		for id, found := range s.read.items {
			if !isImage(found.kind) {
				continue
			}
			c.images++
			name := facts.ImageName(id)
			c.byImage[name] = append(c.byImage[name], library)
			if !imageName.MatchString(found.fact.Name) {
				c.byImage[found.fact.Name] = append(c.byImage[found.fact.Name], library)
			}
		}
	}
	c.names = sorted(c.names)
	for image, libraries := range c.byImage {
		slices.SortFunc(libraries, func(a, b facts.LibraryRef) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
		c.byImage[image] = slices.Compact(libraries)
	}
	if c.hidden > hidden {
		c.Logger.Info("Some content libraries or items are hidden from the account, so their images cannot be used; "+
			"a role that may read them counts only as a global permission", "hidden", c.hidden)
	}
}

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// tell tells the handler what there is, if that is something else than before.
func (c *Catalogue) tell() {
	if c.Handler == nil {
		return
	}
	c.telling.Lock()
	defer c.telling.Unlock()
	all, different := c.look()
	if all == nil || c.told && !different {
		return
	}
	c.told = true
	c.Handler.SetLibraries(all)
}

// look returns what the handler is to be told, nil as long as some are waited for, and whether it is something else
// than before.
func (c *Catalogue) look() (all []*facts.Library, different bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == nil || len(c.waiting) > 0 {
		return nil, false
	}
	all = []*facts.Library{}
	for _, id := range slices.Sorted(maps.Keys(c.shelves)) {
		s := c.shelves[id]
		if s.untold {
			s.untold = false
			if now := s.facts(); !reflect.DeepEqual(now, s.told) {
				s.told, different = now, true
			}
		}
		if s.told != nil {
			all = append(all, s.told)
		}
	}
	different = different || len(all) != c.count
	c.count = len(all)
	return all, different
}

// Synced says whether all libraries were read since the start, as far as the account may read them.
func (c *Catalogue) Synced() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == nil || len(c.waiting) > 0 {
		return false
	}
	for _, s := range c.shelves {
		if s.read == nil && s.err != nil {
			return false
		}
	}
	return true
}

// Err says what cannot be read now: the list of the libraries, or some of them, that were tried more than once. What
// vCenter hides from the account since the start is not there.
func (c *Catalogue) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(c.shelves)) {
		if s := c.shelves[id]; s.failures >= doubted {
			errs = append(errs, s.err)
		}
	}
	return errors.Join(errs...)
}

// Names returns the names of all libraries, sorted. vCenter may have several of
// one name: they are one to whoever goes by names. Before Synced, some may be missing.
func (c *Catalogue) Names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.names)
}

// Libraries returns the libraries that hold an image of this name,
// by name: of its Kubernetes name, as facts.ImageName makes it, or of the name that it
// has in vCenter, which several may have. What looks like a Kubernetes name is
// never taken for the other, so that nobody makes an image pass for another one
// by naming theirs. Before Synced, some may be missing.
func (c *Catalogue) Libraries(image string) []facts.LibraryRef {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.byImage[image])
}
