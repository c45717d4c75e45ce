// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/openpacific/pacific/plugin/kubeapi"
	"github.com/openpacific/pacific/plugin/shell"
	"github.com/openpacific/pacific/plugin/trust"
	"github.com/openpacific/pacific/plugin/wcp"
)

// door decides, with the user, which servers are spoken to: which get the password,
// and which authorities get into the kubeconfig.
type door struct {
	sh      *shell.Shell
	timeout time.Duration
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
func (d *door) api(ctx context.Context, client *wcp.Client, login *trust.Guard, address wcp.Address) (trust.Settings, error) {
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
			d.log.Debug("the login service does not tell the API server's authorities", "server", client.Address.String(), "reason", reason.Error())
		}
		guard.Tell(told)
		err = d.greet(ctx, guard, fmt.Sprintf("Is it the API server of %s? It will be trusted from now on.", client.Address), greet)
	}
	return guard.Settings(), err
}

// other greets a login service that another server has named. It gets the password
// only if it can be trusted by itself.
func (d *door) other(ctx context.Context, client *wcp.Client, guard *trust.Guard) error {
	defer d.sh.Progress("Connecting to " + client.Address.String())()
	if _, err := client.Banner(ctx); err != nil {
		return err
	}
	return guard.Keep()
}
