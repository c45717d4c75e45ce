// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/openpacific/pacific/plugin/kubeapi"
	"github.com/openpacific/pacific/plugin/kubeconfig"
	"github.com/openpacific/pacific/plugin/shell"
	"github.com/openpacific/pacific/plugin/trust"
	"github.com/openpacific/pacific/plugin/wcp"
)

// door decides, with the user, which servers are spoken to: which get the password,
// and which authorities get into the kubeconfig.
type door struct {
	sh      *shell.Shell
	timeout time.Duration
	// allowed are the servers that may get the password when another names them.
	allowed []wcp.Address
	log     *slog.Logger
}

// server greets the login service that the user has typed, and shows its banner.
func (d *door) server(ctx context.Context, client *wcp.Client, guard *trust.Guard) error {
	var banner string
	err := d.greet(ctx, guard, "Is it the right one? It will be trusted from now on.", func() (err error) {
		defer d.sh.Progress("Connecting to " + client.Address.String())()
		banner, err = client.Banner(ctx)
		return err
	})
	var status *wcp.StatusError
	if errors.As(err, &status) {
		hint := askAdministrator
		if status.Status < 500 {
			hint = "It does not look like a Supervisor. Please check the server URL and try again."
		}
		return shell.Advise(fmt.Errorf("Error while connecting to host %s: %w", client.Address, err), "%s", hint)
	}
	if err != nil {
		return adviseConnection(err)
	}
	if banner = strings.TrimSpace(shell.Clean(banner, 4096)); banner != "" && !strings.HasPrefix(banner, "<") {
		fmt.Fprintln(d.sh.Err, banner)
	}
	return nil
}

// greet sends a request without password and token, which finds out who answers.
// About a server that nobody vouches for the user is asked.
func (d *door) greet(ctx context.Context, guard *trust.Guard, question string, request func() error) error {
	err := request()
	var unknown *trust.Unknown
	var silent *trust.NoAuthority
	switch {
	case errors.As(err, &silent):
		return silent
	case !errors.As(err, &unknown):
		return err
	}
	if !d.sh.Interactive() {
		return unknown
	}
	fmt.Fprint(d.sh.Err, shell.Clean(unknown.Description(), 4096))
	yes, err := d.sh.Confirm(ctx, shell.Question{Text: question, Fingerprint: unknown.Fingerprint()})
	if err != nil {
		return fmt.Errorf("ask whether %s is trusted: %w", unknown.Host, err)
	}
	if !yes {
		return fmt.Errorf("%s is not trusted", unknown.Host)
	}
	if err := guard.Remember(unknown); err != nil {
		return err
	}
	return request()
}

// api finds out how the API server beside a login service is trusted. What the login
// service was trusted for may do; else it is asked for the API server's authorities,
// which a stock Supervisor may not tell; else the user is.
func (d *door) api(ctx context.Context, client *wcp.Client, login *trust.Guard,
	address wcp.Address) (trust.Settings, error) {
	guard, err := login.API(address.String())
	if err != nil {
		return trust.Settings{}, err
	}
	transport := guard.Transport()
	defer transport.CloseIdleConnections()
	greet := func() error {
		defer d.sh.Progress("Connecting to the API server at " + address.String())()
		return kubeapi.Greet(ctx, address, transport, d.timeout)
	}
	err = greet()
	if err != nil && (isCertificate(err) || trust.Unproved(err)) {
		told, reason := client.Authorities(ctx)
		if reason != nil {
			d.log.Debug("the login service does not tell the API server's authorities",
				"server", client.Address.String(), "reason", reason.Error())
		}
		guard.Tell(told)
		err = d.greet(ctx, guard, fmt.Sprintf("Is it the API server of %s? It will be trusted from now on.", client.Address),
			greet)
	}
	return guard.Settings(), err
}

// prove tries an entry of a kubeconfig before it is written.
func (d *door) prove(ctx context.Context, cluster kubeconfig.Cluster, session *wcp.Session) error {
	client, err := kubeapi.New(cluster, session.Token, d.timeout)
	if err != nil {
		return err
	}
	return client.Prove(ctx)
}

// visit is what is known of a server that another one names.
type visit struct {
	first     *trust.Guard // of the server that names it
	by        wcp.Address  // that server
	workloads []wcp.Workload
	before    bool // the user has logged in there before, by the same name
}

// Uninvited says that a server was named by another one, not by the user.
type Uninvited struct {
	Server, By wcp.Address
}

func (u *Uninvited) Error() string {
	return fmt.Sprintf("%s was named by %s, not by you: it does not get your password", u.Server, u.By)
}

// other decides whether a login service that another server has named gets the
// password. That it has a certificate that can be trusted is needed, and not enough:
// the user must have allowed it, or say so now. Who shows the certificate of the
// server that the user typed is that server.
func (d *door) other(ctx context.Context, client *wcp.Client, guard *trust.Guard, v visit) error {
	allowed := v.before || slices.Contains(d.allowed, client.Address)
	uninvited := &Uninvited{Server: client.Address, By: v.by}
	hello := func() error {
		defer d.sh.Progress("Connecting to " + client.Address.String())()
		_, err := client.Banner(ctx)
		return err
	}
	err := hello()
	switch {
	case err == nil && (allowed || guard.Same(v.first)):
		return guard.Keep()
	case !allowed && !d.sh.Interactive() && (err == nil || isCertificate(err) || trust.Unproved(err)):
		return uninvited
	case err != nil && !trust.Unproved(err):
		return err
	}
	if d.sh.Interactive() {
		d.announce(v, client.Address)
	}
	question := fmt.Sprintf("Log in to %s too? It gets your password", client.Address)
	if err != nil {
		return d.greet(ctx, guard, question+", and will be trusted from now on.", hello)
	}
	fmt.Fprint(d.sh.Err, shell.Clean(guard.Description(), 4096))
	yes, err := d.sh.Confirm(ctx, shell.Question{Text: question + "."})
	if err != nil {
		return fmt.Errorf("ask whether %s gets the password: %w", client.Address, err)
	}
	if !yes {
		return uninvited
	}
	return guard.Keep()
}

// announce says why another server is spoken of.
func (d *door) announce(v visit, address wcp.Address) {
	var namespaces []string
	for _, w := range v.workloads {
		namespaces = append(namespaces, w.Namespace)
	}
	fmt.Fprintf(d.sh.Err, "%s places %s on another server, %s.\n",
		v.by, shell.Line(strings.Join(namespaces, ", "), 200), address)
}
