// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/apis/vmoperator/difference"
	"github.com/openpacific/pacific/pkg/apis/vsphere"
)

// stampAge is how far the time that was put for the word now can be from that of its validation.
const stampAge = 10 * time.Second

const unsupportedChange = "cannot be changed through the API yet; change it in vCenter"

// changeable are the fields of a spec that an update may change.
var changeable = sets.New("spec.powerState", "spec.powerOffMode", "spec.suspendMode", "spec.restartMode",
	"spec.nextRestartTime", "spec.className", "spec.promoteDisksMode")

// remedies are the fields for which changing them in vCenter is not what to do.
var remedies = map[string]string{
	"spec.instanceUUID": identity,
	"spec.biosUUID":     identity,
	"spec.image":        madeOf,
	"spec.image.name":   madeOf,
	"spec.image.kind":   madeOf,
	"spec.imageName":    madeOf,
	"spec.storageClass": "cannot be changed: make another virtual machine with that storage class, or move the disks in vCenter",
	"spec.reserved.resourcePolicyName": "cannot be changed, since it decides where in vCenter the virtual machine was " +
		"made: make another one",
}

const (
	identity = "is the identity of the virtual machine and cannot be changed"
	madeOf   = "cannot be changed: make another virtual machine of that image"
)

// validateUpdate refuses whatever the server would not honour.
func (r rules) validateUpdate(_ context.Context, vm, old *v1alpha5.VirtualMachine) field.ErrorList {
	var errs field.ErrorList
	for _, path := range difference.Between(field.NewPath("spec"), withoutNetwork(withoutCdroms(old.Spec)),
		withoutNetwork(withoutCdroms(vm.Spec))) {
		name := path.String()
		if changeable.Has(name) || name == probePath || strings.HasPrefix(name, probePath+".") {
			continue
		}
		message, found := remedies[name]
		if !found {
			message = unsupportedChange
		}
		errs = append(errs, field.Forbidden(path, message))
	}
	if !equality.Semantic.DeepEqual(vm.Spec.ReadinessProbe, old.Spec.ReadinessProbe) {
		errs = append(errs, validateProbe(vm.Spec.ReadinessProbe)...)
	}
	errs = append(errs, validateCdromChange(vm, old)...)
	errs = append(errs, validateNetworkChange(vm, old)...)
	errs = append(errs, r.validateRestart(vm, old)...)
	errs = append(errs, validatePowerState(vm, old)...)
	errs = append(errs, validateModes(&vm.Spec, &old.Spec)...)
	errs = append(errs, validatePausedLabel(vm, old)...)
	return append(errs, validateReclaimPolicy(vm, old)...)
}

// validateRestart takes the time that was put for the word now, and the present one, which is the same: a restart cannot
// be planned.
func (r rules) validateRestart(vm, old *v1alpha5.VirtualMachine) field.ErrorList {
	path, wanted := field.NewPath("spec", "nextRestartTime"), vm.Spec.NextRestartTime
	if wanted == old.Spec.NextRestartTime {
		return nil
	}
	at, err := time.Parse(time.RFC3339, wanted)
	last, none := time.Parse(time.RFC3339, old.Spec.NextRestartTime)
	since := r.clock.Since(at)
	// The clock may have been put back, or be another server's, so that the last one is to come still.
	follows := none == nil && at.Equal(last.Add(time.Second))
	if err != nil || !follows && (since > stampAge || since < -stampAge) {
		return field.ErrorList{field.Invalid(path, wanted, `set it to "now": a restart cannot be planned for another time`)}
	}
	if vm.Spec.PowerState != v1alpha5.VirtualMachinePowerStateOn {
		return field.ErrorList{field.Forbidden(path, "a virtual machine is restarted only while spec.powerState is PoweredOn")}
	}
	return nil
}

// validatePausedLabel refuses to have anybody told who paused the machine but by the server.
func validatePausedLabel(vm, old *v1alpha5.VirtualMachine) field.ErrorList {
	who, told := vm.Labels[v1alpha5.PausedVMLabelKey]
	if !told || who == old.Labels[v1alpha5.PausedVMLabelKey] {
		return nil
	}
	return field.ErrorList{field.Forbidden(field.NewPath("metadata", "labels").Key(v1alpha5.PausedVMLabelKey),
		"is set by the server to tell who paused the virtual machine, and pauses nothing: "+
			"to pause it, set the annotation "+v1alpha5.PauseAnnotation)}
}

// validatePowerState looks at a change alone: what a machine already has may not
// stand in the way of changing its labels. An empty power state is one that
// nobody declares: it is left to vCenter.
func validatePowerState(vm, old *v1alpha5.VirtualMachine) field.ErrorList {
	wanted := vm.Spec.PowerState
	if wanted == old.Spec.PowerState {
		return nil
	}
	path := field.NewPath("spec", "powerState")
	switch wanted {
	case "", v1alpha5.VirtualMachinePowerStateOff:
		return nil
	case v1alpha5.VirtualMachinePowerStateOn:
		if checks := powerOnChecks(vm); len(checks) > 0 {
			return field.ErrorList{field.Forbidden(path, fmt.Sprintf(
				"the virtual machine may not be powered on while it carries the annotation %s", strings.Join(checks, ", ")))}
		}
		return nil
	case v1alpha5.VirtualMachinePowerStateSuspended:
		if currentPowerState(old) == v1alpha5.VirtualMachinePowerStateOff {
			return field.ErrorList{field.Invalid(path, wanted,
				"cannot suspend a virtual machine that is powered off; power it on first")}
		}
		return nil
	}
	return field.ErrorList{field.NotSupported(path, wanted, []v1alpha5.VirtualMachinePowerState{
		v1alpha5.VirtualMachinePowerStateOff, v1alpha5.VirtualMachinePowerStateOn, v1alpha5.VirtualMachinePowerStateSuspended,
	})}
}

// currentPowerState is what vCenter reports, and what is declared until it does.
func currentPowerState(vm *v1alpha5.VirtualMachine) v1alpha5.VirtualMachinePowerState {
	if vm.Status.PowerState != "" {
		return vm.Status.PowerState
	}
	return vm.Spec.PowerState
}

// powerOnChecks returns the annotations by which somebody holds back power-on.
func powerOnChecks(vm *v1alpha5.VirtualMachine) []string {
	var checks []string
	for key := range vm.Annotations {
		if strings.HasPrefix(key, v1alpha5.CheckAnnotationPowerOn+"/") {
			checks = append(checks, key)
		}
	}
	sort.Strings(checks)
	return checks
}

func validateModes(spec, old *v1alpha5.VirtualMachineSpec) field.ErrorList {
	path := field.NewPath("spec")
	return slices.Concat(
		validateMode(path.Child("powerOffMode"), spec.PowerOffMode, old.PowerOffMode),
		validateMode(path.Child("suspendMode"), spec.SuspendMode, old.SuspendMode),
		validateMode(path.Child("restartMode"), spec.RestartMode, old.RestartMode),
		validatePromotion(path.Child("promoteDisksMode"), spec.PromoteDisksMode, old.PromoteDisksMode))
}

func validatePromotion(path *field.Path, mode, old v1alpha5.VirtualMachinePromoteDisksMode) field.ErrorList {
	switch mode {
	case old, "", v1alpha5.VirtualMachinePromoteDisksModeDisabled, v1alpha5.VirtualMachinePromoteDisksModeOnline,
		v1alpha5.VirtualMachinePromoteDisksModeOffline:
		return nil
	}
	return field.ErrorList{field.NotSupported(path, mode, []v1alpha5.VirtualMachinePromoteDisksMode{
		v1alpha5.VirtualMachinePromoteDisksModeDisabled, v1alpha5.VirtualMachinePromoteDisksModeOnline,
		v1alpha5.VirtualMachinePromoteDisksModeOffline,
	})}
}

// validateFastDeploy refuses words that may be a misspelt linked: nobody is to get copies in silence who asked for that. The
// word false is vm-operator's for neither of its ways, and comes in quotes of its own too.
func validateFastDeploy(vm *v1alpha5.VirtualMachine) field.ErrorList {
	how := vm.Annotations[vmoperator.FastDeployAnnotation]
	switch strings.ToLower(strings.Trim(how, `"`)) {
	case "", "false", vmoperator.FastDeployDirect:
		return nil
	}
	if vmoperator.Linked(vm.Annotations) {
		return nil
	}
	return field.ErrorList{field.NotSupported(field.NewPath("metadata", "annotations").Key(vmoperator.FastDeployAnnotation), how,
		[]string{vmoperator.FastDeployDirect, vmoperator.FastDeployLinked})}
}

func validateMode(path *field.Path, mode, old v1alpha5.VirtualMachinePowerOpMode) field.ErrorList {
	switch mode {
	case old, "", v1alpha5.VirtualMachinePowerOpModeHard, v1alpha5.VirtualMachinePowerOpModeSoft,
		v1alpha5.VirtualMachinePowerOpModeTrySoft:
		return nil
	}
	return field.ErrorList{field.NotSupported(path, mode, []v1alpha5.VirtualMachinePowerOpMode{
		v1alpha5.VirtualMachinePowerOpModeHard, v1alpha5.VirtualMachinePowerOpModeSoft,
		v1alpha5.VirtualMachinePowerOpModeTrySoft,
	})}
}

// validateReclaimPolicy refuses a misspelt policy, which would read as Retain.
func validateReclaimPolicy(vm, old *v1alpha5.VirtualMachine) field.ErrorList {
	policy, found := vm.Annotations[vsphere.ReclaimPolicyAnnotation]
	if !found || policy == old.Annotations[vsphere.ReclaimPolicyAnnotation] || policy == vsphere.ReclaimDelete ||
		policy == vsphere.ReclaimRetain {
		return nil
	}
	path := field.NewPath("metadata", "annotations").Key(vsphere.ReclaimPolicyAnnotation)
	return field.ErrorList{field.NotSupported(path, policy, []string{vsphere.ReclaimDelete, vsphere.ReclaimRetain})}
}
