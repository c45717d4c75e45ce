// SPDX-License-Identifier: Apache-2.0

package virtualmachineservice_test

import (
	"context"
	"os"
	"testing"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/kindtest"
	"github.com/openpacific/pacific/pkg/registry/virtualmachineservice"
)

func TestMain(m *testing.M) {
	kindtest.UseLiveStores()
	os.Exit(m.Run())
}

// etcd is where a test's services are kept.
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

func service(namespace, name string) *v1alpha5.VirtualMachineService {
	service := &v1alpha5.VirtualMachineService{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	service.Spec.Type = v1alpha5.VirtualMachineServiceTypeLoadBalancer
	service.Spec.Selector = map[string]string{"app": name}
	service.Spec.Ports = []v1alpha5.VirtualMachineServicePort{{Name: "http", Protocol: "TCP", Port: 80, TargetPort: 8080}}
	return service
}

func TestConformance(t *testing.T) {
	kindtest.Run(t, kindtest.Suite[v1alpha5.VirtualMachineService, v1alpha5.VirtualMachineServiceList]{
		Install: install.Install,
		Kind:    virtualmachineservice.Kind,
		Objects: etcd,
		Object:  service,
		Creates: true,
	})
}
