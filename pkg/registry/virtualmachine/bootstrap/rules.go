// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"fmt"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap/cloudinit"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap/customization"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap/network"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap/vapp"
)

// Validate refuses what no guest can be told.
func Validate(vm *vmopv1.VirtualMachine) field.ErrorList {
	errs := append(network.Validate(vm), network.Untold(vm)...)
	for _, reference := range references(&vm.Spec) {
		errs = append(errs, reference.Validate()...)
	}
	spec := vm.Spec.Bootstrap
	if spec == nil {
		return errs
	}
	if len(SecretsOf(&vm.Spec)) > maxSecrets {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "bootstrap"), fmt.Sprintf("names more than %d Secrets: put "+
			"what the guest is told into fewer", maxSecrets)))
	}
	errs = append(errs, validateTogether(spec)...)
	if spec.CloudInit != nil {
		errs = append(errs, cloudinit.Validate(vm)...)
	}
	if spec.VAppConfig != nil {
		errs = append(errs, vapp.Validate(spec.VAppConfig)...)
	}
	return append(errs, customization.Validate(vm)...)
}

// validateTogether refuses providers that exclude each other.
func validateTogether(spec *vmopv1.VirtualMachineBootstrapSpec) (errs field.ErrorList) {
	path := field.NewPath("spec", "bootstrap")
	refuse := func(refused bool, name, why string) {
		if refused {
			errs = append(errs, field.Forbidden(path.Child(name), why))
		}
	}
	refuse(spec.CloudInit != nil && spec.LinuxPrep != nil, "linuxPrep", "cannot be used together with cloudInit")
	refuse(spec.CloudInit != nil && spec.Sysprep != nil, "sysprep", "cannot be used together with cloudInit")
	refuse(spec.CloudInit != nil && spec.VAppConfig != nil, "vAppConfig", "cannot be used together with cloudInit")
	refuse(spec.LinuxPrep != nil && spec.Sysprep != nil, "sysprep", "cannot be used together with linuxPrep")
	return errs
}
