// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	restclient "k8s.io/client-go/rest"
	"k8s.io/klog/v2/ktesting"
)

// unsent is a body of which nothing is sent before it is closed, as by a
// client that has seen a refusal.
type unsent struct {
	closed chan struct{}
	once   sync.Once
}

func (u *unsent) Read([]byte) (int, error) {
	<-u.closed
	return 0, io.ErrClosedPipe
}

func (u *unsent) Close() error {
	u.once.Do(func() { close(u.closed) })
	return nil
}

// overHTTP2 serves until the test ends.
func overHTTP2(t *testing.T, handler http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// TestForwardedRefusalHasAnEnd has kube-apiserver refuse a request before the
// client has sent its body.
func TestForwardedRefusalHasAnEnd(t *testing.T) {
	const refusal = `{"kind":"Status","code":403}`
	kubeAPI := overHTTP2(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("forwarded over %s", r.Proto)
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, refusal)
	}))
	logger, _ := ktesting.NewTestContext(t)
	proxy, err := kubeAPIProxy(&restclient.Config{
		Host: kubeAPI.URL,
		TLSClientConfig: restclient.TLSClientConfig{
			CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: kubeAPI.Certificate().Raw}),
		},
	}, logger)
	if err != nil {
		t.Fatal(err)
	}
	front := overHTTP2(t, proxy)

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPatch, front.URL, &unsent{closed: make(chan struct{})})
	if err != nil {
		t.Fatal(err)
	}
	request.ContentLength = 100
	response, err := front.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusForbidden || string(body) != refusal {
		t.Errorf("got %s %q, %v", response.Status, body, err)
	}
}
