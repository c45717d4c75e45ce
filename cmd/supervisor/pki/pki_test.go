// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	certutil "k8s.io/client-go/util/cert"
	clocktesting "k8s.io/utils/clock/testing"
)

func request() Request {
	return Request{CommonName: "server", Organization: []string{"b", "a"}, Hosts: []string{"localhost", "127.0.0.1", "::1"}, Client: true}
}

func startOfTime() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

type made struct{ ca, leaf []byte }

// makeBoth returns the authority's and the certificate's PEM as they are at that time.
func makeBoth(t *testing.T, dir string, now time.Time, r Request) made {
	t.Helper()
	store := Store{Dir: dir, Clock: clocktesting.NewFakePassiveClock(now)}
	ca, err := store.Authority("ca", "test-ca")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := store.Certificate(ca, "server", r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tls.X509KeyPair(leaf.CertPEM, leaf.KeyPEM); err != nil {
		t.Fatalf("certificate and key do not belong together: %v", err)
	}
	parsed := parse(t, leaf.CertPEM)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.CertPEM)
	for _, host := range []string{"localhost", "127.0.0.1"} {
		if _, err := parsed.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
			t.Errorf("verify for %s: %v", host, err)
		}
	}
	return made{ca: ca.CertPEM, leaf: leaf.CertPEM}
}

func parse(t *testing.T, data []byte) *x509.Certificate {
	t.Helper()
	certificates, err := certutil.ParseCertsPEM(data)
	if err != nil {
		t.Fatal(err)
	}
	return certificates[0]
}

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func overwrite(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("damaged"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReuseAndRenewal(t *testing.T) {
	for name, test := range map[string]struct {
		later    time.Duration
		request  Request
		damage   func(t *testing.T, dir string)
		sameCA   bool
		sameLeaf bool
	}{
		"next day":           {later: 24 * time.Hour, request: request(), sameCA: true, sameLeaf: true},
		"31 days are left":   {later: leafLife - 31*24*time.Hour, request: request(), sameCA: true, sameLeaf: true},
		"29 days are left":   {later: leafLife - 29*24*time.Hour, request: request(), sameCA: true},
		"authority ends too": {later: authorityLife - 29*24*time.Hour, request: request()},
		"another host": {request: Request{CommonName: "server", Organization: []string{"a", "b"}, Hosts: []string{"localhost", "127.0.0.1", "::1", "example.com"}, Client: true},
			sameCA: true},
		"the order of organizations": {request: Request{CommonName: "server", Organization: []string{"a", "b"}, Hosts: request().Hosts, Client: true},
			sameCA: true, sameLeaf: true},
		"lost key":        {request: request(), damage: remove("server.key"), sameCA: true},
		"damaged":         {request: request(), damage: overwrite("server.crt"), sameCA: true},
		"lost authority":  {request: request(), damage: remove("ca.key")},
		"clock goes back": {later: -time.Hour, request: request()},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			before := makeBoth(t, dir, startOfTime(), request())
			if test.damage != nil {
				test.damage(t, dir)
			}
			after := makeBoth(t, dir, startOfTime().Add(test.later), test.request)
			if same := bytes.Equal(before.ca, after.ca); same != test.sameCA {
				t.Errorf("the same authority: %t, want %t", same, test.sameCA)
			}
			if same := bytes.Equal(before.leaf, after.leaf); same != test.sameLeaf {
				t.Errorf("the same certificate: %t, want %t", same, test.sameLeaf)
			}
		})
	}
}

func TestKeysAreForTheirOwnerAlone(t *testing.T) {
	dir := t.TempDir()
	makeBoth(t, dir, startOfTime(), request())
	store := Store{Dir: dir, Clock: clocktesting.NewFakePassiveClock(startOfTime())}
	private, public, err := store.Key("service-account")
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(private)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Key("service-account"); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(private)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("the key is not kept")
	}
	got := map[string]string{}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		got[filepath.Base(file)] = info.Mode().String()
	}
	want := map[string]string{
		"ca.crt": "-rw-r--r--", "ca.key": "-rw-------", "server.crt": "-rw-r--r--", "server.key": "-rw-------",
		filepath.Base(private): "-rw-------", filepath.Base(public): "-rw-r--r--",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}
