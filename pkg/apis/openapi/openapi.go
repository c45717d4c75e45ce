// SPDX-License-Identifier: Apache-2.0

package openapi

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	apiopenapi "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/util"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/openpacific/pacific/pkg/generated/openapi"
)

const (
	extensionGVK = "x-kubernetes-group-version-kind"
	bearerToken  = "BearerToken"
)

// Definitions returns the definitions of all served types, keyed as generated,
// with references by friendly name.
func Definitions(ref common.ReferenceCallback) map[string]common.OpenAPIDefinition {
	definitions := openapi.GetOpenAPIDefinitions(func(name string) spec.Ref { return ref(friendly(name)) })
	for name, definition := range definitions {
		for _, raw := range rawJSON {
			if strings.HasSuffix(name, raw.definition) {
				definition.Schema.Properties[raw.field] = freeForm(definition.Schema.Properties[raw.field], raw.kind)
			}
		}
	}
	return definitions
}

// rawJSON are the fields that are raw JSON in Go, and of which type they are, none for any. The generator takes them for
// a text of bytes, and an apply of anything else would be refused.
var rawJSON = []struct {
	definition, field string
	kind              spec.StringOrArray
}{
	{".VirtualMachineClassSpec", "configSpec", spec.StringOrArray{"object"}},
	{"/cloudinit.CloudConfig", "runcmd", nil},
	{"/cloudinit.WriteFile", "content", nil},
}

// freeForm is whatever somebody says, of a type.
func freeForm(field spec.Schema, kind spec.StringOrArray) spec.Schema {
	free := spec.Schema{SchemaProps: spec.SchemaProps{Type: kind, Description: field.Description}}
	free.AddExtension("x-kubernetes-preserve-unknown-fields", true)
	return free
}

// Config returns the configurations of the v2 and the v3 documents for a server
// with the types of the scheme. Both are needed: server-side apply works on v3,
// and kube-aggregator merges v2.
func Config(scheme *runtime.Scheme, title, version string) (*common.Config, *common.OpenAPIV3Config) {
	namer := apiopenapi.NewDefinitionNamer(scheme)
	names := definitionNames(namer)

	// Said here as delegated authentication says it of the v2 document alone, so
	// that clients generated from either know that there is a token to send.
	bearer := spec.SecuritySchemeProps{Type: "apiKey", Name: "authorization", In: "header",
		Description: "Bearer Token authentication"}

	v2 := genericapiserver.DefaultOpenAPIConfig(Definitions, namer)
	v2.Info.Title = title
	v2.Info.Version = version
	v2.GetDefinitionName = names
	v2.SecurityDefinitions = &spec.SecurityDefinitions{bearerToken: &spec.SecurityScheme{SecuritySchemeProps: bearer}}

	// The v3 default has already resolved its definitions through a namer that
	// knows friendly names alone, which Definitions gives it.
	v3 := genericapiserver.DefaultOpenAPIV3Config(Definitions, namer)
	v3.Info.Title = title
	v3.Info.Version = version
	v3.GetDefinitionName = names
	v3.SecuritySchemes = spec3.SecuritySchemes{bearerToken: &spec3.SecurityScheme{
		SecuritySchemeProps: spec3.SecuritySchemeProps{
			Type: bearer.Type, Name: bearer.Name, In: bearer.In, Description: bearer.Description,
		}}}
	return v2, v3
}

func definitionNames(namer *apiopenapi.DefinitionNamer) func(string) (string, spec.Extensions) {
	return func(name string) (string, spec.Extensions) {
		name, extensions := namer.GetDefinitionName(friendly(name))
		return name, withoutInternal(extensions)
	}
}

// withoutInternal takes the internal version out of a model's kinds. The hub's Go
// types are registered for it too, but no client can ask for it.
func withoutInternal(extensions spec.Extensions) spec.Extensions {
	kinds, found := extensions[extensionGVK].([]any)
	if !found {
		return extensions
	}
	served := make([]any, 0, len(kinds))
	for _, kind := range kinds {
		if fields, ok := kind.(map[string]any); ok && fields["version"] == runtime.APIVersionInternal {
			continue
		}
		served = append(served, kind)
	}
	return spec.Extensions{extensionGVK: served}
}

// friendly turns a Go path into a REST-friendly name, and leaves a name alone that
// already is one: turning it again would reverse its first part.
func friendly(name string) string {
	if !strings.Contains(name, "/") {
		return name
	}
	return util.ToRESTFriendlyName(name)
}
