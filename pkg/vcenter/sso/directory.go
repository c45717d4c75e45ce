// SPDX-License-Identifier: Apache-2.0

package sso

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/ssoadmin"
	"github.com/vmware/govmomi/ssoadmin/methods"
	"github.com/vmware/govmomi/ssoadmin/types"
	"github.com/vmware/govmomi/sts"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/soap"
	vim "github.com/vmware/govmomi/vim25/types"
	"sigs.k8s.io/yaml"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
)

const (
	// maxWalk bounds how many groups are asked for the groups that they are in.
	maxWalk = 64
	// refusalDelay is how long an account that was refused is left alone, so
	// that vCenter does not lock it.
	refusalDelay = 10 * time.Minute
	// signerAge is how long an assertion is used, which vCenter issues for 5 min.
	signerAge = 3 * time.Minute
	// directoryAge is how long a login to the directory is used.
	directoryAge = 10 * time.Minute
)

// Account returns the one name, as user@domain in the directory's spelling, of the
// account that a user name means: by its account name, by the short name of its domain
// or by its UPN. Single sign-on finds an account for a login and for this question in
// one way. The error wraps failure.NotFound when there is none, and failure.Unavailable
// or failure.Timeout when the directory could not be asked.
func (p *Prover) Account(ctx context.Context, username string) (string, error) {
	wanted, ok := parse(username)
	if !ok {
		return "", fmt.Errorf("find an account: the user name is not like user@domain: %w", failure.NotFound)
	}
	base, err := p.connect(ctx)
	if err != nil {
		return "", fmt.Errorf("find the account of %q: %w", format(wanted), err)
	}
	var account types.PrincipalId
	err = p.ask(ctx, base, func(d *directory) (err error) {
		account, err = d.account(ctx, wanted)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("find the account of %q: %w", format(wanted), err)
	}
	return format(account), nil
}

// lookUp reads a user's name, as the directory spells it, and groups with this
// server's own account. known is who vCenter says has logged in; wanted is what they
// called themselves, which must be a name of the same account.
func (p *Prover) lookUp(ctx context.Context, base *vim25.Client,
	known, wanted types.PrincipalId) (types.PrincipalId, []string, error) {
	account, groups := known, []string(nil)
	err := p.ask(ctx, base, func(d *directory) (err error) {
		if account, err = d.account(ctx, known); err != nil {
			return err
		}
		if !strings.EqualFold(known.Name, wanted.Name) {
			asked, err := d.account(ctx, wanted)
			if err != nil || !same(asked, account) {
				return away(errors.Join(fmt.Errorf("vCenter logged in %q, which is not who asked", format(account)), err))
			}
		}
		groups, err = d.groups(ctx, account)
		return err
	})
	switch {
	case errors.Is(err, failure.NotFound):
		// The password was right a moment ago, so they were removed since.
		return known, nil, failure.Unauthenticated
	case err != nil:
		return known, nil, away(fmt.Errorf("read the directory of single sign-on: %w", err))
	}
	return account, groups, nil
}

// account is what is known of this server's own account.
type account struct {
	mu sync.Mutex // Held while the token service is asked, so that one asks for all.
	// digest is of the content of the credentials file that the rest is about.
	digest [sha256.Size]byte
	// signer holds the account's assertion, which is used until then.
	signer *sts.Signer
	until  time.Time
	// refusedUntil is how long an account that was refused is left alone.
	refusedUntil time.Time
}

// signer returns an assertion of this server's own account.
func (p *Prover) signer(ctx context.Context, base *vim25.Client) (*sts.Signer, error) {
	content, err := os.ReadFile(p.CredentialsFile)
	if err != nil {
		return nil, fmt.Errorf("read vCenter's credentials: %w", err)
	}
	own := &p.own
	own.mu.Lock()
	defer own.mu.Unlock()
	if digest := sha256.Sum256(content); digest != own.digest {
		own.digest, own.signer, own.refusedUntil = digest, nil, time.Time{}
	}
	if own.signer != nil && p.now().Before(own.until) {
		return own.signer, nil
	}
	if p.now().Before(own.refusedUntil) {
		return nil, errors.New("the token service refused this server's own account a short while ago: " +
			"put the right credentials into the file")
	}
	var fields struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}
	// The parser's error is left out since it may quote the password.
	if yaml.UnmarshalStrict(content, &fields) != nil || fields.Username == "" || fields.Password == "" {
		return nil, fmt.Errorf("the credentials file %s is not YAML with the two keys username and password",
			p.CredentialsFile)
	}
	tokens := base.NewServiceClient(p.services(ctx, base).tokens, sts.Namespace)
	request := sts.TokenRequest{Userinfo: url.UserPassword(fields.Username, fields.Password)}
	signer, err := (&sts.Client{Client: tokens, RoundTripper: tokens}).Issue(ctx, request)
	if err != nil {
		if soap.IsSoapFault(err) {
			own.refusedUntil = p.now().Add(refusalDelay)
		}
		return nil, fmt.Errorf("ask the token service with this server's own account: %w", vcenter.Translate(err))
	}
	own.signer, own.until = signer, p.now().Add(signerAge)
	return signer, nil
}

// forget drops the assertion of this server's own account.
func (p *Prover) forget() {
	p.own.mu.Lock()
	defer p.own.mu.Unlock()
	p.own.signer = nil
}

// directory is a login to single sign-on's administration service. It is shared, as its
// cookie is: of two logins, the end of one would be the end of the other.
type directory struct {
	*ssoadmin.Client
	base  *vim25.Client
	until time.Time
}

// ask runs f with the directory. Where vCenter has ended the login, it makes a new one
// and runs f once more.
func (p *Prover) ask(ctx context.Context, base *vim25.Client, f func(*directory) error) error {
	for again := false; ; again = true {
		d, err := p.open(ctx, base)
		if err != nil {
			return fmt.Errorf("log in to the directory of single sign-on: %w", err)
		}
		err = f(d)
		var holder interface{ Fault() vim.BaseMethodFault }
		if again || !errors.As(err, &holder) {
			return err
		}
		if _, gone := holder.Fault().(*vim.NotAuthenticated); !gone {
			return err
		}
		p.openMu.Lock()
		if p.opened == d {
			p.opened = nil
		}
		p.openMu.Unlock()
	}
}

// open returns the login to the directory, a new one when it is getting old.
func (p *Prover) open(ctx context.Context, base *vim25.Client) (*directory, error) {
	p.openMu.Lock() // Held while logging in, so that one logs in for all.
	defer p.openMu.Unlock()
	if p.opened != nil && p.opened.base == base && p.now().Before(p.opened.until) {
		return p.opened, nil
	}
	if p.opened != nil {
		p.opened.close(ctx) // Whoever is using it asks again.
		p.opened = nil
	}
	signer, err := p.signer(ctx, base)
	if err != nil {
		return nil, err
	}
	client := base.NewServiceClient(p.services(ctx, base).administration, ssoadmin.Namespace)
	client.Version = ssoadmin.Version
	d := &directory{
		Client: &ssoadmin.Client{Client: client, RoundTripper: client}, base: base, until: p.now().Add(directoryAge),
	}
	if err := d.login(ctx, signer); err != nil {
		p.forget()
		return nil, vcenter.Translate(err)
	}
	p.opened = d
	return d, nil
}

func (d *directory) login(ctx context.Context, signer *sts.Signer) error {
	service, err := methods.SsoAdminServiceInstance(ctx, d, &types.SsoAdminServiceInstance{This: ssoadmin.ServiceInstance})
	if err != nil {
		return err
	}
	d.ServiceContent = service.Returnval
	check, err := methods.SsoGroupcheckServiceInstance(ctx, d, &types.SsoGroupcheckServiceInstance{
		This: vim.ManagedObjectReference{Type: "SsoGroupcheckServiceInstance", Value: "ServiceInstance"},
	})
	if err != nil {
		return err
	}
	d.GroupCheck = check.Returnval
	return d.Login(d.WithHeader(ctx, soap.Header{Security: signer}))
}

func (d *directory) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	// A login that cannot be ended expires by itself.
	_ = d.Logout(ctx)
}

// account returns the account that a name means. The error wraps failure.NotFound when
// there is none.
func (d *directory) account(ctx context.Context, name types.PrincipalId) (types.PrincipalId, error) {
	found, err := methods.FindUser(ctx, d, &types.FindUser{This: d.ServiceContent.PrincipalDiscoveryService, UserId: name})
	if err != nil {
		return name, vcenter.Translate(err)
	}
	if found.Returnval == nil {
		return name, failure.NotFound
	}
	account, ok := canonical(found.Returnval.Id)
	if !ok {
		return name, fmt.Errorf("the directory of single sign-on found %q", format(found.Returnval.Id))
	}
	return account, nil
}

// groups returns the groups that a user is in. vCenter answers with nested ones
// too; where it did not, they are found by walking up.
func (d *directory) groups(ctx context.Context, user types.PrincipalId) ([]string, error) {
	next, err := d.FindParentGroups(ctx, user)
	if err != nil {
		return nil, vcenter.Translate(err)
	}
	seen := map[string]bool{}
	var names []string
	take := func(id types.PrincipalId) bool {
		id, ok := canonical(id)
		if !ok || seen[format(id)] || len(names) > maxGroups {
			return false
		}
		seen[format(id)] = true
		names = append(names, format(id))
		return true
	}
	for _, id := range next {
		take(id)
	}
	for walked := 0; walked < maxWalk && walked < len(next); walked++ {
		parents, err := methods.FindDirectParentGroups(ctx, d, &types.FindDirectParentGroups{
			This: d.ServiceContent.PrincipalDiscoveryService, PrincipalId: next[walked],
		})
		if err != nil {
			var holder interface{ Fault() vim.BaseMethodFault }
			if errors.As(err, &holder) {
				switch holder.Fault().(type) {
				case *vim.MethodNotFound, *vim.NotFound, *vim.NotSupported:
					// Groups of a foreign directory, or a vCenter that does not tell.
					continue
				}
			}
			return nil, vcenter.Translate(err)
		}
		for _, parent := range parents.Returnval {
			if take(parent.Id) {
				next = append(next, parent.Id)
			}
		}
	}
	return names, nil
}
