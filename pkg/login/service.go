// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"crypto/tls"
	"log"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/login/guard"
	"github.com/openpacific/pacific/pkg/login/token"
)

// Prover proves a password. It returns the user's name as user@domain and their
// groups as name@domain. The error wraps failure.Unauthenticated when the
// password was refused, failure.Forbidden when the user may not log in here,
// and anything else when it could not be found out. It never holds the password.
type Prover interface {
	Authenticate(ctx context.Context, username, password string) (name string, groups []string, err error)
}

// Accounts knows which account a name means that people log in with.
type Accounts interface {
	// Account returns the one name of the account, as user@domain. The error wraps
	// failure.NotFound when the name means nobody, and failure.Unavailable or
	// failure.Timeout when that cannot be known now; any other means that it cannot
	// be known at all.
	Account(ctx context.Context, username string) (string, error)
}

// Workload is a namespace that a user has a role in.
type Workload struct {
	Namespace string
	// Host is the address of the Kubernetes API that serves it, without scheme
	// and port. Empty: the service's, or what the client called us by.
	Host string
	// Port of that API. Empty: the service's.
	Port string
	// DNSNames are further names of Host.
	DNSNames []string
}

// Workloads knows who has a role where. It answers from memory.
type Workloads interface {
	Of(ctx context.Context, user Identity) ([]Workload, error)
}

// Service is the login service. Only Prover, Tokens, Logger and Clock must be
// set; it must not be copied or changed once it serves.
type Service struct {
	Prover Prover
	// Accounts tells the spellings of one account, so that attempts under all of them
	// are counted together. Nil: every name is an account, but for DomainAliases.
	Accounts  Accounts
	Workloads Workloads // Nil: nobody has a role anywhere.
	// Tokens issues tokens; its URL says where the discovery document is.
	Tokens *token.Issuer
	// JWKSURL is where those who verify read the keys, if not at <issuer>/jwks:
	// it is written into the discovery document, and served only at <issuer>/jwks.
	JWKSURL string

	// Banner is what /wcp/loginbanner says.
	Banner string
	// Host and Port are where the Kubernetes API is, for workloads that do not
	// say. Empty: the name that the client called us by, and 6443.
	Host, Port string
	// Authorities returns, as PEM, who may have signed the certificate of the
	// Kubernetes API. Everybody may ask for them: whoever trusts this service can
	// then trust that API. Nil: they are not told.
	Authorities func() ([]byte, error)

	// DefaultDomain is the domain of users who give none. Empty: they are
	// refused.
	DefaultDomain string
	// DomainAliases are other names of domains, in lower case: whoever gives one is
	// of the domain, and attempts under all of them are counted together.
	DomainAliases map[string]string

	// Limits hold guessing back.
	Limits guard.Limits
	// TrustedProxies may say in X-Forwarded-For whom they speak for.
	TrustedProxies []netip.Prefix
	// Timeout bounds a proof. Zero: 20 s.
	Timeout time.Duration
	// RefusalTime is the time after which a refusal is answered; one that takes
	// longer waits for a multiple of it. Zero: 1 s.
	RefusalTime time.Duration
	// MaxProofs bounds the proofs under way. Zero: 32.
	MaxProofs int

	Logger  klog.Logger
	Clock   clock.WithTicker
	Metrics *Metrics // Nil: not measured.

	once     sync.Once
	guard    *guard.Guard
	accounts *cache.LRUExpireCache // of guard.User by username.key
	proofs   chan struct{}
}

func (s *Service) start() {
	s.once.Do(func() {
		s.guard = guard.New(s.Limits, s.Clock)
		s.accounts = cache.NewLRUExpireCacheWithClock(rememberedAccounts, s.Clock)
		s.proofs = make(chan struct{}, orDefault(s.MaxProofs, 32))
	})
}

func orDefault[T int | time.Duration](value, missing T) T {
	if value <= 0 {
		return missing
	}
	return value
}

// Run rotates the keys and forgets old attempts until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	s.start()
	var keys sync.WaitGroup
	keys.Go(func() { _ = s.Tokens.Keys.Run(ctx) }) // Returns only with ctx, and nil.
	defer keys.Wait()
	sweep := s.Clock.NewTicker(time.Minute)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sweep.C():
			s.guard.Sweep()
		}
	}
}

// Ready returns why nobody can log in for lack of a signing key, nil when there
// is one. Whether vCenter is there is not looked at.
func (s *Service) Ready() error { return s.Tokens.Keys.Ready() }

// Paths are what Mount serves.
func (s *Service) Paths() []string {
	issuer := s.issuerPath()
	paths := []string{"/wcp/loginbanner", "/wcp/workloads", "/wcp/login", issuer + discoveryPath, issuer + jwksPath}
	if s.Authorities != nil {
		paths = append(paths, clusterInfoPath)
	}
	return paths
}

// Mount serves the protocol's paths on a mux that may serve others.
func (s *Service) Mount(mux interface{ Handle(string, http.Handler) }) {
	s.start()
	handlers := []http.Handler{
		s.only(s.serveBanner, http.MethodGet, http.MethodHead),
		s.only(s.serveWorkloads, http.MethodGet),
		s.only(s.serveLogin, http.MethodPost),
		s.only(s.serveDiscovery, http.MethodGet, http.MethodHead),
		s.only(s.serveKeys, http.MethodGet, http.MethodHead),
		s.only(s.serveClusterInfo, http.MethodGet, http.MethodHead),
	}
	for i, path := range s.Paths() {
		mux.Handle(path, handlers[i])
	}
}

// Handler serves the protocol's paths and nothing else.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	s.Mount(mux)
	mux.Handle("/", s.protect(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "NotFound", "there is nothing at this path")
	}))
	return mux
}

// issuerPath is the path of the issuer's URL, without a slash at its end.
func (s *Service) issuerPath() string {
	u, err := url.Parse(s.Tokens.URL)
	if err != nil {
		return ""
	}
	return strings.TrimRight(u.Path, "/")
}

// NewServer is a server with the limits that a login needs, for a listener of
// its own: TLS 1.2 and up, small headers, every step with a deadline. Its log
// tells of connections, not of requests.
func NewServer(handler http.Handler, config *tls.Config, logger klog.Logger) *http.Server {
	config = config.Clone()
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	return &http.Server{
		Handler:           handler,
		TLSConfig:         config,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       20 * time.Second,
		WriteTimeout:      90 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(connectionLog{logger}, "", 0),
	}
}

type connectionLog struct{ logger klog.Logger }

func (c connectionLog) Write(line []byte) (int, error) {
	c.logger.V(2).Info("Connection problem", "problem", strings.TrimSpace(string(line)))
	return len(line), nil
}
