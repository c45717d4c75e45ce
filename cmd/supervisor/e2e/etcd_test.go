// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"errors"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// TestEtcdPartsItsClients reads and writes with the certificates of the one server what is the other's:
// kube-apiserver's Secrets are not vsphere-apiserver's to read, nor are vsphere-apiserver's signing keys
// kube-apiserver's.
func TestEtcdPartsItsClients(t *testing.T) {
	t.Parallel()
	s := running(t)
	for _, test := range []struct{ certificate, own, other string }{
		{"vsphere-apiserver-etcd-client", "/pacific/", "/registry/"},
		{"kube-apiserver-etcd-client", "/registry/", "/pacific/"},
	} {
		client := s.Etcd(t, test.certificate)
		own, err := client.Get(t.Context(), test.own, clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil || own.Count == 0 {
			t.Errorf("%s reads %v of its own: %v", test.certificate, own, err)
		}
		_, read := client.Get(t.Context(), test.other, clientv3.WithPrefix(), clientv3.WithCountOnly())
		_, written := client.Put(t.Context(), test.other+"intruder", "x")
		_, removed := client.Delete(t.Context(), test.other+"intruder")
		for what, err := range map[string]error{"read": read, "write": written, "delete": removed} {
			if !errors.Is(err, rpctypes.ErrPermissionDenied) {
				t.Errorf("%s may %s what is under %s: %v", test.certificate, what, test.other, err)
			}
		}
	}
}
