// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/vapi/rest"

	"github.com/openpacific/pacific/pkg/failure"
)

const (
	// restConnections is how many connections to the REST endpoints are kept.
	restConnections = 4
	// restRefusalDelay is how long a password that the REST endpoints refused is
	// not tried again there. With the three tries that a Session makes in the
	// first minutes, that stays below the five failures after which vCenter locks.
	restRefusalDelay = 10 * time.Minute
)

// RESTSession keeps a login at vCenter's REST endpoints, which do not take a
// SOAP login, beside the one of a Session. It logs in when it is first needed,
// again when vCenter has ended the login or the Session has made a new one, and
// only with credentials that the Session's present login was made with: a wrong
// password is the Session's to find out. Its methods may be called from any
// goroutine.
type RESTSession struct {
	// Session says which vCenter it is, how it is recognised and who we are.
	Session *Session

	mu sync.Mutex // Guards what follows; held while logging in.
	// client is logged in, or was; nil: there is no login.
	client *rest.Client
	// connection is the one beside which client logged in.
	connection *Connection
	// refused is the connection beside which the login was refused.
	refused   *Connection
	notBefore time.Time
}

// Do runs f with a logged-in client, each of whose calls has a deadline. When
// vCenter answers that the login is gone, it makes a new one and runs f once
// more, so f must bear that. While vCenter is known to be away it fails at once.
// Errors are wrapped with operation, and translated where f has not done so.
func (r *RESTSession) Do(ctx context.Context, operation string, f func(context.Context, *rest.Client) error) error {
	for again := false; ; again = true {
		client, err := r.login(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", operation, err)
		}
		err = f(ctx, client)
		if err == nil {
			return nil
		}
		if LoginEnded(err) {
			r.forget(client)
			if !again {
				continue
			}
		}
		return fmt.Errorf("%s: %w", operation, Translate(err))
	}
}

// Logout ends the login, if there is one; vCenter ends it by itself when it is
// not used. Do logs in again.
func (r *RESTSession) Logout(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(ctx)
}

// login returns a client that is logged in beside the Session's present login.
func (r *RESTSession) login(ctx context.Context) (*rest.Client, error) {
	connection, err := r.Session.current(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil && r.connection == connection {
		return r.client, nil
	}
	r.drop(ctx)
	config := r.Session.config
	if r.refused == connection && config.Clock.Now().Before(r.notBefore) {
		return nil, unavailable(errRESTRefused)
	}
	who, err := readCredentials(config.CredentialsFile)
	if err != nil {
		return nil, unavailable(err)
	}
	if who.digest != connection.digest {
		return nil, unavailable(fmt.Errorf("the credentials file %s has changed: vCenter's REST endpoints are asked again "+
			"when vCenter has accepted what it holds now", config.CredentialsFile))
	}
	client := r.newClient(connection)
	ctx, cancel := context.WithTimeout(ctx, config.CallTimeout)
	defer cancel()
	err = client.Login(ctx, url.UserPassword(who.username, who.password))
	switch {
	case err == nil:
		config.Metrics.loggedIn(nil)
		r.client, r.connection, r.refused = client, connection, nil
		return client, nil
	case restStatus(err) == http.StatusUnauthorized:
		config.Metrics.loggedIn(&refusedError{file: config.CredentialsFile, cause: err})
		r.refused, r.notBefore = connection, config.Clock.Now().Add(restRefusalDelay)
		err = errRESTRefused
	default:
		config.Metrics.loggedIn(err)
		err = fmt.Errorf("log in to vCenter's REST endpoints: %w", Translate(err))
	}
	client.Client.Client.CloseIdleConnections()
	return nil, unavailable(err)
}

var errRESTRefused = fmt.Errorf("vCenter's REST endpoints refused the user name or password that vCenter accepts "+
	"otherwise; "+
	"they are tried again after %v, or as soon as vCenter accepts another one", restRefusalDelay)

// newClient goes to the vCenter that the connection verified, with the same
// verification and connections of its own.
func (r *RESTSession) newClient(connection *Connection) *rest.Client {
	client := rest.NewClient(connection.Client)
	transport := connection.Client.DefaultTransport().Clone()
	transport.MaxIdleConnsPerHost = restConnections
	client.Client.Client.Transport = &restCaller{next: transport, session: r.Session, vcenter: origin(client.URL())}
	// An answer that points elsewhere is a failure: what a request carries is for vCenter alone.
	client.Client.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Client.Client.Timeout = r.Session.config.CallTimeout
	return client
}

// forget drops a login that vCenter has ended.
func (r *RESTSession) forget(client *rest.Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client == client {
		r.client = nil
		client.Client.Client.CloseIdleConnections()
	}
}

// drop ends the login and frees the sockets. The caller holds mu.
func (r *RESTSession) drop(ctx context.Context) {
	if r.client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	// A login that cannot be ended expires in vCenter by itself.
	_ = r.client.Logout(ctx)
	r.client.Client.Client.CloseIdleConnections()
	r.client = nil
}

// restReading says whether a request at vCenter's REST endpoints changes nothing
// but the login, and what vCenter keeps for it to read files of content libraries
// with.
func restReading(request *http.Request) bool {
	path, action := request.URL.Path, cmp.Or(request.URL.Query().Get("~action"), request.URL.Query().Get("action"))
	switch request.Method {
	case http.MethodGet, http.MethodHead:
		return true
	case http.MethodPost:
		if strings.Contains(path, restDownloadFile) {
			return action == "prepare" || action == "get"
		}
		return strings.HasSuffix(path, restLogin) || strings.HasSuffix(path, restDownload) || action == "find"
	case http.MethodDelete:
		return strings.HasSuffix(path, restLogin) || strings.Contains(path, restDownload+"/")
	}
	return false
}

const (
	// restLogin is where a login is made and ended.
	restLogin = "/com/vmware/cis/session"
	// restDownload is where reading the files of an item begins and ends, and
	// restDownloadFile where vCenter is asked for one of them.
	restDownload     = "/com/vmware/content/library/item/download-session"
	restDownloadFile = "/com/vmware/content/library/item/downloadsession/file/"
	// restFiles is where they are read: /cls/data/, and elsewhere in the simulator.
	restFiles = "/data/"
)

// LoginEnded says whether err is vCenter's word that a login at its REST endpoints
// is gone: Do makes a new one when it is returned to it.
func LoginEnded(err error) bool { return restStatus(err) == http.StatusUnauthorized }

// restCaller measures calls, and lets through what reads, as a gate does. Nothing
// goes anywhere else, nor without TLS, wherever vCenter points: the login goes with
// each request.
type restCaller struct {
	next    *http.Transport
	session *Session
	vcenter string // its origin
}

// origin is who is spoken to.
func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

func (c *restCaller) RoundTrip(request *http.Request) (*http.Response, error) {
	var refusal error
	switch {
	case origin(request.URL) != c.vcenter:
		refusal = fmt.Errorf("vCenter points to %s, to which its login does not go: %w", origin(request.URL),
			failure.Unavailable)
	case !restReading(request):
		refusal = allow(request.Context(), restMethod(request))
	}
	if refusal != nil {
		if request.Body != nil {
			_ = request.Body.Close()
		}
		return nil, refusal
	}
	start := c.session.config.Clock.Now()
	response, err := c.next.RoundTrip(request)
	failed := err
	if err == nil && response.StatusCode >= http.StatusBadRequest {
		failed = httpStatus(response.StatusCode)
	}
	c.session.config.Metrics.called(restMethod(request), c.session.config.Clock.Since(start), failed)
	return response, err
}

// CloseIdleConnections is what http.Client looks for.
func (c *restCaller) CloseIdleConnections() { c.next.CloseIdleConnections() }

// restMethod names a call without the identifiers in its path. That of a file has
// the session of its download in it, and its name is whatever somebody gave it.
func restMethod(request *http.Request) string {
	if _, _, file := strings.Cut(request.URL.Path, restFiles); file {
		return request.Method + " " + restFiles
	}
	parts := strings.Split(request.URL.Path, "/")
	kept := parts[:0]
	for _, part := range parts {
		if !strings.HasPrefix(part, "id:") {
			kept = append(kept, part)
		}
	}
	return request.Method + " " + strings.Join(kept, "/")
}

// httpStatus is an answer that says no.
type httpStatus int

func (s httpStatus) Error() string { return fmt.Sprintf("HTTP %d", int(s)) }

// restStatus returns the HTTP status that an error of the library's REST client
// stands for, 0 when there is none. The library only tells whether it is a given
// one, and does not look into what wraps it.
func restStatus(err error) int {
	if err == nil {
		return 0
	}
	for status := http.StatusUnauthorized; status <= http.StatusNetworkAuthenticationRequired; status++ {
		if rest.IsStatusError(err, status) {
			return status
		}
	}
	switch wrapper := err.(type) {
	case interface{ Unwrap() error }:
		return restStatus(wrapper.Unwrap())
	case interface{ Unwrap() []error }:
		for _, child := range wrapper.Unwrap() {
			if status := restStatus(child); status != 0 {
				return status
			}
		}
	}
	return 0
}

// translateREST does for answers of REST endpoints what classify does for faults.
func translateREST(err error, status int) error {
	translate := func(kind failure.Kind, message string) error {
		return &translated{kind: kind, message: message, cause: err}
	}
	switch {
	case status == http.StatusUnauthorized:
		return translate(failure.Unavailable,
			"the login at vCenter's REST endpoints is gone; a new one is made, so try again")
	case status == http.StatusForbidden:
		return translate(failure.Forbidden, "the account used at vCenter may not do this: grant it, as a global "+
			"permission, a role that allows it")
	case status == http.StatusNotFound:
		return translate(failure.NotFound, "it does not exist in vCenter (any more)")
	case status == http.StatusTooManyRequests, status >= http.StatusInternalServerError:
		return translate(failure.Unavailable, fmt.Sprintf("vCenter's REST endpoints answered %d %s: they may be starting "+
			"or overloaded", status, http.StatusText(status)))
	}
	return err
}
