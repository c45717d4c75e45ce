// SPDX-License-Identifier: Apache-2.0

package sso_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/vim25"
	vim "github.com/vmware/govmomi/vim25/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/sso"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/directory"
	"github.com/openpacific/pacific/pkg/waittest"
)

func nothing(context.Context, *vcentertest.Builder) error { return nil }

// newProver is a prover over a running session.
func newProver(t *testing.T, v *vcentertest.VCenter, log *waittest.Output) *sso.Prover {
	t.Helper()
	credentials := v.CredentialsFile(t)
	s, err := vcenter.NewSession(vcenter.Config{URL: v.URL(), CredentialsFile: credentials, CAFile: v.CAFile(t),
		KeepAlive: 50 * time.Millisecond, CallTimeout: 5 * time.Second, Logger: log.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	if _, err := s.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &sso.Prover{Session: s, CredentialsFile: credentials, Logger: log.Logger()}
}

// answer is what a prover said, in a form to compare.
type answer struct {
	Name   string
	Groups []string
	Kind   failure.Kind
}

func prove(t *testing.T, p *sso.Prover, username, password string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	name, groups, err := p.Authenticate(ctx, username, password)
	return answer{name, groups, failure.KindOf(err)}
}

const password = vcentertest.SamplePassword

var viewer = answer{Name: "viewer@vsphere.local", Groups: []string{"Everyone@vsphere.local", "auditors@vsphere.local",
	"team-a-viewers@vsphere.local"}}

func TestProve(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: nothing})
	p := newProver(t, v, &waittest.Output{})
	refused := answer{Kind: failure.Unauthenticated}
	tests := []struct {
		name, username, password string
		want                     answer
	}{
		{"a viewer by a nested group", "viewer@vsphere.local", password, viewer},
		{"another spelling is one identity", "VIEWER@VSPHERE.LOCAL", password, viewer},
		{"the old spelling too", `VSPHERE.LOCAL\viewer`, password, viewer},
		{"the administrator", vcentertest.DefaultUsername, vcentertest.DefaultPassword,
			answer{Name: "administrator@vsphere.local", Groups: []string{"Administrators@vsphere.local",
				"Everyone@vsphere.local"}}},
		{"a wrong password", "nobody@vsphere.local", "wrong", refused},
		{"another's password", "nobody@vsphere.local", vcentertest.DefaultPassword, refused},
		{"an unknown user", "stranger@vsphere.local", password, refused},
		{"no password", "viewer@vsphere.local", "", refused},
		{"no domain", "viewer", password, refused},
		{"no name", "@vsphere.local", password, refused},
		{"a line break in the name", "viewer\n@vsphere.local", password, refused},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, prove(t, p, test.username, test.password)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAWrongPasswordCountsOnce(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: nothing})
	p := newProver(t, v, &waittest.Output{})
	for range 4 { // one less than locks
		if got := prove(t, p, "viewer@vsphere.local", "wrong"); got.Kind != failure.Unauthenticated {
			t.Fatalf("a wrong password: %+v", got)
		}
	}
	if diff := cmp.Diff(viewer, prove(t, p, "viewer@vsphere.local", password)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A canned assertion for someone else gives nobody their name or groups.
func TestACannedAssertionForSomeoneElse(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: nothing})
	log := &waittest.Output{}
	p := newProver(t, v, log)
	v.Directory().Forge("Administrator@vsphere.local")
	// The directory does not tell of Everyone.
	want := answer{Name: "viewer@vsphere.local", Groups: []string{"auditors@vsphere.local",
		"team-a-viewers@vsphere.local"}}
	if diff := cmp.Diff(want, prove(t, p, "VIEWER@vsphere.local", password)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := prove(t, p, "viewer@vsphere.local", "wrong"); got.Kind != failure.Unauthenticated {
		t.Errorf("an assertion for anybody made a wrong password right: %+v", got)
	}
	if !strings.Contains(log.String(), "who did not log in") {
		t.Errorf("the log does not say why the directory was asked:\n%s", log)
	}
	v.Directory().Shallow(true)
	if diff := cmp.Diff(want, prove(t, p, "viewer@vsphere.local", password)); diff != "" {
		t.Errorf("groups found by walking (-want +got):\n%s", diff)
	}
	// Groups in a circle, and more than are walked.
	d := v.Directory()
	if err := errors.Join(d.Join("team-a-viewers@vsphere.local", "auditors@vsphere.local"),
		d.Join("auditors@vsphere.local", "auditors@vsphere.local")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, prove(t, p, "viewer@vsphere.local", password)); diff != "" {
		t.Errorf("groups in a circle (-want +got):\n%s", diff)
	}
}

// Active Directory's users have sessions in their domain's short name.
func TestShortNamesOfDomains(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: nothing, Users: []directory.User{
		{Name: "jdoe@corp.test", Alias: "jdoe@corp", Password: password, Groups: []string{"staff@corp.test"}},
		{Name: "jdoe@vsphere.local", Password: "another"},
	}})
	p := newProver(t, v, &waittest.Output{})
	staff := answer{Name: "jdoe@corp.test", Groups: []string{"Everyone@vsphere.local", "staff@corp.test"}}
	if diff := cmp.Diff(staff, prove(t, p, "jdoe@CORP.test", password)); diff != "" {
		t.Errorf("by the long name (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(staff, prove(t, p, `CORP\jdoe`, password)); diff != "" {
		t.Errorf("by the short name (-want +got):\n%s", diff)
	}
	v.Directory().Forge("jdoe@vsphere.local")
	staff.Groups = staff.Groups[1:] // The directory does not tell of Everyone.
	if diff := cmp.Diff(staff, prove(t, p, "jdoe@corp.test", password)); diff != "" {
		t.Errorf("with an assertion for a namesake (-want +got):\n%s", diff)
	}
}

// One account is one identity by whichever of its names somebody logs in, and a name
// of somebody else is none of them.
func TestPrincipalNames(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: nothing, Users: []directory.User{
		{Name: "jdoe@corp.test", Alias: "jdoe@corp", PrincipalName: "john.doe@example.test", Password: password,
			Groups: []string{"staff@corp.test"}},
		{Name: "msmith@corp.test", PrincipalName: "mary.smith@example.test", Password: password},
		{Name: "john.doe@corp.test", Password: "another"},
	}})
	p := newProver(t, v, &waittest.Output{})
	jdoe := answer{Name: "jdoe@corp.test", Groups: []string{"Everyone@vsphere.local", "staff@corp.test"}}
	for _, name := range []string{"john.doe@example.test", "John.Doe@EXAMPLE.test", `CORP\jdoe`, "jdoe@corp.test"} {
		if diff := cmp.Diff(jdoe, prove(t, p, name, password)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if account, err := p.Account(t.Context(), name); err != nil || account != "jdoe@corp.test" {
			t.Errorf("the account of %s: %q, %v", name, account, err)
		}
	}
	msmith := answer{Name: "msmith@corp.test", Groups: []string{"Everyone@vsphere.local"}}
	if diff := cmp.Diff(msmith, prove(t, p, "mary.smith@example.test", password)); diff != "" {
		t.Errorf("without a short name of the domain (-want +got):\n%s", diff)
	}
	// Without a role in vCenter, the token service alone says who it is.
	v.AddFault(vcentertest.Fault{Method: "Login", Fault: &vim.NoPermission{PrivilegeId: "System.View"}, Count: 1})
	if diff := cmp.Diff(msmith, prove(t, p, "mary.smith@example.test", password)); diff != "" {
		t.Errorf("without a role (-want +got):\n%s", diff)
	}
	v.ClearFaults()
	v.Directory().Forge("john.doe@corp.test")
	jdoe.Groups = jdoe.Groups[1:]
	if diff := cmp.Diff(jdoe, prove(t, p, "john.doe@example.test", password)); diff != "" {
		t.Errorf("with an assertion for a namesake (-want +got):\n%s", diff)
	}
	v.Directory().Forge("")
	if got := prove(t, p, "john.doe@example.test", "another"); got.Kind != failure.Unauthenticated {
		t.Errorf("with the password of a namesake: %+v", got)
	}
	// Where the directory cannot be read, the short name of the domain may be told: then
	// vCenter and the token service name the same account.
	p = newProver(t, v, &waittest.Output{})
	p.CredentialsFile = filepath.Join(t.TempDir(), "missing.yaml")
	if got := prove(t, p, "john.doe@example.test", password); got.Kind != failure.Unavailable {
		t.Errorf("by a name of which nobody can tell whose it is: %+v", got)
	}
	p.DomainAliases = map[string]string{"corp": "corp.test"}
	jdoe.Groups = []string{"Everyone@vsphere.local", "staff@corp.test"}
	if diff := cmp.Diff(jdoe, prove(t, p, "john.doe@example.test", password)); diff != "" {
		t.Errorf("with an alias of the domain (-want +got):\n%s", diff)
	}
}

func TestAccount(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: nothing})
	p := newProver(t, v, &waittest.Output{})
	kind := func(name string) failure.Kind {
		t.Helper()
		_, err := p.Account(t.Context(), name)
		if err == nil {
			t.Errorf("%s has an account", name)
		}
		return failure.KindOf(err)
	}
	if account, err := p.Account(t.Context(), `VSPHERE.LOCAL\VIEWER`); err != nil || account != "viewer@vsphere.local" {
		t.Errorf("%q, %v", account, err)
	}
	for _, name := range []string{"stranger@vsphere.local", "viewer@other.test", "viewer"} {
		if got := kind(name); got != failure.NotFound {
			t.Errorf("%s: %q", name, got)
		}
	}
	v.AddFault(vcentertest.Fault{Method: "FindUser", Fault: &vim.NoPermission{PrivilegeId: "x"}})
	if got := kind("viewer@vsphere.local"); got != failure.Forbidden {
		t.Errorf("without the right to ask: %q", got)
	}
	v.ClearFaults()
	v.Stop()
	if got := kind("viewer@vsphere.local"); got != failure.Unavailable {
		t.Errorf("without vCenter: %q", got)
	}
}

// Many ask at once, before and after vCenter has ended the login to the directory.
func TestManyAskAtOnce(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: nothing})
	p := newProver(t, v, &waittest.Output{})
	for range 2 {
		var all sync.WaitGroup
		for range 30 {
			all.Go(func() {
				if account, err := p.Account(t.Context(), "VIEWER@vsphere.local"); err != nil || account != "viewer@vsphere.local" {
					t.Errorf("%q, %v", account, err)
				}
			})
		}
		all.Wait()
		v.AddFault(vcentertest.Fault{Method: "FindUser", Fault: &vim.NotAuthenticated{}, Count: 1})
	}
}

// vCenter's refusal says so where nobody of the domain has a password there.
func TestFederatedDomains(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: nothing})
	log := &waittest.Output{}
	p := newProver(t, v, log)
	clock := clocktesting.NewFakePassiveClock(time.Now())
	p.Providers = &sso.IdentityProviders{Session: &vcenter.RESTSession{Session: p.Session.(*vcenter.Session)},
		Clock: clock}
	p.DomainAliases = map[string]string{"corp": "corp.test"}
	federated := func(name, password string) string {
		t.Helper()
		_, _, err := p.Authenticate(t.Context(), name, password)
		if !errors.Is(err, failure.Unauthenticated) {
			t.Errorf("%s: %v", name, err)
		}
		var elsewhere *sso.FederatedError
		if errors.As(err, &elsewhere) {
			return elsewhere.FederatedDomain()
		}
		return ""
	}
	if got := federated("jdoe@corp.test", password); got != "" {
		t.Errorf("without a provider: %s", got)
	}
	v.SetIdentityProviders(vcentertest.IdentityProvider{Name: "Okta", Type: "Oidc", Domains: []string{"Corp.test"}},
		vcentertest.IdentityProvider{Name: "AD over LDAP", Type: "LocalOs", Domains: []string{"vsphere.local"}})
	clock.SetTime(clock.Now().Add(time.Hour))
	for _, name := range []string{"jdoe@corp.test", "jdoe@CORP.TEST", `CORP\jdoe`} {
		if got := federated(name, password); got != "corp.test" && !strings.EqualFold(got, "corp.test") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := federated("viewer@vsphere.local", "wrong"); got != "" {
		t.Errorf("another domain: %s", got)
	}
	if diff := cmp.Diff(viewer, prove(t, p, "viewer@vsphere.local", password)); diff != "" {
		t.Errorf("somebody with a password (-want +got):\n%s", diff)
	}
}

func TestAUserWithoutAnyRoleInVCenter(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: nothing})
	p := newProver(t, v, &waittest.Output{})
	v.AddFault(vcentertest.Fault{Method: "Login", Fault: &vim.NoPermission{PrivilegeId: "System.View"}})
	if diff := cmp.Diff(viewer, prove(t, p, "viewer@vsphere.local", password)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Without the login nobody else's assertion will do, nor none.
	forbidden := answer{Kind: failure.Forbidden}
	if diff := cmp.Diff(forbidden, prove(t, p, "viewer@vsphere.local", "wrong")); diff != "" {
		t.Errorf("a password that the token service refuses (-want +got):\n%s", diff)
	}
	v.Directory().Forge("administrator@vsphere.local")
	if diff := cmp.Diff(forbidden, prove(t, p, "viewer@vsphere.local", password)); diff != "" {
		t.Errorf("an assertion for someone else (-want +got):\n%s", diff)
	}
}

func TestRemovedAndDisabledUsers(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: nothing})
	p := newProver(t, v, &waittest.Output{})
	d := v.Directory()
	refused := answer{Kind: failure.Unauthenticated}
	if got := prove(t, p, "dev-a@vsphere.local", password); got.Kind != "" {
		t.Fatalf("before: %+v", got)
	}
	if err := d.Disable("dev-a@vsphere.local", true); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(refused, prove(t, p, "dev-a@vsphere.local", password)); diff != "" {
		t.Errorf("disabled (-want +got):\n%s", diff)
	}
	d.Leave("team-a-viewers@vsphere.local", "viewer@vsphere.local")
	want := answer{Name: "viewer@vsphere.local", Groups: []string{"Everyone@vsphere.local"}}
	if diff := cmp.Diff(want, prove(t, p, "viewer@vsphere.local", password)); diff != "" {
		t.Errorf("out of the group (-want +got):\n%s", diff)
	}
	d.Remove("viewer@vsphere.local")
	if diff := cmp.Diff(refused, prove(t, p, "viewer@vsphere.local", password)); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
}

func TestVCenterAway(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: nothing})
	p := newProver(t, v, &waittest.Output{})
	v.Directory().Mute(true)
	if got := prove(t, p, "viewer@vsphere.local", password); got.Kind != failure.Unavailable {
		t.Errorf("without the token service: %+v", got)
	}
	v.Directory().Mute(false)
	v.AddFault(vcentertest.Fault{Method: "Login"}) // a SystemError
	if got := prove(t, p, "viewer@vsphere.local", password); got.Kind != failure.Unavailable {
		t.Errorf("with a failing vCenter: %+v", got)
	}
	v.ClearFaults()
	v.Stop()
	if got := prove(t, p, "viewer@vsphere.local", password); got.Kind != failure.Unavailable {
		t.Errorf("without vCenter: %+v", got)
	}
	if err := v.Restart(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		got := prove(t, p, "viewer@vsphere.local", password)
		if got.Kind == "" {
			break
		}
		if got.Kind == failure.Unauthenticated || time.Now().After(deadline) {
			t.Fatalf("after a restart: %+v", got)
		}
	}
}

// This server's own account is not locked by the logins of others, when the
// token service refuses it.
func TestOwnAccountRefused(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: nothing})
	p := newProver(t, v, &waittest.Output{})
	// Assertions look expired, so the directory is asked each time.
	p.Clock = clocktesting.NewFakePassiveClock(time.Now().Add(time.Hour))
	p.CredentialsFile = filepath.Join(t.TempDir(), "credentials.yaml")
	write := func(name, password string) {
		t.Helper()
		if err := os.WriteFile(p.CredentialsFile, []byte("username: "+name+"\npassword: "+password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("nobody@vsphere.local", "wrong")
	for range 10 {
		if got := prove(t, p, "viewer@vsphere.local", password); got.Kind != failure.Unavailable {
			t.Fatalf("%+v", got)
		}
	}
	if v.Directory().Locked("nobody@vsphere.local") {
		t.Error("the own account was locked")
	}
	write("nobody@vsphere.local", password)
	want := answer{Name: "viewer@vsphere.local", Groups: []string{"auditors@vsphere.local",
		"team-a-viewers@vsphere.local"}}
	if diff := cmp.Diff(want, prove(t, p, "viewer@vsphere.local", password)); diff != "" {
		t.Errorf("with the right credentials (-want +got):\n%s", diff)
	}
}

// fixed is a session with a client of the test's making.
type fixed struct{ client *vim25.Client }

func (f fixed) Do(ctx context.Context, _ string, g func(context.Context, *vim25.Client) error) error {
	return g(ctx, f.client)
}

// A password goes only to the vCenter that the session verified.
func TestTheUsersConnectionIsVerified(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: nothing})
	client, err := v.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v.ResetLogins()
	client.DefaultTransport().TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	p := &sso.Prover{Session: fixed{client.Client}, Logger: (&waittest.Output{}).Logger()}
	if got := prove(t, p, "viewer@vsphere.local", password); got.Kind != failure.Unavailable {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff(vcentertest.LoginCount{}, v.Logins()); diff != "" {
		t.Errorf("a password was sent to somebody unknown (-want +got):\n%s", diff)
	}
}

func TestNoSecretLeaks(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: nothing})
	log := &waittest.Output{}
	p := newProver(t, v, log)
	const canary = "c4nary-p4ssword"
	if err := v.Directory().SetPassword("viewer@vsphere.local", canary); err != nil {
		t.Fatal(err)
	}
	var errs []string
	note := func(password string) {
		if _, _, err := p.Authenticate(t.Context(), "viewer@vsphere.local", password); err != nil {
			errs = append(errs, err.Error())
		}
	}
	note(canary)
	note(canary + "-wrong")
	v.Directory().Forge("administrator@vsphere.local")
	note(canary)
	v.Directory().Forge("")
	v.Directory().Mute(true)
	note(canary)
	v.AddFault(vcentertest.Fault{Method: "Login"})
	note(canary)
	v.Stop()
	note(canary)
	if len(errs) != 3 { // This server's own assertion serves while the token service is mute.
		t.Errorf("%d errors, want 3: %q", len(errs), errs)
	}
	for _, secret := range []string{canary, vcentertest.DefaultPassword, "saml2:Assertion"} {
		if text := strings.Join(errs, "\n") + log.String(); strings.Contains(text, secret) {
			t.Errorf("%q leaks:\n%s", secret, text)
		}
	}
}
