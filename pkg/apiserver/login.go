// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"time"

	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	restclient "k8s.io/client-go/rest"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/login"
	"github.com/openpacific/pacific/pkg/login/token"
	"github.com/openpacific/pacific/pkg/vcenter/sso"
)

// loginShutdown is how long a shutdown waits for logins under way.
const loginShutdown = 5 * time.Second

// electionPatience is how long new keys wait for this process to be elected.
const electionPatience = 2 * time.Second

// newLogins makes the login service and what it runs as, neither when there is to be
// none. It answers on every replica.
func newLogins(options *Options, config *genericapiserver.RecommendedConfig, v *site, records *ledger.Ledger,
	reviewer reviewer,
	logger klog.Logger) (*login.Service, []task) {
	if options.Login.Port == 0 {
		return nil, nil
	}
	if err := login.ForbidCoreDumps(); err != nil {
		logger.Error(err, "A core dump of this process could hold a password")
	}
	realClock := clock.RealClock{}
	keys := &token.Keys{
		Store: signingKeys{ledger.Documents{Ledger: records, Kind: "login"}}, Rand: rand.Reader, Clock: realClock,
		Logger: logger,
	}
	aliases := options.Login.domainAliases()
	prover := &sso.Prover{
		Session:         v.session,
		CredentialsFile: options.VCenter.CredentialsFile,
		DomainAliases:   aliases,
		Providers:       &sso.IdentityProviders{Session: v.rest, Clock: realClock},
		Logger:          logger,
		Clock:           realClock,
	}
	service := &login.Service{
		Prover:         prover,
		Accounts:       prover,
		Workloads:      roles{picture: v.picture, reviewer: reviewer},
		Tokens:         &token.Issuer{URL: options.Login.Issuer, Keys: keys, Rand: rand.Reader, Clock: realClock},
		Banner:         "Pacific, a Supervisor for vCenter. Authorised use only.\n",
		Host:           options.Login.KubeAPIHost,
		Port:           options.Login.KubeAPIPort,
		Authorities:    options.Login.authorities(config.ClientConfig),
		DefaultDomain:  options.Login.DefaultDomain,
		DomainAliases:  aliases,
		TrustedProxies: options.Login.trustedProxies(),
		Logger:         logger,
		Clock:          realClock,
		Metrics:        login.NewMetrics(legacyregistry.MustRegister),
	}
	return service, []task{service.Run, func(ctx context.Context) error {
		return serveLogin(ctx, service, options.Login, config.SecureServing.Cert, config.ClientConfig, logger)
	}}
}

// serveLogin listens until ctx ends.
func serveLogin(ctx context.Context, service *login.Service, options LoginOptions,
	certificate dynamiccertificates.CertKeyContentProvider, kubeAPI *restclient.Config, logger klog.Logger) error {
	handler := service.Handler()
	if options.ServeKubeAPI {
		proxy, err := kubeAPIProxy(kubeAPI, logger)
		if err != nil {
			return err
		}
		mux := http.NewServeMux()
		service.Mount(mux)
		mux.Handle("/", proxy)
		handler = mux
	}
	address := net.JoinHostPort(options.BindAddress, strconv.Itoa(options.Port))
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen for logins on %s (--login-bind-address, --login-port): %w", address, err)
	}
	source := certificateSource{provider: certificate}
	server := login.NewServer(handler, &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: source.get, NextProtos: []string{"h2", "http/1.1"},
	}, logger)

	var running sync.WaitGroup
	defer running.Wait()
	done := make(chan struct{})
	defer close(done)
	running.Go(func() {
		select {
		case <-ctx.Done():
		case <-done:
		}
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), loginShutdown)
		defer cancel()
		if server.Shutdown(grace) != nil {
			_ = server.Close() // watches through the proxy do not end by themselves
		}
	})
	logger.Info("Serving logins", "address", address, "issuer", options.Issuer)
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve logins on %s: %w", address, err)
	}
	return nil
}

// certificateSource gives each connection the serving certificate of the moment.
type certificateSource struct {
	provider dynamiccertificates.CertKeyContentProvider
}

func (c certificateSource) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.provider == nil {
		return nil, errors.New("there is no serving certificate: set --tls-cert-file and --tls-private-key-file")
	}
	certificate, err := tls.X509KeyPair(c.provider.CurrentCertKeyContent())
	if err != nil {
		return nil, fmt.Errorf("read the serving certificate: %w", err)
	}
	return &certificate, nil
}

// kubeAPIProxy forwards requests with their own credentials, and with none of
// ours.
func kubeAPIProxy(config *restclient.Config, logger klog.Logger) (http.Handler, error) {
	anonymous := restclient.AnonymousClientConfig(config)
	// Not HTTP/2, over which all clients would share one connection. kube-apiserver
	// ends the connection of whoever it does not know, and with it would go the
	// requests of everybody else that have a body. And an answer that comes before
	// the body was read would now and then have no end (go.dev/issue/78973).
	anonymous.NextProtos = []string{"http/1.1"}
	transport, err := restclient.TransportFor(anonymous)
	if err != nil {
		return nil, fmt.Errorf("make a connection to kube-apiserver: %w", err)
	}
	target, _, err := restclient.DefaultServerUrlFor(anonymous)
	if err != nil {
		return nil, fmt.Errorf("read the address of kube-apiserver: %w", err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(&url.URL{Scheme: target.Scheme, Host: target.Host})
			request.SetXForwarded()
		},
		Transport:     transport,
		FlushInterval: -1, // watches
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			logger.V(2).Info("Cannot forward to kube-apiserver", "err", err)
			http.Error(w, "kube-apiserver does not answer", http.StatusBadGateway)
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		// A watch lasts; kube-apiserver itself bounds everything else.
		control := http.NewResponseController(w)
		_ = control.SetWriteDeadline(time.Time{})
		_ = control.SetReadDeadline(time.Time{})
		proxy.ServeHTTP(w, request)
	}), nil
}

// signingKeys keeps the keys of the tokens in the ledger.
type signingKeys struct{ documents ledger.Documents }

const signingKeysID = "signing-keys"

func (s signingKeys) Load(ctx context.Context) ([]byte, string, error) {
	documents, err := s.documents.List(ctx)
	if err != nil {
		return nil, "", err
	}
	document, found := documents[signingKeysID]
	if !found {
		return nil, "", nil
	}
	return document.Value, strconv.FormatInt(document.Revision, 10), nil
}

func (s signingKeys) Save(ctx context.Context, data []byte, version string) error {
	var revision int64
	if version != "" {
		var err error
		if revision, err = strconv.ParseInt(version, 10, 64); err != nil {
			return fmt.Errorf("save the signing keys: version %q is none of ours: %w", version, err)
		}
	}
	// Whoever starts alone leads in a moment, and nobody can log in before there is a
	// key. Whoever does not lead finds the leader's key when it tries again.
	soon, cancel := context.WithTimeout(ctx, electionPatience)
	defer cancel()
	for {
		_, err := s.documents.Put(ctx, signingKeysID, data, revision)
		if !errors.Is(err, failure.Unavailable) {
			return err
		}
		select {
		case <-soon.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
