// SPDX-License-Identifier: Apache-2.0

package namespace

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
	"time"

	"github.com/openpacific/pacific/plugin/credential"
	"github.com/openpacific/pacific/plugin/kubeconfig"
	"github.com/openpacific/pacific/plugin/shell"
	"github.com/openpacific/pacific/plugin/wcp"
)

// resource lists the vSphere Namespaces that the caller has a role in.
const resource = "/apis/vsphere.openpacific.io/v1alpha1/namespaces"

// liveTimeout bounds the question: somebody waits for a completion.
const liveTimeout = 3 * time.Second

// live asks the API server of a context for the names of the namespaces.
func live(ctx context.Context, sh *shell.Shell, config *kubeconfig.Config, name string) ([]string, error) {
	current := config.Contexts[name]
	token, err := bearer(ctx, sh, config.Users[current.User])
	if err != nil {
		return nil, err
	}
	transport, err := transport(config.Clusters[current.Cluster])
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Clusters[current.Cluster].Server+resource, nil)
	if err != nil {
		return nil, err
	}
	if request.URL.Scheme != "https" {
		return nil, errors.New("the token is for https only")
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json")
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", response.StatusCode)
	}
	var answer struct {
		Items []struct {
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
		} `json:"items"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 16<<20)).Decode(&answer); err != nil {
		return nil, errors.New("the answer is no list")
	}
	var names []string
	for _, item := range answer.Items {
		if wcp.ValidName(item.Metadata.Name) {
			names = append(names, item.Metadata.Name)
		}
	}
	return names, nil
}

// bearer returns the token of a user, without asking anybody.
func bearer(ctx context.Context, sh *shell.Shell, user kubeconfig.User) (string, error) {
	if user.Exec == nil {
		if user.Token == "" {
			return "", errors.New("there is no token")
		}
		return user.Token, nil
	}
	options, ours := credential.ParseArguments(user.Exec.Args)
	if !ours {
		return "", errors.New("there is no token of ours")
	}
	cache, err := credential.Open(sh, options.Storage)
	if err != nil {
		return "", err
	}
	token, err := cache.Load(ctx, options.Key())
	if err != nil || token == nil {
		return "", errors.Join(errors.New("there is no cached token"), err)
	}
	return token.Value, nil
}

// transport trusts what the kubeconfig's entry trusts.
func transport(cluster kubeconfig.Cluster) (*http.Transport, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: cluster.TLSServerName, InsecureSkipVerify: cluster.InsecureSkipTLSVerify}
	if cluster.CertificateAuthorityData != "" {
		authority, err := base64.StdEncoding.DecodeString(cluster.CertificateAuthorityData)
		settings.RootCAs = x509.NewCertPool()
		if err != nil || !settings.RootCAs.AppendCertsFromPEM(authority) {
			return nil, errors.New("the kubeconfig holds no certificate authority")
		}
	}
	return &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: settings}, nil
}
