// SPDX-License-Identifier: Apache-2.0

package vmoperator

import (
	"strings"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
)

// MachineFinalizer is on every virtual machine that is served, as vm-operator has it. It stands for the machine in
// vCenter, and goes only with it.
const MachineFinalizer = vmopv1.GroupName + "/virtualmachine"

// Paused says whether somebody asked that Pacific leave a virtual machine alone: a user by the annotation
// vmopv1.PauseAnnotation, whatever its value, or a VI admin by the value "true" of vmopv1.PauseVMExtraConfigKey in its
// ExtraConfig.
func Paused(annotations map[string]string, extraConfig string) bool {
	_, annotated := annotations[vmopv1.PauseAnnotation]
	return annotated || strings.EqualFold(extraConfig, "true")
}

// SpecField returns what v1alpha5 calls a field directly below the spec of a virtual machine at another version.
func SpecField(apiVersion, name string) string {
	type field struct{ version, name string }
	_, version, _ := strings.Cut(apiVersion, "/")
	if hub, found := map[field]string{
		{"v1alpha1", "vmMetadata"}:         "bootstrap",
		{"v1alpha1", "networkInterfaces"}:  "network",
		{"v1alpha1", "resourcePolicyName"}: "reserved",
		{"v1alpha1", "advancedOptions"}:    "advanced",
		{"v1alpha3", "cdrom"}:              "hardware",
		{"v1alpha4", "cdrom"}:              "hardware",
	}[field{version, name}]; found {
		return hub
	}
	return name
}
