// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"testing"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/access"
	"github.com/openpacific/pacific/pkg/apis/vsphere/install"
	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/kindtest"
)

func TestConformance(t *testing.T) {
	kindtest.Run(t, kindtest.Suite[v1alpha1.Namespace, v1alpha1.NamespaceList]{
		Install: install.Install,
		Kind: func() *registry.Kind[v1alpha1.Namespace, v1alpha1.NamespaceList] {
			grants := &grants{given: []string{kindtest.Admin + " * * *"}}
			reviewer, err := access.NewReviewer(grants,
				informers.NewSharedInformerFactory(fake.NewClientset(), 0).Rbac().V1().RoleBindings())
			if err != nil {
				t.Fatal(err)
			}
			return Kind(Asked{Authorizer: grants, Reviewer: reviewer, Taken: func(string) bool { return false },
				Clock: clock.RealClock{}})
		},
		Object: func(_, name string) *v1alpha1.Namespace {
			object := namespace(name)
			object.Spec.Description = name
			return object
		},
		Creates: true,
	})
}
