// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/login/guard"
)

// outcome is how an attempt ended, for the log and the metrics.
type outcome string

const (
	accepted    outcome = "accepted"
	refused     outcome = "refused"
	forbidden   outcome = "forbidden"
	limited     outcome = "limited"
	malformed   outcome = "malformed"
	unavailable outcome = "unavailable"
)

// attempt is one request that must prove a password.
type attempt struct {
	operation string
	start     time.Time
	user      string // As far as it is a name.
	address   string
}

// end records how an attempt ended: the audit line, and the metrics.
func (s *Service) end(a attempt, o outcome, reason string) {
	s.Metrics.attempted(a.operation, o, s.Clock.Since(a.start))
	s.Logger.Info("Login attempt", "operation", a.operation, "user", a.user, "address", a.address,
		"outcome", string(o), "reason", reason)
}

// authenticate proves who sends a request. When it returns false it has
// answered; what is true has yet to be ended.
func (s *Service) authenticate(w http.ResponseWriter, r *http.Request, operation string) (Identity, attempt, bool) {
	a := attempt{operation: operation, start: s.Clock.Now()}
	address := s.clientAddress(r)
	a.address = address.String()

	asked, password, wrong := takeCredentials(r)
	if wrong != nil {
		s.end(a, malformed, wrong.reason)
		wrong.answer(w)
		return Identity{}, a, false
	}
	name, ok := s.parseUsername(asked)
	if ok {
		// Only what has the form of a name: a password in the wrong field has not.
		a.user = name.asked
	}
	attempted := s.admit(w, r, a, name, ok, address)
	if attempted == nil {
		return Identity{}, a, false
	}
	defer attempted.Done(guard.Failed) // Unless it is known to be otherwise.
	if !ok || !canBePassword(password) {
		attempted.Done(guard.Failed)
		s.refuse(w, r, a, "not a user name or password")
		return Identity{}, a, false
	}

	// A client that goes away does not end the proof: vCenter counts it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), orDefault(s.Timeout, 20*time.Second))
	defer cancel()
	identity, err := s.prove(ctx, name.asked, password)
	if err != nil {
		s.answer(w, r, a, attempted, err, password)
		return Identity{}, a, false
	}
	attempted.Done(guard.Succeeded)
	s.know(name, identity, attempted.User())
	a.user = identity.Name()
	return identity, a, true
}

// admit lets an attempt through that is within the limits. When it returns nil it has
// answered. A name that nobody can have goes the way of a wrong one.
func (s *Service) admit(w http.ResponseWriter, r *http.Request, a attempt, name username, ok bool,
	address netip.Addr) *guard.Attempt {
	user, err := guard.User{Name: "\x00"}, error(nil)
	if ok {
		user, err = s.user(r.Context(), name, address)
	}
	var attempted *guard.Attempt
	if err == nil {
		attempted, err = s.guard.Enter(r.Context(), user, address)
	}
	var tooMany *guard.Limited
	switch {
	case err == nil:
		return attempted
	case errors.As(err, &tooMany) && (ok || tooMany.By == "address"):
		s.end(a, limited, "too many failures of this "+tooMany.By)
		retryAfter(w, tooMany.RetryAfter)
		refuse(w, http.StatusTooManyRequests, "TooManyAttempts", "too many failed attempts: try again later")
	case tooMany != nil:
		s.refuse(w, r, a, "not a user name")
	case errors.Is(err, errBusy):
		s.busy(w, a)
	default:
		s.Logger.Error(err, "Could not find out which account a user name means", "user", a.user)
		s.end(a, unavailable, "vCenter could not be asked")
		s.unavailable(w)
	}
	return nil
}

// federated is an error that says that the people of a domain log in to vCenter at an
// identity provider, and so with no password that vCenter could look at.
type federated interface {
	error
	FederatedDomain() string
}

// answer tells of a password that was not proved.
func (s *Service) answer(w http.ResponseWriter, r *http.Request, a attempt, attempted *guard.Attempt,
	err error, password string) {
	var elsewhere federated
	switch {
	case errors.Is(err, errBusy):
		attempted.Done(guard.Void)
		s.busy(w, a)
	case errors.As(err, &elsewhere):
		// Whoever it is, and whatever the password: it tells of the domain alone.
		attempted.Done(guard.Failed)
		s.end(a, forbidden, "the domain's people log in at an identity provider")
		s.pad(r, a)
		refuse(w, http.StatusForbidden, "FederatedDomain", "the people of "+elsewhere.FederatedDomain()+
			" log in to vCenter at an "+
			"identity provider, which takes no password here: log in as a user of another domain, such as vsphere.local")
	case errors.Is(err, failure.Unauthenticated):
		attempted.Done(guard.Failed)
		s.refuse(w, r, a, "vCenter refused the user name or password")
	case errors.Is(err, failure.Forbidden):
		// The password may have been wrong: vCenter did not say.
		attempted.Done(guard.Failed)
		s.Logger.Info("A user may not log in", "user", a.user, "reason", redact(err, password))
		s.end(a, forbidden, "not allowed to log in")
		s.pad(r, a)
		refuse(w, http.StatusForbidden, "Forbidden", "this user may not log in here")
	default:
		if !errors.Is(err, failure.Timeout) && !errors.Is(err, context.DeadlineExceeded) {
			// Else vCenter may have counted it.
			attempted.Done(guard.Void)
		}
		s.Logger.Error(nil, "Could not prove a password", "user", a.user, "reason", redact(err, password))
		s.end(a, unavailable, "vCenter could not be asked")
		s.unavailable(w)
	}
}

// errBusy: so many proofs are under way that this one found no place in time.
var errBusy = errors.New("too many proofs are under way")

// slot waits for a place among those who ask vCenter.
func (s *Service) slot(ctx context.Context) (release func(), err error) {
	select {
	case s.proofs <- struct{}{}:
		return func() { <-s.proofs }, nil
	case <-ctx.Done():
		return nil, errBusy
	}
}

func (s *Service) prove(ctx context.Context, asked, password string) (Identity, error) {
	release, err := s.slot(ctx)
	if err != nil {
		return Identity{}, err
	}
	defer release()
	name, groups, err := s.Prover.Authenticate(ctx, asked, password)
	if err != nil {
		return Identity{}, err
	}
	identity, ok := parseIdentity(name, groups)
	if !ok {
		return Identity{}, errors.New("vCenter vouched for a name that is not like user@domain")
	}
	return identity, nil
}

// refuse is the constant answer, after the constant time.
func (s *Service) refuse(w http.ResponseWriter, r *http.Request, a attempt, reason string) {
	s.end(a, refused, reason)
	s.pad(r, a)
	errRefused.answer(w)
}

// pad waits until a multiple of the refusal time has passed, so that the time
// that vCenter took does not tell which names it knows.
func (s *Service) pad(r *http.Request, a attempt) {
	step := orDefault(s.RefusalTime, time.Second)
	taken := s.Clock.Since(a.start)
	wait := (taken/step+1)*step - taken
	timer := s.Clock.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-r.Context().Done():
	}
}

func (s *Service) busy(w http.ResponseWriter, a attempt) {
	s.end(a, unavailable, "too many proofs under way")
	retryAfter(w, 2*time.Second)
	refuse(w, http.StatusServiceUnavailable, "Busy", "too many logins are under way: try again")
}

func (s *Service) unavailable(w http.ResponseWriter) {
	retryAfter(w, 5*time.Second)
	refuse(w, http.StatusServiceUnavailable, "Unavailable",
		"vCenter's single sign-on cannot be asked now: try again, and tell the administrator if it lasts")
}

func retryAfter(w http.ResponseWriter, after time.Duration) {
	seconds := max(1, int((after+time.Second-1)/time.Second))
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
}

// redact is a second line: no error should hold a password.
func redact(err error, password string) string {
	return strings.ReplaceAll(err.Error(), password, "[redacted]")
}
