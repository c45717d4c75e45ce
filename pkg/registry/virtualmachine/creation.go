// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"regexp"
	"strings"

	"github.com/google/uuid"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/openpacific/pacific/pkg/apis/vmoperator/difference"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap"
)

// maxName is how long a name in vCenter may be, and a machine is called there as it is here.
const maxName = 80

// honoured are the fields of a spec that a machine can be made with, without the numbers of lists.
var honoured = []string{
	"spec.className", "spec.image", "spec.imageName", "spec.storageClass", "spec.powerState", "spec.powerOffMode", "spec.suspendMode", "spec.restartMode", "spec.promoteDisksMode",
	"spec.readinessProbe.tcpSocket.port", "spec.readinessProbe.guestHeartbeat", "spec.readinessProbe.guestInfo",
	"spec.readinessProbe.timeoutSeconds", "spec.readinessProbe.periodSeconds",
	"spec.instanceUUID", "spec.biosUUID", "spec.guestID", "spec.minHardwareVersion", "spec.advanced.bootDiskCapacity",
	"spec.hardware.cdrom.name", "spec.hardware.cdrom.image", "spec.hardware.cdrom.connected", "spec.hardware.cdrom.allowGuestControl",
	"spec.bootOptions.firmware", "spec.reserved.resourcePolicyName", "spec.network.disabled", "spec.network.hostName", "spec.network.domainName",
	"spec.network.nameservers", "spec.network.searchDomains",
	"spec.network.interfaces.name", "spec.network.interfaces.network", "spec.network.interfaces.guestDeviceName",
	"spec.network.interfaces.addresses", "spec.network.interfaces.dhcp4", "spec.network.interfaces.dhcp6",
	"spec.network.interfaces.gateway4", "spec.network.interfaces.gateway6", "spec.network.interfaces.mtu",
	"spec.network.interfaces.nameservers", "spec.network.interfaces.routes", "spec.network.interfaces.searchDomains",
	"spec.bootstrap.cloudInit.cloudConfig", "spec.bootstrap.cloudInit.rawCloudConfig", "spec.bootstrap.cloudInit.instanceID",
	"spec.bootstrap.cloudInit.sshAuthorizedKeys", "spec.bootstrap.cloudInit.useGlobalNameserversAsDefault",
	"spec.bootstrap.cloudInit.useGlobalSearchDomainsAsDefault", "spec.bootstrap.cloudInit.waitOnNetwork4",
	"spec.bootstrap.cloudInit.waitOnNetwork6",
	"spec.bootstrap.linuxPrep.hardwareClockIsUTC", "spec.bootstrap.linuxPrep.timeZone", "spec.bootstrap.linuxPrep.password",
	"spec.bootstrap.linuxPrep.expirePasswordAfterNextLogin", "spec.bootstrap.linuxPrep.scriptText",
	"spec.bootstrap.linuxPrep.customizeAtNextPowerOn",
	"spec.bootstrap.sysprep.sysprep", "spec.bootstrap.sysprep.rawSysprep", "spec.bootstrap.sysprep.customizeAtNextPowerOn",
	"spec.bootstrap.vAppConfig.properties", "spec.bootstrap.vAppConfig.rawProperties",
}

// instead says what to use in place of a field that a machine cannot be made with, by how its path begins.
var instead = []struct{ path, remedy string }{
	{"spec.network.interfaces.macAddr", "is chosen by vCenter: leave it out"},
	{probeHost, noProbeHost},
	{"spec.hardware.cdrom.", "is chosen by the server: leave it out"},
	{"spec.hardware.", "is not supported yet: leave it out, and add the device in vCenter"},
	{"spec.volumes", "is not supported yet: leave it out, and add the disk in vCenter"},
	{"spec.nextRestartTime", "cannot be set before the virtual machine is there"},
	{"spec.currentSnapshotName", "cannot be set before the virtual machine has a snapshot"},
}

var indexes = regexp.MustCompile(`\[\d+\]`)

// validateCreate refuses whatever the server would not honour.
func validateCreate(_ context.Context, vm *v1alpha5.VirtualMachine) field.ErrorList {
	var errs field.ErrorList
	if len(vm.Name) > maxName {
		errs = append(errs, field.TooLong(field.NewPath("metadata", "name"), vm.Name, maxName))
	}
	spec := field.NewPath("spec")
	if vm.Spec.ClassName == "" {
		errs = append(errs, field.Required(spec.Child("className"), "name a virtual machine class of the namespace"))
	}
	if vm.Spec.ImageName == "" && (vm.Spec.Image == nil || vm.Spec.Image.Name == "") {
		errs = append(errs, field.Required(spec.Child("image"), "name an image of the namespace"))
	}
	if vm.Spec.StorageClass == "" {
		errs = append(errs, field.Required(spec.Child("storageClass"), "name a storage class of the namespace"))
	}
	for _, path := range set(spec, vm.Spec) {
		plain := indexes.ReplaceAllString(path.String(), "")
		if remedy := refusal(plain); remedy != "" {
			errs = append(errs, field.Forbidden(path, remedy))
		}
	}
	if vm.Spec.InstanceUUID != "" && vm.Spec.InstanceUUID != string(vm.UID) {
		errs = append(errs, field.Forbidden(spec.Child("instanceUUID"), "is chosen by the server: leave it out"))
	}
	if _, err := uuid.Parse(vm.Spec.BiosUUID); err != nil && vm.Spec.BiosUUID != "" {
		errs = append(errs, field.Invalid(spec.Child("biosUUID"), vm.Spec.BiosUUID, "has to be a UUID"))
	}
	if vm.Spec.PowerState == v1alpha5.VirtualMachinePowerStateSuspended {
		errs = append(errs, field.Invalid(spec.Child("powerState"), vm.Spec.PowerState, "a virtual machine that is made cannot be suspended: use PoweredOn or PoweredOff"))
	} else {
		errs = append(errs, validatePowerState(vm, &v1alpha5.VirtualMachine{})...)
	}
	nothing := &v1alpha5.VirtualMachine{}
	errs = append(errs, validateModes(&vm.Spec, &nothing.Spec)...)
	errs = append(errs, validateProbe(vm.Spec.ReadinessProbe)...)
	errs = append(errs, validateCdroms(vm)...)
	errs = append(errs, bootstrap.Validate(vm)...)
	errs = append(errs, validatePausedLabel(vm, nothing)...)
	errs = append(errs, validateFastDeploy(vm)...)
	return append(errs, validateReclaimPolicy(vm, nothing)...)
}

// set lists the fields of a spec that are set, each as deep as it goes.
func set(path *field.Path, spec v1alpha5.VirtualMachineSpec) []*field.Path {
	return difference.Between(path, hollow(spec), spec)
}

// hollow is a spec that has what another has, with nothing in it: so that differences go into what one of them lacks.
func hollow(spec v1alpha5.VirtualMachineSpec) v1alpha5.VirtualMachineSpec {
	var empty v1alpha5.VirtualMachineSpec
	if spec.Network != nil {
		empty.Network = &v1alpha5.VirtualMachineNetworkSpec{
			Interfaces: make([]v1alpha5.VirtualMachineNetworkInterfaceSpec, len(spec.Network.Interfaces)),
		}
	}
	if spec.Bootstrap != nil {
		empty.Bootstrap = &v1alpha5.VirtualMachineBootstrapSpec{}
		if spec.Bootstrap.CloudInit != nil {
			empty.Bootstrap.CloudInit = &v1alpha5.VirtualMachineBootstrapCloudInitSpec{}
		}
		if spec.Bootstrap.LinuxPrep != nil {
			empty.Bootstrap.LinuxPrep = &v1alpha5.VirtualMachineBootstrapLinuxPrepSpec{}
		}
		if spec.Bootstrap.Sysprep != nil {
			empty.Bootstrap.Sysprep = &v1alpha5.VirtualMachineBootstrapSysprepSpec{}
		}
		if spec.Bootstrap.VAppConfig != nil {
			empty.Bootstrap.VAppConfig = &v1alpha5.VirtualMachineBootstrapVAppConfigSpec{}
		}
	}
	if probe := spec.ReadinessProbe; probe != nil {
		empty.ReadinessProbe = &v1alpha5.VirtualMachineReadinessProbeSpec{}
		if probe.TCPSocket != nil {
			empty.ReadinessProbe.TCPSocket = &v1alpha5.TCPSocketAction{}
		}
	}
	if spec.Hardware != nil {
		empty.Hardware = &v1alpha5.VirtualMachineHardwareSpec{
			Cdrom: make([]v1alpha5.VirtualMachineCdromSpec, len(spec.Hardware.Cdrom)),
		}
	}
	if spec.Advanced != nil {
		empty.Advanced = &v1alpha5.VirtualMachineAdvancedSpec{}
	}
	if spec.Reserved != nil {
		empty.Reserved = &v1alpha5.VirtualMachineReservedSpec{}
	}
	if spec.BootOptions != nil {
		empty.BootOptions = &v1alpha5.VirtualMachineBootOptions{}
	}
	return empty
}

// refusal says what is wrong with setting a field, and "" when nothing is.
func refusal(path string) string {
	for _, known := range honoured {
		if path == known || strings.HasPrefix(path, known+".") || strings.HasPrefix(path, known+"[") {
			return ""
		}
	}
	for _, other := range instead {
		if strings.HasPrefix(path, other.path) || path+"." == other.path {
			return other.remedy
		}
	}
	return "is not supported yet: leave it out"
}
