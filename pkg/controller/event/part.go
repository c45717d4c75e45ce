// SPDX-License-Identifier: Apache-2.0

package event

import (
	"fmt"
	"slices"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
)

// part is something of a machine's configuration that is kept at what is declared.
type part struct {
	// condition is the type of the one that says whether it is as it is declared.
	condition string
	// name is what it is called, and field where it is declared.
	name, field string
	// declared is what stands there.
	declared func(*vmopv1.VirtualMachine) any
}

var parts = []part{
	{vmopv1.VirtualMachineClassConfigurationSynced, "size", "spec.className",
		func(vm *vmopv1.VirtualMachine) any { return vm.Spec.ClassName }},
	{vmopv1.VirtualMachineHardwareCDROMVerified, "CD-ROM drives", "spec.hardware.cdrom",
		// Which of them are connected follows the power.
		func(vm *vmopv1.VirtualMachine) any { return []any{vm.Spec.Hardware, vm.Status.PowerState} }},
	{vmopv1.VirtualMachineConditionNetworkReady, "network cards", "spec.network.interfaces",
		func(vm *vmopv1.VirtualMachine) any { return vm.Spec.Network }},
}

// ofParts tells of changes that somebody made in vCenter to what is declared of a machine, and of the end of those that
// were made here.
func ofParts(old, now *vmopv1.VirtualMachine) (all []news) {
	for _, p := range parts {
		is := meta.FindStatusCondition(now.Status.Conditions, p.condition)
		differed := meta.IsStatusConditionFalse(old.Status.Conditions, p.condition)
		switch {
		case is == nil || !equality.Semantic.DeepEqual(p.declared(old), p.declared(now)):
		case differed && is.Status == "True":
			all = append(all, news{eventtype: corev1.EventTypeNormal, reason: ReasonConfiguration,
				message: fmt.Sprintf("It has its %s as declared (%s)", p.name, p.field)})
		case !differed && is.Reason == notSynced && !slices.ContainsFunc(now.Status.Conditions, paused):
			all = append(all, news{eventtype: corev1.EventTypeWarning, reason: ReasonOverruled, changed: true,
				message: "It was changed in vCenter",
				rest: fmt.Sprintf(", not through this API: %s. Since its %s is declared (%s), it is brought back to that. %s",
					is.Message, p.name, p.field, leaveAlone)})
		}
	}
	return all
}
