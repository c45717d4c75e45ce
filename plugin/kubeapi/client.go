// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/openpacific/pacific/plugin/kubeconfig"
	"github.com/openpacific/pacific/plugin/wcp"
)

// maxAnswer is how much of an answer is read.
const maxAnswer = 16 << 20

// Client asks one API server, with a token.
type Client struct {
	server string
	token  string
	http   *http.Client
}

// New returns the client of a kubeconfig's cluster. A request takes at most
// timeout, if that is not zero.
func New(cluster kubeconfig.Cluster, token string, timeout time.Duration) (*Client, error) {
	settings := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: cluster.TLSServerName, InsecureSkipVerify: cluster.InsecureSkipTLSVerify,
	}
	if cluster.CertificateAuthorityData != "" {
		authorities, err := base64.StdEncoding.DecodeString(cluster.CertificateAuthorityData)
		settings.RootCAs = x509.NewCertPool()
		if err != nil || !settings.RootCAs.AppendCertsFromPEM(authorities) {
			return nil, errors.New("the kubeconfig holds no certificate authority")
		}
	}
	if !strings.HasPrefix(cluster.Server, "https://") {
		return nil, errors.New("the token is for https only")
	}
	return &Client{server: cluster.Server, token: token, http: &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: settings},
		Timeout:       timeout,
		CheckRedirect: noRedirect,
	}}, nil
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Greet finds out who answers at an address: the transport looks at the certificate.
// What is answered does not matter, and no token is sent.
func Greet(ctx context.Context, address wcp.Address, transport http.RoundTripper, timeout time.Duration) error {
	client := &http.Client{Transport: transport, Timeout: timeout, CheckRedirect: noRedirect}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.URL("/version"), nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return connection(address.String(), err)
	}
	return response.Body.Close()
}

// ErrToken says that an API server does not know who a token is from.
var ErrToken = errors.New("the API server does not accept the token")

// Prove returns nil when the server is the one of the kubeconfig and takes the
// token. Whoever it knows may ask which APIs there are; should somebody not, they
// are known all the same.
func (c *Client) Prove(ctx context.Context) error {
	_, status, err := c.get(ctx, "/api", "application/json")
	switch {
	case err != nil:
		return err
	case status == http.StatusUnauthorized:
		return ErrToken
	case status != http.StatusOK && status != http.StatusForbidden:
		return fmt.Errorf("the API server answers with status %d %s", status, strings.ToLower(http.StatusText(status)))
	}
	return nil
}

// namespaces lists the vSphere Namespaces that the caller has a role in.
const namespaces = "/apis/vsphere.openpacific.io/v1alpha1/namespaces"

// Namespaces returns the names of the vSphere Namespaces that the owner of the
// token has a role in. A stock Supervisor does not tell.
func (c *Client) Namespaces(ctx context.Context) ([]string, error) {
	const metadata = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
	body, status, err := c.get(ctx, namespaces, metadata)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("status %d", status)
	}
	var answer struct {
		Items []struct {
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
		} `json:"items"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, errors.New("the answer is not a list")
	}
	var names []string
	for _, item := range answer.Items {
		if wcp.ValidName(item.Metadata.Name) {
			names = append(names, item.Metadata.Name)
		}
	}
	return names, nil
}

// get sends one request with the token.
func (c *Client) get(ctx context.Context, path, accept string) (body []byte, status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server+path, nil)
	if err != nil {
		return nil, 0, err
	}
	request.Header.Set("Accept", accept)
	body, response, err := c.send(request)
	if err != nil {
		return nil, 0, err
	}
	return body, response.StatusCode, nil
}

// send sends a request with the token.
func (c *Client) send(request *http.Request) (body []byte, response *http.Response, err error) {
	request.Header.Set("Authorization", "Bearer "+c.token)
	response, err = c.http.Do(request)
	if err != nil {
		return nil, nil, connection(strings.TrimPrefix(c.server, "https://"), err)
	}
	defer c.http.CloseIdleConnections()
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return body, response, err
}

// connection tells of a server that does not answer, without the library's words
// for the request.
func connection(server string, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
		if wrapped.Timeout() {
			err = errors.New("no answer in time")
		}
	}
	return &wcp.ConnectionError{Server: server, Err: err}
}
