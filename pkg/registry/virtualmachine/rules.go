// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"maps"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5/common"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap"
)

// prepareCreate fills in what vm-operator does: a machine runs unless somebody says otherwise, and knows itself by two ids.
func prepareCreate(_ context.Context, vm *v1alpha5.VirtualMachine) {
	if vm.Spec.PowerState == "" {
		vm.Spec.PowerState = v1alpha5.VirtualMachinePowerStateOn
	}
	if vm.Spec.InstanceUUID == "" {
		vm.Spec.InstanceUUID = string(vm.UID)
	}
	if vm.Spec.BiosUUID == "" {
		vm.Spec.BiosUUID = string(uuid.NewUUID())
	}
	if told := vm.Spec.Bootstrap; told != nil && told.CloudInit != nil && told.CloudInit.InstanceID == "" {
		told.CloudInit.InstanceID = vm.Spec.BiosUUID
	}
	bootstrap.Normalise(&vm.Spec)
}

// prepareUpdate fills in what a manifest need not repeat: which machine it is about,
// and the server's label that tells who paused it.
func prepareUpdate(_ context.Context, vm, before *v1alpha5.VirtualMachine) {
	if vm.Spec.InstanceUUID == "" {
		vm.Spec.InstanceUUID = before.Spec.InstanceUUID
	}
	if vm.Spec.BiosUUID == "" {
		vm.Spec.BiosUUID = before.Spec.BiosUUID
	}
	repeatNetworks(vm, before)
	bootstrap.Normalise(&vm.Spec)
	if who, told := before.Labels[v1alpha5.PausedVMLabelKey]; told && vm.Labels[v1alpha5.PausedVMLabelKey] == "" {
		vm.Labels = maps.Clone(vm.Labels)
		metav1.SetMetaDataLabel(&vm.ObjectMeta, v1alpha5.PausedVMLabelKey, who)
	}
}

// repeatNetworks says of the network cards at which network they are, where a manifest leaves that to the server. A client
// that sends a list sends all of it, and so takes away what it does not know.
func repeatNetworks(vm, before *v1alpha5.VirtualMachine) {
	if vm.Spec.Network == nil || before.Spec.Network == nil {
		return
	}
	known := map[string]*common.PartialObjectRef{}
	for _, card := range before.Spec.Network.Interfaces {
		known[card.Name] = card.Network
	}
	for i := range vm.Spec.Network.Interfaces {
		card := &vm.Spec.Network.Interfaces[i]
		if card.Network == nil || *card.Network == (common.PartialObjectRef{}) {
			card.Network = known[card.Name].DeepCopy()
		}
	}
}

// warnings tells of a power state that nothing will bring about for now.
func warnings(_ context.Context, vm, before *v1alpha5.VirtualMachine) []string {
	if vm.Spec.PowerState == before.Spec.PowerState || vm.Spec.PowerState == "" {
		return nil
	}
	if vmoperator.PausedByUser(vm.Annotations) {
		return []string{"spec.powerState: not applied while the annotation " + v1alpha5.PauseAnnotation + " is set"}
	}
	if vmoperator.PausedByAdmin(before.Labels) {
		return []string{"spec.powerState: not applied while " + v1alpha5.PauseVMExtraConfigKey +
			" is true in the virtual machine's ExtraConfig, by which a VI admin has paused it"}
	}
	return nil
}
