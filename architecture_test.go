// SPDX-License-Identifier: Apache-2.0

// Package pacific_test holds the lines between the packages: who may import
// whom. docs/design.md, section 6, says why.
package pacific_test

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/openpacific/pacific/"

// dependencies returns every package that the packages of a pattern are built
// from, without their tests, by importing package.
func dependencies(t *testing.T, pattern string) map[string][]string {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}}{{range .Deps}} {{.}}{{end}}`,
		pattern).Output()
	if err != nil {
		t.Fatalf("go list %s: %v", pattern, err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(output)) {
		fields := strings.Fields(line)
		all[fields[0]] = fields[1:]
	}
	if len(all) == 0 {
		t.Fatalf("go list %s found no package", pattern)
	}
	return all
}

func TestImports(t *testing.T) {
	const govmomi = "github.com/vmware/govmomi"
	tests := []struct {
		packages  string
		forbidden []string
		why       string
	}{
		{"./pkg/livestore/...", []string{govmomi, module, "github.com/vmware-tanzu"},
			"the live store knows neither vSphere nor our API"},
		{"./pkg/wirecache/...", []string{govmomi, module}, "it works for any type"},
		{"./pkg/failure/...", []string{module, "k8s.io", govmomi}, "everybody imports the kinds of failure"},
		{"./pkg/facts/...", []string{module, "k8s.io", govmomi},
			"it is the language between packages that do not know each other"},
		{"./pkg/namespace/...", []string{module, "k8s.io/api/", "k8s.io/apiserver", govmomi},
			"it knows names, of both sides, and nothing else"},
		{"./pkg/ledger/...", []string{govmomi, module + "pkg/vcenter", module + "pkg/registry"},
			"a folder is a string to the ledger"},
		{"./pkg/registry/...", []string{govmomi, module + "pkg/vcenter"},
			"the registry declares what it needs, pkg/apiserver joins"},
		{"./pkg/registry/projected/...", []string{module + "pkg/registry", module + "pkg/livestore", module + "pkg/apis",
			"k8s.io/apiserver"}, "what is shown is told without stores, and of any kind"},
		{"./pkg/controller/...", []string{govmomi, module + "pkg/vcenter", module + "pkg/registry"},
			"a controller declares what it needs, pkg/apiserver joins"},
		{"./pkg/access/...", []string{govmomi, module + "pkg/vcenter", module + "pkg/registry", module + "pkg/controller"},
			"whoever cuts a list down to somebody's rights asks it"},
		{"./pkg/vcenter/...", []string{module + "pkg/registry", module + "pkg/controller", module + "pkg/apiserver"},
			"vCenter does not know who asks"},
		{"./plugin/...", []string{govmomi, "k8s.io/apiserver", module + "pkg"},
			"every developer runs the plugin, and it starts with every kubectl"},
		{"./cmd/kubectl-vsphere", []string{govmomi, "k8s.io/apiserver", module + "pkg"},
			"every developer runs the plugin, and it starts with every kubectl"},
		{"./pkg/login/...", []string{govmomi, module + "pkg/vcenter", module + "pkg/registry"},
			"the login service declares what it needs, pkg/apiserver joins"},
		{"./pkg/apis/...", []string{govmomi, module + "pkg/vcenter", module + "pkg/registry"}, "types are for clients too"},
	}
	for _, test := range tests {
		for importer, imported := range dependencies(t, test.packages) {
			for _, path := range imported {
				for _, prefix := range test.forbidden {
					if strings.HasPrefix(path, prefix) && !sameTree(path, test.packages) {
						t.Errorf("%s is built from %s: %s", importer, path, test.why)
					}
				}
			}
		}
	}

	// What is in vCenter is told in facts, whatever Kubernetes makes of it.
	for importer, imported := range dependencies(t, "./pkg/vcenter/...") {
		for _, path := range imported {
			for _, prefix := range []string{"k8s.io/api/", "k8s.io/apiserver", "github.com/vmware-tanzu", module + "pkg/apis",
				module + "pkg/livestore"} {
				if strings.HasPrefix(path, prefix) {
					t.Errorf("%s is built from %s: pkg/vcenter speaks of what is in vCenter alone", importer, path)
				}
			}
		}
	}

	// pkg/vcenter is where govmomi stops: nothing but it, and what joins it, is
	// built from govmomi.
	for importer, imported := range dependencies(t, "./pkg/...") {
		allowed := strings.HasPrefix(importer, module+"pkg/vcenter") || strings.HasPrefix(importer, module+"pkg/apiserver")
		for _, path := range imported {
			if !allowed && strings.HasPrefix(path, govmomi) {
				t.Errorf("%s is built from %s: govmomi stops at pkg/vcenter", importer, path)
			}
		}
	}
}

// TestNoKindKnowsAnother holds the kinds apart: what one needs of another it declares, and pkg/apiserver hands it over.
func TestNoKindKnowsAnother(t *testing.T) {
	const kinds = module + "pkg/registry/"
	kind := func(path string) string {
		rest, found := strings.CutPrefix(path, kinds)
		if !found {
			return ""
		}
		name, _, _ := strings.Cut(rest, "/")
		if name == "projected" {
			return "" // a part of the frame
		}
		return name
	}
	found := map[string]bool{}
	for importer, imported := range dependencies(t, "./pkg/registry/...") {
		here := kind(importer)
		found[here] = true
		for _, path := range imported {
			if there := kind(path); there != "" && there != here {
				t.Errorf("%s is built from %s: no kind knows another, and the frame knows none", importer, path)
			}
		}
	}
	if !found["virtualmachine"] {
		t.Errorf("the kinds do not lie below %s: found %v", kinds, found)
	}
}

// TestNoKindHoldsAStore keeps what is the frame's out of the kinds, informers too.
func TestNoKindHoldsAStore(t *testing.T) {
	const frame = module + "pkg/registry"
	forbidden := []string{module + "pkg/livestore", "k8s.io/apiserver/pkg/storage", "k8s.io/apiserver/pkg/registry",
		"k8s.io/client-go/tools/cache"}
	output, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`,
		"./pkg/registry/...", "./pkg/vcenter/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	kinds := 0
	for line := range strings.Lines(string(output)) {
		fields := strings.Fields(line)
		if importer := fields[0]; importer == frame || strings.HasPrefix(importer, frame+"/kindtest") {
			continue
		}
		kinds++
		for _, path := range fields[1:] {
			for _, prefix := range forbidden {
				if strings.HasPrefix(path, prefix) {
					t.Errorf("%s imports %s: stores, keys and what is attached to them are the frame's", fields[0], path)
				}
			}
		}
	}
	if kinds < 5 {
		t.Errorf("go list found %d packages that are to be held to this", kinds)
	}
}

// sameTree says whether a package lies in the tree that a pattern names: a
// rule against our own packages does not mean the ruled ones.
func sameTree(path, pattern string) bool {
	return strings.HasPrefix(path, module+strings.TrimSuffix(strings.TrimPrefix(pattern, "./"), "/..."))
}
