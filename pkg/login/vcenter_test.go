// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/login/guard"
	"github.com/openpacific/pacific/pkg/login/token"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/sso"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/directory"
)

// withVCenter is a service whose passwords a simulated vCenter proves.
func withVCenter(t *testing.T, limits guard.Limits) (*fixture, *vcentertest.VCenter) {
	t.Helper()
	v := vcentertest.Run(t, vcentertest.Options{
		Inventory: func(context.Context, *vcentertest.Builder) error { return nil },
		Users: append(vcentertest.SampleUsers(), directory.User{
			Name: "jdoe@corp.example.com", Alias: "jdoe@corp", PrincipalName: "john.doe@example.com",
			Password: vcentertest.SamplePassword,
		}),
		Groups: vcentertest.SampleGroups(),
	})
	f := newFixture(t, func(s *Service) {
		s.Limits = limits
		credentials := v.CredentialsFile(t)
		connection, err := vcenter.NewSession(vcenter.Config{
			URL: v.URL(), CredentialsFile: credentials, CAFile: v.CAFile(t), CallTimeout: 5 * time.Second, Logger: s.Logger,
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = connection.Run(ctx)
		}()
		t.Cleanup(func() { cancel(); <-done })
		if _, err := connection.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		prover := &sso.Prover{
			Session: connection, CredentialsFile: credentials, Logger: s.Logger,
			Providers: &sso.IdentityProviders{Session: &vcenter.RESTSession{Session: connection}, Clock: s.Clock},
		}
		s.Prover, s.Accounts = prover, prover
	})
	return f, v
}

// claimsOf logs in and returns what the token says.
func (f *fixture) claimsOf(user string) (token.Claims, int) {
	f.Helper()
	got := f.login(user, vcentertest.SamplePassword, "")
	if got.Status != 200 {
		return token.Claims{}, got.Status
	}
	var answer struct {
		Session string `json:"session_id"`
	}
	decode(f.T, got.Body, &answer)
	claims, err := f.Tokens.Verify(answer.Session, token.Audience)
	if err != nil {
		f.Fatal(err)
	}
	return claims, got.Status
}

func TestPeopleOfASimulatedVCenter(t *testing.T) {
	f, v := withVCenter(t, guard.Limits{})
	groups := map[string][]string{
		"dev-a@vsphere.local":   {"Everyone@vsphere.local", "team-a-editors@vsphere.local"},
		"owner-b@vsphere.local": {"Everyone@vsphere.local"},
		"viewer@vsphere.local":  {"Everyone@vsphere.local", "auditors@vsphere.local", "team-a-viewers@vsphere.local"},
		"nobody@vsphere.local":  {"Everyone@vsphere.local"},
	}
	for user, want := range groups {
		claims, status := f.claimsOf(user)
		if diff := cmp.Diff(want, claims.Groups); diff != "" || claims.Subject != user {
			t.Errorf("%s: %d, subject %q, groups (-want +got):\n%s", user, status, claims.Subject, diff)
		}
	}
	d := v.Directory()
	const odd = ` <&>"':]]> ü漢 {}\%00 `
	if err := d.Add(directory.User{Name: "O'Neil <x>&y@vsphere.local", Password: odd}); err != nil {
		t.Fatal(err)
	}
	if got := f.login("o'neil <x>&y@vsphere.local", odd, ""); got.Status != 200 {
		t.Errorf("odd characters: %+v", got)
	}
	d.Leave("team-a-viewers@vsphere.local", "viewer@vsphere.local")
	if claims, _ := f.claimsOf("VIEWER@vsphere.local"); !cmp.Equal(claims.Groups, []string{"Everyone@vsphere.local"}) ||
		claims.Subject != "viewer@vsphere.local" {
		t.Errorf("out of the group: %+v", claims)
	}
	if err := d.Disable("dev-a@vsphere.local", true); err != nil {
		t.Fatal(err)
	}
	d.Remove("owner-b@vsphere.local")
	for _, user := range []string{"dev-a@vsphere.local", "owner-b@vsphere.local"} {
		if _, status := f.claimsOf(user); status != 401 {
			t.Errorf("%s, who is gone: %d", user, status)
		}
	}
	d.Forge("administrator@vsphere.local")
	if claims, _ := f.claimsOf("nobody@vsphere.local"); claims.Subject != "nobody@vsphere.local" ||
		len(claims.Groups) != 0 {
		t.Errorf("with a canned assertion: %+v", claims)
	}
	v.Stop()
	if _, status := f.claimsOf("viewer@vsphere.local"); status != 503 {
		t.Errorf("vCenter is away: %d", status)
	}
}

// However hard somebody guesses by way of this service, vCenter does not lock
// the account, and the owner can log in by way of vCenter.
func TestGuessingDoesNotLockTheAccountInVCenter(t *testing.T) {
	f, v := withVCenter(t, guard.Limits{})
	if _, status := f.claimsOf("viewer@vsphere.local"); status != 200 {
		t.Fatal(status)
	}
	v.ResetLogins()
	counts := map[int]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, user := range []string{"viewer@vsphere.local", "Viewer@VSPHERE.LOCAL", `vsphere.local\VIEWER`,
		"viewer@vsphere.local"} {
		all.Go(func() {
			for range 10 {
				got := f.login(user, "guess", "")
				mu.Lock()
				counts[got.Status]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if diff := cmp.Diff(map[int]int{401: 4, 429: 36}, counts); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if n := v.Logins().Refused; n != 4 || v.Directory().Locked("viewer@vsphere.local") {
		t.Errorf("vCenter saw %d failures, the account is locked: %v", n, v.Directory().Locked("viewer@vsphere.local"))
	}
	if _, status := f.claimsOf("nobody@vsphere.local"); status != 200 {
		t.Errorf("another user from the same address: %d", status)
	}
}

// Nobody locks an account by guessing at it under all the names that it has: the account
// name, the short name of the domain, the UPN. Its owner logs in by any of them.
func TestGuessingUnderSeveralNamesDoesNotLockTheAccount(t *testing.T) {
	names := []string{"jdoe@corp.example.com", `CORP\jdoe`, "jdoe@CORP", "john.doe@example.com", "John.Doe@EXAMPLE.com"}
	for _, told := range []bool{true, false} {
		t.Run(fmt.Sprintf("the directory may be asked: %v", told), func(t *testing.T) {
			f, v := withVCenter(t, guard.Limits{})
			if !told {
				v.AddFault(vcentertest.Fault{Method: "FindUser", Fault: &types.NoPermission{PrivilegeId: "x"}})
			}
			counts := map[int]int{}
			for range 4 {
				for _, name := range names {
					counts[f.login(name, "guess", "").Status]++
				}
			}
			if refused := v.Logins().Refused; refused > 4 || counts[401] != refused || counts[401]+counts[429] != 20 {
				t.Errorf("vCenter refused %d; answers %v", refused, counts)
			}
			if v.Directory().Locked("jdoe@corp.example.com") {
				t.Error("vCenter has locked the account")
			}
		})
	}
	for _, name := range names {
		f, _ := withVCenter(t, guard.Limits{})
		if claims, status := f.claimsOf(name); status != 200 || claims.Subject != "jdoe@corp.example.com" {
			t.Errorf("%s: %d, %q", name, status, claims.Subject)
		}
	}
}

func TestAFederatedDomainSaysSo(t *testing.T) {
	f, v := withVCenter(t, guard.Limits{})
	v.SetIdentityProviders(vcentertest.IdentityProvider{Name: "Okta", Type: "Oidc", Domains: []string{"federated.test"}})
	if got := f.login("jdoe@federated.test", rightPassword, ""); got.Status != 403 ||
		!strings.Contains(got.Body, `"reason":"FederatedDomain"`) {
		t.Errorf("%+v", got)
	}
	if got := f.login("viewer@vsphere.local", wrongPassword, ""); got.Status != 401 || got.Body != constantBody {
		t.Errorf("of another domain: %+v", got)
	}
}
