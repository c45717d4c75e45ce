// SPDX-License-Identifier: Apache-2.0

// Command openapi writes the OpenAPI documents of the served groups into a
// folder, for clients to be generated from:
//
//	go run ./hack/openapi artifacts/openapi
//
// swagger.json is the v2 document. The v3 documents, one per group and one per
// version of it, are named as in the repository of Kubernetes. They are what a
// running server answers, but for the server's version, which would change with
// each build.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/klog/v2"
	"k8s.io/kube-openapi/pkg/aggregator"
	"k8s.io/kube-openapi/pkg/handler3"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/openpacific/pacific/pkg/apiserver"
)

// unversioned is the documents' version, as in those of Kubernetes.
const unversioned = "unversioned"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./hack/openapi <folder>")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func write(folder string) error {
	// The server says that nobody is authenticated, which here nobody need be.
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	server, err := apiserver.Documentation(unversioned)
	if err != nil {
		return err
	}
	index := handler3.OpenAPIV3Discovery{}
	if err := get(server, "/openapi/v3", &index); err != nil {
		return err
	}
	documents := map[string]any{}
	var versions []string
	for document := range index.Paths {
		// Beside apis/<group> and apis/<group>/<version> there is what every API server has.
		parts := strings.Split(document, "/")
		if len(parts) < 2 || parts[0] != "apis" {
			continue
		}
		if len(parts) == 3 {
			versions = append(versions, "/"+document+"/")
		}
		var content any
		if err := get(server, "/openapi/v3/"+document, &content); err != nil {
			return err
		}
		documents[strings.Join(parts, "__")+"_openapi.json"] = content
	}
	swagger := &spec.Swagger{}
	if err := get(server, "/openapi/v2", swagger); err != nil {
		return err
	}
	// kube-aggregator takes our part out of the document in the same way.
	documents["swagger.json"] = aggregator.FilterSpecByPathsWithoutSideEffects(swagger, versions)

	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for name, content := range documents {
		data, err := canonical(content)
		if err != nil {
			return fmt.Errorf("encode %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// get decodes what the server answers to a GET.
func get(server http.Handler, url string, into any) error {
	request := httptest.NewRequest(http.MethodGet, url, nil)
	request.Header.Set("Accept", "application/json")
	response := httptest.NewRecorder()
	server.ServeHTTP(response, request)
	if response.Code != http.StatusOK {
		return fmt.Errorf("GET %s: %d %s", url, response.Code, response.Body)
	}
	if err := json.Unmarshal(response.Body.Bytes(), into); err != nil {
		return fmt.Errorf("decode %s: %w", url, err)
	}
	return nil
}

// canonical returns JSON that is the same for the same document, and whose
// changes can be read in a diff: keys in order, one to a line.
func canonical(document any) ([]byte, error) {
	data, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	var sorted any
	if err := json.Unmarshal(data, &sorted); err != nil {
		return nil, err
	}
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(sorted); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}
