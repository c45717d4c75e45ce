// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/pkg/apis/vmoperator/install"
)

type model struct {
	Description string           `json:"description"`
	Kinds       []map[string]any `json:"x-kubernetes-group-version-kind"`
	Properties  map[string]model `json:"properties"`
}

// kubectl explain reads the v3 document, kube-aggregator merges the v2 one.
func TestDocuments(t *testing.T) {
	server := newServer(t)
	server.API.PrepareRun()
	answered := server.do("GET", "/openapi/v2", "", nil)
	if answered.code != http.StatusOK {
		t.Fatalf("/openapi/v2: %d %s", answered.code, answered.body)
	}
	v2 := decode[struct {
		Definitions map[string]model `json:"definitions"`
	}](t, answered)

	for _, version := range install.Versions() {
		document := "/openapi/v3/apis/" + version.String()
		answered := server.do("GET", document, "", nil)
		if answered.code != http.StatusOK {
			t.Fatalf("%s: %d %s", document, answered.code, answered.body)
		}
		v3 := decode[struct {
			Components struct {
				Schemas map[string]model `json:"schemas"`
			} `json:"components"`
		}](t, answered)

		prefix := "com.github.vmware-tanzu.vm-operator.api." + version.Version + "."
		for name, models := range map[string]map[string]model{"v2": v2.Definitions, "v3": v3.Components.Schemas} {
			want := []map[string]any{{"group": version.Group, "version": version.Version, "kind": "VirtualMachine"}}
			if diff := cmp.Diff(want, models[prefix+"VirtualMachine"].Kinds); diff != "" {
				t.Errorf("%s %s: kinds (-want +got):\n%s", version.Version, name, diff)
			}
			description := models[prefix+"VirtualMachineSpec"].Properties["powerState"].Description
			if !strings.Contains(description, "power state") {
				t.Errorf("%s %s: spec.powerState is described as %q", version.Version, name, description)
			}
		}
	}
}
