// SPDX-License-Identifier: Apache-2.0

package sso

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/ssoadmin/types"
	"github.com/vmware/govmomi/sts"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	vim "github.com/vmware/govmomi/vim25/types"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
)

// maxGroups bounds what one user can cost: a token holds all of them, and a
// request header carries the token.
const maxGroups = 2000

// Session is what a Prover needs of vcenter.Session: whether vCenter is there,
// which one it is and how it is recognised.
type Session interface {
	Do(ctx context.Context, operation string, f func(context.Context, *vim25.Client) error) error
}

// Prover proves passwords. Its methods may be called at the same time.
type Prover struct {
	Session Session
	// CredentialsFile holds this server's own account, as vcenter.Config's. The
	// directory is read with it.
	CredentialsFile string
	// DomainAliases are other names of domains, in lower case, as of CORP for
	// corp.example.com.
	DomainAliases map[string]string
	// Providers knows which domains' people log in at an identity provider. Nil:
	// nobody does.
	Providers interface {
		Federates(ctx context.Context, domain string) (bool, error)
	}
	Logger klog.Logger
	Clock  clock.PassiveClock // Nil: the real one.

	mu sync.Mutex // Guards base and paths.
	// paths of the services, as base's vCenter has them.
	base  *vim25.Client
	paths paths

	own account

	openMu sync.Mutex // Guards opened.
	opened *directory // Nil: there is no login to the directory.
}

// paths are where vCenter serves single sign-on.
type paths struct{ tokens, administration string }

// Authenticate proves username's password, and returns the name, as user@domain
// with the domain in lower case and the user as the directory spells it, and
// the groups, name@domain, sorted, nested ones too. The error wraps
// failure.Unauthenticated when vCenter refused, and is a *FederatedError too when
// nobody of that domain has a password there; it wraps failure.Forbidden when vCenter
// knows the user but lets them in nowhere and could not say who they are, and
// failure.Unavailable or failure.Timeout when it could not be asked.
func (p *Prover) Authenticate(ctx context.Context, username,
	password string) (name string, groups []string, err error) {
	wanted, ok := parse(username)
	if !ok || password == "" {
		// An empty password is never sent: directories may take it for an
		// anonymous bind.
		return "", nil, fmt.Errorf("prove a password: %w", failure.Unauthenticated)
	}
	base, err := p.connect(ctx)
	if err != nil {
		return "", nil, err
	}
	client, err := newConversation(ctx, base)
	if err != nil {
		return "", nil, fmt.Errorf("connect to vCenter to prove a password: %w", away(err))
	}
	defer client.close(ctx)

	user := url.UserPassword(username, password)
	known, shutOut, err := client.login(ctx, user, wanted)
	if err != nil {
		if errors.Is(err, failure.Unauthenticated) && p.federates(ctx, wanted.Domain) {
			err = &FederatedError{Domain: p.domain(wanted.Domain), cause: err}
		}
		return "", nil, fmt.Errorf("prove a password to vCenter: %w", err)
	}
	known.Domain = p.domain(known.Domain)

	subject, groups, err := p.assertion(ctx, base, client, user)
	if err == nil && (same(subject, known) || same(subject, wanted) && strings.EqualFold(known.Name, wanted.Name)) {
		// vCenter may call the domain by a short name where the token service uses
		// the one that was asked for.
		return p.answer(subject, groups)
	}
	asserted := err == nil
	if asserted {
		err = fmt.Errorf("the assertion is for %q, who did not log in: that was %q", format(subject), format(known))
	}
	if shutOut && !asserted {
		// vCenter says that the password is right and its owner has no role. It
		// is a second proof that is missing, so no.
		return "", nil, nobodyVouches(known, err)
	}
	p.Logger.V(1).Info("The token service did not say who a user is, so the directory is asked",
		"user", format(known), "reason", err.Error())
	account, listed, lookUp := p.lookUp(ctx, base, known, wanted)
	switch {
	case lookUp == nil && asserted && same(subject, account):
		// Another name of theirs, such as the UPN. The assertion tells of more groups.
		return p.answer(account, groups)
	case shutOut:
		return "", nil, nobodyVouches(known, errors.Join(err, lookUp))
	case lookUp != nil:
		return "", nil, fmt.Errorf("read the groups of %q: %w", format(known), lookUp)
	}
	return p.answer(account, listed)
}

// nobodyVouches is the error of somebody who has a password and no role in vCenter,
// and of whom the token service did not say who they are.
func nobodyVouches(known types.PrincipalId, why error) error {
	return fmt.Errorf("read who %q is: vCenter gives them no role, and the token service did not vouch for them (%w): %w",
		format(known), opaque{why}, failure.Forbidden)
}

// domain is how a domain is called that has several names.
func (p *Prover) domain(name string) string {
	if real, ok := p.DomainAliases[strings.ToLower(name)]; ok {
		return strings.ToLower(real)
	}
	return name
}

// federates says whether a domain's people log in at an identity provider, as far as
// vCenter tells.
func (p *Prover) federates(ctx context.Context, domain string) bool {
	if p.Providers == nil {
		return false
	}
	federates, err := p.Providers.Federates(ctx, p.domain(domain))
	if err != nil {
		p.Logger.V(1).Info("It is not known whether vCenter has identity providers", "reason", err.Error())
	}
	return federates
}

func (p *Prover) answer(subject types.PrincipalId, groups []string) (string, []string, error) {
	slices.Sort(groups)
	groups = slices.Compact(groups)
	if len(groups) > maxGroups {
		return "", nil, fmt.Errorf("%q is in %d groups, more than the %d that a token can hold: %w",
			format(subject), len(groups), maxGroups, failure.Forbidden)
	}
	return format(subject), groups, nil
}

func (p *Prover) now() time.Time {
	if p.Clock == nil {
		return time.Now()
	}
	return p.Clock.Now()
}

// connect returns the client of this server's own login. Only its address, its
// way to verify vCenter and its cookies are used; errors of what is asked with
// it are not the session's, so they do not pass through Do, which would end it.
func (p *Prover) connect(ctx context.Context) (*vim25.Client, error) {
	var base *vim25.Client
	err := p.Session.Do(ctx, "prove a password", func(_ context.Context, client *vim25.Client) error {
		base = client
		return nil
	})
	if err != nil {
		return nil, away(err)
	}
	return base, nil
}

// services returns the paths of single sign-on, which hold the name of its
// system domain. Only the paths are believed.
func (p *Prover) services(ctx context.Context, base *vim25.Client) paths {
	p.mu.Lock()
	known, found := p.base, p.paths
	p.mu.Unlock()
	if known == base {
		return found
	}
	found = paths{
		tokens:         p.option(ctx, base, "config.vpxd.sso.sts.uri", sts.Path),
		administration: p.option(ctx, base, "config.vpxd.sso.admin.uri", "/sso-adminserver/sdk/vsphere.local"),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.base, p.paths = base, found
	return found
}

func (p *Prover) option(ctx context.Context, base *vim25.Client, key, missing string) string {
	if base.ServiceContent.Setting == nil {
		return missing
	}
	values, err := object.NewOptionManager(base, *base.ServiceContent.Setting).Query(ctx, key)
	if err != nil || len(values) != 1 {
		return missing
	}
	text, _ := values[0].GetOptionValue().Value.(string)
	if u, err := url.Parse(text); err == nil && len(u.Path) > 1 && u.Path[0] == '/' {
		return u.Path
	}
	return missing
}

// assertion has the token service issue an assertion for the user.
func (p *Prover) assertion(ctx context.Context, base *vim25.Client, client *conversation,
	user *url.Userinfo) (types.PrincipalId, []string, error) {
	service := client.service(p.services(ctx, base).tokens, sts.Namespace)
	signer, err := (&sts.Client{Client: service, RoundTripper: service}).Issue(ctx, sts.TokenRequest{Userinfo: user})
	if err != nil {
		return types.PrincipalId{}, nil, fmt.Errorf("ask the token service: %w", vcenter.Translate(err))
	}
	return readAssertion(signer.Token, p.now())
}

// conversation is a client of its own, so that a user's login and this server's
// never share a cookie.
type conversation struct {
	*vim25.Client
	in bool
}

func newConversation(ctx context.Context, base *vim25.Client) (*conversation, error) {
	client := soap.NewClient(base.URL(), false)
	client.UserAgent = "pacific"
	transport, verified := client.DefaultTransport(), base.Client.DefaultTransport()
	transport.TLSClientConfig = verified.TLSClientConfig.Clone()
	// The library's own function falls back to thumbprints of its own.
	transport.DialTLSContext = nil
	transport.DialContext = verified.DialContext
	vc, err := vim25.NewClient(ctx, client)
	if err != nil {
		client.CloseIdleConnections()
		return nil, vcenter.Translate(err)
	}
	return &conversation{Client: vc}, nil
}

// service is a client of the same host, with the same verification, for
// another of its services.
func (c *conversation) service(path, namespace string) *soap.Client {
	return c.NewServiceClient(path, namespace)
}

// login returns who vCenter says has logged in. shutOut: the password is right,
// but its owner has no role in vCenter, as developers often have not; then it
// does not say who they are.
func (c *conversation) login(ctx context.Context, user *url.Userinfo,
	wanted types.PrincipalId) (known types.PrincipalId, shutOut bool, err error) {
	password, _ := user.Password()
	answer, err := methods.Login(ctx, c, &vim.Login{
		This: *c.ServiceContent.SessionManager, UserName: user.Username(), Password: password, Locale: session.Locale,
	})
	if err != nil {
		var holder interface{ Fault() vim.BaseMethodFault }
		if errors.As(err, &holder) {
			if _, is := holder.Fault().(*vim.NoPermission); is {
				return wanted, true, nil
			}
		}
		if err = vcenter.Translate(err); !errors.Is(err, failure.Unauthenticated) {
			err = away(err)
		}
		return known, false, err
	}
	c.in = true
	known, ok := parse(answer.Returnval.UserName)
	if !ok {
		return known, false, away(errors.New("vCenter does not say who has logged in"))
	}
	return known, false, nil
}

// close ends the login, so that no session of the user's outlives the proof.
func (c *conversation) close(ctx context.Context) {
	if c.in {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		// A login that cannot be ended expires in vCenter by itself.
		_, _ = methods.Logout(ctx, c, &vim.Logout{This: *c.ServiceContent.SessionManager})
	}
	c.CloseIdleConnections()
}

// away makes an error failure.Unavailable, whatever else it was: that this
// server's own login or request failed says nothing about the user's password.
func away(err error) error {
	if errors.Is(err, failure.Timeout) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", opaque{err}, failure.Timeout)
	}
	return fmt.Errorf("%w: %w", opaque{err}, failure.Unavailable)
}

// opaque keeps the text of an error and hides its kinds.
type opaque struct{ err error }

func (o opaque) Error() string { return o.err.Error() }
