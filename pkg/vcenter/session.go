// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/openpacific/pacific/pkg/failure"
)

const (
	// credentialsPoll is how often the credentials file is compared with what
	// the login was made with.
	credentialsPoll = 5 * time.Second
	// steady is how long a login must hold for the next one to come at once
	// when it is lost. Logins that are lost sooner are made ever more rarely.
	steady = time.Minute
)

var (
	errEnded    = errors.New("the vCenter session was shut down")
	errReplaced = errors.New("the login was replaced by one with the new credentials")
)

// Session keeps one login at vCenter. Its methods may be called from any
// goroutine; they wait for Run, which alone logs in.
type Session struct {
	config Config
	// refused belongs to Run's goroutine.
	refused refusals
	// checkSoon holds at most one request to check the login.
	checkSoon chan struct{}
	tasks     *tasks

	mu sync.Mutex // Guards what follows.
	// connection is the present login, which may be lost already.
	connection *Connection
	// err is why the last attempt to log in failed. It is nil while the first
	// attempt after a loss is due: that one is worth waiting for.
	err error
	// changed is closed and replaced when connection or err change.
	changed chan struct{}
}

// NewSession checks config, reporting all its mistakes at once. The Session
// does nothing before Run.
func NewSession(config Config) (*Session, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	s := &Session{
		config:    config,
		refused:   refusals{},
		checkSoon: make(chan struct{}, 1),
		changed:   make(chan struct{}),
	}
	s.tasks = newTasks(s)
	return s, nil
}

// Run logs in and keeps the login: it checks it regularly, logs in again when
// it is lost, and logs in anew when the credentials file changes. Meanwhile it
// follows the tasks that are waited for. It returns nil when ctx ends, after it
// logged out.
func (s *Session) Run(ctx context.Context) error {
	var following sync.WaitGroup
	defer following.Wait()
	following.Go(func() { s.tasks.run(ctx) })
	defer s.publish(nil, unavailable(errEnded))
	poll := s.config.Clock.NewTicker(credentialsPoll)
	defer poll.Stop()

	logger := s.config.Logger.WithValues("vcenter", s.config.URL.Host)
	retry, flap, said := NewRetry(), NewRetry(), ""
	for ctx.Err() == nil {
		connection, tried, err := s.login(ctx)
		if ctx.Err() != nil {
			if connection != nil {
				connection.close(ctx, errEnded)
			}
			break
		}
		if err != nil {
			s.publish(nil, unavailable(err))
			if message := err.Error(); message != said {
				said = message
				logger.Error(err, "Could not log in to vCenter")
			}
			delay := retry.Step()
			if refused := s.refused.wait(tried, s.config.Clock.Now()); refused > 0 {
				delay = refused
			}
			s.rest(ctx, delay, tried, poll.C())
			continue
		}
		retry, said = NewRetry(), ""
		logger.Info("Logged in to vCenter", "version", connection.Client.ServiceContent.About.Version)
		s.publish(connection, nil)
		since := s.config.Clock.Now()
		if err := s.keep(ctx, connection, poll.C()); err != nil {
			logger.Info("Lost the login at vCenter", "reason", err.Error())
		}
		if s.config.Clock.Since(since) >= steady {
			flap = NewRetry()
			continue
		}
		s.rest(ctx, flap.Step(), tried, poll.C())
	}
	return nil
}

// NewRetry returns the pauses after attempts that vCenter did not answer well: half
// a second at first, then twice as long each time, up to 30 s, with jitter.
func NewRetry() *wait.Backoff {
	return &wait.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Jitter: 0.3, Steps: 100, Cap: 30 * time.Second}
}

// login makes a login with the present content of the credentials file, and
// returns the digest of that content in any case.
func (s *Session) login(ctx context.Context) (*Connection, digest, error) {
	who, err := readCredentials(s.config.CredentialsFile)
	if err != nil {
		return nil, who.digest, err
	}
	if s.refused.wait(who.digest, s.config.Clock.Now()) > 0 {
		return nil, who.digest, &refusedError{file: s.config.CredentialsFile, cause: failure.Unavailable}
	}
	connection, err := s.dial(ctx, who)
	s.config.Metrics.loggedIn(err)
	if isRefused(err) {
		s.refused.add(who.digest, s.config.Clock.Now())
	}
	if err == nil {
		delete(s.refused, who.digest)
	}
	return connection, who.digest, err
}

// rest waits out delay, or until the credentials differ from those tried.
func (s *Session) rest(ctx context.Context, delay time.Duration, tried digest, poll <-chan time.Time) {
	timer := s.config.Clock.NewTimer(delay)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C():
			return
		case <-poll:
			if s.newCredentials(tried) {
				return
			}
		}
	}
}

// newCredentials says whether the file holds something usable that differs
// from known and that vCenter has not refused lately.
func (s *Session) newCredentials(known digest) bool {
	now, err := readCredentials(s.config.CredentialsFile)
	return err == nil && now.digest != known && s.refused.wait(now.digest, s.config.Clock.Now()) <= 0
}

// keep watches over connection until it, or one that replaced it, is lost.
func (s *Session) keep(ctx context.Context, connection *Connection, poll <-chan time.Time) error {
	alive := s.config.Clock.NewTicker(s.config.KeepAlive)
	defer alive.Stop()
	for {
		select {
		case <-ctx.Done():
			connection.close(ctx, errEnded)
			return nil
		case <-connection.Lost():
			s.publish(nil, nil)
			connection.close(ctx, nil)
			return connection.Err()
		case <-alive.C():
			s.check(ctx, connection)
		case <-s.checkSoon:
			s.check(ctx, connection)
		case <-poll:
			if s.newCredentials(connection.digest) {
				connection = s.replace(ctx, connection)
			}
		}
	}
}

// check ends connection when vCenter does not confirm it twice in a row.
func (s *Session) check(ctx context.Context, connection *Connection) {
	timeout := min(s.config.CallTimeout, 10*time.Second)
	err := connection.check(ctx, timeout)
	if err == nil || ctx.Err() != nil || connection.Err() != nil {
		return
	}
	if err = connection.check(ctx, timeout); err != nil && ctx.Err() == nil {
		connection.lose(err)
	}
}

// replace logs in with new credentials. The old login goes on when they are
// no good, so that a slip of the pen takes nothing down.
func (s *Session) replace(ctx context.Context, old *Connection) *Connection {
	connection, _, err := s.login(ctx)
	if err != nil {
		s.config.Logger.Error(err, "Could not log in to vCenter with the changed credentials; the login made with the old "+
			"ones goes on", "vcenter", s.config.URL.Host)
		return old
	}
	s.config.Logger.Info("Logged in to vCenter with the changed credentials", "vcenter", s.config.URL.Host)
	s.publish(connection, nil)
	old.close(ctx, errReplaced)
	return connection
}

// suspect has the login checked soon.
func (s *Session) suspect() {
	signal(s.checkSoon)
}

func (s *Session) publish(connection *Connection, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connection, s.err = connection, err
	close(s.changed)
	s.changed = make(chan struct{})
}

// state returns the present login, or why there is none, or neither while an
// attempt is due; and a channel that is closed when that changes.
func (s *Session) state() (*Connection, error, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.connection != nil && s.connection.Err() != nil {
		return nil, nil, s.changed
	}
	return s.connection, s.err, s.changed
}

// Err returns why there is no login now, nil when there is one.
func (s *Session) Err() error {
	connection, err, _ := s.state()
	if connection == nil && err == nil {
		return unavailable(errors.New("the login at vCenter is under way"))
	}
	return err
}

// Connect returns the present login and waits for one, until ctx ends, when
// there is none.
func (s *Session) Connect(ctx context.Context) (*Connection, error) {
	for {
		connection, _, changed := s.state()
		if connection != nil {
			return connection, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a login at vCenter: %w", Translate(ctx.Err()))
		}
	}
}

// current is like Connect, but fails at once while vCenter is known to be away.
func (s *Session) current(ctx context.Context) (*Connection, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.CallTimeout)
	defer cancel()
	for {
		connection, err, changed := s.state()
		if connection != nil || err != nil {
			return connection, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a login at vCenter: %w", unavailable(ctx.Err()))
		}
	}
}

// Do runs f with a logged-in client. When vCenter answers that the login is
// gone, it waits for a new one and runs f once more, so f must bear that.
// While vCenter is known to be away it fails at once. Errors are translated
// and wrapped with operation, like `power on vm "x"`.
func (s *Session) Do(ctx context.Context, operation string, f func(context.Context, *vim25.Client) error) error {
	for again := false; ; again = true {
		connection, err := s.current(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", operation, err)
		}
		err = f(ctx, connection.Client)
		if err == nil {
			return nil
		}
		connection.Report(err)
		if !again && isNotAuthenticated(err) {
			continue
		}
		return fmt.Errorf("%s: %w", operation, Translate(err))
	}
}

// Reachable returns nil when vCenter answers now: it is asked for its time.
func (s *Session) Reachable(ctx context.Context) error {
	return s.Do(ctx, "ask vCenter for its time", func(ctx context.Context, client *vim25.Client) error {
		_, err := methods.GetCurrentTime(ctx, client)
		return err
	})
}
