// SPDX-License-Identifier: Apache-2.0

package virtualmachineclass

import (
	"encoding/json"
	"math"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// mebibyte is what vCenter counts memory in.
const mebibyte = 1 << 20

func validate(class *v1alpha5.VirtualMachineClass) field.ErrorList {
	errs := validation.ValidateObjectMeta(&class.ObjectMeta, true, validation.NameIsDNSSubdomain,
		field.NewPath("metadata"))
	return append(errs, validateSpec(&class.Spec, field.NewPath("spec"))...)
}

// validateUpdate looks at a change alone: what a class has already may not stand in the way of changing its labels.
func validateUpdate(class, before *v1alpha5.VirtualMachineClass) field.ErrorList {
	errs := validation.ValidateObjectMetaUpdate(&class.ObjectMeta, &before.ObjectMeta, field.NewPath("metadata"))
	if equality.Semantic.DeepEqual(class.Spec, before.Spec) {
		return errs
	}
	return append(errs, validateSpec(&class.Spec, field.NewPath("spec"))...)
}

func validateSpec(spec *v1alpha5.VirtualMachineClassSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	hardware, resources := path.Child("hardware"), path.Child("policies", "resources")
	switch {
	case spec.Hardware.Cpus < 1:
		errs = append(errs, field.Invalid(hardware.Child("cpus"), spec.Hardware.Cpus, "a machine has at least one"))
	case spec.Hardware.Cpus > math.MaxInt32:
		errs = append(errs, field.Invalid(hardware.Child("cpus"), spec.Hardware.Cpus, "it is more than vCenter counts"))
	}
	if memory := spec.Hardware.Memory; memory.Sign() <= 0 || memory.Value()%mebibyte != 0 {
		errs = append(errs, field.Invalid(hardware.Child("memory"), memory.String(),
			"it must be whole mebibytes, such as 512Mi or 8Gi"))
	} else if memory.Value()/mebibyte > math.MaxInt32 {
		errs = append(errs, field.Invalid(hardware.Child("memory"), memory.String(), "it is more than vCenter counts"))
	}
	requests, limits := spec.Policies.Resources.Requests, spec.Policies.Resources.Limits
	errs = append(errs, validateAmount(requests.Cpu, limits.Cpu, resources, "cpu")...)
	errs = append(errs, validateAmount(requests.Memory, limits.Memory, resources, "memory")...)
	if spec.ReservedSlots < 0 {
		errs = append(errs, field.Invalid(path.Child("reservedSlots"), spec.ReservedSlots, "it must not be negative"))
	}
	if spec.ReservedSlots > 0 && spec.ReservedProfileID == "" {
		errs = append(errs, field.Forbidden(path.Child("reservedSlots"),
			"there are slots of a profile only: set reservedProfileID too"))
	}
	if len(spec.ConfigSpec) > 0 {
		var object map[string]any
		if err := json.Unmarshal(spec.ConfigSpec, &object); err != nil || object == nil {
			errs = append(errs, field.Invalid(path.Child("configSpec"), string(spec.ConfigSpec),
				"it must be a VirtualMachineConfigSpec in JSON"))
		}
	}
	return errs
}

// validateAmount holds what is reserved to what may be taken; no limit is none.
func validateAmount(request, limit resource.Quantity, path *field.Path, name string) field.ErrorList {
	var errs field.ErrorList
	if request.Sign() < 0 {
		errs = append(errs, field.Invalid(path.Child("requests", name), request.String(),
			"it must not be negative; leave it out for none"))
	}
	if limit.Sign() < 0 {
		errs = append(errs, field.Invalid(path.Child("limits", name), limit.String(),
			"it must not be negative; leave it out for none"))
	}
	for child, amount := range map[string]resource.Quantity{"requests": request, "limits": limit} {
		if name == "cpu" && amount.CmpInt64(math.MaxInt32) > 0 {
			errs = append(errs, field.Invalid(path.Child(child, name), amount.String(), "it is more than vCenter counts"))
		}
	}
	if limit.Sign() > 0 && request.Cmp(limit) > 0 {
		errs = append(errs, field.Invalid(path.Child("requests", name), request.String(),
			"it is more than the limit, "+limit.String()))
	}
	return errs
}
