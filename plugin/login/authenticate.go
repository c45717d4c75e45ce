// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/openpacific/pacific/plugin/shell"
	"github.com/openpacific/pacific/plugin/trust"
	"github.com/openpacific/pacific/plugin/wcp"
)

// host is a Supervisor that the user is logged in to.
type host struct {
	address wcp.Address
	apiPort string
	session *wcp.Session
	trust   trust.Settings
}

// workload is a vSphere Namespace and the host that it is on.
type workload struct {
	namespace string
	host      *host
}

// result is what the servers have given.
type result struct {
	server    *host
	others    []*host
	workloads []workload
	guest     *wcp.Session // nil when no cluster was asked for
	failed    []string     // namespaces on hosts that gave no session
	failures  []error
}

// authenticator asks the servers.
type authenticator struct {
	address     wcp.Address
	guard       *trust.Guard
	credentials wcp.Credentials
	guest       *wcp.Guest
	client      func(wcp.Address, *trust.Guard) *wcp.Client
	resolve     func(context.Context, string) ([]string, error)
	step        func(string) (done func())
	log         *slog.Logger
}

// run logs in. It fails when the server itself gives no session, or not the
// cluster that was asked for; a further host that gives none is in the result.
func (a *authenticator) run(ctx context.Context) (*result, error) {
	client := a.client(a.address, a.guard)
	done := a.step("Asking " + a.address.String() + " for your namespaces")
	found, err := client.Workloads(ctx, a.credentials)
	done()
	if err != nil {
		return nil, a.advise(fmt.Errorf("Failed to get available workloads: %w", err))
	}
	done = a.step("Logging in to " + a.address.String())
	session, err := client.Login(ctx, a.credentials, nil)
	done()
	if err != nil {
		return nil, a.advise(fmt.Errorf("Login failed: %w", err))
	}
	outcome := &result{server: &host{address: a.address, session: session, trust: a.guard.Settings()}}
	a.distribute(ctx, found, outcome)
	if a.guest != nil {
		done = a.step("Logging in to cluster " + a.guest.Name)
		outcome.guest, err = client.Login(ctx, a.credentials, a.guest)
		done()
		if err != nil {
			return nil, a.adviseGuest(fmt.Errorf("Failed to log in to Tanzu Kubernetes cluster %q: %w", a.guest.Name, err))
		}
	}
	return outcome, nil
}

// distribute finds for each workload the host that it is on, and logs in to
// those that are not the server.
func (a *authenticator) distribute(ctx context.Context, found []wcp.Workload, outcome *result) {
	hosts := map[wcp.Address]*host{}
	var refused error
	for _, w := range found {
		at, known := hosts[w.MasterHost]
		if !known {
			switch {
			case a.same(ctx, w):
				at = outcome.server
			case refused != nil:
				outcome.failures = append(outcome.failures, fmt.Errorf("Login failed for %s: not tried", w.MasterHost))
			default:
				var err error
				if at, err = a.further(ctx, w); err != nil {
					outcome.failures = append(outcome.failures, fmt.Errorf("Login failed for %s: %w", w.MasterHost, err))
					if wcp.Refused(err) {
						refused = err
					}
					break
				}
				outcome.others = append(outcome.others, at)
			}
			hosts[w.MasterHost] = at
		}
		if at == nil {
			outcome.failed = append(outcome.failed, w.Namespace)
			continue
		}
		if at.apiPort == "" {
			at.apiPort = w.Port
		}
		outcome.workloads = append(outcome.workloads, workload{w.Namespace, at})
	}
}

// same says whether a workload is on the server itself, which it may call by
// another name than the user does.
func (a *authenticator) same(ctx context.Context, w wcp.Workload) bool {
	if strings.EqualFold(w.MasterHost.Host, a.address.Host) ||
		slices.ContainsFunc(w.DNSNames, func(name string) bool { return strings.EqualFold(name, a.address.Host) }) {
		return true
	}
	if a.address.IsIP() || !w.MasterHost.IsIP() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	addresses, err := a.resolve(ctx, a.address.Host)
	if err != nil {
		a.log.Debug("cannot resolve the server: its other names are not known", "host", a.address.Host)
	}
	return slices.Contains(addresses, w.MasterHost.Host)
}

// further logs in to a host that the server has named, if it is of the same
// authority. Its login service is where the server's is, on port 443 as a rule.
func (a *authenticator) further(ctx context.Context, w wcp.Workload) (*host, error) {
	address := w.MasterHost
	if address.Port == "" {
		address.Port = a.address.Port
	}
	guard := a.guard.Named(address.Host)
	client := a.client(address, guard)
	done := a.step("Logging in to " + address.String())
	defer done()
	// Without the password first, as ever: the handshake tells who it is.
	if _, err := client.Banner(ctx); err != nil {
		return nil, err
	}
	session, err := client.Login(ctx, a.credentials, nil)
	if err != nil {
		return nil, err
	}
	return &host{address: address, session: session, trust: guard.Settings()}, nil
}

func (a *authenticator) advise(err error) error {
	var status *wcp.StatusError
	switch {
	case !errors.As(err, &status):
		return adviseConnection(err)
	case status.Status == 401:
		return shell.Advise(err, "Check the user name, with its domain as in user@vsphere.local, and the password. vCenter locks an account after some wrong ones.")
	case status.Status == 403:
		return shell.Advise(err, "Ask your vSphere administrator for a role in a vSphere Namespace.")
	case status.Status == 404:
		return shell.Advise(err, "%s answers, but does not look like a Supervisor. Please check the server URL and try again.", a.address)
	}
	return shell.Advise(err, "Please contact your vSphere server administrator for assistance.")
}

func (a *authenticator) adviseGuest(err error) error {
	if errors.Is(err, wcp.ErrNoCluster) && a.guest.Namespace == "" {
		return shell.Advise(err, "Name its namespace with --tanzu-kubernetes-cluster-namespace.")
	}
	if errors.Is(err, wcp.ErrNoCluster) {
		return shell.Advise(err, "kubectl get clusters -n %s lists what there is, after a login without --tanzu-kubernetes-cluster-name.", a.guest.Namespace)
	}
	return a.advise(err)
}

// adviseConnection tells what can be done about a server that was not reached,
// or not trusted.
func adviseConnection(err error) error {
	var changed *trust.Changed
	var connection *wcp.ConnectionError
	switch {
	case errors.As(err, &changed):
		return shell.Advise(changed, "If its administrator confirms the new fingerprint, remove %s and log in again.", changed.File)
	case isCertificate(err):
		return shell.Advise(err, "Pass the authority that signed the server's certificate with --certificate-authority, and the name that is in it with --server.")
	case errors.As(err, &connection):
		return shell.Advise(err, "There was an error when trying to connect to the server. Please check the server URL and try again.")
	}
	return err
}

// resolve asks the operating system for the addresses of a name.
func resolve(ctx context.Context, name string) ([]string, error) {
	return net.DefaultResolver.LookupHost(ctx, name)
}
