// SPDX-License-Identifier: Apache-2.0

package openapi

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/openpacific/pacific/pkg/apis/vmoperator/install"
)

const prefix = "com.github.vmware-tanzu.vm-operator.api."

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	return scheme
}

// kubectl explain and server-side apply find a model by its group, version and kind.
func TestModelsSayTheirKind(t *testing.T) {
	v2, v3 := Config(newScheme(), "Pacific", "v0")
	for _, version := range install.Versions() {
		for _, kind := range []string{"VirtualMachine", "VirtualMachineList"} {
			want := spec.Extensions{extensionGVK: []any{
				map[string]any{"group": version.Group, "version": version.Version, "kind": kind},
			}}
			path := "github.com/vmware-tanzu/vm-operator/api/" + version.Version + "." + kind
			wantName := prefix + version.Version + "." + kind
			for document, names := range map[string]func(string) (string, spec.Extensions){
				"v2": v2.GetDefinitionName, "v3": v3.GetDefinitionName,
			} {
				for _, name := range []string{path, wantName} {
					gotName, got := names(name)
					if gotName != wantName {
						t.Errorf("%s: %s is named %s, want %s", document, name, gotName, wantName)
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s: kinds of %s (-want +got):\n%s", document, name, diff)
					}
				}
			}
		}
	}
}

// The server panics at start when a model refers to one that is not there.
func TestEveryReferenceLeadsToAModel(t *testing.T) {
	_, v3 := Config(newScheme(), "Pacific", "v0")
	models := map[string]bool{}
	for name := range v3.Definitions {
		friendlyName, _ := v3.GetDefinitionName(name)
		models["#/components/schemas/"+friendlyName] = true
	}
	for name, definition := range v3.Definitions {
		for _, dependency := range definition.Dependencies {
			if _, found := v3.Definitions[dependency]; !found {
				t.Errorf("%s depends on %s, which was not generated", name, dependency)
			}
		}
		for property, schema := range definition.Schema.Properties {
			for _, ref := range references(&schema) {
				if !models[ref] {
					t.Errorf("%s.%s refers to %s, which is no model", name, property, ref)
				}
			}
		}
	}
}

func references(schema *spec.Schema) []string {
	var found []string
	if ref := schema.Ref.String(); ref != "" {
		found = append(found, ref)
	}
	for i := range schema.AllOf {
		found = append(found, references(&schema.AllOf[i])...)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		found = append(found, references(schema.Items.Schema)...)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		found = append(found, references(schema.AdditionalProperties.Schema)...)
	}
	return found
}

func TestFieldsAreDocumented(t *testing.T) {
	definitions := Definitions(func(name string) spec.Ref { return spec.MustCreateRef(name) })
	for _, version := range install.Versions() {
		for _, part := range []string{"VirtualMachineSpec", "VirtualMachineStatus"} {
			name := "github.com/vmware-tanzu/vm-operator/api/" + version.Version + "." + part
			definition, found := definitions[name]
			if !found {
				t.Errorf("no model %s", name)
				continue
			}
			description := definition.Schema.Properties["powerState"].Description
			if !strings.Contains(description, "power state") {
				t.Errorf("%s.powerState is described as %q", name, description)
			}
		}
	}
}

// Clients generated from either document know the token that there is to send.
func TestBearerToken(t *testing.T) {
	v2, v3 := Config(newScheme(), "Pacific", "v0")
	encoded := map[string]any{"v2": v2.SecurityDefinitions, "v3": v3.SecuritySchemes}
	for document, schemes := range encoded {
		got, err := json.Marshal(schemes)
		if err != nil {
			t.Fatal(err)
		}
		want := `{"BearerToken":{"description":"Bearer Token ` +
			`authentication","type":"apiKey","name":"authorization","in":"header"}}`
		if diff := cmp.Diff(decoded(t, []byte(want)), decoded(t, got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", document, diff)
		}
	}
}

func decoded(t *testing.T, data []byte) any {
	t.Helper()
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatal(err)
	}
	return value
}
