// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Validate refuses what no guest can be told.
func Validate(vm *vmopv1.VirtualMachine) field.ErrorList {
	return append(validateNetwork(vm), validateCloudInit(vm)...)
}

func validateCloudInit(vm *vmopv1.VirtualMachine) (errs field.ErrorList) {
	if vm.Spec.Bootstrap == nil || vm.Spec.Bootstrap.CloudInit == nil || vm.Spec.Bootstrap.CloudInit.RawCloudConfig == nil {
		return nil
	}
	raw, path := vm.Spec.Bootstrap.CloudInit.RawCloudConfig, field.NewPath("spec", "bootstrap", "cloudInit", "rawCloudConfig")
	if raw.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), "name the Secret"))
	}
	if raw.Key == "" {
		errs = append(errs, field.Required(path.Child("key"), "name the key in the Secret, such as user-data"))
	}
	return errs
}
