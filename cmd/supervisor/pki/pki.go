// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
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
	// DefaultLife is how long a certificate is good for where a Store does not say.
	DefaultLife = 365 * 24 * time.Hour
	// skew lets a certificate be used at once by somebody whose clock is behind.
	skew = 5 * time.Minute
)

// Store is a folder of certificates and keys: <name>.crt and <name>.key.
type Store struct {
	Dir   string
	Clock clock.PassiveClock
	// Life is how long a certificate that is made is good for: DefaultLife where it is 0. It is made anew when a third of
	// that is left. An authority is good for ten years, and is never made anew by itself.
	Life time.Duration
}

// Pair is a certificate and its key, as files and as PEM.
type Pair struct {
	CertFile, KeyFile string
	CertPEM, KeyPEM   []byte
}

// Request says what a certificate is for. Hosts (names and addresses) make it a server's, Client makes it a client's.
type Request struct {
	CommonName   string
	Organization []string
	Hosts        []string
	Client       bool
}

// Certificate returns the certificate of that name. It is made when there is none that is signed by the authority, fits
// the request and is good for another third of its life; made says so. The file of a server's certificate also holds
// the authority's, so that somebody who does not know the authority can be shown what to trust.
func (s Store) Certificate(authority *Authority, name string, request Request) (pair Pair, made bool, err error) {
	pair = s.pair(name)
	existing, _, err := s.load(&pair)
	if err != nil {
		return Pair{}, false, fmt.Errorf("certificate %q: %w", name, err)
	}
	template := request.template(s.Clock.Now(), s.life(), authority)
	var leaf *x509.Certificate
	if existing != nil && !s.due(existing[0], authority) && existing[0].CheckSignatureFrom(authority.Certificate) == nil &&
		fits(existing[0], template) {
		leaf = existing[0]
	} else {
		made = true
		key, err := newKey()
		if err != nil {
			return Pair{}, false, fmt.Errorf("certificate %q: %w", name, err)
		}
		if leaf, err = pair.sign(template, authority.Certificate, key, authority.key); err != nil {
			return Pair{}, false, fmt.Errorf("certificate %q: %w", name, err)
		}
	}
	// One from before there were chains is not made anew: people may have trusted that very certificate.
	chain := encode(append([]*x509.Certificate{leaf}, request.chain(authority)...))
	if !made && bytes.Equal(chain, pair.CertPEM) {
		return pair, false, nil
	}
	pair.CertPEM = chain
	if err := pair.write(); err != nil {
		return Pair{}, false, fmt.Errorf("certificate %q: %w", name, err)
	}
	return pair, made, nil
}

// Key returns a signing key without a certificate: <name>.key and its public half <name>.pub. It is made if there never
// was one. The error is a *LostError when it is lost: when its public half is there, or there was one.
func (s Store) Key(name string, known Known) (privateFile, publicFile string, err error) {
	privateFile, publicFile = filepath.Join(s.Dir, name+".key"), filepath.Join(s.Dir, name+".pub")
	data, err := os.ReadFile(privateFile)
	var key *ecdsa.PrivateKey
	switch {
	case errors.Is(err, fs.ErrNotExist) && !known.Replace && (known.Lasting || s.exists(publicFile)):
		return "", "", &LostError{Name: name, Reason: privateFile + " is missing"}
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
	if err := writeFile(publicFile, pem.EncodeToMemory(&pem.Block{Type: keyutil.PublicKeyBlockType, Bytes: der}),
		0o644); err != nil {
		return "", "", fmt.Errorf("key %q: %w", name, err)
	}
	return privateFile, publicFile, nil
}

func (s Store) pair(name string) Pair {
	return Pair{CertFile: filepath.Join(s.Dir, name+".crt"), KeyFile: filepath.Join(s.Dir, name+".key")}
}

// load fills the pair from its files. All results are nil when a file is missing, cannot be parsed, or the two do not
// belong together: then the pair is made anew.
func (s Store) load(pair *Pair) ([]*x509.Certificate, crypto.Signer, error) {
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
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, nil, nil
	}
	if public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok ||
		!public.Equal(certificates[0].PublicKey) {
		return nil, nil, nil
	}
	pair.CertPEM, pair.KeyPEM = certPEM, keyPEM
	return certificates, key, nil
}

// sign fills the pair with a new certificate; it writes no file.
func (p *Pair) sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey,
	signer crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("serial number: %w", err)
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if p.KeyPEM, err = keyutil.MarshalPrivateKeyToPEM(key); err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	p.CertPEM = encode([]*x509.Certificate{certificate})
	return certificate, nil
}

func encode(certificates []*x509.Certificate) []byte {
	var data []byte
	for _, certificate := range certificates {
		data = append(data, pem.EncodeToMemory(&pem.Block{Type: certutil.CertificateBlockType, Bytes: certificate.Raw})...)
	}
	return data
}

// write replaces both files. Between the two is as little time as can be: servers read them while they change.
func (p *Pair) write() error {
	putKey, err := prepareFile(p.KeyFile, p.KeyPEM, 0o600)
	if err != nil {
		return err
	}
	putCert, err := prepareFile(p.CertFile, p.CertPEM, 0o644)
	if err != nil {
		return err
	}
	if err := putKey(); err != nil {
		return err
	}
	return putCert()
}

// TLS reads the pair from its files, as they are now.
func (p *Pair) TLS() (*tls.Certificate, error) {
	certificate, err := tls.LoadX509KeyPair(p.CertFile, p.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read certificate %s: %w", p.CertFile, err)
	}
	return &certificate, nil
}

func (s Store) life() time.Duration {
	if s.Life > 0 {
		return s.Life
	}
	return DefaultLife
}

// due tells whether it is time for a new certificate: a third of the life of this one is left. One that ends with its
// authority cannot be had any longer. One that is not good yet was made under a clock that has been put back since.
func (s Store) due(certificate *x509.Certificate, authority *Authority) bool {
	now := s.Clock.Now()
	return now.Before(certificate.NotBefore) ||
		now.Add(s.life()/3).After(certificate.NotAfter) && certificate.NotAfter.Before(authority.Certificate.NotAfter)
}

// chain are the certificates that follow a certificate in its file.
func (r Request) chain(authority *Authority) []*x509.Certificate {
	if len(r.Hosts) == 0 {
		return nil
	}
	return []*x509.Certificate{authority.Certificate}
}

func (r Request) template(now time.Time, life time.Duration, authority *Authority) *x509.Certificate {
	end := now.Add(life)
	if end.After(authority.Certificate.NotAfter) {
		end = authority.Certificate.NotAfter
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: r.CommonName, Organization: r.Organization},
		NotBefore:             now.Add(-skew),
		NotAfter:              end,
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
	put, err := prepareFile(path, data, mode)
	if err != nil {
		return err
	}
	return put()
}

// prepareFile does all of writeFile but the step itself, which put does. What is prepared is on the disk: an authority
// that a failing power supply makes empty would be lost.
func prepareFile(path string, data []byte, mode os.FileMode) (put func() error, err error) {
	if existing, err := os.ReadFile(path); err == nil && bytes.Equal(existing, data) {
		return func() error { return os.Chmod(path, mode) }, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	temporary := path + ".new"
	file, err := os.OpenFile(temporary, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return nil, err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Chmod(mode)
	}
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	return func() error { return os.Rename(temporary, path) }, nil
}
