// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"context"
	"net/url"
	"time"

	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// Config says which vCenter to use, how to recognise it and who we are.
type Config struct {
	// URL of vCenter, with or without the path /sdk. It must not carry a user
	// or password: those come from CredentialsFile.
	URL *url.URL
	// CredentialsFile is YAML with the keys username and password. It is read
	// before every login, and polled: a change leads to a prompt login.
	CredentialsFile string
	// CAFile holds the PEM certificates that may sign vCenter's. Empty: the
	// system's.
	CAFile string
	// Thumbprint is the SHA-256 of vCenter's own certificate in hexadecimal,
	// with or without colons. When set, that certificate and no other is
	// accepted, whoever signed it.
	Thumbprint string
	// Insecure accepts any certificate. Never implied by anything else.
	Insecure bool
	// KeepAlive is how often the login is checked. Zero: 30 s.
	KeepAlive time.Duration
	// CallTimeout bounds each call but WaitForUpdatesEx, whose caller bounds
	// it. Zero: 30 s.
	CallTimeout time.Duration

	Logger  klog.Logger
	Clock   clock.WithTicker // Nil: the real one.
	Metrics *Metrics         // Nil: not measured.
}

// Session keeps one login at vCenter.
type Session struct {
	config Config
}

// Connection is one login. When it is lost, the session makes another one.
type Connection struct {
	// Client calls vCenter with this login.
	Client *vim25.Client
}

// NewSession checks config and makes a Session, which does nothing before Run.
func NewSession(config Config) (*Session, error) { return &Session{config: config}, nil }

// Run logs in and keeps the login, until ctx ends.
func (s *Session) Run(ctx context.Context) error { return nil }

// Do runs f with a logged-in client.
func (s *Session) Do(ctx context.Context, operation string, f func(context.Context, *vim25.Client) error) error {
	return nil
}

// RunTask runs start like Do and waits for the task that it returns.
func (s *Session) RunTask(ctx context.Context, operation string, start func(context.Context, *vim25.Client) (types.ManagedObjectReference, error)) (*types.TaskInfo, error) {
	return nil, nil
}

// Err returns why there is no login now, nil when there is one.
func (s *Session) Err() error { return nil }

// Connect returns the present login, and waits for one when there is none.
func (s *Session) Connect(ctx context.Context) (*Connection, error) { return nil, nil }

// Lost is closed when the login is known to be gone.
func (c *Connection) Lost() <-chan struct{} { return nil }

// Report tells the session of an error met with this login. One that says that
// the login is gone ends it.
func (c *Connection) Report(err error) {}

// Translate returns err wrapped with its failure kind and a message that says
// what to do.
func Translate(err error) error { return err }
