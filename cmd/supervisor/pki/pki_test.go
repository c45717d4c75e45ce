// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	certutil "k8s.io/client-go/util/cert"
	clocktesting "k8s.io/utils/clock/testing"
)

func request() Request {
	return Request{CommonName: "server", Organization: []string{"b", "a"},
		Hosts:  []string{"localhost", "127.0.0.1", "::1"},
		Client: true}
}

func startOfTime() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

type made struct{ ca, leaf []byte }

// makeBoth returns the authority's and the certificate's PEM as they are at that time.
func makeBoth(t *testing.T, dir string, now time.Time, r Request) made {
	t.Helper()
	store := Store{Dir: dir, Clock: clocktesting.NewFakePassiveClock(now)}
	ca, err := store.Authority("ca", "test-ca", Known{})
	if err != nil {
		t.Fatal(err)
	}
	leaf, _, err := store.Certificate(ca, "server", r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leaf.TLS(); err != nil {
		t.Fatalf("certificate and key do not belong together: %v", err)
	}
	parsed := parse(t, leaf.CertPEM)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.CertPEM)
	for _, host := range []string{"localhost", "127.0.0.1"} {
		if _, err := parsed[0].Verify(x509.VerifyOptions{
			Roots: roots, DNSName: host, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}); err != nil {
			t.Errorf("verify for %s: %v", host, err)
		}
	}
	if len(parsed) != 2 || !parsed[1].Equal(ca.Certificate) {
		t.Errorf("%d certificates are served, want the server's and the authority's", len(parsed))
	}
	return made{ca: ca.CertPEM, leaf: leaf.CertPEM}
}

func parse(t *testing.T, data []byte) []*x509.Certificate {
	t.Helper()
	certificates, err := certutil.ParseCertsPEM(data)
	if err != nil {
		t.Fatal(err)
	}
	return certificates
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
		later   time.Duration
		request Request
		damage  func(t *testing.T, dir string)
		same    bool
	}{
		"next day":                   {later: 24 * time.Hour, request: request(), same: true},
		"a little more than a third": {later: DefaultLife*2/3 - time.Hour, request: request(), same: true},
		"a little less than a third": {later: DefaultLife*2/3 + time.Hour, request: request()},
		"after the end":              {later: DefaultLife + time.Hour, request: request()},
		"another host": {request: Request{CommonName: "server", Organization: []string{"a", "b"},
			Hosts: append(request().Hosts, "example.com"), Client: true}},
		"the order of organizations": {request: Request{CommonName: "server", Organization: []string{"a", "b"},
			Hosts: request().Hosts, Client: true}, same: true},
		"lost key":                         {request: request(), damage: remove("server.key")},
		"damaged":                          {request: request(), damage: overwrite("server.crt")},
		"clock goes back, within the skew": {later: -time.Minute, request: request(), same: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			before := makeBoth(t, dir, startOfTime(), request())
			if test.damage != nil {
				test.damage(t, dir)
			}
			after := makeBoth(t, dir, startOfTime().Add(test.later), test.request)
			if !bytes.Equal(before.ca, after.ca) {
				t.Error("another authority")
			}
			if same := bytes.Equal(before.leaf, after.leaf); same != test.same {
				t.Errorf("the same certificate: %t, want %t", same, test.same)
			}
		})
	}
}

// TestCertificatesEndWithTheirAuthority: none is made anew that could not last longer.
func TestCertificatesEndWithTheirAuthority(t *testing.T) {
	dir := t.TempDir()
	makeBoth(t, dir, startOfTime(), request())
	late := startOfTime().Add(authorityLife - time.Hour)
	first := makeBoth(t, dir, late, request())
	chain := parse(t, first.leaf)
	if !chain[0].NotAfter.Equal(chain[1].NotAfter) {
		t.Errorf("good until %s, its authority until %s", chain[0].NotAfter, chain[1].NotAfter)
	}
	if second := makeBoth(t, dir, late.Add(time.Minute), request()); !bytes.Equal(first.leaf, second.leaf) {
		t.Error("made anew for nothing")
	}
}

// TestChainComesWithoutAnotherCertificate: people may have trusted the certificate itself.
func TestChainComesWithoutAnotherCertificate(t *testing.T) {
	dir := t.TempDir()
	before := parse(t, makeBoth(t, dir, startOfTime(), request()).leaf)
	if err := os.WriteFile(filepath.Join(dir, "server.crt"), encode(before[:1]), 0o644); err != nil {
		t.Fatal(err)
	}
	after := parse(t, makeBoth(t, dir, startOfTime(), request()).leaf)
	if !after[0].Equal(before[0]) {
		t.Error("another certificate")
	}
}

func TestAuthorityIsKept(t *testing.T) {
	another := func(t *testing.T, dir string) {
		remove("ca.crt")(t, dir)
		remove("ca.key")(t, dir)
		makeBoth(t, dir, startOfTime(), request())
	}
	both := func(t *testing.T, dir string) {
		remove("ca.crt")(t, dir)
		remove("ca.key")(t, dir)
	}
	none := func(*testing.T, string) {}
	for name, test := range map[string]struct {
		damage  func(t *testing.T, dir string)
		unknown bool
		later   time.Duration
		lasting bool
		first   bool   // another one is made
		reason  string // of the refusal; nothing where there is none
		made    bool   // after --new-authority
	}{
		"as it was":            {damage: none},
		"as it was, not known": {damage: none, unknown: true, lasting: true},
		"key lost":             {damage: remove("ca.key"), reason: "ca.key is missing", made: true},
		"certificate lost":     {damage: remove("ca.crt"), reason: "ca.crt is missing", made: true},
		"key lost, not known":  {damage: remove("ca.key"), unknown: true, reason: "ca.key is missing", made: true},
		"both lost":            {damage: both, reason: "ca.crt is missing", made: true},
		"both lost, not known, but there was one": {damage: both, unknown: true, lasting: true, reason: "ca.crt is missing",
			made: true},
		"a first start was interrupted": {damage: remove("ca.crt"), unknown: true, first: true},
		"damaged": {damage: overwrite("ca.crt"), reason: "are damaged or do not belong together",
			made: true},
		"another one": {damage: another,
			reason: "is another one than before: its SHA-256 fingerprint was "},
		"ended": {damage: none, later: authorityLife + time.Hour, reason: "ended on 2035-12-30",
			made: true},
		"clock far back": {damage: none, later: -time.Hour, reason: "is not good before 2025-12-31 23:55:00; look at the " +
			"clock",
			made: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			clock := clocktesting.NewFakePassiveClock(startOfTime())
			store := Store{Dir: dir, Clock: clock}
			before, err := store.Authority("ca", "test-ca", Known{})
			if err != nil {
				t.Fatal(err)
			}
			test.damage(t, dir)
			lying, _ := os.ReadFile(filepath.Join(dir, "ca.crt"))
			clock.SetTime(startOfTime().Add(test.later))
			known := Known{Fingerprint: before.Fingerprint(), Lasting: test.lasting}
			if test.unknown {
				known.Fingerprint = ""
			}
			after, err := store.Authority("ca", "test-ca", known)
			if test.reason == "" {
				if err != nil || (after.Fingerprint() != before.Fingerprint()) != test.first {
					t.Errorf("got %v, %v", after, err)
				}
				return
			}
			var lost *LostError
			if !errors.As(err, &lost) || !strings.Contains(err.Error(), test.reason) || !strings.Contains(err.Error(), `"ca"`) {
				t.Fatalf("got %v, want %q", err, test.reason)
			}
			if left, _ := os.ReadFile(filepath.Join(dir, "ca.crt")); !bytes.Equal(left, lying) {
				t.Error("the refusal changed a file")
			}
			known.Replace = true
			if after, err = store.Authority("ca", "test-ca", known); err != nil {
				t.Fatal(err)
			}
			if taken := bytes.Equal(after.CertPEM, lying); taken == test.made || after.Fingerprint() == before.Fingerprint() {
				t.Errorf("the one that lies there is taken: %t, want %t; fingerprint %s, before %s", taken, !test.made,
					after.Fingerprint(), before.Fingerprint())
			}
		})
	}
}

// TestSigningKeyIsKept: of a key whose public half is there, tokens may be about.
func TestSigningKeyIsKept(t *testing.T) {
	store := Store{Dir: t.TempDir(), Clock: clocktesting.NewFakePassiveClock(startOfTime())}
	private, public, err := store.Key("service-account", Known{})
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(public)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(private); err != nil {
		t.Fatal(err)
	}
	var lost *LostError
	if _, _, err := store.Key("service-account", Known{}); !errors.As(err, &lost) ||
		!strings.Contains(err.Error(), private+" is missing") {
		t.Fatalf("got %v", err)
	}
	if err := os.Rename(public, public+".away"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Key("service-account", Known{Lasting: true}); !errors.As(err, &lost) {
		t.Fatalf("with both halves lost: %v", err)
	}
	if err := os.Rename(public+".away", public); err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Key("service-account", Known{Replace: true}); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(public); err != nil || bytes.Equal(after, before) {
		t.Errorf("the public half is that of the lost key, %v", err)
	}
}

func TestKeysAreForTheirOwnerAlone(t *testing.T) {
	dir := t.TempDir()
	makeBoth(t, dir, startOfTime(), request())
	store := Store{Dir: dir, Clock: clocktesting.NewFakePassiveClock(startOfTime())}
	private, public, err := store.Key("service-account", Known{})
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(private)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.Key("service-account", Known{}); err != nil {
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
