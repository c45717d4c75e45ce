// SPDX-License-Identifier: Apache-2.0

package trust_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openpacific/pacific/plugin/trust"
	"github.com/openpacific/pacific/plugin/wcp/wcptest"
)

// bait is a server that counts the requests that it got.
type bait struct {
	address  string
	requests atomic.Int32
}

func serve(t *testing.T, certificate tls.Certificate) *bait {
	t.Helper()
	b := &bait{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { b.requests.Add(1) }))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	b.address = strings.TrimPrefix(server.URL, "https://")
	return b
}

// ask sends a request to a host, which is where the bait is.
func ask(t *testing.T, guard *trust.Guard, host string, b *bait) error {
	t.Helper()
	transport := guard.Transport()
	transport.Proxy = nil
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", b.address)
	}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth("dev", "secret")
	before := b.requests.Load()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err == nil {
		response.Body.Close()
	} else if b.requests.Load() != before {
		t.Errorf("%s was refused, but got the request", host)
	}
	return err
}

func guard(t *testing.T, policy trust.Policy, host string) *trust.Guard {
	t.Helper()
	if policy.Now == nil {
		policy.Now = time.Now
	}
	guard, err := policy.Guard(host, host)
	if err != nil {
		t.Fatal(err)
	}
	return guard
}

// remember trusts a server on first use.
func remember(t *testing.T, store *trust.Store, host string, b *bait) *trust.Guard {
	t.Helper()
	g := guard(t, trust.Policy{Store: store}, host)
	var unknown *trust.Unknown
	if err := ask(t, g, host, b); !errors.As(err, &unknown) {
		t.Fatalf("got %v, want an unknown server", err)
	}
	if err := g.Remember(unknown); err != nil {
		t.Fatal(err)
	}
	if err := ask(t, g, host, b); err != nil {
		t.Fatalf("the server is not trusted after Remember: %v", err)
	}
	return g
}

// TestInterceptor_OtherCertificate stands between after the first use, once
// with an authority of the same name, once showing the real authority beside a
// certificate that it never signed.
func TestInterceptor_OtherCertificate(t *testing.T) {
	real, forged := wcptest.NewAuthority(t, "CA"), wcptest.NewAuthority(t, "CA")
	withReal := forged.Issue(t, "sv")
	withReal.Certificate[1] = real.Certificate.Raw
	withBoth := forged.Issue(t, "sv")
	withBoth.Certificate = append(withBoth.Certificate, real.Certificate.Raw)
	for name, certificate := range map[string]tls.Certificate{"same name": forged.Issue(t, "sv"), "shows the real authority": withReal, "shows both": withBoth} {
		t.Run(name, func(t *testing.T) {
			store := &trust.Store{Directory: t.TempDir()}
			remember(t, store, "sv", serve(t, real.Issue(t, "sv")))
			err := ask(t, guard(t, trust.Policy{Store: store}, "sv"), "sv", serve(t, certificate))
			var changed *trust.Changed
			if !errors.As(err, &changed) {
				t.Fatalf("got %v, want the change to be refused", err)
			}
			if changed.Before != trust.Fingerprint(real.Certificate) || changed.Now == changed.Before {
				t.Errorf("fingerprints: before %s, now %s", changed.Before, changed.Now)
			}
		})
	}
}

// TestFirstUse_BorrowedAuthority shows a certificate of its own beside the real
// authority's: the fingerprint to compare must not be the real one.
func TestFirstUse_BorrowedAuthority(t *testing.T) {
	real, forged := wcptest.NewAuthority(t, "CA"), wcptest.NewAuthority(t, "CA")
	certificate := forged.Issue(t, "sv")
	certificate.Certificate[1] = real.Certificate.Raw
	err := ask(t, guard(t, trust.Policy{Store: &trust.Store{Directory: t.TempDir()}}, "sv"), "sv", serve(t, certificate))
	var unknown *trust.Unknown
	if !errors.As(err, &unknown) {
		t.Fatalf("got %v", err)
	}
	if strings.Contains(unknown.Description(), trust.Fingerprint(real.Certificate)) {
		t.Errorf("the user is shown the fingerprint of an authority that has not signed:\n%s", unknown.Description())
	}
}

// TestRenewedCertificate is no attack: the same authority signs a new one.
func TestRenewedCertificate(t *testing.T) {
	authority := wcptest.NewAuthority(t, "CA")
	store := &trust.Store{Directory: t.TempDir()}
	remember(t, store, "sv", serve(t, authority.Issue(t, "sv")))
	if err := ask(t, guard(t, trust.Policy{Store: store}, "sv"), "sv", serve(t, authority.Issue(t, "sv"))); err != nil {
		t.Errorf("a renewed certificate is refused: %v", err)
	}
}

// TestInterceptor_OtherNameOfTheAuthority has a real certificate, for another
// name.
func TestInterceptor_OtherNameOfTheAuthority(t *testing.T) {
	authority := wcptest.NewAuthority(t, "CA")
	store := &trust.Store{Directory: t.TempDir()}
	remember(t, store, "sv", serve(t, authority.Issue(t, "sv")))
	other := serve(t, authority.Issue(t, "web"))
	for name, policy := range map[string]trust.Policy{"trusted": {Store: store}, "authority given": {CA: authority.PEM()}} {
		var hostname x509.HostnameError
		if err := ask(t, guard(t, policy, "sv"), "sv", other); !errors.As(err, &hostname) {
			t.Errorf("%s: got %v, want the name to be refused", name, err)
		}
	}
}

// TestPin_OfAnotherHost copies a pin to another host's place; TestPin_Broken
// destroys it. Neither means that there is none.
func TestPin_OfAnotherHost(t *testing.T) {
	store := &trust.Store{Directory: t.TempDir()}
	remember(t, store, "evil", serve(t, wcptest.NewAuthority(t, "CA").Issue(t, "evil")))
	if err := os.Rename(filepath.Join(store.Directory, "evil.json"), filepath.Join(store.Directory, "sv.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := (trust.Policy{Store: store, Now: time.Now}).Guard("sv", "sv"); err == nil {
		t.Error("the pin of another host is taken")
	}
}

func TestPin_Broken(t *testing.T) {
	store := &trust.Store{Directory: t.TempDir()}
	if err := os.WriteFile(filepath.Join(store.Directory, "sv.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (trust.Policy{Store: store, Now: time.Now}).Guard("sv", "sv"); err == nil {
		t.Error("a broken pin counts as none")
	}
}

func TestExpiredCertificateIsNotOfferedForTrust(t *testing.T) {
	certificate := wcptest.NewAuthority(t, "CA").IssueUntil(t, time.Now().Add(-time.Minute), "sv")
	err := ask(t, guard(t, trust.Policy{Store: &trust.Store{Directory: t.TempDir()}}, "sv"), "sv", serve(t, certificate))
	var unknown *trust.Unknown
	if err == nil || errors.As(err, &unknown) || !strings.Contains(err.Error(), "expired") {
		t.Errorf("got %v, want that it has expired", err)
	}
}

// TestNamed decides about hosts that a server names.
func TestNamed(t *testing.T) {
	authority, other := wcptest.NewAuthority(t, "CA"), wcptest.NewAuthority(t, "CA")
	certificate := authority.Issue(t, "sv")
	borrowed := other.Issue(t, "sv2")
	borrowed.Certificate[1] = authority.Certificate.Raw
	intermediateByLeaf := signedByLeaf(t, certificate, "sv2")
	tests := []struct {
		name   string
		second tls.Certificate
		passes map[string]bool // by kind of trust
	}{
		{"same certificate", certificate, map[string]bool{"ca": true, "pin": true, "insecure": true}},
		{"same authority", authority.Issue(t, "sv2"), map[string]bool{"ca": true, "pin": true, "insecure": true}},
		{"same authority, other name", authority.Issue(t, "web"), map[string]bool{"insecure": true}},
		{"other authority", other.Issue(t, "sv2"), nil},
		{"other authority that shows ours", borrowed, nil},
		{"signed by the server's own key", intermediateByLeaf, nil},
	}
	for _, test := range tests {
		for _, kind := range []string{"ca", "pin", "insecure"} {
			t.Run(test.name+"/"+kind, func(t *testing.T) {
				first := serve(t, certificate)
				var g *trust.Guard
				switch kind {
				case "ca":
					g = guard(t, trust.Policy{CA: authority.PEM()}, "sv")
				case "insecure":
					g = guard(t, trust.Policy{Insecure: true}, "sv")
				case "pin":
					g = remember(t, &trust.Store{Directory: t.TempDir()}, "sv", first)
				}
				if err := ask(t, g, "sv", first); err != nil {
					t.Fatal(err)
				}
				err := ask(t, g.Named("sv2"), "sv2", serve(t, test.second))
				if passed := err == nil; passed != test.passes[kind] {
					t.Errorf("passed %v, want %v: %v", passed, test.passes[kind], err)
				}
			})
		}
	}
}

// TestNamed_BeforeTheFirst: nobody is trusted for the word of a server that has
// not been checked itself.
func TestNamed_BeforeTheFirst(t *testing.T) {
	authority := wcptest.NewAuthority(t, "CA")
	g := guard(t, trust.Policy{CA: authority.PEM()}, "sv")
	if err := ask(t, g.Named("sv2"), "sv2", serve(t, authority.Issue(t, "sv2"))); err == nil {
		t.Error("a host was trusted that nobody could have named")
	}
}

// TestNamed_TwoAuthoritiesInTheFile: the file of --certificate-authority may
// hold several; the first server's counts.
func TestNamed_TwoAuthoritiesInTheFile(t *testing.T) {
	authority, other := wcptest.NewAuthority(t, "CA"), wcptest.NewAuthority(t, "Other CA")
	g := guard(t, trust.Policy{CA: append(authority.PEM(), other.PEM()...)}, "sv")
	if err := ask(t, g, "sv", serve(t, authority.Issue(t, "sv"))); err != nil {
		t.Fatal(err)
	}
	var stranger *trust.Stranger
	if err := ask(t, g.Named("sv2"), "sv2", serve(t, other.Issue(t, "sv2"))); !errors.As(err, &stranger) {
		t.Errorf("got %v, want a stranger", err)
	}
}

// signedByLeaf makes a certificate that the key of a server's certificate, which
// may sign none, has signed.
func signedByLeaf(t *testing.T, signer tls.Certificate, name string) tls.Certificate {
	t.Helper()
	parent, err := x509.ParseCertificate(signer.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: append([][]byte{raw}, signer.Certificate...), PrivateKey: key}
}
