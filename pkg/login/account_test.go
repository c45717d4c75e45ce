// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/login/guard"
)

// accounts is a directory of a test's making, which counts what it is asked.
type accounts struct {
	known map[string]string // account by spelling
	err   error             // of what is not known; nil: there is no such account

	mu    sync.Mutex
	asked map[string]int
}

func (a *accounts) Account(_ context.Context, username string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked == nil {
		a.asked = map[string]int{}
	}
	a.asked[username]++
	if account, ok := a.known[strings.ToLower(username)]; ok {
		return account, nil
	}
	if a.err != nil {
		return "", fmt.Errorf("find the account: %w", a.err)
	}
	return "", failure.NotFound
}

// statuses logs in under each name with a wrong password, once after the other.
func (f *fixture) statuses(names ...string) []int {
	f.Helper()
	var got []int
	for _, name := range names {
		got = append(got, f.login(name, wrongPassword, "").Status)
	}
	return got
}

// defaults are the limits as they are by default.
func defaults(known *accounts) func(*Service) {
	return func(s *Service) {
		s.Limits, s.Accounts = guard.Limits{}, known
	}
}

func TestAllNamesOfAnAccountAreCountedTogether(t *testing.T) {
	known := &accounts{known: map[string]string{
		"jdoe@corp": "jdoe@corp.example.com", "jdoe@corp.example.com": "jdoe@corp.example.com",
		"john.doe@example.com": "jdoe@corp.example.com",
		"dev@vsphere.local":    "dev@vsphere.local",
	}}
	f := newFixture(t, defaults(known))
	if diff := cmp.Diff([]int{401, 401, 401, 429, 429, 429, 429},
		f.statuses(`CORP\jdoe`, "john.doe@example.com", "JDoe@corp.example.com", `corp\JDOE`, "jdoe@corp",
			"John.Doe@Example.com", "jdoe@CORP.example.com")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := f.login("dev@vsphere.local", rightPassword, ""); got.Status != 200 {
		t.Errorf("another account: %+v", got)
	}
	want := map[string]int{"jdoe@corp": 1, "JDoe@corp.example.com": 1, "john.doe@example.com": 1, "dev@vsphere.local": 1}
	if diff := cmp.Diff(want, known.asked); diff != "" {
		t.Errorf("the directory was asked (-want +got):\n%s", diff)
	}
}

// Names that mean nobody are counted each for itself, as those of accounts are.
func TestNamesThatMeanNobody(t *testing.T) {
	f := newFixture(t, defaults(&accounts{}))
	if diff := cmp.Diff([]int{401, 401, 401, 429, 401, 401, 401, 429},
		f.statuses("a@x.test", "a@x.test", "A@X.test", "a@x.test", "a@y.test", `Y.test\a`, "a@y.test",
			"a@y.test")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Where nobody can tell whose a name is, fewer attempts may fail under all names that
// may be one account than lock it.
func TestNamesOfWhichNobodyCanTell(t *testing.T) {
	f := newFixture(t, defaults(&accounts{err: failure.Forbidden}))
	if diff := cmp.Diff([]int{401, 401, 429, 429, 401, 401, 429, 401},
		f.statuses(`CORP\jdoe`, "jdoe@corp.example.com", "jdoe@CORP", "JDOE@example.com", "john.doe@example.com",
			"john.doe@corp", "john.doe@x.test", "else@corp")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// A success under one name, of whoever it is, gives no more attempts for the other.
	g := newFixture(t, defaults(&accounts{err: errors.New("the account may not ask")}))
	for range 3 {
		if got := g.login("dev@vsphere.local", rightPassword, ""); got.Status != 200 {
			t.Fatalf("%+v", got)
		}
	}
	if diff := cmp.Diff([]int{401, 401, 429}, g.statuses("dev@corp", "dev@vsphere.local", `CORP\dev`)); diff != "" {
		t.Errorf("after a success (-want +got):\n%s", diff)
	}
}

// While the directory is away nobody can log in whose account is not known, and no
// password is sent anywhere.
func TestAccountsThatCannotBeKnownNow(t *testing.T) {
	known := &accounts{known: map[string]string{"dev@vsphere.local": "dev@vsphere.local"}}
	proved := 0
	f := newFixture(t, func(s *Service) {
		defaults(known)(s)
		s.Prover = proverFunc(func(ctx context.Context, username, password string) (string, []string, error) {
			proved++
			return people(ctx, username, password)
		})
	})
	if got := f.login("dev@vsphere.local", rightPassword, ""); got.Status != 200 {
		t.Fatalf("%+v", got)
	}
	for _, err := range []error{failure.Unavailable, failure.Timeout} {
		known.known, known.err = nil, err
		if diff := cmp.Diff(away, f.login("ops@corp.test", rightPassword, "")); diff != "" || proved != 1 {
			t.Errorf("%d proofs (-want +got):\n%s", proved, diff)
		}
	}
	if got := f.login("dev@vsphere.local", rightPassword, ""); got.Status != 200 {
		t.Errorf("somebody who has logged in before: %+v", got)
	}
	known.err = nil
	if got := f.login("ops@corp.test", rightPassword, ""); got.Status != 200 {
		t.Errorf("when it is back: %+v", got)
	}
}

// Whoever has used up an address's attempts cannot make vCenter be asked about names.
func TestASprayingAddressDoesNotReachTheDirectory(t *testing.T) {
	known := &accounts{known: map[string]string{"dev@vsphere.local": "dev@vsphere.local"}}
	f := newFixture(t, func(s *Service) {
		defaults(known)(s)
		s.Limits.AddressFailures = 5
	})
	if got := f.login("dev@vsphere.local", rightPassword, ""); got.Status != 200 {
		t.Fatalf("%+v", got)
	}
	counts := map[int]int{}
	for i := range 20 {
		counts[f.login(fmt.Sprintf("user-%d@vsphere.local", i), wrongPassword, "").Status]++
	}
	if diff := cmp.Diff(map[int]int{401: 5, 429: 15}, counts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(known.asked) != 6 {
		t.Errorf("the directory was asked about %d names", len(known.asked))
	}
	if got := f.login("dev@vsphere.local", rightPassword, ""); got.Status != 200 {
		t.Errorf("the colleague: %+v", got)
	}
}

// elsewhere is a Prover's error of somebody of a federated domain.
type elsewhere struct{ error }

func (elsewhere) FederatedDomain() string { return "corp.example.com" }

func TestFederatedDomain(t *testing.T) {
	f := newFixture(t, func(s *Service) {
		s.Prover = proverFunc(func(_ context.Context, username, _ string) (string, []string, error) {
			return "", nil, fmt.Errorf("prove: %w", elsewhere{failure.Unauthenticated})
		})
	})
	want := answer{403,
		`{"reason":"FederatedDomain","message":"the people of corp.example.com log in to vCenter at an identity provider, ` +
			`which takes no password here: log in as a user of another domain, such as vsphere.local"}` + "\n", header()}
	for _, name := range []string{"jdoe@corp.example.com", "nobody-at-all@corp.example.com"} {
		if diff := cmp.Diff(want, f.login(name, wrongPassword, "")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if diff := cmp.Diff(map[string]float64{"login forbidden": 2}, f.attempts()); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
