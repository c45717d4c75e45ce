// SPDX-License-Identifier: Apache-2.0

package vmoperator

import (
	"strings"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
)

// MachineFinalizer is on every virtual machine that is served, as vm-operator has it. It stands for the machine in
// vCenter, and goes only with it.
const MachineFinalizer = vmopv1.GroupName + "/virtualmachine"

// ResourcePolicyFinalizer is on every VirtualMachineSetResourcePolicy, as vm-operator has it, until nothing of it is
// left in vCenter.
const ResourcePolicyFinalizer = vmopv1.GroupName + "/virtualmachinesetresourcepolicy"

// ServiceFinalizer is on every VirtualMachineService, as vm-operator has it, until the core Service has gone that was made
// for it.
const ServiceFinalizer = vmopv1.GroupName + "/virtualmachineservice"

// TrafficPolicyAnnotation says which externalTrafficPolicy the core Service of a VirtualMachineService of type
// LoadBalancer is to have.
const TrafficPolicyAnnotation = "virtualmachineservice." + vmopv1.GroupName + "/service.externalTrafficPolicy"

// FastDeployAnnotation says on a virtual machine how it gets its disks when it is made: as copies of its image's, or linked,
// so that they stand on those. Other words than these two mean copies to vm-operator, made in another way.
const (
	FastDeployAnnotation = vmopv1.GroupName + "/fast-deploy"
	FastDeployDirect     = "direct"
	FastDeployLinked     = "linked"
)

// Linked says whether a machine with these annotations was to have disks that stand on its image's.
func Linked(annotations map[string]string) bool {
	return strings.EqualFold(annotations[FastDeployAnnotation], FastDeployLinked)
}

// ModuleGroupAnnotation names the group of its resource policy that a virtual machine belongs to: the machines of a
// group are kept on different hosts as far as that goes.
const ModuleGroupAnnotation = "vsphere-cluster-module-group"

const (
	// DisplayNameAnnotation is what an image is called in vCenter, for those who read metadata alone.
	DisplayNameAnnotation = "vmware.com/display-name"
	// CapabilitiesProperty of an OVF lists what can be done with machines that are made of it.
	CapabilitiesProperty = "capabilities.image." + vmopv1.GroupName
	// SystemPropertyPrefix is what the properties begin with that VMware's own images have.
	SystemPropertyPrefix = "vmware-system"
	// ImageLabelsOption in the ExtraConfig of an OVF are labels for the image, as key:value,key:value.
	ImageLabelsOption = "vmservice.vmi.labels"
	// DeferCloudInitOption with the value DeferCloudInitReady in the ExtraConfig of an OVF says that it was made for the first
	// version of the API.
	DeferCloudInitOption = "guestinfo.vmservice.defer-cloud-init"
	DeferCloudInitReady  = "ready"
	// The group, version and kinds that images name as where they come from, and how the names of those begin. Pacific does not
	// serve them.
	RegistryGroup         = "imageregistry.vmware.com"
	RegistryVersion       = "v1alpha1"
	RegistryItemKind      = "ContentLibraryItem"
	RegistryLibraryKind   = "ContentLibrary"
	RegistryItemPrefix    = "clitem"
	RegistryLibraryPrefix = "cl"
)

// Reasons of the condition VirtualMachineDiskPromotionSynced, as vm-operator has them.
const (
	// PromotionPendingReason says that the disks cannot be promoted now.
	PromotionPendingReason = "DiskPromotionPending"
	// PromotionRunningReason says that they are being promoted.
	PromotionRunningReason = "DiskPromotionRunning"
	// PromotionFailedReason says that vCenter could not promote them, and that it is tried again.
	PromotionFailedReason = "DiskPromotionTaskError"
)

// Reasons of the condition VirtualMachineCreated while a machine is being made.
const (
	// BuildingReason says that something is left to be made of it.
	BuildingReason = "Building"
	// CopyingDisksReason says that its disks are copied from its image.
	CopyingDisksReason = "CopyingDisks"
	// BuildFailedReason says that it could not be made to its end, and that it is tried again.
	BuildFailedReason = "BuildFailed"
)

// Condition of a machine that somebody asked to have restarted.
const (
	// RestartedCondition is False while that cannot be done.
	RestartedCondition = "Restarted"
	// RestartFailedReason says that vCenter refuses it, and that it is tried again.
	RestartFailedReason = "RestartFailed"
)

// PausedByUser says whether a user asked that Pacific leave a virtual machine alone: by the annotation
// vmopv1.PauseAnnotation, whatever its value. A VI admin asks so in vCenter. facts.Machine.Paused is the answer to both.
func PausedByUser(annotations map[string]string) bool {
	_, annotated := annotations[vmopv1.PauseAnnotation]
	return annotated
}

// PausedLabel is the value of the label vmopv1.PausedVMLabelKey, which tells who paused a virtual machine, as vm-operator
// has it. It is shown, and pauses nothing. Empty: nobody.
func PausedLabel(byUser, byAdmin bool) string {
	switch {
	case byUser && byAdmin:
		return "both"
	case byUser:
		return "devops"
	case byAdmin:
		return "admin"
	}
	return ""
}

// PausedByAdmin says whether a VI admin paused a virtual machine, by the labels that it is served with.
func PausedByAdmin(served map[string]string) bool {
	who := served[vmopv1.PausedVMLabelKey]
	return who == PausedLabel(false, true) || who == PausedLabel(true, true)
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
