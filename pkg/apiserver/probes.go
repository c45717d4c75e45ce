// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/login"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
)

// stalled is how long the inventory may be silent while vCenter answers before
// this process is not alive: several turns of the loop that waits for updates.
const stalled = 3 * time.Minute

// probes are what /readyz and /livez look at.
//
// vcenter fails whenever vCenter is away, and inventory whenever it does not follow
// vCenter, so that /readyz tells the truth. The Deployment's own readiness probe
// leaves both out (/readyz?exclude=vcenter&exclude=inventory): what was read last is
// still served meanwhile. storage fails until every kind
// that the inventory feeds was read once. What is polled has a path of its own,
// /readyz/<resource>, which /readyz leaves out: see registry.ServePolled.
type probes struct {
	session    *vcenter.Session
	inventory  Inventory
	leadership *ledger.Leadership
	records    *ledger.Ledger
	kinds      []registry.Served
	clientCA   dynamiccertificates.CAContentProvider
	login      *login.Service // nil: there is none
	clock      clock.PassiveClock
}

func addProbes(server *genericapiserver.GenericAPIServer, p probes) error {
	if err := server.AddReadyzChecks(p.readiness()...); err != nil {
		return fmt.Errorf("add readiness checks: %w", err)
	}
	if err := server.AddLivezChecks(0, healthz.NamedCheck("inventory-loop", p.inventoryLive)); err != nil {
		return fmt.Errorf("add liveness checks: %w", err)
	}
	for _, kind := range p.kinds {
		if kind.Polled() {
			server.Handler.NonGoRestfulMux.Handle("/readyz/"+kind.GroupResource().Resource, ownCheck(kind))
		}
	}
	return nil
}

// ownCheck answers as the library does for one check alone.
func ownCheck(kind interface{ ReadinessCheck() error }) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := kind.ReadinessCheck(); err != nil {
			http.Error(w, fmt.Sprintf("internal server error: %v", err), http.StatusInternalServerError)
			return
		}
		_, _ = fmt.Fprint(w, "ok")
	})
}

func (p probes) readiness() []healthz.HealthChecker {
	checks := []healthz.HealthChecker{
		healthz.NamedCheck("vcenter", p.vcenterReady),
		healthz.NamedCheck("inventory", p.inventoryReady),
		healthz.NamedCheck("leader", p.leaderReady),
		healthz.NamedCheck("storage", func(*http.Request) error { return registry.Ready(p.kinds...) }),
		healthz.NamedCheck("client-ca", p.clientCAReady),
		healthz.NamedCheck("records", func(request *http.Request) error { return p.records.Check(request.Context()) }),
	}
	if p.login != nil {
		checks = append(checks, healthz.NamedCheck("login", func(*http.Request) error { return p.login.Ready() }))
	}
	return checks
}

func (p probes) vcenterReady(*http.Request) error { return p.session.Err() }

func (p probes) inventoryReady(*http.Request) error {
	status := p.inventory.Status()
	if !status.Synced {
		return notReadYet(status, p.session.Err())
	}
	return following(status)
}

func (p probes) leaderReady(*http.Request) error {
	if !p.leadership.Leads() {
		return errors.New("another replica leads, or etcd does not answer; this one stands by")
	}
	return nil
}

// clientCAReady fails until the authorities are read by which the aggregator is
// recognised: until then everybody who comes through it is anonymous, and is
// refused what is theirs.
func (p probes) clientCAReady(*http.Request) error {
	if p.clientCA != nil && len(p.clientCA.CurrentCABundleContent()) == 0 {
		return errors.New("the authorities of client certificates have not been read from kube-apiserver yet")
	}
	return nil
}

func (p probes) inventoryLive(*http.Request) error {
	status := p.inventory.Status()
	if p.session.Err() != nil || status.Err != nil || !status.Synced {
		return nil // the loop is busy trying, and says why in readiness
	}
	if silence := p.clock.Since(status.LastUpdate); silence > stalled {
		return fmt.Errorf("vCenter answers, but the inventory has not turned for %s", silence.Round(time.Second))
	}
	return nil
}

// following says why the inventory does not follow vCenter, nil when it does.
func following(status inventory.Status) error {
	switch {
	case status.Err != nil:
		return status.Err
	case !status.Synced:
		return errors.New("it has not been read yet")
	}
	return nil
}

// notReadYet says why nothing can be served.
func notReadYet(status inventory.Status, sessionErr error) error {
	reason := errors.Join(sessionErr, status.Err)
	if sessionErr != nil {
		reason = sessionErr // the inventory only repeats it
	}
	if reason == nil {
		return fmt.Errorf("vCenter's inventory has not been read yet: %w", failure.Unavailable)
	}
	// Whatever it is, it is of how this server reads vCenter, and nothing that a caller may or may not.
	return fmt.Errorf("vCenter's inventory has not been read yet: %s: %w", reason, failure.Unavailable)
}
