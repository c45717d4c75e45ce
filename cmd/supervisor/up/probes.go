// SPDX-License-Identifier: Apache-2.0

package up

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/openpacific/pacific/cmd/supervisor/pki"
)

// prober asks one server over verified TLS.
type prober struct {
	client *http.Client
	base   string
}

// newProber trusts the authority alone and shows the client's certificate of the moment, if there is one.
func newProber(base string, ca *pki.Authority, client *pki.Pair) (*prober, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca.CertPEM) {
		return nil, errors.New("probe: the authority holds no certificate")
	}
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if client != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return client.TLS() }
	}
	// Without keep-alive a probe shows whether somebody new could connect.
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	return &prober{client: &http.Client{Transport: transport}, base: base}, nil
}

func (p *prober) do(ctx context.Context, method, path string, body []byte) (status int, answer string, err error) {
	request, err := http.NewRequestWithContext(ctx, method, p.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if body != nil {
		request.Header.Set("Content-Type", "text/xml; charset=utf-8")
	}
	response, err := p.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	return response.StatusCode, string(data), err
}

// ok wants status 200.
func (p *prober) ok(ctx context.Context, path string) error {
	status, answer, err := p.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("%s: %d %s", path, status, firstLine(answer))
	}
	return nil
}

// etcd wants a member that knows its leader.
func (p *prober) etcd(ctx context.Context) error {
	status, answer, err := p.do(ctx, http.MethodGet, "/health", nil)
	if err != nil {
		return err
	}
	if status != http.StatusOK || !strings.Contains(answer, `"health":"true"`) {
		return fmt.Errorf("/health: %d %s", status, firstLine(answer))
	}
	return nil
}

// readyz wants every check of a Kubernetes API server to pass; the error says which does not, and why where the server
// tells.
func (p *prober) readyz(ctx context.Context) error {
	status, answer, err := p.do(ctx, http.MethodGet, "/readyz", nil)
	if err != nil {
		return err
	}
	if status == http.StatusOK {
		return nil
	}
	failed := failedChecks(answer)
	if len(failed) == 0 {
		return fmt.Errorf("/readyz: %d %s", status, firstLine(answer))
	}
	_, reason, err := p.do(ctx, http.MethodGet, "/readyz/"+failed[0], nil)
	if err != nil || reason == "" {
		return fmt.Errorf("not ready: %s", strings.Join(failed, ", "))
	}
	return fmt.Errorf("not ready: %s: %s", strings.Join(failed, ", "),
		strings.TrimPrefix(firstLine(reason), "internal server error: "))
}

// about asks a vCenter who it is, as any client does first.
func (p *prober) about(ctx context.Context) error {
	const retrieve = `<?xml version="1.0" encoding="UTF-8"?>` +
		`<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body>` +
		`<RetrieveServiceContent xmlns="urn:vim25"><_this type="ServiceInstance">ServiceInstance</_this></RetrieveServiceContent>` +
		`</Body></Envelope>`
	status, answer, err := p.do(ctx, http.MethodPost, "/sdk", []byte(retrieve))
	if err != nil {
		return err
	}
	if status != http.StatusOK || !strings.Contains(answer, "about") {
		return fmt.Errorf("/sdk: %d %s", status, firstLine(answer))
	}
	return nil
}

// failedChecks are the names in lines like "[-]etcd failed: reason withheld".
func failedChecks(answer string) []string {
	var failed []string
	for line := range strings.Lines(answer) {
		if name, ok := strings.CutPrefix(line, "[-]"); ok {
			name, _, _ = strings.Cut(name, " ")
			failed = append(failed, name)
		}
	}
	return failed
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if len(line) > 300 {
		line = line[:300] + "…"
	}
	return line
}
