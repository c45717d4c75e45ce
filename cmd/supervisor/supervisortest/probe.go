// SPDX-License-Identifier: Apache-2.0

package supervisortest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/openpacific/pacific/pkg/waittest"
)

// Probe asks vsphere-apiserver itself, not by way of the aggregator.
func (s *Supervisor) Probe(t *testing.T, path string) (status int, body string, err error) {
	t.Helper()
	config := s.Direct(t, rest.CopyConfig(s.Config(t)))
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	client.Timeout = 5 * time.Second
	defer client.CloseIdleConnections()
	response, err := client.Get(config.Host + path)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	return response.StatusCode, string(data), err
}

// Direct leads a config to vsphere-apiserver's own port.
func (s *Supervisor) Direct(t *testing.T, config *rest.Config) *rest.Config {
	t.Helper()
	ports, err := s.Dir.ReadPorts()
	if err != nil {
		t.Fatal(err)
	}
	config.Host = fmt.Sprintf("https://localhost:%d", ports["vsphere-apiserver"])
	return config
}

// Unready waits until a check of vsphere-apiserver fails with these words.
func (s *Supervisor) Unready(t *testing.T, path string, words ...string) {
	t.Helper()
	waittest.Within(t, 30*time.Second, path+" to fail", func(context.Context) error {
		status, body, err := s.Probe(t, path)
		switch {
		case err != nil:
			return err
		case status == http.StatusOK:
			return errors.New("it passes")
		}
		for _, word := range words {
			if !strings.Contains(body, word) {
				return fmt.Errorf("it says %q, and nothing of %q", body, word)
			}
		}
		return nil
	})
}

// Passes waits until a check of vsphere-apiserver passes.
func (s *Supervisor) Passes(t *testing.T, path string) time.Duration {
	t.Helper()
	return waittest.Within(t, 45*time.Second, path, func(context.Context) error {
		status, body, err := s.Probe(t, path)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%d: %s", status, body)
		}
		return err
	})
}

// Anonymous shows no certificate and no token.
func Anonymous(t *testing.T, config *rest.Config) *http.Client {
	t.Helper()
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: roots(t, config), MinVersion: tls.VersionTLS12}}}
}

// LoginURL is the address of logins, which forwards to the Kubernetes API as well.
func (s *Supervisor) LoginURL(t *testing.T) string {
	t.Helper()
	ports, err := s.Dir.ReadPorts()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("https://localhost:%d", ports["login"])
}

// Nowhere holds a secret against every log.
func (s *Supervisor) Nowhere(t *testing.T, secret string) {
	t.Helper()
	entries, err := os.ReadDir(s.Dir.Logs())
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		log := s.Log(t, strings.TrimSuffix(entry.Name(), ".log"))
		for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret))} {
			if strings.Contains(log, form) {
				t.Errorf("the secret is in %s", entry.Name())
			}
		}
	}
}

// Roots are the authorities of the address of kube-apiserver.
func (s *Supervisor) Roots(t *testing.T) *x509.CertPool {
	t.Helper()
	return roots(t, s.Config(t))
}

func roots(t *testing.T, config *rest.Config) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(config.CAData) {
		t.Fatal("no authority")
	}
	return pool
}
