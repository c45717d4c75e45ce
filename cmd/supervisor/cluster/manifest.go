// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Endpoint is where kube-apiserver's aggregator finds vsphere-apiserver.
type Endpoint struct {
	// Host is the name to connect to. The certificate is checked against the Service's name, not against this one.
	Host string
	Port int64
	// CABundle signs the serving certificate, as PEM.
	CABundle []byte
}

// Manifests are the objects of artifacts/base in the order in which they are applied.
type Manifests struct {
	// Base is everything that vsphere-apiserver needs before it can start.
	Base []*unstructured.Unstructured
	// APIServices register it.
	APIServices []*unstructured.Unstructured
}

// Read returns the manifests for an endpoint outside of the cluster. The Service becomes one of type ExternalName:
// there is no kube-proxy here, and the aggregator needs none for it.
func Read(files fs.FS, endpoint Endpoint) (Manifests, error) {
	var manifests Manifests
	for _, name := range []string{"base/namespace.yaml", "base/rbac.yaml", "base/roles.yaml", "base/service.yaml",
		"base/apiservice.yaml"} {
		objects, err := readFile(files, name)
		if err != nil {
			return Manifests{}, fmt.Errorf("manifest %s: %w", name, err)
		}
		for _, object := range objects {
			switch object.GetKind() {
			case "Service":
				object.Object["spec"] = map[string]any{
					"type":         "ExternalName",
					"externalName": endpoint.Host,
					"ports":        []any{map[string]any{"name": "https", "port": endpoint.Port, "protocol": "TCP"}},
				}
			case "APIService":
				err = errors.Join(
					unstructured.SetNestedField(object.Object, endpoint.Port, "spec", "service", "port"),
					unstructured.SetNestedField(object.Object, base64.StdEncoding.EncodeToString(endpoint.CABundle), "spec",
						"caBundle"),
				)
				if err != nil {
					return Manifests{}, fmt.Errorf("manifest %s: %w", name, err)
				}
				manifests.APIServices = append(manifests.APIServices, object)
				continue
			}
			manifests.Base = append(manifests.Base, object)
		}
	}
	return manifests, nil
}

// ReadSamples returns who may do what in the simulated vCenter, and with what of it.
func ReadSamples(files fs.FS) ([]*unstructured.Unstructured, error) {
	const name = "samples/namespaces.yaml"
	objects, err := readFile(files, name)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", name, err)
	}
	return objects, nil
}

func readFile(files fs.FS, name string) ([]*unstructured.Unstructured, error) {
	file, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	decoder := yaml.NewYAMLOrJSONDecoder(file, 4096)
	var objects []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		switch err := decoder.Decode(&object.Object); {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return nil, err
		case len(object.Object) > 0:
			objects = append(objects, object)
		}
	}
}
