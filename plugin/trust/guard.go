// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
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
	Insecure   bool
	CA         []byte // PEM; nil when the user names no authority
	ServerName string // with CA: the name in the certificate, if not the host
	Store      *Store // may be nil
	Now        func() time.Time
}

// ReadCA returns the certificates of a file.
func ReadCA(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the certificate authority: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		return nil, shell.Advise(fmt.Errorf("%s holds no certificate", file), "--certificate-authority takes a file in PEM format, which begins with -----BEGIN CERTIFICATE-----")
	}
	return data, nil
}

// Guard checks the certificates of one host. It remembers what the last
// handshake has proved.
type Guard struct {
	policy  Policy
	address string // as the store calls it
	host    string
	first   *Guard // not nil for a host that another server named
	pin     *Pin

	mu    sync.Mutex // guards proof
	proof *proof
}

// proof is what a handshake has shown.
type proof struct {
	presented []*x509.Certificate
	anchors   []*x509.Certificate // the roots of the verified chains; none when insecure
	name      string              // the name under which the certificate was accepted
}

// Guard returns the guard of a host. address is host, with a port if need be.
func (p Policy) Guard(address, host string) (*Guard, error) {
	guard := &Guard{policy: p, address: address, host: host}
	if p.Insecure || p.CA != nil || p.Store == nil {
		return guard, nil
	}
	pin, err := p.Store.Load(address)
	guard.pin = pin
	return guard, err
}

// Named returns the guard of a host that the guarded server has named.
func (g *Guard) Named(host string) *Guard {
	return &Guard{policy: g.policy, address: host, host: host, first: g}
}

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
	// A proxy that is itself spoken to over TLS comes by here too; it is no
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
	switch {
	case g.first != nil:
		return g.checkNamed(presented)
	case g.policy.Insecure:
		return &proof{presented: presented, name: g.host}, nil
	case g.policy.CA != nil:
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(g.policy.CA)
		name := g.host
		if g.policy.ServerName != "" {
			name = g.policy.ServerName
		}
		return g.chain(presented, roots, name)
	case g.pin != nil:
		return g.checkPin(presented)
	}
	shown, err := g.chain(presented, nil, g.host)
	var unknown x509.UnknownAuthorityError
	var system x509.SystemRootsError
	if errors.As(err, &unknown) || errors.As(err, &system) {
		return nil, g.unknown(presented, err)
	}
	return shown, err
}

// chain verifies the chain first and the name afterwards, so that an unknown
// authority is told from a wrong name.
func (g *Guard) chain(presented []*x509.Certificate, roots *x509.CertPool, name string) (*proof, error) {
	chains, err := presented[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: pool(presented[1:]), CurrentTime: g.policy.Now(),
	})
	if err != nil {
		return nil, err
	}
	if err := presented[0].VerifyHostname(name); err != nil {
		return nil, err
	}
	shown := &proof{presented: presented, name: name}
	for _, chain := range chains {
		shown.anchors = append(shown.anchors, chain[len(chain)-1])
	}
	return shown, nil
}

func (g *Guard) checkPin(presented []*x509.Certificate) (*proof, error) {
	anchor, err := g.pin.certificate()
	if err != nil {
		return nil, err
	}
	name := g.host
	if g.pin.ServerName != "" {
		name = g.pin.ServerName
	}
	shown, err := g.chain(presented, pool([]*x509.Certificate{anchor}), name)
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return nil, &Changed{
			Host: g.address, File: g.policy.Store.file(g.address),
			Before: Fingerprint(anchor), Now: Fingerprint(top(presented, g.policy.Now())),
		}
	}
	return shown, err
}

// checkNamed lets a host pass that holds the certificate of the first server,
// or has one of the same authority that is valid for its own name.
func (g *Guard) checkNamed(presented []*x509.Certificate) (*proof, error) {
	first := g.first.shown()
	if first == nil {
		return nil, errors.New("the first server has not been checked")
	}
	if presented[0].Equal(first.presented[0]) {
		return &proof{presented: presented, anchors: first.anchors, name: first.name}, nil
	}
	authorities := first.anchors
	if g.policy.Insecure {
		authorities = []*x509.Certificate{top(first.presented, g.policy.Now())}
	}
	roots := x509.NewCertPool()
	for _, authority := range authorities {
		if authority.IsCA {
			roots.AddCert(authority)
		}
	}
	chains, err := presented[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: pool(presented[1:]), CurrentTime: g.policy.Now(),
	})
	if err != nil {
		return nil, &Stranger{Host: g.address, First: g.first.address}
	}
	shown := &proof{presented: presented, name: g.host}
	if g.policy.Insecure {
		return shown, nil
	}
	for _, chain := range chains {
		shown.anchors = append(shown.anchors, chain[len(chain)-1])
	}
	return shown, presented[0].VerifyHostname(g.host)
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
	settings := Settings{}
	if shown.name != g.host {
		settings.ServerName = shown.name
	}
	root := g
	if g.first != nil {
		root = g.first
	}
	switch {
	case root.policy.CA != nil:
		settings.CA = root.policy.CA
	case root.pin != nil:
		settings.CA = []byte(root.pin.Certificate)
	}
	return settings
}

func pool(certificates []*x509.Certificate) *x509.CertPool {
	all := x509.NewCertPool()
	for _, certificate := range certificates {
		all.AddCert(certificate)
	}
	return all
}

func encode(certificate *x509.Certificate) []byte {
	var out bytes.Buffer
	_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
	return out.Bytes()
}
