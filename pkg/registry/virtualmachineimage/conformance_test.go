// SPDX-License-Identifier: Apache-2.0

package virtualmachineimage_test

import (
	"os"
	"testing"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	"github.com/openpacific/pacific/pkg/registry/kindtest"
	"github.com/openpacific/pacific/pkg/registry/virtualmachineimage"
)

func TestMain(m *testing.M) {
	kindtest.UseLiveStores()
	os.Exit(m.Run())
}

func status(name string) v1alpha5.VirtualMachineImageStatus {
	version := int32(21)
	return v1alpha5.VirtualMachineImageStatus{
		Name: name, Type: "OVF", Firmware: "efi", HardwareVersion: &version, Capabilities: []string{"cloud-init"},
		OSInfo:         v1alpha5.VirtualMachineImageOSInfo{ID: "94", Type: "ubuntu64Guest"},
		ProductInfo:    v1alpha5.VirtualMachineImageProductInfo{Product: name, Version: "24.04"},
		ProviderItemID: "item-" + name, ProviderContentVersion: "2",
		Conditions: []metav1.Condition{{Type: "Ready", Status: "True", Reason: "True",
			LastTransitionTime: metav1.Unix(1_700_000_000, 0)}},
	}
}

func TestConformance(t *testing.T) {
	meta := func(namespace, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{
			Namespace: namespace, Name: name, UID: types.UID(namespace + "/" + name),
			Labels: map[string]string{"image.vmoperator.vmware.com/type": "OVF"},
		}
	}
	t.Run("of namespaces", func(t *testing.T) {
		kindtest.Run(t, kindtest.Suite[v1alpha5.VirtualMachineImage, v1alpha5.VirtualMachineImageList]{
			Install: install.Install,
			Kind:    virtualmachineimage.Images,
			Object: func(namespace, name string) *v1alpha5.VirtualMachineImage {
				return &v1alpha5.VirtualMachineImage{ObjectMeta: meta(namespace, name), Status: status(name)}
			},
			Polled: true,
		})
	})
	t.Run("of the whole cluster", func(t *testing.T) {
		kindtest.Run(t, kindtest.Suite[v1alpha5.ClusterVirtualMachineImage, v1alpha5.ClusterVirtualMachineImageList]{
			Install: install.Install,
			Kind:    virtualmachineimage.ClusterImages,
			Object: func(_, name string) *v1alpha5.ClusterVirtualMachineImage {
				return &v1alpha5.ClusterVirtualMachineImage{ObjectMeta: meta("", name), Status: status(name)}
			},
			Polled: true,
		})
	})
}
