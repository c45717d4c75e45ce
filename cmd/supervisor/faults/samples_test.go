// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/generated/clientset/versioned"
	"github.com/openpacific/pacific/pkg/waittest"
)

// TestSamplesAreGivenOnce starts a Supervisor twice: what people made of the samples in between stays.
func TestSamplesAreGivenOnce(t *testing.T) {
	t.Parallel()
	s := suite.New("samples")
	begin := func() (versioned.Interface, func() []string) {
		t.Helper()
		s.Begin(t, "--sim")
		return versioned.NewForConfigOrDie(s.Config(t)), func() []string {
			bindings, err := kubernetes.NewForConfigOrDie(s.Config(t)).RbacV1().RoleBindings("team-a").List(t.Context(),
				metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, binding := range bindings.Items {
				names = append(names, binding.Name+" "+binding.RoleRef.Name)
			}
			return names
		}
	}
	client, bindings := begin()
	running := true
	t.Cleanup(func() {
		if running {
			_ = s.Stop()
		}
	})
	got, err := client.VsphereV1alpha1().Namespaces().Get(t.Context(), "team-a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := []v1alpha1.NamespaceAccess{
		{Kind: v1alpha1.SubjectUser, Name: "dev-a@vsphere.local", Role: v1alpha1.RoleEdit},
		{Kind: v1alpha1.SubjectGroup, Name: "team-a-viewers@vsphere.local", Role: v1alpha1.RoleView},
	}
	if diff := cmp.Diff(want, got.Spec.Access); diff != "" {
		t.Errorf("who may what in team-a (-want +got):\n%s", diff)
	}
	// Whoever reads Ready logs in.
	if diff := cmp.Diff([]string{"wcp:team-a:group:vsphere.local:team-a-viewers pacific:view",
		"wcp:team-a:user:vsphere.local:dev-a pacific:edit"}, bindings()); diff != "" {
		t.Errorf("RoleBindings (-want +got):\n%s", diff)
	}
	if _, err := client.VsphereV1alpha1().Namespaces().Patch(t.Context(), "team-a", types.MergePatchType,
		[]byte(`{"spec":{"description":"ours","access":[]}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	client, bindings = begin()
	if got, err = client.VsphereV1alpha1().Namespaces().Get(t.Context(), "team-a", metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	if got.Spec.Description != "ours" || len(got.Spec.Access) > 0 {
		t.Errorf("after another start: %+v", got.Spec)
	}
	waittest.Within(t, 30*time.Second, "the roles to be taken away", func(context.Context) error {
		if left := bindings(); len(left) > 0 {
			return fmt.Errorf("there are %v", left)
		}
		return nil
	})
	running = false
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}
