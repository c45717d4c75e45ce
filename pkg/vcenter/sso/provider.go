// SPDX-License-Identifier: Apache-2.0

package sso

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/vapi/rest"
	"k8s.io/utils/clock"
)

// FederatedError says that vCenter refused a password, and that the people of the
// domain log in to it at an identity provider: so it knows no password of theirs.
type FederatedError struct {
	Domain string
	cause  error
}

func (e *FederatedError) Error() string {
	return fmt.Sprintf("the people of %s log in to vCenter at an identity provider: %v", e.Domain, e.cause)
}

// Unwrap returns vCenter's refusal.
func (e *FederatedError) Unwrap() error { return e.cause }

// FederatedDomain is the domain.
func (e *FederatedError) FederatedDomain() string { return e.Domain }

const (
	// providersPath lists the identity providers; vCenter has it since 7.0.
	providersPath = "/api/vcenter/identity/providers"
	// providersAge is how long the list is taken for true, and that it could not be
	// read.
	providersAge = 5 * time.Minute
)

// RESTSession is what IdentityProviders need of vcenter.RESTSession.
type RESTSession interface {
	Do(ctx context.Context, operation string, f func(context.Context, *rest.Client) error) error
}

// IdentityProviders are those that vCenter federates with: AD FS, Okta, Entra ID and
// so on. Its methods may be called at the same time.
type IdentityProviders struct {
	Session RESTSession
	Clock   clock.PassiveClock

	mu      sync.Mutex // Guards what follows; held while vCenter is asked.
	until   time.Time
	domains map[string]bool // in lower case
	err     error
}

// Federates says whether the people of a domain log in at an identity provider. The
// account needs the privilege VcIdentityProviders.Read for it.
func (p *IdentityProviders) Federates(ctx context.Context, domain string) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.Clock.Now().Before(p.until) {
		p.domains, p.err = p.read(ctx)
		p.until = p.Clock.Now().Add(providersAge)
	}
	return p.domains[strings.ToLower(domain)], p.err
}

func (p *IdentityProviders) read(ctx context.Context) (map[string]bool, error) {
	var providers []struct {
		Type    string   `json:"config_tag"`
		Domains []string `json:"domain_names"`
	}
	err := p.Session.Do(ctx, "list vCenter's identity providers", func(ctx context.Context, client *rest.Client) error {
		return client.Do(ctx, client.Resource(providersPath).Request(http.MethodGet), &providers)
	})
	if err != nil {
		return nil, err
	}
	domains := map[string]bool{}
	for _, provider := range providers {
		if provider.Type != "Oauth2" && provider.Type != "Oidc" {
			continue
		}
		for _, domain := range provider.Domains {
			domains[strings.ToLower(domain)] = true
		}
	}
	return domains, nil
}
