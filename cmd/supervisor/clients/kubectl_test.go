// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestKubectlDiscovers(t *testing.T) {
	out, err := kubectl(t, "api-versions")
	if err != nil {
		t.Fatal(err)
	}
	var ours []string
	for line := range strings.Lines(out) {
		if name := strings.TrimSpace(line); strings.HasPrefix(name, group+"/") {
			ours = append(ours, strings.TrimPrefix(name, group+"/"))
		}
	}
	slices.Sort(ours)
	if diff := cmp.Diff(versions(), ours); diff != "" {
		t.Errorf("api-versions (-want +got):\n%s", diff)
	}

	out, err = kubectl(t, "api-resources", "--api-group", group, "--no-headers", "-o", "wide")
	if err != nil {
		t.Fatal(err)
	}
	const verbs = "create,delete,deletecollection,get,list,patch,update,watch"
	const reads = "get,list,watch"
	want := []string{
		"clustervirtualmachineimages", "cvmi,cvmimage,clustervmi,clustervmimage", group + "/v1alpha5", "false",
		"ClusterVirtualMachineImage", reads,
		"virtualmachineclasses", "vmclass", group + "/v1alpha5", "true", "VirtualMachineClass", verbs,
		"virtualmachineimages", "vmi,vmimage", group + "/v1alpha5", "true", "VirtualMachineImage", reads,
		"virtualmachines", "vm", group + "/v1alpha5", "true", "VirtualMachine", verbs,
		"virtualmachineservices", "vmservice", group + "/v1alpha5", "true", "VirtualMachineService", verbs,
		"virtualmachinesetresourcepolicies", group + "/v1alpha5", "true", "VirtualMachineSetResourcePolicy", verbs,
	}
	if diff := cmp.Diff(want, strings.Fields(out)); diff != "" {
		t.Errorf("api-resources (-want +got):\n%s", diff)
	}
}

// TestKubectlExplains looks for each top-level field of each version, and for
// one field each whose model lies deep, under its name in that version.
func TestKubectlExplains(t *testing.T) {
	waitForDocuments(t)
	deep := map[string]string{
		"v1alpha1": "networkInterfaces",
		"v1alpha2": "sysprep",
		"v1alpha3": "sysprep",
		"v1alpha4": "sysprep",
		"v1alpha5": "requiredDuringSchedulingPreferredDuringExecution",
	}
	for _, version := range versions() {
		out, err := kubectl(t, "explain", "virtualmachines", "--api-version", group+"/"+version, "--recursive")
		if err != nil {
			t.Errorf("explain %s: %v\n%s", version, err, out)
			continue
		}
		for _, want := range []string{
			"GROUP:      " + group + "\n", "KIND:       VirtualMachine\n", "VERSION:    " + version + "\n",
			"\n  spec\t<VirtualMachineSpec>\n", "\n  status\t<VirtualMachineStatus>\n", "    powerState\t<string>",
			"  " + deep[version] + "\t<",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("explain %s does not say %q:\n%s", version, want, out)
			}
		}
		out, err = kubectl(t, "explain", "vm.spec.powerState", "--api-version", group+"/"+version)
		if err != nil || !strings.Contains(out, "power state") {
			t.Errorf("explain %s vm.spec.powerState: %v\n%s", version, err, out)
		}
	}
}

// TestKubectlValidates applies an object with a mistyped field.
func TestKubectlValidates(t *testing.T) {
	waitForDocuments(t)
	for _, version := range versions() {
		file := filepath.Join(t.TempDir(), "manifest.yaml")
		manifest := fmt.Sprintf("apiVersion: %s/%s\nkind: VirtualMachine\nmetadata: {name: web-1, namespace: "+
			"team-a}\nspec: {powerStat: x}\n", group, version)
		if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
			t.Fatal(err)
		}
		apply := func(flags ...string) (string, error) {
			return kubectl(t, append([]string{"apply", "--dry-run=server", "-f", file}, flags...)...)
		}
		out, err := apply("--validate=strict")
		if want := `unknown field "spec.powerStat"`; err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: strict validation ended with %v, want an error with %s:\n%s", version, err, want, out)
		}
		out, err = apply("--validate=strict", "--server-side")
		if want := ".spec.powerStat: field not declared in schema"; err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: server-side apply ended with %v, want an error with %s:\n%s", version, err, want, out)
		}
		out, err = apply("--validate=warn")
		if want := `Warning: unknown field "spec.powerStat"`; err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: validation with warnings ended with %v, want success with %s:\n%s", version, err, want, out)
		}
	}
}
