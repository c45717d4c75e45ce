// SPDX-License-Identifier: Apache-2.0

package supervisortest

import (
	"fmt"
	"path/filepath"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/openpacific/pacific/pkg/ledger"
)

// Etcd is a client of the Supervisor's etcd with one of the certificates in its folder, such as
// "vsphere-apiserver-etcd-client".
func (s *Supervisor) Etcd(t *testing.T, certificate string) *clientv3.Client {
	t.Helper()
	ports, err := s.Dir.ReadPorts()
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(s.Dir.PKI(), name) }
	client, err := ledger.Dial(ledger.Server{
		Endpoints: []string{fmt.Sprintf("https://127.0.0.1:%d", ports["etcd"])}, CAFile: file("etcd-ca.crt"),
		CertFile: file(certificate + ".crt"), KeyFile: file(certificate + ".key"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}
