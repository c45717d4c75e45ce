// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"container/list"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Limits say how many attempts may fail. Zero values mean the defaults.
type Limits struct {
	// Window is what failures are counted over: vCenter's, and a little more.
	// Zero: 3 min 5 s.
	Window time.Duration
	// UserFailures are a user's from anywhere. Zero: 3, which with the one kept
	// for known addresses is one less than locks an account in vCenter.
	UserFailures int
	// UnsureFailures are those of a user who is Unsure. Zero: 2, so that with as many
	// under another name of the same account there is one less than locks it.
	UnsureFailures int
	// AddressFailures are an address's for all users together. Zero: 60.
	AddressFailures int
	// Remember bounds the users, and the addresses, that are remembered. The
	// ones that were seen longest ago are forgotten first. Zero: 50,000 each.
	Remember int
}

const (
	knownAddresses = 4  // of each user
	maxWaiting     = 16 // for each user's attempts under way
)

// Limited is the error of an attempt that must not be made now.
type Limited struct {
	// RetryAfter is when it may be made, at least a second from now.
	RetryAfter time.Duration
	// By is "user" or "address".
	By string
}

func (e *Limited) Error() string {
	return fmt.Sprintf("too many failed attempts of this %s: try again in %s", e.By, e.RetryAfter.Round(time.Second))
}

// User is whose attempts are counted together.
type User struct {
	// Name is the account's, the same for all its spellings.
	Name string
	// Unsure: nobody could tell which account is meant, so that Name stands for all
	// that may be.
	Unsure bool
}

// Outcome is how an attempt ended.
type Outcome int

const (
	// Failed: the password was refused, or may have been.
	Failed Outcome = iota
	// Succeeded: the password was right.
	Succeeded
	// Void: nobody looked at the password.
	Void
)

// Guard counts attempts. Its methods may be called at the same time.
type Guard struct {
	limits Limits
	clock  clock.PassiveClock

	mu        sync.Mutex
	users     table[User]
	addresses table[netip.Prefix]
}

// New makes a guard that has seen nothing.
func New(limits Limits, clock clock.PassiveClock) *Guard {
	if limits.Window <= 0 {
		limits.Window = 3*time.Minute + 5*time.Second
	}
	if limits.UserFailures <= 0 {
		limits.UserFailures = 3
	}
	if limits.UnsureFailures <= 0 {
		limits.UnsureFailures = 2
	}
	if limits.AddressFailures <= 0 {
		limits.AddressFailures = 60
	}
	if limits.Remember <= 0 {
		limits.Remember = 50_000
	}
	return &Guard{
		limits: limits, clock: clock,
		users: newTable[User](limits.Remember), addresses: newTable[netip.Prefix](limits.Remember),
	}
}

// record is what is known of a user or an address.
type record struct {
	failures []time.Time
	pending  int
	waiting  int
	known    []netip.Prefix
	changed  chan struct{} // closed when an attempt ends, if anybody waits
}

// prune forgets failures that are older than the window.
func (r *record) prune(now time.Time, window time.Duration) {
	r.failures = slices.DeleteFunc(r.failures, func(at time.Time) bool { return now.Sub(at) >= window })
}

// Attempt is one that was let through.
type Attempt struct {
	guard   *Guard
	user    User
	network netip.Prefix
	mine    *record
	theirs  *record
	once    sync.Once
}

// User is whose attempt it is.
func (a *Attempt) User() User { return a.user }

// network is what counts as one address: of IPv6, what one customer gets.
func network(address netip.Addr) netip.Prefix {
	address = address.Unmap().WithZone("")
	bits := 32
	if address.Is6() {
		bits = 64
	}
	prefix, err := address.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

// Address returns a *Limited when so many attempts of an address have failed that
// only users who are known there may make one.
func (g *Guard) Address(address netip.Addr) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock.Now()
	theirs := g.addresses.get(network(address))
	theirs.prune(now, g.limits.Window)
	if len(theirs.failures)+theirs.pending < g.limits.AddressFailures {
		return nil
	}
	return g.limited("address", theirs, g.limits.AddressFailures, now)
}

// Enter lets an attempt through, whose Done must be called, or returns a
// *Limited. It may wait for other attempts of the user, until ctx ends.
func (g *Guard) Enter(ctx context.Context, user User, address netip.Addr) (*Attempt, error) {
	from := network(address)
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		now := g.clock.Now()
		mine, theirs := g.users.get(user), g.addresses.get(from)
		mine.prune(now, g.limits.Window)
		theirs.prune(now, g.limits.Window)

		allowed := g.limits.UserFailures
		if user.Unsure {
			allowed = g.limits.UnsureFailures
		}
		if slices.Contains(mine.known, from) {
			allowed++
		} else if len(theirs.failures)+theirs.pending >= g.limits.AddressFailures {
			return nil, g.limited("address", theirs, g.limits.AddressFailures, now)
		}
		if len(mine.failures)+mine.pending < allowed {
			mine.pending++
			theirs.pending++
			return &Attempt{guard: g, user: user, network: from, mine: mine, theirs: theirs}, nil
		}
		if len(mine.failures) >= allowed || mine.waiting >= maxWaiting {
			return nil, g.limited("user", mine, allowed, now)
		}
		if err := g.wait(ctx, mine); err != nil {
			return nil, g.limited("user", mine, allowed, now)
		}
	}
}

// wait returns when one of the user's attempts has ended. It is called, and
// returns, with the lock held.
func (g *Guard) wait(ctx context.Context, mine *record) error {
	if mine.changed == nil {
		mine.changed = make(chan struct{})
	}
	changed := mine.changed
	mine.waiting++
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		mine.waiting--
	}()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// limited says when enough failures will have left the window.
func (g *Guard) limited(by string, r *record, allowed int, now time.Time) *Limited {
	retry := time.Second
	if n := len(r.failures); n >= allowed {
		retry = max(retry, r.failures[n-allowed].Add(g.limits.Window).Sub(now))
	}
	return &Limited{RetryAfter: retry, By: by}
}

// Done says how the attempt ended. Only the first call counts.
func (a *Attempt) Done(outcome Outcome) {
	a.once.Do(func() { a.guard.done(a, outcome) })
}

func (g *Guard) done(a *Attempt, outcome Outcome) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock.Now()
	a.mine.pending--
	a.theirs.pending--
	switch outcome {
	case Failed:
		a.mine.failures = append(a.mine.failures, now)
		a.theirs.failures = append(a.theirs.failures, now)
	case Succeeded:
		if a.user.Unsure {
			break // One account's success says nothing of the others that may be meant.
		}
		// vCenter counts from zero after a success. The address's other users
		// may be guessed at, so its failures stay.
		a.mine.failures = nil
		a.mine.known = append(slices.DeleteFunc(a.mine.known, func(p netip.Prefix) bool { return p == a.network }), a.network)
		if extra := len(a.mine.known) - knownAddresses; extra > 0 {
			a.mine.known = slices.Delete(a.mine.known, 0, extra)
		}
	case Void:
	}
	if a.mine.changed != nil {
		close(a.mine.changed)
		a.mine.changed = nil
	}
}

// Sweep forgets what no longer matters.
func (g *Guard) Sweep() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock.Now()
	g.users.sweep(now, g.limits.Window)
	g.addresses.sweep(now, g.limits.Window)
}

// table remembers a bounded number of records, the last ones used.
type table[K comparable] struct {
	size  int
	order *list.List // of entry[K], the last used first
	index map[K]*list.Element
}

type entry[K comparable] struct {
	key    K
	record *record
}

func newTable[K comparable](size int) table[K] {
	return table[K]{size: size, order: list.New(), index: map[K]*list.Element{}}
}

func (t *table[K]) get(key K) *record {
	if element, ok := t.index[key]; ok {
		t.order.MoveToFront(element)
		return element.Value.(entry[K]).record
	}
	if t.order.Len() >= t.size {
		t.evict()
	}
	made := &record{}
	t.index[key] = t.order.PushFront(entry[K]{key, made})
	return made
}

// evict forgets the record that was used longest ago, but none with an attempt
// under way, whose outcome would be lost.
func (t *table[K]) evict() {
	for element := t.order.Back(); element != nil; element = element.Prev() {
		if e := element.Value.(entry[K]); e.record.pending == 0 && e.record.waiting == 0 {
			t.order.Remove(element)
			delete(t.index, e.key)
			return
		}
	}
}

func (t *table[K]) sweep(now time.Time, window time.Duration) {
	for element := t.order.Back(); element != nil; {
		previous := element.Prev()
		e := element.Value.(entry[K])
		e.record.prune(now, window)
		if len(e.record.failures) == 0 && e.record.pending == 0 && e.record.waiting == 0 && len(e.record.known) == 0 {
			t.order.Remove(element)
			delete(t.index, e.key)
		}
		element = previous
	}
}
