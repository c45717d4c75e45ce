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

	"github.com/openpacific/pacific/plugin/kubeconfig"
	"github.com/openpacific/pacific/plugin/trust"
	"github.com/openpacific/pacific/plugin/wcp"
)

// host is a Supervisor that the user is logged in to.
type host struct {
	address wcp.Address
	apiPort string // empty when nobody has told it
	guard   *trust.Guard
	session *wcp.Session
	// cluster is how kubectl reaches the API server: it has been tried.
	cluster kubeconfig.Cluster
	// kept: the kubeconfig has that entry already, from a login at this host.
	kept bool
}

// api is where the API server of the host is: at the port that the workloads tell,
// else the one that the user wrote, where a Supervisor serves both, else the usual.
func (h *host) api() (name, port string) {
	switch {
	case h.apiPort != "":
		return h.address.Host, h.apiPort
	case h.address.Port != "":
		return h.address.Host, h.address.Port
	}
	return h.address.Host, apiPort
}

// workload is a vSphere Namespace and the host that it is on.
type workload struct {
	namespace string
	host      *host
}

// guest is a Tanzu Kubernetes cluster that the user is logged in to.
type guest struct {
	session *wcp.Session
	cluster kubeconfig.Cluster // as a host's
}

// result is what the servers have given.
type result struct {
	server    *host
	others    []*host
	workloads []workload
	guest     *guest   // nil when no cluster was asked for
	failed    []string // namespaces on hosts that gave no session
	failures  []error
}

// authenticator asks the servers.
type authenticator struct {
	address     wcp.Address
	guard       *trust.Guard
	credentials wcp.Credentials
	guest       *wcp.Guest
	client      func(wcp.Address, *trust.Guard) *wcp.Client
	door        *door
	existing    *kubeconfig.Config
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
	own, named := a.sort(ctx, found)
	server := &host{address: a.address, apiPort: port(own), guard: a.guard, session: session}
	if err := a.reach(ctx, client, server); err != nil {
		return nil, adviseConnection(fmt.Errorf("Login failed: %w", err))
	}
	outcome := &result{server: server}
	for _, w := range own {
		outcome.workloads = append(outcome.workloads, workload{w.Namespace, server})
	}
	a.distribute(ctx, named, outcome)
	if a.guest != nil {
		outcome.guest, err = a.enter(ctx, client)
		if err != nil {
			return nil, a.adviseGuest(fmt.Errorf("Failed to log in to Tanzu Kubernetes cluster %q: %w", a.guest.Name, err))
		}
	}
	return outcome, nil
}

// sort tells the workloads that are on the server itself from those on hosts that
// it names; the latter by host, in the order in which they are named.
func (a *authenticator) sort(ctx context.Context, found []wcp.Workload) (own []wcp.Workload, named [][]wcp.Workload) {
	const itself = -1
	places := map[wcp.Address]int{}
	for _, w := range found {
		place, known := places[w.MasterHost]
		if !known {
			place = itself
			if !a.same(ctx, w) {
				place = len(named)
				named = append(named, nil)
			}
			places[w.MasterHost] = place
		}
		if place == itself {
			own = append(own, w)
		} else {
			named[place] = append(named[place], w)
		}
	}
	return own, named
}

// port is the first that workloads of one host tell.
func port(workloads []wcp.Workload) string {
	for _, w := range workloads {
		if w.Port != "" {
			return w.Port
		}
	}
	return ""
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

// distribute logs in to the hosts that the server names. The first that refuses the
// password is the last that gets it.
func (a *authenticator) distribute(ctx context.Context, named [][]wcp.Workload, outcome *result) {
	refused := false
	for _, workloads := range named {
		address := workloads[0].MasterHost
		at, err := (*host)(nil), errors.New("not tried")
		if !refused {
			at, err = a.further(ctx, workloads)
		}
		if err != nil {
			refused = refused || wcp.Refused(err)
			outcome.failures = append(outcome.failures, fmt.Errorf("Login failed for %s: %w", address, err))
			for _, w := range workloads {
				outcome.failed = append(outcome.failed, w.Namespace)
			}
			continue
		}
		outcome.others = append(outcome.others, at)
		for _, w := range workloads {
			outcome.workloads = append(outcome.workloads, workload{w.Namespace, at})
		}
	}
}

// further logs in to a host that the server has named, if the user agrees. Its
// login service is where the server's is, on port 443 as a rule.
func (a *authenticator) further(ctx context.Context, workloads []wcp.Workload) (*host, error) {
	address := workloads[0].MasterHost
	if address.Port == "" {
		address.Port = a.address.Port
	}
	guard, err := a.guard.Other(address.String(), address.Host)
	if err != nil {
		return nil, err
	}
	h := &host{address: address, apiPort: port(workloads), guard: guard}
	name := kubeconfig.UserName(address.String(), a.credentials.Username)
	login, there := a.existing.Login(address.String())
	_, mine := a.existing.Users[name]
	mine = mine && there && login == address.String()
	if mine {
		// What the server says of another one changes no entry of that one's.
		for _, context := range a.existing.Contexts {
			if context.User == name {
				h.cluster, h.kept = a.existing.Clusters[context.Cluster], true
			}
		}
	}
	client := a.client(address, guard)
	from := visit{first: a.guard, by: a.address, workloads: workloads, before: mine}
	if err := a.door.other(ctx, client, guard, from); err != nil {
		return nil, err
	}
	done := a.step("Logging in to " + address.String())
	h.session, err = client.Login(ctx, a.credentials, nil)
	done()
	if err != nil {
		return nil, err
	}
	return h, a.reach(ctx, client, h)
}

// reach finds out how kubectl gets to a host's API server, and tries it.
func (a *authenticator) reach(ctx context.Context, client *wcp.Client, h *host) error {
	name, port := h.api()
	if !h.kept {
		settings, err := a.door.api(ctx, client, h.guard, wcp.At(name, port))
		if err != nil {
			return err
		}
		h.cluster = cluster(wcp.HTTPS(name, port), settings)
	}
	defer a.step("Trying the API server of " + h.address.String())()
	return a.door.prove(ctx, h.cluster, h.session)
}

// enter logs in to the Tanzu Kubernetes cluster that was asked for.
func (a *authenticator) enter(ctx context.Context, client *wcp.Client) (*guest, error) {
	done := a.step("Logging in to cluster " + a.guest.Name)
	session, err := client.Login(ctx, a.credentials, a.guest)
	done()
	if err != nil {
		return nil, err
	}
	if err := (account{address: session.Server, login: a.address, guest: a.guest}).check(a.existing); err != nil {
		return nil, err
	}
	settings := trust.Settings{CA: session.CA}
	if len(session.CA) == 0 {
		settings.Insecure = a.guard.Settings().Insecure
	}
	port := session.Server.Port
	if port == "" {
		port = apiPort
	}
	entered := &guest{session: session, cluster: cluster(wcp.HTTPS(session.Server.Host, port), settings)}
	entered.cluster.MadeAt(a.address.String())
	defer a.step("Trying the API server of cluster " + a.guest.Name)()
	return entered, a.door.prove(ctx, entered.cluster, session)
}

// resolve asks the operating system for the addresses of a name.
func resolve(ctx context.Context, name string) ([]string, error) {
	return net.DefaultResolver.LookupHost(ctx, name)
}
