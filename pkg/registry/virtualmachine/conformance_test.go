// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"testing"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/kindtest"
)

func TestConformance(t *testing.T) {
	kindtest.Run(t, kindtest.Suite[v1alpha5.VirtualMachine, v1alpha5.VirtualMachineList]{
		Install: install.Install,
		Kind: func() *registry.Kind[v1alpha5.VirtualMachine, v1alpha5.VirtualMachineList] {
			return Kind(Surroundings{Origins: all{}, Grants: &grants{}, Namespaces: &namespaces{}, Clock: clock.RealClock{}})
		},
		Object: func(namespace, name string) *v1alpha5.VirtualMachine {
			vm := machine(name)
			vm.Namespace, vm.ResourceVersion, vm.UID = namespace, "", types.UID(namespace+"-"+name)
			vm.Status.NodeName = "esx-" + name + ".example.com"
			if name == "two" {
				vm.Status.PowerState = v1alpha5.VirtualMachinePowerStateOff
			}
			return vm
		},
	})
}

// all machines were made by Pacific.
type all struct{}

func (all) Created(string, string, types.UID) bool { return true }

func (all) Told(string, string, types.UID) error { return nil }
