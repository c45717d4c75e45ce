// SPDX-License-Identifier: Apache-2.0

package supervisortest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openpacific/pacific/pkg/waittest"
)

// shop is a vSphere Namespace that was given what machines are made of in vcentertest.Sample.
const shop = `
apiVersion: vsphere.openpacific.io/v1alpha1
kind: Namespace
metadata: {name: NAME}
spec:
  zones: [cluster-a, cluster-b]
  virtualMachineClasses: [best-effort-small]
  contentLibraries: [Platform images]
  networks: [workload-net]
  storagePolicies: [{name: Gold Storage}, {name: Bronze Storage}]
`

// Shop makes a vSphere Namespace with all that machines are made of: a class best-effort-small, images such as
// ubuntu-24.04, the network workload-net, the storage classes gold-storage and bronze-storage, and a Secret "web" with a
// key user-data. It returns the name.
func (s *Supervisor) Shop(t *testing.T, name string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "shop.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(shop, "NAME", name)), 0o600); err != nil {
		t.Fatal(err)
	}
	// What can be given is known once vCenter's libraries and policies have been read.
	waittest.Within(t, time.Minute, "what machines are made of is given", func(ctx context.Context) error {
		_, err := s.Try(ctx, "kubectl", "apply", "-f", file)
		return err
	})
	waittest.Within(t, time.Minute, "the class and the image are there", func(ctx context.Context) error {
		out, err := s.Try(ctx, "kubectl", "get", "vmclass,vmi", "-n", name)
		if err == nil && (!strings.Contains(out, "best-effort-small") || !strings.Contains(out, "ubuntu-24.04")) {
			err = fmt.Errorf("there are\n%s", out)
		}
		return err
	})
	s.Kubectl(t, "create", "secret", "generic", "web", "-n", name, "--from-literal=user-data=#cloud-config\n")
	return name
}
