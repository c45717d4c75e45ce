// SPDX-License-Identifier: Apache-2.0

package vcenter

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
)

// thumbprintError says that vCenter showed another certificate than the pinned
// one.
type thumbprintError struct {
	got, want []byte
}

func (e *thumbprintError) Error() string {
	return fmt.Sprintf("the certificate has the SHA-256 thumbprint %s, not the configured %s", formatThumbprint(e.got),
		formatThumbprint(e.want))
}

func formatThumbprint(sum []byte) string {
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(parts, ":")
}

func parseThumbprint(text string) ([]byte, error) {
	sum, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(text), ":", ""))
	if err != nil || len(sum) != sha256.Size {
		return nil, fmt.Errorf("the thumbprint %q is not a SHA-256: give 32 bytes in hexadecimal, as `openssl x509 -noout "+
			"-fingerprint -sha256` prints them", text)
	}
	return sum, nil
}

// tlsConfig never falls back to less verification than config asks for.
func tlsConfig(config Config) (*tls.Config, error) {
	result := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: config.URL.Hostname()}
	switch {
	case config.Insecure:
		result.InsecureSkipVerify = true
	case config.Thumbprint != "":
		want, err := parseThumbprint(config.Thumbprint)
		if err != nil {
			return nil, err
		}
		// The usual verification is replaced, not left out: VerifyConnection
		// is called for every handshake, resumed ones too.
		result.InsecureSkipVerify = true
		result.VerifyConnection = func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return errors.New("no certificate was shown")
			}
			got := sha256.Sum256(state.PeerCertificates[0].Raw)
			if subtle.ConstantTimeCompare(got[:], want) != 1 {
				return &thumbprintError{got: got[:], want: want}
			}
			return nil
		}
	case config.CAFile != "":
		pem, err := os.ReadFile(config.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the CA file of vCenter: %w", err)
		}
		result.RootCAs = x509.NewCertPool()
		if !result.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("the CA file %s holds no PEM certificate", config.CAFile)
		}
	}
	return result, nil
}
