// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"errors"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/failure"
)

// blamed is an error with the condition that says what a machine lacks. Clients such as Cluster API Provider vSphere
// look there for why a machine is not made.
type blamed struct {
	condition string
	error
}

func (b *blamed) Unwrap() error { return b.error }

// lacks are the conditions that an error while a machine is made may be blamed on, in vm-operator's words.
var lacks = [...]string{vmopv1.VirtualMachineConditionImageReady, vmopv1.VirtualMachineConditionBootstrapReady,
	vmopv1.VirtualMachineConditionStorageReady, vmopv1.VirtualMachineConditionPlacementReady}

// lackOf is which of them an error is blamed on, "" for none.
func lackOf(err error) string {
	var known *blamed
	if errors.As(err, &known) {
		return known.condition
	}
	switch failure.Reason(failure.ReasonOf(err, "")) {
	case failure.DatastoreFull, failure.FileUnavailable:
		return vmopv1.VirtualMachineConditionStorageReady
	case failure.InsufficientResources:
		return vmopv1.VirtualMachineConditionPlacementReady
	}
	return ""
}

// blame shows on a machine why it is not made, and what it lacks.
func (b *builds) blame(vm *vmopv1.VirtualMachine, err error) {
	lack, reason := lackOf(err), failure.ReasonOf(err, vmoperator.BuildFailedReason)
	b.absolve(vm, lack)
	b.say(vm, reason, err.Error())
	if lack != "" {
		b.Machines.SetCondition(vm.Namespace, vm.Name, vm.UID, metav1.Condition{
			Type: lack, Status: metav1.ConditionFalse, Reason: reason, Message: err.Error(),
			LastTransitionTime: metav1.NewTime(b.Clock.Now()),
		})
	}
}

// absolve takes back what a machine was said to lack, but for what it lacks still.
func (b *builds) absolve(vm *vmopv1.VirtualMachine, but string) {
	for _, lack := range lacks {
		if lack != but {
			b.Machines.ClearCondition(vm.Namespace, vm.Name, vm.UID, lack)
		}
	}
}
