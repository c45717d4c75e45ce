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
	for name, certificate := range map[string]tls.Certificate{"same name": forged.Issue(t, "sv"),
		"shows the real authority": withReal, "shows both": withBoth} {
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

// TestRenewedCertificate is not an attack: the same authority signs a new one.
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
	for name, policy := range map[string]trust.Policy{"trusted": {Store: store},
		"authority given": {CA: authority.PEM()}} {
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
	if err := os.Rename(filepath.Join(store.Directory, "evil.json"),
		filepath.Join(store.Directory, "sv.json")); err != nil {
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

// trusted returns a guard of sv that has seen it, by kind of trust.
func trusted(t *testing.T, kind string, authority *wcptest.Authority, first *bait) *trust.Guard {
	t.Helper()
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
	return g
}

// TestOther decides about login services that a server names, and that the user has
// let in by name: by what proves the first one, and by no less.
func TestOther(t *testing.T) {
	authority, other := wcptest.NewAuthority(t, "CA"), wcptest.NewAuthority(t, "CA")
	certificate := authority.Issue(t, "sv", "sv2")
	borrowed := other.Issue(t, "sv2")
	borrowed.Certificate[1] = authority.Certificate.Raw
	tests := []struct {
		name   string
		second tls.Certificate
		passes bool
		same   bool
	}{
		{"same certificate", certificate, true, true},
		{"same authority", authority.Issue(t, "sv2"), true, false},
		{"same authority, other name", authority.Issue(t, "web"), false, false},
		{"other authority", other.Issue(t, "sv2"), false, false},
		{"other authority that shows ours", borrowed, false, false},
		{"signed by the server's own key", signedByLeaf(t, certificate, "sv2"), false, false},
	}
	for _, test := range tests {
		for _, kind := range []string{"ca", "pin", "insecure"} {
			t.Run(test.name+"/"+kind, func(t *testing.T) {
				g := trusted(t, kind, authority, serve(t, certificate))
				second, err := g.Other("sv2", "sv2")
				if err != nil {
					t.Fatal(err)
				}
				if second.Same(g) {
					t.Error("it is the same before anybody has seen it")
				}
				err = ask(t, second, "sv2", serve(t, test.second))
				if passes := test.passes || kind == "insecure"; (err == nil) != passes {
					t.Errorf("passed %v, want %v: %v", err == nil, passes, err)
				}
				if same := second.Same(g); same != test.same {
					t.Errorf("the same server: %v, want %v", same, test.same)
				}
			})
		}
	}
}

// TestOther_BeforeTheFirst: nobody is trusted for the word of a server that has
// not been checked itself.
func TestOther_BeforeTheFirst(t *testing.T) {
	authority := wcptest.NewAuthority(t, "CA")
	store := &trust.Store{Directory: t.TempDir()}
	remember(t, store, "sv", serve(t, authority.Issue(t, "sv")))
	second, err := guard(t, trust.Policy{Store: store}, "sv").Other("sv2", "sv2")
	if err != nil {
		t.Fatal(err)
	}
	if err := ask(t, second, "sv2", serve(t, authority.Issue(t, "sv2"))); err == nil {
		t.Error("a host was trusted that nobody could have named")
	}
}

// TestOther_HasAPinOfItsOwn: what the user has trusted for a server counts, whoever
// names it.
func TestOther_HasAPinOfItsOwn(t *testing.T) {
	authority, others := wcptest.NewAuthority(t, "CA"), wcptest.NewAuthority(t, "Other CA")
	store := &trust.Store{Directory: t.TempDir()}
	remember(t, store, "sv2", serve(t, others.Issue(t, "sv2")))
	first := serve(t, authority.Issue(t, "sv"))
	second, err := remember(t, store, "sv", first).Other("sv2", "sv2")
	if err != nil {
		t.Fatal(err)
	}
	if err := ask(t, second, "sv2", serve(t, others.Issue(t, "sv2"))); err != nil {
		t.Errorf("the server that was trusted is refused: %v", err)
	}
	var changed *trust.Changed
	if err := ask(t, second, "sv2", serve(t, authority.Issue(t, "sv2"))); !errors.As(err, &changed) {
		t.Errorf("got %v, want the change to be refused", err)
	}
}

// TestKeep remembers a server that the first one's authority has proved, for when
// the first one is not asked.
func TestKeep(t *testing.T) {
	authority := wcptest.NewAuthority(t, "CA")
	store := &trust.Store{Directory: t.TempDir()}
	second, err := remember(t, store, "sv", serve(t, authority.Issue(t, "sv"))).Other("sv2", "sv2")
	if err != nil {
		t.Fatal(err)
	}
	there := serve(t, authority.Issue(t, "sv2"))
	if err := errors.Join(ask(t, second, "sv2", there), second.Keep()); err != nil {
		t.Fatal(err)
	}
	if err := ask(t, guard(t, trust.Policy{Store: store}, "sv2"), "sv2", there); err != nil {
		t.Errorf("it is not remembered: %v", err)
	}
}

// accepts says whether what a kubeconfig is given verifies a server for a client
// that knows nothing else, as kubectl does.
func accepts(t *testing.T, settings trust.Settings, host string, b *bait) error {
	t.Helper()
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if settings.ServerName != "" {
		config.ServerName = settings.ServerName
	}
	if settings.CA != nil {
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(settings.CA)
	}
	connection, err := tls.Dial("tcp", b.address, config)
	if err == nil {
		connection.Close()
	}
	return err
}

// TestAPI decides about the API server beside a login service. What it accepts,
// other clients accept with what is handed on.
func TestAPI(t *testing.T) {
	ours, theirs := wcptest.NewAuthority(t, "CA"), wcptest.NewAuthority(t, "Other CA")
	alone := wcptest.Alone
	shown, hidden := ours.Issue(t, "sv"), alone(ours.Issue(t, "sv"))
	const proved, unknown, silent, refused = "proved", "unknown", "silent", "refused"
	tests := []struct {
		name       string
		login, api tls.Certificate
		told       *wcptest.Authority
		want       map[string]string // by kind of trust
	}{
		{"of the authority that was trusted", shown, alone(ours.Issue(t, "sv")), nil,
			map[string]string{"ca": proved, "pin": proved}},
		{"of an authority that was told", shown, alone(theirs.Issue(t, "sv")), theirs,
			map[string]string{"ca": proved, "pin": proved}},
		{"of an authority that nobody knows", shown, theirs.Issue(t, "sv"), nil,
			map[string]string{"ca": refused, "pin": unknown}},
		{"of one that it does not show either", shown, alone(theirs.Issue(t, "sv")), nil,
			map[string]string{"ca": refused, "pin": silent}},
		{"of another than was told", shown, theirs.Issue(t, "sv"), ours, map[string]string{"ca": refused, "pin": unknown}},
		{"for another name", shown, ours.Issue(t, "web"), nil, map[string]string{"ca": refused, "pin": refused}},
		{"by a login service that shows nobody", hidden, ours.Issue(t, "sv"), nil, map[string]string{"pin": unknown}},
		{"the same certificate, which shows nobody", hidden, hidden, nil, map[string]string{"pin": silent}},
		{"the same certificate, whose authority was told", hidden, hidden, ours, map[string]string{"pin": proved}},
		{"one that has signed itself", hidden, selfSigned(t, "sv"), nil, map[string]string{"pin": unknown}},
	}
	for _, test := range tests {
		for kind, want := range test.want {
			t.Run(test.name+"/"+kind, func(t *testing.T) {
				login := trusted(t, kind, ours, serve(t, test.login))
				g, err := login.API("sv:6443")
				if err != nil {
					t.Fatal(err)
				}
				if test.told != nil {
					g.Tell(test.told.PEM())
				}
				there := serve(t, test.api)
				err = ask(t, g, "sv", there)
				var missing *trust.Unknown
				var hidden *trust.NoAuthority
				got := refused
				switch {
				case err == nil:
					got = proved
				case errors.As(err, &missing):
					got = unknown
				case errors.As(err, &hidden):
					got = silent
				}
				if got != want {
					t.Fatalf("%s, want %s: %v", got, want, err)
				}
				if got == unknown {
					if err := errors.Join(g.Remember(missing), ask(t, g, "sv", there)); err != nil {
						t.Fatalf("it is not trusted after Remember: %v", err)
					}
				}
				if got != proved && got != unknown {
					return
				}
				if err := accepts(t, g.Settings(), "sv", there); err != nil {
					t.Errorf("what a kubeconfig is given does not verify the server: %v", err)
				}
			})
		}
	}
}

// TestAPI_NamedOtherwise: the name that the login service was accepted by counts for
// the API server too, and is told.
func TestAPI_NamedOtherwise(t *testing.T) {
	authority := wcptest.NewAuthority(t, "CA")
	login := remember(t, &trust.Store{Directory: t.TempDir()}, "sv", serve(t, authority.Issue(t, "web")))
	g, err := login.API("sv:6443")
	if err != nil {
		t.Fatal(err)
	}
	there := serve(t, authority.Issue(t, "web"))
	if err := ask(t, g, "sv", there); err != nil {
		t.Fatal(err)
	}
	if settings := g.Settings(); settings.ServerName != "web" || accepts(t, settings, "sv", there) != nil {
		t.Errorf("a kubeconfig is given %+v", settings)
	}
}

// TestAPI_Changed: what was trusted for an API server counts, as for a login
// service.
func TestAPI_Changed(t *testing.T) {
	ours, theirs := wcptest.NewAuthority(t, "CA"), wcptest.NewAuthority(t, "Other CA")
	login := remember(t, &trust.Store{Directory: t.TempDir()}, "sv", serve(t, ours.Issue(t, "sv")))
	g, err := login.API("sv:6443")
	if err != nil {
		t.Fatal(err)
	}
	var unknown *trust.Unknown
	if err := ask(t, g, "sv", serve(t, theirs.Issue(t, "sv"))); !errors.As(err, &unknown) {
		t.Fatal(err)
	}
	if err := g.Remember(unknown); err != nil {
		t.Fatal(err)
	}
	again, err := login.API("sv:6443")
	if err != nil {
		t.Fatal(err)
	}
	if err := ask(t, again, "sv", serve(t, theirs.Issue(t, "sv"))); err != nil {
		t.Errorf("a renewed certificate is refused: %v", err)
	}
	var changed *trust.Changed
	if err := ask(t, again, "sv", serve(t, wcptest.NewAuthority(t, "Other CA").Issue(t, "sv"))); !errors.As(err,
		&changed) {
		t.Errorf("got %v, want the change to be refused", err)
	}
}

// selfSigned makes a certificate that is nobody's but its own.
func selfSigned(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(8), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
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
