// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Unknown says that nobody the computer knows vouches for a server.
type Unknown struct {
	Host       string
	Leaf       *x509.Certificate
	Anchor     *x509.Certificate // the certificate to trust: an authority if the server shows one, else its own
	ServerName string            // the name to expect in the certificate, when it is not the host
	Reason     error
}

func (u *Unknown) Error() string {
	return fmt.Sprintf("the certificate of %s is not signed by an authority that this computer knows; SHA-256 "+
		"fingerprint %s",
		u.Host, Fingerprint(u.Anchor))
}

func (u *Unknown) Unwrap() error { return u.Reason }

// Description is what the user compares before trusting it.
func (u *Unknown) Description() string {
	var text strings.Builder
	fmt.Fprintf(&text, "The certificate of %s is not signed by an authority that this computer knows.\n", u.Host)
	describe(&text, u.Host, u.ServerName, u.Leaf, u.Anchor)
	return text.String()
}

// Description is what the last handshake has shown.
func (g *Guard) Description() string {
	var text strings.Builder
	if shown := g.shown(); shown != nil {
		describe(&text, g.address, g.Settings().ServerName, shown.presented[0], top(shown.presented, g.policy.Now()))
	}
	return text.String()
}

func describe(text *strings.Builder, host, name string, leaf, anchor *x509.Certificate) {
	fmt.Fprintf(text, "  issued to:   %s\n", subject(leaf))
	if name != "" {
		fmt.Fprintf(text, "               not to %s: it will be expected to be %s\n", host, name)
	}
	fmt.Fprintf(text, "  issued by:   %s\n", leaf.Issuer)
	fmt.Fprintf(text, "  valid until: %s\n", leaf.NotAfter.UTC().Format(time.DateOnly))
	whose := "of the certificate"
	if !anchor.Equal(leaf) {
		whose = "of the authority"
	}
	fmt.Fprintf(text, "  SHA-256 fingerprint %s:\n  %s\n", whose, Fingerprint(anchor))
}

func subject(certificate *x509.Certificate) string {
	names := append([]string{}, certificate.DNSNames...)
	for _, address := range certificate.IPAddresses {
		names = append(names, address.String())
	}
	if len(names) == 0 {
		return certificate.Subject.String()
	}
	return strings.Join(names, ", ")
}

// Changed says that a server shows another certificate than the trusted one.
type Changed struct {
	Host, Before, Now, File string
}

func (c *Changed) Error() string {
	return fmt.Sprintf("the certificate of %s has changed: trusted was SHA-256 fingerprint %s, now it is %s; "+
		"somebody may be listening in", c.Host, c.Before, c.Now)
}

// NoAuthority says that an API server does not show who has signed its
// certificate. What kubectl verifies with is that authority's certificate.
type NoAuthority struct {
	Host string
	Leaf *x509.Certificate
}

func (n *NoAuthority) Error() string {
	return fmt.Sprintf("%s does not show the certificate of the authority that has signed its own (%s), and kubectl "+
		"needs it",
		n.Host, n.Leaf.Issuer)
}

// Unproved says whether an error means that a server was reached, and that nothing
// is known that proves who it is.
func Unproved(err error) bool {
	var unknown *Unknown
	var silent *NoAuthority
	return errors.As(err, &unknown) || errors.As(err, &silent)
}

// Fingerprint writes a certificate's fingerprint as `openssl x509 -sha256` does.
func Fingerprint(certificate *x509.Certificate) string {
	sum := sha256.Sum256(certificate.Raw)
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(parts, ":")
}

// top returns the certificate that trust can be placed in: the highest authority
// of those shown that really signed the server's certificate, else that
// certificate. Who merely shows a well-known authority does not gain by it.
func top(presented []*x509.Certificate, now time.Time) *x509.Certificate {
	for i := len(presented) - 1; i > 0; i-- {
		if !presented[i].IsCA {
			continue
		}
		_, err := presented[0].Verify(x509.VerifyOptions{
			Roots: pool(presented[i : i+1]), Intermediates: pool(presented[1:]), CurrentTime: now,
		})
		if err == nil {
			return presented[i]
		}
	}
	return presented[0]
}

// unknown describes a server that nobody vouches for. A certificate that no
// client would take, whoever signed it, is an error of its own.
func (g *Guard) unknown(presented []*x509.Certificate, reason error) error {
	found := &Unknown{Host: g.address, Leaf: presented[0], Anchor: top(presented, g.policy.Now()), Reason: reason}
	_, err := presented[0].Verify(x509.VerifyOptions{
		Roots: pool([]*x509.Certificate{found.Anchor}), Intermediates: pool(presented[1:]), CurrentTime: g.policy.Now(),
	})
	if err != nil {
		return err
	}
	err = presented[0].VerifyHostname(g.host)
	if err == nil {
		return found
	}
	for _, name := range presented[0].DNSNames {
		if presented[0].VerifyHostname(name) == nil && !strings.Contains(name, "*") {
			found.ServerName = name
			return found
		}
	}
	for _, address := range presented[0].IPAddresses {
		found.ServerName = address.String()
		return found
	}
	return err
}

// Fingerprint is that of the certificate to trust.
func (u *Unknown) Fingerprint() string { return Fingerprint(u.Anchor) }

// Remember trusts a server from now on.
func (g *Guard) Remember(u *Unknown) error { return g.keep(u.Anchor, u.ServerName) }

// Keep remembers, for a server that another one has named, the authority that the
// first one was trusted with and that has proved this one too: the next time, the
// first one may not be asked.
func (g *Guard) Keep() error {
	shown := g.shown()
	if g.policy.Store == nil || g.pin != nil || shown == nil || shown.basis.authorities == nil {
		return nil
	}
	authority, err := (&Pin{Host: g.address, Certificate: string(shown.basis.authorities)}).certificate()
	if err != nil {
		return err
	}
	return g.keep(authority, "")
}

func (g *Guard) keep(certificate *x509.Certificate, name string) error {
	pin := &Pin{
		Host: g.address, ServerName: name, Fingerprint: Fingerprint(certificate),
		Certificate: string(encode(certificate)), Since: g.policy.Now().UTC().Truncate(time.Second),
	}
	if err := g.policy.Store.Save(pin); err != nil {
		return err
	}
	g.pin = pin
	return nil
}
