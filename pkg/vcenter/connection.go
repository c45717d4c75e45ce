// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/failure"
)

// Connection is one login. When it is lost, the Session makes another one;
// what vCenter keeps for a login (collectors, views) is lost with it.
type Connection struct {
	// Client calls vCenter with this login. Every call has a deadline and is
	// measured.
	Client *vim25.Client

	manager *session.Manager
	digest  digest
	// suspect asks the session to check the login soon. It does not block.
	suspect func()
	// lifetime ends when the login is known to be gone, for the cause.
	lifetime context.Context
	lose     context.CancelCauseFunc
	// sockets are what all clients of this login go through in the end.
	sockets *http.Transport
}

// Lost is closed when the login is known to be gone.
func (c *Connection) Lost() <-chan struct{} { return c.lifetime.Done() }

// Err returns why the login is gone, nil while it is not.
func (c *Connection) Err() error { return context.Cause(c.lifetime) }

// Bind returns a context that ends with ctx, and also when the login is lost;
// context.Cause then tells why. For calls that wait without a deadline of
// their own.
func (c *Connection) Bind(ctx context.Context) (context.Context, context.CancelFunc) {
	bound, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.lifetime, func() { cancel(c.Err()) })
	return bound, func() { stop(); cancel(nil) }
}

// Report tells the session of an error that was met with this login. One that
// says that the login is gone ends it; one that leaves it open has it checked.
func (c *Connection) Report(err error) {
	switch {
	case err == nil || errors.Is(err, context.Canceled) || unsentBy(err) != nil:
	case failure.KindOf(err) != "":
		// It is not vCenter's: whoever was about to call it thought better of it.
	case isNotAuthenticated(err):
		c.lose(Translate(err))
	case !hasFault(err):
		c.suspect()
	}
}

// check asks vCenter whether the login still holds.
func (c *Connection) check(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	user, err := c.manager.UserSession(ctx)
	if err != nil {
		return fmt.Errorf("check the login: %w", Translate(err))
	}
	if user == nil {
		return &translated{kind: failure.Unavailable, message: "vCenter ended the login",
			cause: errors.New("no current session")}
	}
	return nil
}

// close logs out, unless vCenter is away, and frees the sockets.
func (c *Connection) close(ctx context.Context, cause error) {
	// A login that some call was told is gone may yet be there.
	answers := c.Err() == nil || isNotAuthenticated(c.Err())
	c.lose(cause)
	if answers {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		// A login that cannot be ended expires in vCenter by itself.
		_ = c.manager.Logout(ctx)
	}
	c.sockets.CloseIdleConnections()
}

// dial connects and logs in. The error names the cause, never the password.
func (s *Session) dial(ctx context.Context, who credentials) (*Connection, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.CallTimeout)
	defer cancel()

	verification, err := tlsConfig(s.config)
	if err != nil {
		return nil, err
	}
	soapClient := soap.NewClient(s.config.URL, s.config.Insecure)
	soapClient.UserAgent = "pacific"
	transport := soapClient.DefaultTransport()
	transport.TLSClientConfig = verification
	// The library's own function dials without the context, and falls back to
	// thumbprints of its own.
	transport.DialTLSContext = nil
	transport.DialContext = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	// All clients of vCenter's other services that are made of this one share its
	// transport, so that is where the gate stands.
	sockets := transport.Clone()
	transport.RegisterProtocol("https", &gate{next: sockets})

	c := &Connection{digest: who.digest, suspect: s.suspect, sockets: sockets}
	c.lifetime, c.lose = context.WithCancelCause(context.Background())
	c.Client, err = vim25.NewClient(ctx, soapClient)
	if err != nil {
		sockets.CloseIdleConnections()
		return nil, Translate(err)
	}
	if !c.Client.IsVC() {
		sockets.CloseIdleConnections()
		return nil, fmt.Errorf("%s is %s, not a vCenter", s.config.URL.Host, c.Client.ServiceContent.About.FullName)
	}
	c.Client.RoundTripper = &caller{next: soapClient, connection: c, session: s}
	c.manager = session.NewManager(c.Client)
	if err := c.manager.Login(ctx, url.UserPassword(who.username, who.password)); err != nil {
		sockets.CloseIdleConnections()
		if isInvalidLogin(err) {
			return nil, &refusedError{file: s.config.CredentialsFile, cause: err}
		}
		return nil, Translate(err)
	}
	return c, nil
}

// caller gives each call a deadline, measures it and learns from its error.
type caller struct {
	next       soap.RoundTripper
	connection *Connection
	session    *Session
}

func (c *caller) RoundTrip(ctx context.Context, req, res soap.HasFault) error {
	method := strings.TrimSuffix(reflect.TypeOf(req).Elem().Name(), "Body")
	if method != "WaitForUpdatesEx" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.session.config.CallTimeout)
		defer cancel()
	}
	start := c.session.config.Clock.Now()
	err := c.next.RoundTrip(ctx, req, res)
	if c.connection.lifetime.Err() != nil {
		// A call that was on its way when the connection was closed left its socket open.
		c.connection.sockets.CloseIdleConnections()
	}
	c.session.config.Metrics.called(method, c.session.config.Clock.Since(start), err)
	switch method {
	case "Login", "Logout":
	default:
		c.connection.Report(err)
	}
	return err
}

func isNotAuthenticated(err error) bool { return hasFaultOf[*types.NotAuthenticated](err) }

func isInvalidLogin(err error) bool { return hasFaultOf[types.BaseInvalidLogin](err) }
