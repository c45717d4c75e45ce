// SPDX-License-Identifier: Apache-2.0

package plugin_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestImports keeps the program small: it is started before each command of
// kubectl, and people download it.
func TestImports(t *testing.T) {
	for _, system := range []string{"linux", "darwin", "windows"} {
		command := exec.CommandContext(t.Context(), "go", "list", "-deps",
			"github.com/openpacific/pacific/cmd/kubectl-vsphere")
		command.Env = append(command.Environ(), "GOOS="+system, "CGO_ENABLED=0")
		out, err := command.Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		if !strings.Contains(string(out), "github.com/openpacific/pacific/plugin/wcp\n") {
			t.Fatalf("go list does not name our own packages:\n%s", out)
		}
		for path := range strings.Lines(string(out)) {
			for _, forbidden := range []string{"github.com/vmware/govmomi", "k8s.io/", "sigs.k8s.io/",
				"github.com/openpacific/pacific/pkg/"} {
				if strings.HasPrefix(path, forbidden) {
					t.Errorf("on %s it is built from %s", system, path)
				}
			}
		}
	}
}
