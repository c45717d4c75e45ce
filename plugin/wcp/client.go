// SPDX-License-Identifier: Apache-2.0

package wcp

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// How much of an answer is read. The list of 500 workloads takes 100 kB.
const (
	maxAnswer = 8 << 20
	maxBanner = 64 << 10
	maxDetail = 300
)

// Credentials are what Basic authentication carries.
type Credentials struct {
	Username, Password string
}

// String and GoString keep the password out of whatever prints the struct.
func (c Credentials) String() string   { return c.Username }
func (c Credentials) GoString() string { return c.Username }

// Client asks one login service.
type Client struct {
	Address Address
	HTTP    *http.Client
	Log     *slog.Logger
	Now     func() time.Time
}

// New returns the client of the service at an address. The transport decides
// whom to trust; a request takes at most timeout, if that is not zero.
func New(address Address, transport http.RoundTripper, timeout time.Duration, log *slog.Logger,
	now func() time.Time) *Client {
	return &Client{
		Address: address,
		HTTP: &http.Client{
			Transport: transport,
			Timeout:   timeout,
			// Basic authentication follows a redirect to a subdomain, or to
			// another port. We follow none.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Log: log,
		Now: now,
	}
}

// Workload is a vSphere Namespace that the user may use.
type Workload struct {
	Namespace  string
	MasterHost Address  // where its API server and login service are
	Port       string   // of the API server; empty when the server does not say
	DNSNames   []string // other names of the master host
}

// wireWorkload is a Workload as the server sends it. It is unknown whether a
// real Supervisor spells the key of the port right.
type wireWorkload struct {
	Namespace  string          `json:"namespace"`
	MasterHost string          `json:"master_host"`
	Port       json.RawMessage `json:"control_plane_api_server_port"`
	PortTypo   json.RawMessage `json:"conrol_plane_api_server_port"`
	DNSNames   []string        `json:"control_plane_DNS_names"`
}

// Guest names a Tanzu Kubernetes cluster.
type Guest struct {
	Name      string `json:"guest_cluster_name"`
	Namespace string `json:"guest_cluster_namespace,omitempty"`
}

// Session is what a login gives.
type Session struct {
	Token   string
	Expires time.Time // zero when the token does not say
	Server  Address   // of the guest cluster
	CA      []byte    // of the guest cluster, PEM
}

// String and GoString keep the token out of whatever prints the struct.
func (s Session) String() string   { return "session until " + s.Expires.Format(time.RFC3339) }
func (s Session) GoString() string { return s.String() }

// Banner returns what the site wants people to read before they log in. It
// carries no credentials, and so is the request that finds out who answers.
func (c *Client) Banner(ctx context.Context) (string, error) {
	body, err := c.do(ctx, http.MethodGet, "/wcp/loginbanner", nil, nil, maxBanner)
	return string(body), err
}

// clusterInfo is where a Supervisor tells everybody how to reach its API server: a
// ConfigMap that holds a kubeconfig without credentials, as kubeadm's cluster-info.
// Older Supervisors have none.
const clusterInfo = "/api/v1/namespaces/kube-public/configmaps/vip-cluster-info"

// Authorities returns, as PEM, the authorities that may have signed the certificate
// of the API server, as the login service tells them. It carries no credentials.
func (c *Client) Authorities(ctx context.Context) ([]byte, error) {
	body, err := c.do(ctx, http.MethodGet, clusterInfo, nil, nil, maxAnswer)
	if err != nil {
		return nil, err
	}
	var configMap struct {
		Data struct {
			Kubeconfig string `json:"kubeconfig"`
		} `json:"data"`
	}
	var kubeconfig struct {
		Clusters []struct {
			Cluster struct {
				Authorities string `yaml:"certificate-authority-data"`
			} `yaml:"cluster"`
		} `yaml:"clusters"`
	}
	if json.Unmarshal(body, &configMap) != nil || yaml.Unmarshal([]byte(configMap.Data.Kubeconfig), &kubeconfig) != nil {
		return nil, errors.New("the server's answer does not say how to reach the API server")
	}
	if len(kubeconfig.Clusters) != 1 {
		return nil, errors.New("the server's answer does not name one API server")
	}
	told, err := base64.StdEncoding.DecodeString(kubeconfig.Clusters[0].Cluster.Authorities)
	if err != nil {
		return nil, errors.New("the server's answer holds a broken certificate authority")
	}
	return authorities(told)
}

// authorities returns what is an authority's certificate, as PEM and nothing else:
// it goes into a kubeconfig.
func authorities(text []byte) ([]byte, error) {
	var kept bytes.Buffer
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil && certificate.IsCA {
			_ = pem.Encode(&kept, &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
		}
	}
	if kept.Len() == 0 {
		return nil, errors.New("the server's answer holds no certificate authority")
	}
	return kept.Bytes(), nil
}

// Workloads returns the vSphere Namespaces that the user may use. Entries that
// no Supervisor would send are left out, and said to be in the log.
func (c *Client) Workloads(ctx context.Context, credentials Credentials) ([]Workload, error) {
	body, err := c.do(ctx, http.MethodGet, "/wcp/workloads", &credentials, nil, maxAnswer)
	if err != nil {
		return nil, err
	}
	var wire []wireWorkload
	if err := json.Unmarshal(body, &wire); err != nil {
		return nil, errors.New("the server's answer is not a list of workloads")
	}
	workloads := make([]Workload, 0, len(wire))
	for _, w := range wire {
		host, err := ParseAddress(w.MasterHost)
		if err != nil || !ValidName(w.Namespace) {
			c.Log.Warn("left out a workload with an impossible name or host", "namespace", w.Namespace, "master_host",
				w.MasterHost)
			continue
		}
		workloads = append(workloads, Workload{
			Namespace: w.Namespace, MasterHost: host, Port: port(w.Port, w.PortTypo), DNSNames: w.DNSNames,
		})
	}
	return workloads, nil
}

// port returns the first of the values, strings or numbers, that is a port.
func port(values ...json.RawMessage) string {
	for _, value := range values {
		if text := strings.Trim(string(value), `"`); portNumber.MatchString(text) && text != "0" {
			return text
		}
	}
	return ""
}

// ValidName says whether a name is one that Kubernetes gives to a namespace or
// a cluster: so nothing else gets into a kubeconfig or onto a terminal.
func ValidName(name string) bool {
	return len(name) <= 253 && hostName.MatchString(name)
}

// Login returns a token for the Supervisor or, when guest is not nil, for that
// Tanzu Kubernetes cluster.
func (c *Client) Login(ctx context.Context, credentials Credentials, guest *Guest) (*Session, error) {
	var question []byte
	if guest != nil {
		question, _ = json.Marshal(guest)
	}
	body, err := c.do(ctx, http.MethodPost, "/wcp/login", &credentials, question, maxAnswer)
	if err != nil {
		return nil, err
	}
	var wire struct {
		SessionID   string `json:"session_id"`
		GuestServer string `json:"guest_cluster_server"`
		GuestCA     string `json:"guest_cluster_ca"`
	}
	if err := json.Unmarshal(body, &wire); err != nil {
		return nil, errors.New("the server's answer to the login is not understood")
	}
	// A Supervisor answers 200 with an empty server when it has no such cluster.
	if guest != nil && wire.GuestServer == "" {
		return nil, ErrNoCluster
	}
	if !validToken(wire.SessionID) {
		return nil, errors.New("the server's answer to the login holds no token")
	}
	session := &Session{Token: wire.SessionID, Expires: expiry(wire.SessionID)}
	if guest == nil {
		return session, nil
	}
	if session.Server, err = ParseAddress(wire.GuestServer); err != nil {
		return nil, fmt.Errorf("the server names an impossible address of the cluster: %w", err)
	}
	if session.CA, err = base64.StdEncoding.DecodeString(wire.GuestCA); err != nil {
		return nil, errors.New("the server's answer holds a broken certificate of the cluster")
	}
	return session, nil
}

func validToken(token string) bool {
	return token != "" && !strings.ContainsFunc(token, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsPrint(r) || unicode.IsSpace(r)
	})
}

// expiry reads when a JWT expires. Nobody trusts it: it only saves a request.
func expiry(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Expires float64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Expires <= 0 || claims.Expires > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Expires), 0).UTC()
}

// do sends one request and returns the answer to it, or an error that tells
// nothing that the credentials hold.
func (c *Client) do(ctx context.Context, method, path string, credentials *Credentials, body []byte,
	limit int64) ([]byte, error) {
	location := c.Address.URL(path)
	request, err := http.NewRequestWithContext(ctx, method, location, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("User-Agent", "kubectl-vsphere")
	if credentials != nil {
		request.SetBasicAuth(credentials.Username, credentials.Password)
	}
	started := c.Now()
	response, err := c.HTTP.Do(request)
	if err != nil {
		c.Log.Info("request failed", "method", method, "url", location, "took", c.Now().Sub(started).Round(time.Millisecond))
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			if wrapped.Timeout() {
				return nil, &ConnectionError{Server: c.Address.String(), Err: errors.New("no answer in time")}
			}
			err = wrapped.Err
		}
		return nil, &ConnectionError{Server: c.Address.String(), Err: err}
	}
	defer response.Body.Close()
	c.Log.Info("request", "method", method, "url", location, "status", response.StatusCode,
		"took", c.Now().Sub(started).Round(time.Millisecond))
	answer, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	switch {
	case response.StatusCode != http.StatusOK:
		return nil, statusError(response, answer, credentials)
	case err != nil:
		return nil, &ConnectionError{Server: c.Address.String(), Err: err}
	case int64(len(answer)) > limit:
		return nil, errors.New("the server's answer is too long")
	}
	return answer, nil
}
