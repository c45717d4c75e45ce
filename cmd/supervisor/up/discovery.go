// SPDX-License-Identifier: Apache-2.0

package up

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/cmd/supervisor/ports"
	"github.com/openpacific/pacific/pkg/login"
	"github.com/openpacific/pacific/pkg/login/token"
)

const (
	// discoveryPort is the name under which the port of serveDiscovery is kept.
	discoveryPort = "discovery"
	// discoveryPath is where kube-apiserver looks for the document.
	discoveryPath = "/openidconnect/vsphere.local/.well-known/openid-configuration"
)

// serveDiscovery serves the OpenID Connect discovery document of the login service, and nothing else, until ctx is
// done. The service itself comes up after kube-apiserver, which asks for the document when it starts and then only
// every ten seconds: whoever logged in at once would be refused.
func (p *plan) serveDiscovery(ctx context.Context) error {
	shown := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.certificates.vsphereAPIServer.TLS() }
	service := &login.Service{Tokens: &token.Issuer{URL: p.issuer()}, Logger: klog.Background(), Clock: clock.RealClock{}}
	mux := http.NewServeMux()
	mux.Handle(discoveryPath, service.Handler())
	server := login.NewServer(mux, &tls.Config{GetCertificate: shown, MinVersion: tls.VersionTLS12}, klog.Background())
	server.Addr = ports.Loopback(p.ports[discoveryPort])

	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServeTLS("", "") }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve the discovery document on %s: %w", server.Addr, err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if server.Shutdown(grace) != nil {
		_ = server.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the discovery document on %s: %w", server.Addr, err)
	}
	return nil
}
