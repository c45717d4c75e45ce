// SPDX-License-Identifier: Apache-2.0

package supervisortest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	certutil "k8s.io/client-go/util/cert"
)

// Certificate is the first one in a file of the Supervisor's, such as "ca".
func (s *Supervisor) Certificate(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	certificates, err := certutil.CertsFromFile(filepath.Join(s.Dir.PKI(), name+".crt"))
	if err != nil {
		t.Fatal(err)
	}
	return certificates[0]
}

// Server is one of the addresses on which the Supervisor serves, and whose certificates it shows there.
type Server struct {
	Port                   int
	Certificate, Authority string
}

// Servers are all of them. The simulated vCenter is among them where there is one.
func (s *Supervisor) Servers(t *testing.T) []Server {
	t.Helper()
	ports, err := s.Dir.ReadPorts()
	if err != nil {
		t.Fatal(err)
	}
	servers := []Server{{Port: s.Port, Certificate: "kube-apiserver", Authority: "ca"}}
	for name, port := range ports {
		server := Server{Port: port, Certificate: name, Authority: "ca"}
		switch name {
		case "etcd", "vcenter":
			server.Authority = name + "-ca"
		case "login", "discovery":
			server.Certificate = "vsphere-apiserver"
		}
		servers = append(servers, server)
	}
	return servers
}

// Shown are the certificates that a server shows to whoever connects.
func (s Server) Shown(ctx context.Context) ([]*x509.Certificate, error) {
	// The test looks at the certificates itself.
	dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second},
		Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec
	connection, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)))
	if err != nil {
		return nil, fmt.Errorf("connect to %s on port %d: %w", s.Certificate, s.Port, err)
	}
	defer connection.Close()
	return connection.(*tls.Conn).ConnectionState().PeerCertificates, nil
}
