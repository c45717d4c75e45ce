// SPDX-License-Identifier: Apache-2.0

package customization

import (
	"fmt"
	"regexp"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	vmopv1common "github.com/vmware-tanzu/vm-operator/api/v1alpha5/common"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5/sysprep"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap/network"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap/secret"
)

const (
	// maxLinuxName and maxWindowsName are how long the name of a guest may be.
	maxLinuxName, maxWindowsName = 63, 15
	// zones are as many as Microsoft numbers.
	maxZone = 300
)

var (
	// hostName is what vCenter calls a guest, which is not a number alone.
	hostName = regexp.MustCompile(`^[A-Za-z0-9-]*[A-Za-z-][A-Za-z0-9-]*$`)
	zone     = regexp.MustCompile(`^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$`)
)

// Validate refuses what vCenter cannot set in a guest.
func Validate(vm *vmopv1.VirtualMachine) (errs field.ErrorList) {
	if linux := vm.Spec.Bootstrap.LinuxPrep; linux != nil {
		errs = append(errs, validateLinux(vm, linux)...)
		errs = append(errs, validateAddresses(vm, "linuxPrep")...)
	}
	if windows := vm.Spec.Bootstrap.Sysprep; windows != nil {
		errs = append(errs, validateSysprep(vm, windows)...)
		errs = append(errs, validateAddresses(vm, "sysprep")...)
	}
	return errs
}

func validateLinux(vm *vmopv1.VirtualMachine,
	linux *vmopv1.VirtualMachineBootstrapLinuxPrepSpec) (errs field.ErrorList) {
	path := linuxPath()
	if linux.TimeZone != "" && !zone.MatchString(linux.TimeZone) {
		errs = append(errs, field.Invalid(path.Child("timeZone"), linux.TimeZone,
			"has to be a time zone, such as Europe/Sofia"))
	}
	errs = append(errs, validateOnce(path, linux.CustomizeAtNextPowerOn)...)
	errs = append(errs, validateScript(path.Child("scriptText"), linux.ScriptText)...)
	return append(errs, validateName(vm, maxLinuxName, "linuxPrep")...)
}

// validateOnce refuses a promise that is not kept: a guest is customised before its first start, and not again.
func validateOnce(path *field.Path, again *bool) field.ErrorList {
	if !ptr.Deref(again, false) {
		return nil
	}
	return field.ErrorList{field.Forbidden(path.Child("customizeAtNextPowerOn"),
		"is not supported yet: leave it out, and the guest is customised before it is powered on first")}
}

func validateScript(path *field.Path, text *vmopv1common.ValueOrSecretKeySelector) (errs field.ErrorList) {
	if text == nil || text.Value == nil {
		return nil
	}
	path = path.Child("value")
	if text.From != nil {
		errs = append(errs, field.Forbidden(path, "cannot be given together with from"))
	}
	if !secret.IsText(*text.Value) {
		errs = append(errs, field.Invalid(path, *text.Value, secret.NoText))
	}
	return errs
}

// validateName looks at what the guest is to be called, which is the machine's own name where nothing else is said.
func validateName(vm *vmopv1.VirtualMachine, longest int, provider string) field.ErrorList {
	name := network.HostName(vm)
	if hostName.MatchString(name) && len(name) <= longest && name[0] != '-' && name[len(name)-1] != '-' {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("spec", "network", "hostName"), name, fmt.Sprintf("with "+
		"spec.bootstrap.%s it has to be at most %d letters, digits and dashes, of which one is no digit; where it is left "+
		"out it is the virtual machine's name", provider, longest))}
}

// validateAddresses refuses what vCenter has no place for.
func validateAddresses(vm *vmopv1.VirtualMachine, provider string) (errs field.ErrorList) {
	if vm.Spec.Network == nil {
		return nil
	}
	for i := range vm.Spec.Network.Interfaces {
		if addresses := vm.Spec.Network.Interfaces[i].Addresses; fourOf(addresses) > 1 {
			errs = append(errs, field.Forbidden(field.NewPath("spec", "network", "interfaces").Index(i).Child("addresses"),
				"spec.bootstrap."+provider+" sets one IPv4 address of an interface: leave the others out, or use cloudInit"))
		}
	}
	return errs
}

func validateSysprep(vm *vmopv1.VirtualMachine,
	windows *vmopv1.VirtualMachineBootstrapSysprepSpec) (errs field.ErrorList) {
	path := sysprepPath()
	errs = append(errs, validateOnce(path, windows.CustomizeAtNextPowerOn)...)
	switch {
	case windows.Sysprep == nil && windows.RawSysprep == nil:
		return append(errs, field.Required(path.Child("sysprep"), "give this, or rawSysprep"))
	case windows.Sysprep == nil:
		return errs
	case windows.RawSysprep != nil:
		errs = append(errs, field.Forbidden(path.Child("rawSysprep"), "cannot be given together with sysprep"))
	}
	errs = append(errs, validateName(vm, maxWindowsName, "sysprep")...)
	return append(errs, validateWindows(vm, path.Child("sysprep"), windows.Sysprep)...)
}

func validateWindows(vm *vmopv1.VirtualMachine, path *field.Path, windows *sysprep.Sysprep) (errs field.ErrorList) {
	if windows.UserData.FullName == "" {
		errs = append(errs, field.Required(path.Child("userData", "fullName"), "name the owner"))
	}
	if windows.UserData.OrgName == "" {
		errs = append(errs, field.Required(path.Child("userData", "orgName"), "name the owner's organisation"))
	}
	if gui, path := windows.GUIUnattended, path.Child("guiUnattended"); gui != nil {
		if gui.TimeZone < 0 || gui.TimeZone > maxZone {
			errs = append(errs, field.Invalid(path.Child("timeZone"), gui.TimeZone,
				"has to be one of Microsoft's numbers, such as 85 for UTC"))
		}
		if gui.AutoLogonCount < 0 || gui.AutoLogon && gui.AutoLogonCount == 0 {
			errs = append(errs, field.Invalid(path.Child("autoLogonCount"), gui.AutoLogonCount,
				"has to be 1 or more with autoLogon"))
		}
		if gui.AutoLogon && gui.Password == nil {
			errs = append(errs, field.Required(path.Child("password"),
				"nobody can be logged in without one: name a Secret, or leave out autoLogon"))
		}
	}
	if license, path := windows.LicenseFilePrintData, path.Child("licenseFilePrintData"); license != nil {
		switch license.AutoMode {
		case sysprep.CustomizationLicenseDataModePerSeat, sysprep.CustomizationLicenseDataModePerServer:
		default:
			errs = append(errs, field.NotSupported(path.Child("autoMode"), license.AutoMode,
				[]sysprep.CustomizationLicenseDataMode{sysprep.CustomizationLicenseDataModePerSeat,
					sysprep.CustomizationLicenseDataModePerServer}))
		}
	}
	errs = append(errs, validateScript(path.Child("scriptText"), windows.ScriptText)...)
	return append(errs, validateIdentification(vm, path.Child("identification"), windows.Identification)...)
}

// validateIdentification looks at what the guest joins: a workgroup, or the domain of its name.
func validateIdentification(vm *vmopv1.VirtualMachine, path *field.Path,
	joins *sysprep.Identification) (errs field.ErrorList) {
	domain := network.DomainName(vm)
	if joins == nil {
		joins = &sysprep.Identification{}
	}
	refuse := func(set bool, name, why string) {
		if set {
			errs = append(errs, field.Forbidden(path.Child(name), why))
		}
	}
	switch {
	case joins.JoinWorkgroup != "":
		const why = "cannot be given together with joinWorkgroup"
		refuse(joins.DomainAdmin != "", "domainAdmin", why)
		refuse(joins.DomainAdminPassword != nil, "domainAdminPassword", why)
		refuse(joins.DomainOU != "", "domainOU", why)
		refuse(domain != "", "joinWorkgroup",
			"cannot be given together with spec.network.domainName, which is the domain that the guest joins")
	case domain == "":
		const why = "needs the domain to join: set spec.network.domainName"
		refuse(joins.DomainAdmin != "", "domainAdmin", why)
		refuse(joins.DomainAdminPassword != nil, "domainAdminPassword", why)
		refuse(joins.DomainOU != "", "domainOU", why)
	default:
		const why = "the guest joins the domain of spec.network.domainName: name an account of it that may let it in"
		if joins.DomainAdmin == "" {
			errs = append(errs, field.Required(path.Child("domainAdmin"), why))
		}
		if joins.DomainAdminPassword == nil {
			errs = append(errs, field.Required(path.Child("domainAdminPassword"), why))
		}
	}
	return errs
}
