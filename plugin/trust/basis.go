// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"time"
)

// basis is what a certificate may be accepted for.
type basis struct {
	// authorities are PEM; nil: those that the operating system knows.
	authorities []byte
	// alone: it is a server's own certificate, which vouches for no other.
	alone bool
	// names are those that the certificate may be for; one of them must be.
	names []string
}

// bases returns what counts for this server. For one that the user typed it is
// one thing: see the package's documentation.
func (g *Guard) bases() ([]basis, error) {
	names := []string{g.host}
	switch {
	case g.login != nil:
		return g.apiBases()
	case g.policy.CA != nil:
		return []basis{{authorities: g.policy.CA, names: names}}, nil
	case g.pin != nil:
		return []basis{g.pin.basis(g.host)}, nil
	}
	all := []basis{{names: names}}
	if g.first != nil {
		shown := g.first.shown()
		if shown == nil {
			return nil, errors.New("the first server has not been checked")
		}
		if shown.basis.authorities != nil && !shown.basis.alone {
			all = append(all, basis{authorities: shown.basis.authorities, names: names})
		}
	}
	return all, nil
}

// apiBases returns what counts for an API server. What is accepted here gets into
// a kubeconfig, for kubectl and other clients to verify with: so there must be an
// authority, where a login service's own certificate is enough to be trusted.
func (g *Guard) apiBases() ([]basis, error) {
	shown := g.login.shown()
	if shown == nil {
		return nil, errors.New("the login service has not been checked")
	}
	names := []string{g.host}
	if known := shown.basis.names[0]; known != g.host {
		names = append(names, known)
	}
	if g.pin != nil {
		if pinned := g.pin.basis(g.host); !pinned.alone {
			return []basis{pinned}, nil
		}
	}
	var all []basis
	if g.pin == nil && !shown.basis.alone {
		all = append(all, basis{authorities: shown.basis.authorities, names: names})
	}
	if g.told != nil {
		all = append(all, basis{authorities: g.told, names: names})
	}
	if g.pin == nil && g.policy.CA == nil && shown.basis.authorities != nil {
		all = append(all, basis{names: names})
	}
	return all, nil
}

// accept verifies a certificate as kubectl will. What it returns has one name:
// the one that the certificate is for. The chain is looked at first, so that an
// unknown authority is told from a wrong name.
func (b basis) accept(presented []*x509.Certificate, now time.Time) (basis, error) {
	var roots *x509.CertPool
	if b.authorities != nil {
		roots = x509.NewCertPool()
		roots.AppendCertsFromPEM(b.authorities)
	}
	if _, err := presented[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: pool(presented[1:]), CurrentTime: now,
	}); err != nil {
		return basis{}, err
	}
	var wrong error
	for _, name := range b.names {
		err := presented[0].VerifyHostname(name)
		if err == nil {
			return basis{authorities: b.authorities, alone: b.alone, names: []string{name}}, nil
		}
		if wrong == nil {
			wrong = err
		}
	}
	return basis{}, wrong
}

// isUnknown says whether nobody who is known has signed a certificate.
func isUnknown(err error) bool {
	var unknown x509.UnknownAuthorityError
	var system x509.SystemRootsError
	return errors.As(err, &unknown) || errors.As(err, &system)
}

// vouches says whether a certificate can stand in a kubeconfig for who signed a
// server's: an authority can, and one that has signed itself.
func vouches(certificate *x509.Certificate) bool {
	return certificate.IsCA || bytes.Equal(certificate.RawIssuer, certificate.RawSubject) &&
		certificate.CheckSignature(certificate.SignatureAlgorithm, certificate.RawTBSCertificate,
			certificate.Signature) == nil
}

func pool(certificates []*x509.Certificate) *x509.CertPool {
	all := x509.NewCertPool()
	for _, certificate := range certificates {
		all.AddCert(certificate)
	}
	return all
}

func encode(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
}
