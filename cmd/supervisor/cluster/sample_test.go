// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
)

func object(apiVersion, kind, name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind,
		"metadata": map[string]any{"name": name}}}
}

// TestSamplesKeepNoOtherBack has a sample whose vSphere Namespace is gone, one that was given before, one that cannot
// be read, and two that can be given.
func TestSamplesKeepNoOtherBack(t *testing.T) {
	const group = "vsphere.openpacific.io/v1alpha1"
	before := object(group, "Namespace", "before")
	before.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: FieldManager}})
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{{Group: "rbac.authorization.k8s.io", Version: "v1",
			Resource: "rolebindings"}: "RoleBindingList"},
		before, object(group, "Namespace", "here"))
	client.PrependReactor("get", "namespaces", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if action.(clienttesting.GetAction).GetName() == "unreadable" {
			return true, nil, apierrors.NewServiceUnavailable("vCenter is away")
		}
		return false, nil, nil
	})
	var applied []string
	client.PrependReactor("patch", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		patch := action.(clienttesting.PatchAction)
		applied = append(applied, patch.GetResource().Resource+" "+patch.GetName())
		return true, &unstructured.Unstructured{}, nil
	})
	c := &Cluster{Client: client}
	err := c.ApplySamples(t.Context(), []*unstructured.Unstructured{
		object(group, "Namespace", "gone"), object(group, "Namespace", "before"), object(group, "Namespace", "here"),
		object("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "administrators"),
		object(group, "Namespace", "unreadable"),
	}, false, 300*time.Millisecond)
	if diff := cmp.Diff([]string{"namespaces here", "clusterrolebindings administrators"}, applied); diff != "" {
		t.Errorf("applied (-want +got):\n%s", diff)
	}
	if err == nil || !strings.Contains(err.Error(), `"unreadable": vCenter is away`) ||
		strings.Contains(err.Error(), "gone") {
		t.Errorf("told: %v", err)
	}
}

// TestSamplesAwaitTheirNamespaces has a vSphere Namespace that is there only when it is asked for the third time, and
// one that never comes.
func TestSamplesAwaitTheirNamespaces(t *testing.T) {
	const group = "vsphere.openpacific.io/v1alpha1"
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{{Group: "rbac.authorization.k8s.io", Version: "v1",
			Resource: "rolebindings"}: "RoleBindingList"})
	asked := 0
	client.PrependReactor("get", "namespaces", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if action.(clienttesting.GetAction).GetName() != "late" {
			return false, nil, nil
		}
		if asked++; asked < 3 {
			return false, nil, nil
		}
		return true, object(group, "Namespace", "late"), nil
	})
	var applied []string
	client.PrependReactor("patch", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		applied = append(applied, action.(clienttesting.PatchAction).GetName())
		return true, &unstructured.Unstructured{}, nil
	})
	c := &Cluster{Client: client}
	err := c.ApplySamples(t.Context(), []*unstructured.Unstructured{
		object(group, "Namespace", "late"), object(group, "Namespace", "never"),
	}, true, 2*time.Second)
	if diff := cmp.Diff([]string{"late"}, applied); diff != "" || err != nil {
		t.Errorf("applied (-want +got):\n%s\n%v", diff, err)
	}
}
