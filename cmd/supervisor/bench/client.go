// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
)

const (
	acceptJSON  = "application/json"
	acceptTable = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)

// side is one of the things that are compared: virtual machines at one address.
type side struct {
	name string
	// url is the collection over all namespaces, prefix what comes before "/namespaces/".
	url, prefix string
	// packed asks for gzip, as client-go does, plain does not.
	packed, plain *http.Client
	config        *rest.Config
}

func newSide(name, host, groupVersion string, config *rest.Config) (*side, error) {
	s := &side{name: name, prefix: host + "/apis/" + groupVersion, config: config}
	s.url = s.prefix + "/virtualmachines"
	var err error
	if s.packed, err = newClient(config, true); err != nil {
		return nil, err
	}
	s.plain, err = newClient(config, false)
	return s, err
}

// newClient returns a client with a connection of its own, set up as client-go does.
func newClient(config *rest.Config, packed bool) (*http.Client, error) {
	tls, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	transport := utilnet.SetTransportDefaults(&http.Transport{
		TLSHandshakeTimeout: 10 * time.Second, TLSClientConfig: tls, MaxIdleConnsPerHost: 25, DisableCompression: !packed,
	})
	return &http.Client{Transport: transport}, nil
}

func (s *side) object(namespace, name string) string {
	return s.prefix + "/namespaces/" + namespace + "/virtualmachines/" + name
}

// get reads an answer whole, into buffer if there is one.
func get(ctx context.Context, client *http.Client, url, accept string, buffer *bytes.Buffer) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", accept)
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return refusal(response)
	}
	if buffer == nil {
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
	buffer.Reset()
	_, err = buffer.ReadFrom(response.Body)
	return err
}

// send writes an object and returns the answer.
func send(ctx context.Context, client *http.Client, method, url, contentType string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", acceptJSON)
	request.Header.Set("Content-Type", contentType)
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusBadRequest {
		return nil, refusal(response)
	}
	return io.ReadAll(response.Body)
}

func refusal(response *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(response.Body, 1000))
	if err != nil {
		return err
	}
	return fmt.Errorf("%s %s: %s: %s", response.Request.Method, response.Request.URL, response.Status,
		bytes.TrimSpace(body))
}

// continueToken finds the token for the next page without decoding the list. The metadata comes before the items in
// some lists and after them in others.
func continueToken(list []byte) string {
	const near = 4096
	for _, part := range [][]byte{list[:min(near, len(list))], list[max(0, len(list)-near):]} {
		if _, rest, found := bytes.Cut(part, []byte(`"continue":"`)); found {
			token, _, _ := bytes.Cut(rest, []byte(`"`))
			return string(token)
		}
	}
	return ""
}
