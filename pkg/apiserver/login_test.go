// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	restclient "k8s.io/client-go/rest"
	"k8s.io/klog/v2/ktesting"
)

// overHTTP2 serves until the test ends.
func overHTTP2(t *testing.T, handler http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// TestStrangersBreakNobodysRequests has kube-apiserver end the connection of
// somebody whom it does not know, as it does, while others write.
func TestStrangersBreakNobodysRequests(t *testing.T) {
	kubeAPI := overHTTP2(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stranger" {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.Copy(w, r.Body)
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
	client := front.Client()
	client.Timeout = 10 * time.Second
	write := func(path, body string) (int, string, error) {
		response, err := client.Post(front.URL+path, "application/json", strings.NewReader(body))
		if err != nil {
			return 0, "", err
		}
		defer response.Body.Close()
		answer, err := io.ReadAll(response.Body)
		return response.StatusCode, string(answer), err
	}
	var writing sync.WaitGroup
	for i := range 8 {
		writing.Go(func() {
			for j := range 200 {
				path, want, body := "/stranger", http.StatusUnauthorized, ""
				if i > 0 {
					path, want, body = "/known", http.StatusOK, fmt.Sprintf(`{"writer":%d,"write":%d}`, i, j)
				}
				if status, answer, err := write(path, body); err != nil || status != want || answer != body {
					t.Errorf("%s: got %d %q, %v", path, status, answer, err)
					return
				}
			}
		})
	}
	writing.Wait()
}
