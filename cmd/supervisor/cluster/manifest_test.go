// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"encoding/base64"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/artifacts"
)

func TestReadRegistersEveryVersionWithACABundle(t *testing.T) {
	manifests, err := Read(artifacts.Base, Endpoint{Host: "localhost", Port: 20001, CABundle: []byte("PEM")})
	if err != nil {
		t.Fatal(err)
	}
	bundle := base64.StdEncoding.EncodeToString([]byte("PEM"))
	got := map[string]any{}
	for _, object := range manifests.APIServices {
		got[object.GetName()] = object.Object["spec"]
	}
	want := map[string]any{}
	for version, priority := range map[string]int64{"v1alpha1": 10, "v1alpha2": 20, "v1alpha3": 30, "v1alpha4": 40,
		"v1alpha5": 50} {
		want[version+".vmoperator.vmware.com"] = map[string]any{
			"group": "vmoperator.vmware.com", "version": version, "groupPriorityMinimum": int64(1000),
			"versionPriority": priority,
			"caBundle":        bundle,
			"service":         map[string]any{"name": "vsphere-apiserver", "namespace": "pacific-system", "port": int64(20001)},
		}
	}
	want["v1alpha1.vsphere.openpacific.io"] = map[string]any{
		"group": "vsphere.openpacific.io", "version": "v1alpha1", "groupPriorityMinimum": int64(900),
		"versionPriority": int64(10),
		"caBundle":        bundle,
		"service":         map[string]any{"name": "vsphere-apiserver", "namespace": "pacific-system", "port": int64(20001)},
	}
	want["v1alpha1.topology.tanzu.vmware.com"] = map[string]any{
		"group": "topology.tanzu.vmware.com", "version": "v1alpha1", "groupPriorityMinimum": int64(1000),
		"versionPriority": int64(10),
		"caBundle":        bundle,
		"service":         map[string]any{"name": "vsphere-apiserver", "namespace": "pacific-system", "port": int64(20001)},
	}
	if diff := cmp.Diff(want, normal(got)); diff != "" {
		t.Errorf("APIServices (-want +got):\n%s", diff)
	}

	var kinds []string
	for _, object := range manifests.Base {
		kinds = append(kinds, object.GetKind())
		if object.GetKind() == "Service" {
			want := map[string]any{
				"type": "ExternalName", "externalName": "localhost",
				"ports": []any{map[string]any{"name": "https", "port": int64(20001), "protocol": "TCP"}},
			}
			if diff := cmp.Diff(want, normal(object.Object["spec"])); diff != "" {
				t.Errorf("Service (-want +got):\n%s", diff)
			}
		}
	}
	wantKinds := []string{"Namespace", "ServiceAccount", "ClusterRoleBinding", "RoleBinding", "ClusterRole",
		"ClusterRoleBinding", "ClusterRole", "ClusterRole", "ClusterRole",
		"ClusterRole", "ClusterRole", "ClusterRoleBinding",
		"ClusterRole", "ClusterRoleBinding", "ClusterRole", "ClusterRole", "ClusterRoleBinding", "ClusterRole", "ClusterRole",
		"ClusterRole", "ClusterRole", "Service"}
	if diff := cmp.Diff(wantKinds, kinds); diff != "" {
		t.Errorf("order of the rest (-want +got):\n%s", diff)
	}
}

// normal makes whole numbers int64: the YAML decoder leaves float64.
func normal(value any) any {
	switch value := value.(type) {
	case float64:
		return int64(value)
	case map[string]any:
		result := map[string]any{}
		for key, item := range value {
			result[key] = normal(item)
		}
		return result
	case []any:
		result := make([]any, len(value))
		for i, item := range value {
			result[i] = normal(item)
		}
		return result
	}
	return value
}
