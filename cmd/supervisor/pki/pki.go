// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/utils/clock"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 365 * 24 * time.Hour
	renewBefore   = 30 * 24 * time.Hour
	// skew lets a certificate be used at once by somebody whose clock is behind.
	skew = 5 * time.Minute
)

// Store is a folder of certificates and keys: <name>.crt and <name>.key.
type Store struct {
	Dir   string
	Clock clock.PassiveClock
}

// Pair is a certificate and its key, as files and as PEM.
type Pair struct {
	CertFile, KeyFile string
	CertPEM, KeyPEM   []byte
}

// Authority signs certificates.
type Authority struct {
	Pair
	certificate *x509.Certificate
	key         crypto.Signer
}

// Request says what a certificate is for. Hosts (names and addresses) make it a server's, Client makes it a client's.
type Request struct {
	CommonName   string
	Organization []string
	Hosts        []string
	Client       bool
}

// Authority returns the authority of that name, made when there is none or when it nears its end.
func (s Store) Authority(name, commonName string) (*Authority, error) {
	pair := s.pair(name)
	certificate, key, err := s.load(&pair)
	if err != nil {
		return nil, fmt.Errorf("certificate authority %q: %w", name, err)
	}
	if certificate != nil && certificate.IsCA && !s.expires(certificate) {
		return &Authority{Pair: pair, certificate: certificate, key: key}, nil
	}
	fresh, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("certificate authority %q: %w", name, err)
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
	certificate, err = s.issue(&pair, template, template, fresh, fresh)
	if err != nil {
		return nil, fmt.Errorf("certificate authority %q: %w", name, err)
	}
	return &Authority{Pair: pair, certificate: certificate, key: fresh}, nil
}

// Certificate returns the certificate of that name, made when there is none that is signed by the authority, fits the
// request and is good for another 30 days.
func (s Store) Certificate(authority *Authority, name string, request Request) (Pair, error) {
	pair := s.pair(name)
	template := request.template(s.Clock.Now())
	existing, _, err := s.load(&pair)
	if err != nil {
		return Pair{}, fmt.Errorf("certificate %q: %w", name, err)
	}
	if existing != nil && !s.expires(existing) && existing.CheckSignatureFrom(authority.certificate) == nil && fits(existing, template) {
		return pair, nil
	}
	key, err := newKey()
	if err != nil {
		return Pair{}, fmt.Errorf("certificate %q: %w", name, err)
	}
	if _, err := s.issue(&pair, template, authority.certificate, key, authority.key); err != nil {
		return Pair{}, fmt.Errorf("certificate %q: %w", name, err)
	}
	return pair, nil
}

// Key returns a signing key without a certificate: <name>.key and its public half <name>.pub.
func (s Store) Key(name string) (privateFile, publicFile string, err error) {
	privateFile, publicFile = filepath.Join(s.Dir, name+".key"), filepath.Join(s.Dir, name+".pub")
	data, err := os.ReadFile(privateFile)
	var key *ecdsa.PrivateKey
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if key, err = newKey(); err != nil {
			return "", "", fmt.Errorf("key %q: %w", name, err)
		}
		if data, err = keyutil.MarshalPrivateKeyToPEM(key); err != nil {
			return "", "", fmt.Errorf("key %q: %w", name, err)
		}
		if err := writeFile(privateFile, data, 0o600); err != nil {
			return "", "", fmt.Errorf("key %q: %w", name, err)
		}
	case err != nil:
		return "", "", fmt.Errorf("key %q: %w", name, err)
	default:
		parsed, err := keyutil.ParsePrivateKeyPEM(data)
		if err != nil {
			return "", "", fmt.Errorf("key %q: %s: %w", name, privateFile, err)
		}
		var ok bool
		if key, ok = parsed.(*ecdsa.PrivateKey); !ok {
			return "", "", fmt.Errorf("key %q: %s holds a %T, not an ECDSA key", name, privateFile, parsed)
		}
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", "", fmt.Errorf("key %q: %w", name, err)
	}
	if err := writeFile(publicFile, pem.EncodeToMemory(&pem.Block{Type: keyutil.PublicKeyBlockType, Bytes: der}), 0o644); err != nil {
		return "", "", fmt.Errorf("key %q: %w", name, err)
	}
	return privateFile, publicFile, nil
}

func (s Store) pair(name string) Pair {
	return Pair{CertFile: filepath.Join(s.Dir, name+".crt"), KeyFile: filepath.Join(s.Dir, name+".key")}
}

// load fills the pair from its files. Both results are nil when a file is missing, cannot be parsed, or the two do not
// belong together: then the pair is made anew.
func (s Store) load(pair *Pair) (*x509.Certificate, crypto.Signer, error) {
	certPEM, err := os.ReadFile(pair.CertFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	} else if err != nil {
		return nil, nil, err
	}
	keyPEM, err := os.ReadFile(pair.KeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	} else if err != nil {
		return nil, nil, err
	}
	certificates, err := certutil.ParseCertsPEM(certPEM)
	if err != nil {
		return nil, nil, nil
	}
	parsed, err := keyutil.ParsePrivateKeyPEM(keyPEM)
	if err != nil {
		return nil, nil, nil
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(certificates[0].PublicKey) {
		return nil, nil, nil
	}
	pair.CertPEM, pair.KeyPEM = certPEM, keyPEM
	return certificates[0], key, nil
}

func (s Store) issue(pair *Pair, template, parent *x509.Certificate, key *ecdsa.PrivateKey, signer crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("serial number: %w", err)
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if pair.KeyPEM, err = keyutil.MarshalPrivateKeyToPEM(key); err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	pair.CertPEM = pem.EncodeToMemory(&pem.Block{Type: certutil.CertificateBlockType, Bytes: der})
	if err := writeFile(pair.KeyFile, pair.KeyPEM, 0o600); err != nil {
		return nil, err
	}
	if err := writeFile(pair.CertFile, pair.CertPEM, 0o644); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func (s Store) expires(certificate *x509.Certificate) bool {
	now := s.Clock.Now()
	return now.Before(certificate.NotBefore) || now.Add(renewBefore).After(certificate.NotAfter)
}

func (r Request) template(now time.Time) *x509.Certificate {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: r.CommonName, Organization: r.Organization},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(leafLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
	}
	if len(r.Hosts) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if r.Client {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	for _, host := range r.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return template
}

// fits tells whether a certificate says what the template asks for.
func fits(certificate, template *x509.Certificate) bool {
	return certificate.Subject.CommonName == template.Subject.CommonName &&
		slices.Equal(sorted(certificate.Subject.Organization), sorted(template.Subject.Organization)) &&
		slices.Equal(sorted(certificate.DNSNames), sorted(template.DNSNames)) &&
		slices.EqualFunc(certificate.IPAddresses, template.IPAddresses, net.IP.Equal) &&
		slices.Equal(certificate.ExtKeyUsage, template.ExtKeyUsage)
}

func sorted(values []string) []string { return slices.Sorted(slices.Values(values)) }

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	return key, nil
}

// writeFile replaces a file in one step, so that nobody reads half a key; it leaves a file alone that holds the data.
func writeFile(path string, data []byte, mode os.FileMode) error {
	if existing, err := os.ReadFile(path); err == nil && bytes.Equal(existing, data) {
		return os.Chmod(path, mode)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, data, mode); err != nil {
		return err
	}
	if err := os.Chmod(temporary, mode); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
