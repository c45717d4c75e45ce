// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/openpacific/pacific/plugin/shell"
)

// Pin is a certificate that the user has trusted for one server.
type Pin struct {
	Host        string    `json:"host"`
	ServerName  string    `json:"serverName,omitempty"`
	Fingerprint string    `json:"fingerprint"`
	Certificate string    `json:"certificate"` // PEM
	Since       time.Time `json:"since"`
}

func (p *Pin) certificate() (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(p.Certificate))
	if block == nil {
		return nil, fmt.Errorf("the trusted certificate of %s is broken", p.Host)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the trusted certificate of %s is broken: %w", p.Host, err)
	}
	return certificate, nil
}

// basis is what the pin accepts a certificate of a host for.
func (p *Pin) basis(host string) basis {
	// A certificate that cannot be read accepts none, and is told of then.
	certificate, err := p.certificate()
	b := basis{authorities: []byte(p.Certificate), alone: err == nil && !vouches(certificate), names: []string{host}}
	if p.ServerName != "" {
		b.names[0] = p.ServerName
	}
	return b
}

// Store keeps pins, each in a file of its own, so that one can be removed.
type Store struct {
	Directory string
}

// OpenStore returns the store of the user.
func OpenStore(sh *shell.Shell) (*Store, error) {
	directory, err := sh.StateDirectory()
	if err != nil {
		return nil, err
	}
	return &Store{Directory: filepath.Join(directory, "trusted")}, nil
}

func (s *Store) file(address string) string {
	return filepath.Join(s.Directory, strings.NewReplacer(":", "_", "[", "", "]", "").Replace(address)+".json")
}

// Load returns the pin of a server, nil when there is none. A pin that cannot
// be read is an error: it is not the same as none.
func (s *Store) Load(address string) (*Pin, error) {
	data, err := os.ReadFile(s.file(address))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read which certificate %s is trusted with: %w", address, err)
	}
	pin := &Pin{}
	if err := json.Unmarshal(data, pin); err != nil || pin.Host != address {
		return nil, fmt.Errorf("%s does not hold the trusted certificate of %s", s.file(address), address)
	}
	return pin, nil
}

// Save keeps a pin: all of it or nothing.
func (s *Store) Save(pin *Pin) error {
	data, err := json.MarshalIndent(pin, "", "  ")
	if err != nil {
		return err
	}
	err = os.MkdirAll(s.Directory, 0o700)
	var temporary *os.File
	if err == nil {
		temporary, err = os.CreateTemp(s.Directory, ".new-*")
	}
	if err == nil {
		defer os.Remove(temporary.Name())
		_, err = temporary.Write(append(data, '\n'))
		err = errors.Join(err, temporary.Close())
	}
	if err == nil {
		err = os.Rename(temporary.Name(), s.file(pin.Host))
	}
	if err != nil {
		return fmt.Errorf("remember the certificate of %s: %w", pin.Host, err)
	}
	return nil
}
