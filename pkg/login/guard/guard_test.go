// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

var (
	home   = netip.MustParseAddr("192.0.2.1")
	abroad = netip.MustParseAddr("198.51.100.7")
)

type fixture struct {
	*testing.T
	*Guard
	clock *clocktesting.FakePassiveClock
}

func newFixture(t *testing.T, limits Limits) fixture {
	clock := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	return fixture{t, New(limits, clock), clock}
}

func (f fixture) later(d time.Duration) { f.clock.SetTime(f.clock.Now().Add(d)) }

// try makes an attempt, and returns by what it was limited and for how long.
func (f fixture) try(user string, address netip.Addr, outcome Outcome) (string, time.Duration) {
	f.Helper()
	attempt, err := f.Enter(f.Context(), User{Name: user}, address)
	if err != nil {
		var limited *Limited
		if !errors.As(err, &limited) {
			f.Fatalf("an error of another kind: %v", err)
		}
		return limited.By, limited.RetryAfter
	}
	attempt.Done(outcome)
	attempt.Done(Succeeded) // Only the first one counts.
	return "", 0
}

func (f fixture) want(by string, after time.Duration, user string, address netip.Addr, outcome Outcome) {
	f.Helper()
	if gotBy, gotAfter := f.try(user, address, outcome); gotBy != by || gotAfter != after {
		f.Errorf("limited by %q for %s, want %q for %s", gotBy, gotAfter, by, after)
	}
}

func TestFewerFailuresThanLockAnAccount(t *testing.T) {
	f := newFixture(t, Limits{})
	// However the time passes, no window of three minutes sees five failures.
	var failures []time.Time
	for second := range 3600 {
		address := netip.AddrFrom4([4]byte{10, 0, byte(second / 250), byte(second % 250)})
		if by, _ := f.try("victim", address, Failed); by == "" {
			failures = append(failures, f.clock.Now())
		}
		f.later(time.Second)
	}
	if len(failures) < 30 {
		t.Errorf("only %d attempts were let through in an hour", len(failures))
	}
	for i := 4; i < len(failures); i++ {
		if failures[i].Sub(failures[i-4]) <= 3*time.Minute {
			t.Fatalf("five failures within %s", failures[i].Sub(failures[i-4]))
		}
	}
}

func TestRetryAfter(t *testing.T) {
	f := newFixture(t, Limits{Window: time.Minute, UserFailures: 2})
	f.want("", 0, "a", home, Failed)
	f.later(10 * time.Second)
	f.want("", 0, "a", home, Failed)
	f.want("user", 50*time.Second, "a", home, Failed)
	f.want("user", 50*time.Second, "a", abroad, Failed)
	f.later(50 * time.Second)
	f.want("", 0, "a", home, Failed)
	f.want("user", 10*time.Second, "a", home, Failed)
}

func TestOneUsersFailuresDoNotLockAnother(t *testing.T) {
	f := newFixture(t, Limits{UserFailures: 1})
	f.want("", 0, "a", home, Failed)
	f.want("user", 185*time.Second, "a", home, Failed)
	f.want("", 0, "b", home, Succeeded)
	f.want("", 0, "b", home, Failed)
}

func TestAGuesserElsewhereDoesNotShutTheUserOut(t *testing.T) {
	f := newFixture(t, Limits{})
	f.want("", 0, "a", home, Succeeded)
	for range 3 {
		f.want("", 0, "a", abroad, Failed)
	}
	f.want("user", 185*time.Second, "a", abroad, Failed)
	f.want("", 0, "a", home, Succeeded)
	f.want("", 0, "a", abroad, Failed) // A success sets vCenter's count back too.
}

// Two names that may be one account do not lock it together, and a success under one
// clears nothing.
func TestNamesThatMayBeOneAccount(t *testing.T) {
	f := newFixture(t, Limits{})
	try := func(name string, outcome Outcome) string {
		t.Helper()
		attempt, err := f.Enter(t.Context(), User{Name: name, Unsure: true}, home)
		if err != nil {
			var limited *Limited
			if !errors.As(err, &limited) {
				t.Fatal(err)
			}
			return limited.By
		}
		attempt.Done(outcome)
		return ""
	}
	failed := 0
	for range 10 {
		for _, name := range []string{"jdoe", "john.doe"} {
			if try(name, Succeeded); try(name, Failed) == "" {
				failed++
			}
		}
	}
	if failed != 4 {
		t.Errorf("%d attempts failed before the limit, want 4: one less than locks an account", failed)
	}
	f.want("", 0, "jdoe", home, Succeeded) // Somebody of whom it is known who it is.
}

func TestAddressThatIsOverItsLimit(t *testing.T) {
	f := newFixture(t, Limits{AddressFailures: 2})
	for range 2 {
		if err := f.Address(home); err != nil {
			t.Fatal(err)
		}
		f.want("", 0, "a", home, Failed)
	}
	var limited *Limited
	if err := f.Address(home); !errors.As(err, &limited) || limited.By != "address" ||
		limited.RetryAfter != 185*time.Second {
		t.Errorf("%v", err)
	}
	if err := f.Address(abroad); err != nil {
		t.Error(err)
	}
}

func TestASuccessIsNotNeededForEveryPasswordThatWasNotLookedAt(t *testing.T) {
	f := newFixture(t, Limits{})
	for range 20 {
		f.want("", 0, "a", home, Void)
	}
}

func TestSprayingFromOneAddress(t *testing.T) {
	f := newFixture(t, Limits{AddressFailures: 10, Window: time.Minute})
	f.want("", 0, "colleague", home, Succeeded)
	for i := range 10 {
		f.want("", 0, fmt.Sprintf("user-%d", i), home, Failed)
	}
	f.want("address", time.Minute, "user-11", home, Failed)
	f.want("", 0, "user-11", abroad, Failed)
	f.want("", 0, "colleague", home, Succeeded) // Behind the same NAT.
	f.later(time.Minute)
	f.want("", 0, "user-11", home, Failed)
}

func TestAddressesOfOneCustomer(t *testing.T) {
	f := newFixture(t, Limits{AddressFailures: 1})
	f.want("", 0, "a", netip.MustParseAddr("2001:db8::1"), Failed)
	f.want("address", 185*time.Second, "b", netip.MustParseAddr("2001:db8::ffff:2"), Failed)
	f.want("", 0, "b", netip.MustParseAddr("2001:db8:0:1::1"), Failed)
	f.want("", 0, "c", netip.MustParseAddr("192.0.2.9"), Failed)
	f.want("address", 185*time.Second, "d", netip.MustParseAddr("::ffff:192.0.2.9"), Failed)
	f.want("", 0, "e", netip.Addr{}, Failed) // Not known: counted together.
	f.want("address", 185*time.Second, "f", netip.Addr{}, Failed)
}

// A hundred attempts at once are not a way around the limit.
func TestAttemptsUnderWayCount(t *testing.T) {
	f := newFixture(t, Limits{})
	var mu sync.Mutex
	let, now, most := 0, 0, 0
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			attempt, err := f.Enter(t.Context(), User{Name: "a"}, home)
			if err != nil {
				return
			}
			mu.Lock()
			let++
			now++
			most = max(most, now)
			mu.Unlock()
			mu.Lock()
			now--
			mu.Unlock()
			attempt.Done(Failed)
		})
	}
	all.Wait()
	if let != 3 || most > 3 {
		t.Errorf("%d of 100 attempts were let through, %d at a time", let, most)
	}

	// With the right password all who wait get through.
	var passed sync.WaitGroup
	errs := make(chan error, 12)
	for range 12 {
		passed.Go(func() {
			attempt, err := f.Enter(t.Context(), User{Name: "b"}, home)
			if err != nil {
				errs <- err
				return
			}
			attempt.Done(Succeeded)
		})
	}
	passed.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	var held []*Attempt
	for range 3 {
		attempt, err := f.Enter(ctx, User{Name: "c"}, home)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, attempt)
	}
	cancel()
	if _, err := f.Enter(ctx, User{Name: "c"}, home); err == nil {
		t.Error("a wait did not end with its context")
	}
	for _, attempt := range held {
		attempt.Done(Void)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	f := newFixture(t, Limits{Remember: 100})
	kept, err := f.Enter(t.Context(), User{Name: "under way"}, home)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		f.want("", 0, fmt.Sprint(i), netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Failed)
	}
	if users, addresses := f.users.order.Len(), f.addresses.order.Len(); users != 100 || addresses != 100 ||
		len(f.users.index) != 100 {
		t.Errorf("%d users and %d addresses are remembered", users, addresses)
	}
	kept.Done(Failed)
	if r := f.users.get(User{Name: "under way"}); len(r.failures) != 1 {
		t.Error("the attempt under way was forgotten")
	}
	f.later(time.Hour)
	f.Sweep()
	if users, addresses := f.users.order.Len(), f.addresses.order.Len(); users != 0 || addresses != 0 {
		t.Errorf("%d users and %d addresses are remembered after an hour", users, addresses)
	}
}
