// SPDX-License-Identifier: Apache-2.0

package virtualmachineclass_test

import (
	"context"
	"os"
	"testing"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"

	"github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/kindtest"
	"github.com/openpacific/pacific/pkg/registry/virtualmachineclass"
)

func TestMain(m *testing.M) {
	kindtest.UseLiveStores()
	os.Exit(m.Run())
}

// etcd is where a test's classes are kept. It leads unless it is said otherwise.
func etcd(t *testing.T) *registry.Objects {
	t.Helper()
	embedded, err := ledger.Embed(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := embedded.Close(); err != nil {
			t.Error(err)
		}
	})
	return &registry.Objects{Client: embedded.Client(), Prefix: "/pacific/objects", Leads: func() error { return nil }}
}

func class(namespace, name string) *v1alpha5.VirtualMachineClass {
	class, _ := virtualmachineclass.Supervisor(namespace, "guaranteed-small")
	class.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: name}
	class.Spec.Description = name
	return class
}

func TestConformance(t *testing.T) {
	kindtest.Run(t, kindtest.Suite[v1alpha5.VirtualMachineClass, v1alpha5.VirtualMachineClassList]{
		Install: install.Install,
		Kind: func() *registry.Kind[v1alpha5.VirtualMachineClass, v1alpha5.VirtualMachineClassList] {
			return virtualmachineclass.Kind(authorizerfactory.NewAlwaysAllowAuthorizer())
		},
		Objects: etcd,
		Object:  class,
		Creates: true,
	})
}
