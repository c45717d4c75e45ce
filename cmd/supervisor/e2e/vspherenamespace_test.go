// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// TestVSphereNamespace makes one as an administrator, works in it as the person
// whom it was given to, and deletes it.
func TestVSphereNamespace(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	file := filepath.Join(t.TempDir(), "vns.yaml")
	apply := func(role string) {
		t.Helper()
		manifest := fmt.Sprintf(`
apiVersion: vsphere.openpacific.io/v1alpha1
kind: Namespace
metadata: {name: vns-shop}
spec:
  description: the shop
  resources: {cpuLimitMHz: 4000, memoryLimit: 8Gi}
  access:
  - {kind: User, name: nobody@vsphere.local, role: %s}
`, role)
		if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
			t.Fatal(err)
		}
		s.Kubectl(t, "apply", "--server-side", "-f", file)
	}
	apply("View")
	s.Kubectl(t, "wait", "vns/vns-shop", "--for=condition=Ready", "--timeout=30s")
	waittest.Within(t, 30*time.Second, "the Kubernetes Namespace with the annotations of the Supervisor",
		func(context.Context) error {
			out, err := s.Try(t.Context(), "kubectl", "get", "namespace", "vns-shop", "-o", "jsonpath={.metadata.annotations}")
			if err == nil && (!strings.Contains(out, "vmware-system-vm-folder") ||
				!strings.Contains(out, "vmware-system-resource-pool")) {
				err = fmt.Errorf("annotations %s", out)
			}
			return err
		})
	a.Create("vns-shop", "web", supervisortest.PoweredOff)
	s.Serves(t, "vns-shop", "web")

	p := s.Person(t, "nobody@vsphere.local")
	if out, err := p.Login(t, vcentertest.SamplePassword); err != nil {
		t.Fatalf("login: %v\n%s", err, out)
	}
	shown := func() []string {
		out, err := p.Types(t, "", "get", "vns", "-o", "name")
		if err != nil {
			t.Fatalf("get vns: %v\n%s", err, out)
		}
		return strings.Fields(out)
	}
	if diff := cmp.Diff([]string{"namespace.vsphere.openpacific.io/vns-shop"}, shown()); diff != "" {
		t.Errorf("vSphere Namespaces shown to somebody with one role (-want +got):\n%s", diff)
	}
	may := func(verb string, want bool) {
		t.Helper()
		waittest.Within(t, 30*time.Second, fmt.Sprintf("%s to be %t", verb, want), func(context.Context) error {
			got := p.Can(t, "vns-shop")
			if strings.Contains(strings.Join(got, " "), verb) != want {
				return fmt.Errorf("they may %v", got)
			}
			return nil
		})
	}
	may("get", true)
	may("patch", false)
	apply("Edit")
	may("patch", true) // without a new login
	if out, err := p.Types(t, "", "patch", "vns", "vns-shop", "--type=merge",
		"-p", `{"spec":{"access":[{"kind":"User","name":"nobody@vsphere.local","role":"Owner"}]}}`); err == nil {
		t.Errorf("an editor made themselves the owner:\n%s", out)
	}

	s.Kubectl(t, "delete", "vns", "vns-shop", "--timeout=60s")
	if out, err := s.Try(t.Context(), "kubectl", "get", "namespace", "vns-shop"); err == nil {
		t.Errorf("the Kubernetes Namespace is still there:\n%s", out)
	}
	if got := shown(); len(got) > 0 {
		t.Errorf("still shown: %v", got)
	}
	// The machine was not Pacific's to destroy.
	out, err := s.Try(t.Context(), "vcenter", "list", "--data-dir", string(s.Dir))
	if err != nil || !strings.Contains(out, "/vns-shop/web") {
		t.Errorf("the machine in vCenter: %v\n%s", err, out)
	}
}
