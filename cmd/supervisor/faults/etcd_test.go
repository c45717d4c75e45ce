// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"errors"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/openpacific/pacific/cmd/supervisor/etcdusers"
)

// TestEtcdOfBeforeIsParted starts on a data directory whose etcd never asked who its clients are, as one of an earlier
// version: nothing in it is lost, and from then on it asks.
func TestEtcdOfBeforeIsParted(t *testing.T) {
	t.Parallel()
	s := suite.New("etcd-of-before")
	s.Begin(t, "--sim")
	running := true
	t.Cleanup(func() {
		if running {
			_ = s.Stop()
		}
	})
	s.Kubectl(t, "create", "secret", "generic", "kept", "-n", "team-a", "--from-literal=a=b")
	root := s.Etcd(t, "supervisor-etcd-client")
	if _, err := root.AuthDisable(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kube-apiserver", "vsphere-apiserver", etcdusers.Root} {
		if _, err := root.UserDelete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"kube-apiserver", "vsphere-apiserver"} {
		if _, err := root.RoleDelete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	s.Begin(t, "--sim")
	_, err := s.Etcd(t, "vsphere-apiserver-etcd-client").Get(t.Context(), "/registry/secrets/team-a/kept")
	if !errors.Is(err, rpctypes.ErrPermissionDenied) {
		t.Errorf("vsphere-apiserver's certificate reads a Secret: %v", err)
	}
	if out := s.Kubectl(t, "get", "secret", "kept", "-n", "team-a", "-o",
		"name"); strings.TrimSpace(out) != "secret/kept" {
		t.Errorf("the Secret is %q", out)
	}
	running = false
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}
