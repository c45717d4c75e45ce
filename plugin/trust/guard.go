// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/openpacific/pacific/plugin/shell"
)

// Policy is what the user decided about trust.
type Policy struct {
	Insecure bool
	CA       []byte // PEM; nil when the user names no authority
	Store    *Store // nil with CA, or where nothing can be remembered
	Now      func() time.Time
}

// ReadCA returns the certificates of a file.
func ReadCA(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the certificate authority: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		return nil, shell.Advise(fmt.Errorf("%s holds no certificate", file),
			"--certificate-authority takes a file in PEM format, which begins with -----BEGIN CERTIFICATE-----")
	}
	return data, nil
}

// Guard checks the certificates of one server. It remembers what the last
// handshake has proved.
type Guard struct {
	policy  Policy
	address string // as the store calls it
	host    string
	pin     *Pin
	first   *Guard // of the server that named this one; nil for the one that the user typed
	login   *Guard // of the login service that this API server belongs to; nil for a login service
	told    []byte // authorities that the login service has told, PEM

	mu    sync.Mutex // guards proof
	proof *proof
}

// proof is what a handshake has shown.
type proof struct {
	presented []*x509.Certificate
	basis     basis
}

// Guard returns the guard of the login service at an address that the user has
// typed. address is host, with a port if need be.
func (p Policy) Guard(address, host string) (*Guard, error) {
	return p.guard(&Guard{policy: p, address: address, host: host})
}

// Other returns the guard of a login service that the guarded one has named. Who
// calls it has the user's consent. What has proved the first one proves it too.
func (g *Guard) Other(address, host string) (*Guard, error) {
	return g.policy.guard(&Guard{policy: g.policy, address: address, host: host, first: g})
}

// API returns the guard of the API server that belongs to the guarded login
// service, at another port of the same host.
func (g *Guard) API(address string) (*Guard, error) {
	return g.policy.guard(&Guard{policy: g.policy, address: address, host: g.host, login: g})
}

func (p Policy) guard(guard *Guard) (*Guard, error) {
	if p.Insecure || p.CA != nil || p.Store == nil {
		return guard, nil
	}
	pin, err := p.Store.Load(guard.address)
	guard.pin = pin
	return guard, err
}

// Tell adds authorities, as PEM, that the login service has told of its API
// server, over a connection that was checked.
func (g *Guard) Tell(authorities []byte) { g.told = authorities }

// Transport returns an HTTP transport whose peers are checked by the guard.
func (g *Guard) Transport() *http.Transport {
	dialer := &net.Dialer{Timeout: 15 * time.Second}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    15 * time.Second,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			// The standard check cannot compare with what the user trusted
			// before; VerifyConnection does all of it, for each connection.
			InsecureSkipVerify: true,
			VerifyConnection:   g.verify,
		},
	}
}

// verify is called within each handshake, before anything is sent.
func (g *Guard) verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server shows no certificate")
	}
	// A proxy that is itself spoken to over TLS comes by here too; it is not a
	// server of ours, and gets neither password nor token.
	if state.ServerName != "" && state.ServerName != g.host {
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
			DNSName: state.ServerName, Intermediates: pool(state.PeerCertificates[1:]), CurrentTime: g.policy.Now(),
		})
		return err
	}
	shown, err := g.check(state.PeerCertificates)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.proof = shown
	return nil
}

func (g *Guard) check(presented []*x509.Certificate) (*proof, error) {
	if g.policy.Insecure {
		return &proof{presented, basis{names: []string{g.host}}}, nil
	}
	bases, err := g.bases()
	if err != nil {
		return nil, err
	}
	var failed error
	for _, b := range bases {
		accepted, err := b.accept(presented, g.policy.Now())
		if err == nil {
			return &proof{presented, accepted}, nil
		}
		// What else is wrong with it says more than that nobody known has signed it.
		if failed == nil || isUnknown(failed) {
			failed = err
		}
	}
	if failed != nil && !isUnknown(failed) {
		return nil, failed
	}
	return nil, g.explain(presented, failed)
}

// explain says why a certificate that no basis accepts is not accepted.
func (g *Guard) explain(presented []*x509.Certificate, reason error) error {
	now := top(presented, g.policy.Now())
	switch {
	case g.pin != nil:
		before, err := g.pin.certificate()
		if err != nil {
			return err
		}
		if g.login != nil && presented[0].Equal(before) {
			return &NoAuthority{Host: g.address, Leaf: presented[0]}
		}
		return &Changed{
			Host: g.address, File: g.policy.Store.file(g.address), Before: Fingerprint(before), Now: Fingerprint(now),
		}
	case g.policy.Store == nil:
		return reason
	case g.login != nil && !vouches(now):
		return &NoAuthority{Host: g.address, Leaf: presented[0]}
	}
	return g.unknown(presented, reason)
}

// Same says whether both have shown the same certificate in their last
// handshakes: whoever can has the same key, and so is the same server.
func (g *Guard) Same(other *Guard) bool {
	mine, theirs := g.shown(), other.shown()
	return mine != nil && theirs != nil && mine.presented[0].Equal(theirs.presented[0])
}

func (g *Guard) shown() *proof {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.proof
}

// Settings are what a kubeconfig needs to trust the same server.
type Settings struct {
	Insecure   bool
	CA         []byte // PEM; nil when the operating system knows the authority
	ServerName string // empty when the host is the name
}

// Settings returns what the last handshake has proved.
func (g *Guard) Settings() Settings {
	shown := g.shown()
	switch {
	case g.policy.Insecure:
		return Settings{Insecure: true}
	case shown == nil:
		return Settings{}
	}
	settings := Settings{CA: shown.basis.authorities}
	if name := shown.basis.names[0]; name != g.host {
		settings.ServerName = name
	}
	return settings
}
