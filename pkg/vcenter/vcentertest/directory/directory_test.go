// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"context"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/ssoadmin"
	"github.com/vmware/govmomi/ssoadmin/methods"
	sso "github.com/vmware/govmomi/ssoadmin/types"
	"github.com/vmware/govmomi/sts"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/directory"
)

// stranger is a client that has not logged in.
func stranger(t *testing.T, v *vcentertest.VCenter) *vim25.Client {
	t.Helper()
	c := soap.NewClient(v.URL(), false)
	c.SetThumbprint(v.Addr(), v.Thumbprint())
	client, err := vim25.NewClient(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// refused requires a fault of a type.
func refused[F types.BaseMethodFault](t *testing.T, err error) {
	t.Helper()
	var want F
	if !fault.Is(err, want) {
		t.Errorf("error %v, want a %T", err, want)
	}
}

// tokens is the token service at its real path.
func tokens(c *vim25.Client) *sts.Client {
	s := c.NewServiceClient(directory.TokenServicePath, sts.Namespace)
	return &sts.Client{Client: s, RoundTripper: s}
}

func issue(t *testing.T, c *vim25.Client, user, password string) *sts.Signer {
	t.Helper()
	signer, err := tokens(c).Issue(t.Context(), sts.TokenRequest{Userinfo: url.UserPassword(user, password)})
	if err != nil {
		t.Fatalf("issue a token for %s: %v", user, err)
	}
	return signer
}

// administration is the administration service, logged in to with an assertion.
func administration(t *testing.T, v *vcentertest.VCenter, signer *sts.Signer) (*ssoadmin.Client, error) {
	t.Helper()
	client, err := v.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := client.NewServiceClient("/sso-adminserver/sdk/vsphere.local", ssoadmin.Namespace)
	admin := &ssoadmin.Client{Client: c, RoundTripper: c, Domain: "vsphere.local", Limit: 100}
	content, err := methods.SsoAdminServiceInstance(t.Context(), admin,
		&sso.SsoAdminServiceInstance{This: ssoadmin.ServiceInstance})
	if err != nil {
		t.Fatal(err)
	}
	admin.ServiceContent = content.Returnval
	check, err := methods.SsoGroupcheckServiceInstance(t.Context(), admin, &sso.SsoGroupcheckServiceInstance{
		This: types.ManagedObjectReference{Type: "SsoGroupcheckServiceInstance", Value: "ServiceInstance"}})
	if err != nil {
		t.Fatal(err)
	}
	admin.GroupCheck = check.Returnval
	return admin, admin.Login(admin.WithHeader(t.Context(), soap.Header{Security: signer}))
}

func TestUsersLogIn(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	try := func(user, password string) (string, error) {
		m := session.NewManager(stranger(t, v))
		if err := m.Login(t.Context(), url.UserPassword(user, password)); err != nil {
			return "", err
		}
		s, err := m.UserSession(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.UserName, nil
	}
	for _, user := range append(vcentertest.SampleUsers(),
		directory.User{Name: vcentertest.DefaultUsername, Password: vcentertest.DefaultPassword}) {
		if _, err := try(user.Name, user.Password); err != nil {
			t.Errorf("login of %s: %v", user.Name, err)
		}
		_, err := try(user.Name, user.Password+"x")
		refused[*types.InvalidLogin](t, err)
		_, err = try(user.Name, "")
		refused[*types.InvalidLogin](t, err)
	}
	got, err := try("DEV-A@vsphere.LOCAL", vcentertest.SamplePassword)
	if err != nil || got != `VSPHERE.LOCAL\dev-a` {
		t.Errorf("the session is in the name %q (%v), want vCenter's spelling", got, err)
	}

	d := v.Directory()
	if err := d.Disable("dev-a@vsphere.local", true); err != nil {
		t.Fatal(err)
	}
	_, err = try("dev-a@vsphere.local", vcentertest.SamplePassword)
	refused[*types.InvalidLogin](t, err)
	d.Remove("viewer@vsphere.local")
	_, err = try("viewer@vsphere.local", vcentertest.SamplePassword)
	refused[*types.InvalidLogin](t, err)
	for range directory.LockoutAttempts {
		_, _ = try("owner-b@vsphere.local", "wrong")
		_, _ = try(vcentertest.DefaultUsername, "wrong")
	}
	if !d.Locked("owner-b@vsphere.local") {
		t.Error("five wrong passwords lock nobody")
	}
	_, err = try("owner-b@vsphere.local", vcentertest.SamplePassword)
	refused[*types.InvalidLogin](t, err)
	if _, err := try(vcentertest.DefaultUsername, vcentertest.DefaultPassword); err != nil {
		t.Errorf("the administrator was locked: %v", err)
	}
}

func TestTokenServiceChecksThePassword(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	c := stranger(t, v)
	for user, password := range map[string]string{"viewer@vsphere.local": "wrong",
		"stranger@vsphere.local": vcentertest.SamplePassword, "": ""} {
		if _, err := tokens(c).Issue(t.Context(), sts.TokenRequest{Userinfo: url.UserPassword(user, password),
			KeyType: "Bearer"}); err == nil {
			t.Errorf("an assertion for %q with a wrong password", user)
		}
	}
	signer := issue(t, c, "viewer@vsphere.local", vcentertest.SamplePassword)
	m := session.NewManager(c)
	if err := m.LoginByToken(c.WithHeader(t.Context(), soap.Header{Security: signer})); err != nil {
		t.Errorf("log in with an assertion: %v", err)
	}
	made := *signer
	made.Token = `<saml2:Assertion xmlns:saml2="urn:oasis:names:tc:SAML:2.0:assertion" ` +
		`ID="_1"><saml2:Subject><saml2:NameID>` +
		vcentertest.DefaultUsername + `</saml2:NameID></saml2:Subject></saml2:Assertion>`
	other := stranger(t, v)
	err := session.NewManager(other).LoginByToken(other.WithHeader(t.Context(), soap.Header{Security: &made}))
	refused[*types.InvalidLogin](t, err)
	_, err = administration(t, v, &made)
	refused[*types.InvalidLogin](t, err)
	err = rest.NewClient(stranger(t, v)).LoginByToken(rest.NewClient(c).WithSigner(t.Context(), &made))
	if err == nil {
		t.Error("the REST endpoints take an assertion that was made up")
	}
}

func TestNestedGroupsAreFound(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	admin, err := administration(t, v, issue(t, stranger(t, v), vcentertest.DefaultUsername, vcentertest.DefaultPassword))
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	viewer := sso.PrincipalId{Name: "Viewer", Domain: "vsphere.local"}
	groups := func() []string {
		t.Helper()
		found, err := admin.FindParentGroups(ctx, viewer)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, id := range found {
			names = append(names, id.Name+"@"+id.Domain)
		}
		return names
	}
	if diff := cmp.Diff([]string{"auditors@vsphere.local", "team-a-viewers@vsphere.local"}, groups()); diff != "" {
		t.Errorf("groups of the viewer (-want +got):\n%s", diff)
	}
	user, err := admin.FindPersonUser(ctx, "VIEWER@vsphere.local")
	if err != nil || user == nil || user.Id.Name != "viewer" {
		t.Errorf("the viewer is %+v, %v", user, err)
	}
	if err := admin.CreateGroup(ctx, "night-shift", sso.AdminGroupDetails{}); err != nil {
		t.Fatal(err)
	}
	if err := admin.AddUsersToGroup(ctx, "night-shift", viewer); err != nil {
		t.Fatal(err)
	}
	if err := admin.RemoveUsersFromGroup(ctx, "team-a-viewers", viewer); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"night-shift@vsphere.local"}, groups()); diff != "" {
		t.Errorf("groups of the viewer after a change (-want +got):\n%s", diff)
	}
	if err := admin.Logout(ctx); err != nil {
		t.Fatal(err)
	}
	_, err = admin.FindParentGroups(ctx, viewer)
	refused[*types.NotAuthenticated](t, err)
}
