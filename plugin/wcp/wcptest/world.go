// SPDX-License-Identifier: Apache-2.0

package wcptest

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// World is a proxy and the hosts behind it.
type World struct {
	t     testing.TB
	proxy *httptest.Server

	mu    sync.Mutex // guards hosts
	hosts map[string]*httptest.Server
}

// NewWorld starts a world without hosts, which ends with the test.
func NewWorld(t testing.TB) *World {
	t.Helper()
	w := &World{t: t, hosts: map[string]*httptest.Server{}}
	w.proxy = httptest.NewServer(http.HandlerFunc(w.connect))
	t.Cleanup(func() {
		w.proxy.Close()
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, server := range w.hosts {
			server.Close()
		}
	})
	return w
}

// Proxy is what to set HTTPS_PROXY to.
func (w *World) Proxy() string { return w.proxy.URL }

// Serve lets a handler answer at host:port, in the place of who did before.
func (w *World) Serve(address string, certificate tls.Certificate, handler http.Handler) {
	w.t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused certificates are what some tests are about
	server.StartTLS()
	w.mu.Lock()
	defer w.mu.Unlock()
	if before := w.hosts[address]; before != nil {
		before.Close()
	}
	w.hosts[address] = server
}

// connect leads a client to the host that it wants.
func (w *World) connect(out http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(out, "this proxy is for https", http.StatusMethodNotAllowed)
		return
	}
	w.mu.Lock()
	server := w.hosts[r.Host]
	w.mu.Unlock()
	if server == nil {
		http.Error(out, "no such host", http.StatusBadGateway)
		return
	}
	there, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "https://"))
	if err != nil {
		http.Error(out, "no answer", http.StatusBadGateway)
		return
	}
	defer there.Close()
	here, buffered, err := http.NewResponseController(out).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	if _, err := io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(there, buffered)
		there.Close()
	}()
	_, _ = io.Copy(here, there)
	here.Close()
	<-done
}
