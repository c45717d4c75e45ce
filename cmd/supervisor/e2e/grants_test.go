// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// TestOnlyWhatIsGiven has an editor of team-a ask for what team-a was given and for what it was not.
func TestOnlyWhatIsGiven(t *testing.T) {
	t.Parallel()
	s := running(t)
	p := s.Person(t, "dev-a@vsphere.local")
	if out, err := p.Login(t, vcentertest.SamplePassword); err != nil {
		t.Fatalf("login: %v\n%s", err, out)
	}
	const made = "virtualmachine.vmoperator.vmware.com/new created (server dry run)"
	file := filepath.Join(t.TempDir(), "vm.yaml")
	for name, try := range map[string]struct{ spec, want string }{
		"all given": {"{className: best-effort-small, imageName: postgres-17, storageClass: " +
			"gold-storage, network: {interfaces: [{name: eth0, network: {name: workload-net}}]}}", made},
		"an image by its name in Kubernetes": {"{className: best-effort-small, storageClass: gold-storage, " +
			"image: {kind: VirtualMachineImage, name: " +
			facts.ImageName(vcentertest.LibraryItemID("Platform images", "photon-5")) + "}}", made},
		"a class": {"{className: huge}",
			`spec.className: the class "huge" is not given to the vSphere Namespace "team-a"; given: best-effort-small, ` +
				`best-effort-medium`},
		"an image": {"{imageName: windows}",
			`spec.imageName: the image "windows" is in no content library that is given to the vSphere Namespace "team-a"; ` +
				`given: Platform images, Team A images`},
		"a network": {"{network: {interfaces: [{name: eth0, network: {name: management-net}}]}}",
			`spec.network.interfaces[0].network.name: the network "management-net" is not given`},
		"a storage class": {"{storageClass: silver}",
			`spec.storageClass: the storage class "silver" is not given to the vSphere Namespace "team-a"; given: ` +
				`gold-storage, bronze-storage`},
	} {
		manifest := "apiVersion: vmoperator.vmware.com/v1alpha5\nkind: VirtualMachine\nmetadata: {name: new, namespace: " +
			"team-a}\nspec: " + try.spec + "\n"
		if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, verb := range []string{"create", "apply"} {
			out, err := p.Types(t, "", verb, "--dry-run=server", "-f", file)
			refused := err != nil && (strings.Contains(out, "(Forbidden)") || strings.Contains(out, "forbidden"))
			if refused == (try.want == made) || !strings.Contains(out, try.want) {
				t.Errorf("%s a machine of %s: %v\n%s", verb, name, err, out)
			}
		}
	}
	out, err := p.Types(t, "", "patch", "vm", "web-1", "-n", "team-a", "--type", "merge", "-p",
		`{"spec":{"className":"huge"}}`)
	if err == nil || !strings.Contains(out, `the class "huge" is not given`) {
		t.Errorf("a machine that is there becomes huge: %v\n%s", err, out)
	}
}
