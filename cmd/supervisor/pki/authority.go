// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/openpacific/pacific/plugin/trust"
)

// Authority signs certificates.
type Authority struct {
	Pair
	Certificate *x509.Certificate
	key         crypto.Signer
}

// Fingerprint is the SHA-256 fingerprint of the authority's certificate, written as the plugin shows it to people.
func (a *Authority) Fingerprint() string { return trust.Fingerprint(a.Certificate) }

// Known says what is known of an authority from before.
type Known struct {
	// Fingerprint is that of the authority as it was last. Empty: not known.
	Fingerprint string
	// Lasting says that there was an authority: one that is not there is lost.
	Lasting bool
	// Replace takes another authority in place of one that is lost or different: the one that lies there if it is good,
	// else a new one.
	Replace bool
}

// LostError says that an authority, or a signing key, is not what it was. What it has signed is worthless to whoever
// trusts another.
type LostError struct {
	// Name is its name, Reason what is wrong with it.
	Name, Reason string
}

func (e *LostError) Error() string { return fmt.Sprintf("%q: %s", e.Name, e.Reason) }

// Authority returns the authority of that name, made if there never was one. The error is a *LostError when it is not
// the one that is known.
func (s Store) Authority(name, commonName string, known Known) (*Authority, error) {
	authority := &Authority{Pair: s.pair(name)}
	certificates, key, err := s.load(&authority.Pair)
	if err != nil {
		return nil, fmt.Errorf("certificate authority %q: %w", name, err)
	}
	reason := ""
	if certificates == nil {
		reason = s.missing(authority.Pair)
	} else {
		authority.Certificate, authority.key = certificates[0], key
		reason = s.unfit(authority)
	}
	switch {
	case reason == "" && known.Fingerprint != "" && known.Fingerprint != authority.Fingerprint() && !known.Replace:
		return nil, &LostError{Name: name, Reason: fmt.Sprintf(
			"%s is another one than before: its SHA-256 fingerprint was %s, and is %s",
			authority.CertFile, known.Fingerprint, authority.Fingerprint())}
	case reason == "":
		return authority, nil
	case !known.Replace && (known.Fingerprint != "" || known.Lasting || s.exists(authority.CertFile)):
		// A key alone, of which nobody knows, is what a first start leaves that was interrupted.
		return nil, &LostError{Name: name, Reason: reason}
	}
	if err := s.makeAuthority(authority, commonName); err != nil {
		return nil, fmt.Errorf("certificate authority %q: %w", name, err)
	}
	return authority, nil
}

func (s Store) makeAuthority(authority *Authority, commonName string) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	now := s.Clock.Now()
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: commonName, Organization: []string{"Pacific"}},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	if authority.Certificate, err = authority.sign(template, template, key, key); err != nil {
		return err
	}
	authority.key = key
	return authority.write()
}

func (s Store) exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// missing says why a pair could not be loaded.
func (s Store) missing(pair Pair) string {
	for _, path := range []string{pair.CertFile, pair.KeyFile} {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return path + " is missing"
		}
	}
	return fmt.Sprintf("%s and %s are damaged or do not belong together", pair.CertFile, pair.KeyFile)
}

// unfit says why an authority can sign nothing now, nothing where it can.
func (s Store) unfit(authority *Authority) string {
	now, certificate := s.Clock.Now(), authority.Certificate
	switch {
	case !certificate.IsCA:
		return authority.CertFile + " is not the certificate of an authority"
	case now.After(certificate.NotAfter):
		return fmt.Sprintf("%s ended on %s", authority.CertFile, certificate.NotAfter.UTC().Format(time.DateOnly))
	case now.Before(certificate.NotBefore):
		return fmt.Sprintf("%s is not good before %s; look at the clock of this machine", authority.CertFile,
			certificate.NotBefore.UTC().Format(time.DateTime))
	default:
		return ""
	}
}
