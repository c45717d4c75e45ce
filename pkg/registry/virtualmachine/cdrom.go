// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"regexp"
	"slices"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

const (
	imageKind        = "VirtualMachineImage"
	clusterImageKind = "ClusterVirtualMachineImage"

	whileOff = "only while the virtual machine is off: set spec.powerState to PoweredOff before, or in the same change"
)

var (
	cdromPath = field.NewPath("spec", "hardware", "cdrom")
	cdromName = regexp.MustCompile(`^[a-z0-9]{2,}$`)
)

// cdroms are the CD-ROM drives that a spec declares.
func cdroms(spec *v1alpha5.VirtualMachineSpec) []v1alpha5.VirtualMachineCdromSpec {
	if spec.Hardware == nil {
		return nil
	}
	return spec.Hardware.Cdrom
}

// cdromOf is the drive of a name, nil for none.
func cdromOf(list []v1alpha5.VirtualMachineCdromSpec, name string) *v1alpha5.VirtualMachineCdromSpec {
	at := slices.IndexFunc(list, func(c v1alpha5.VirtualMachineCdromSpec) bool { return c.Name == name })
	if at < 0 {
		return nil
	}
	return &list[at]
}

// defaultCdroms fills in what a manifest need not say of drives. A manifest that says nothing of hardware any more says
// that there are to be none: with nothing declared they would stay in vCenter, and nobody's.
func defaultCdroms(spec, before *v1alpha5.VirtualMachineSpec) {
	if before != nil && before.Hardware != nil && spec.Hardware == nil {
		spec.Hardware = &v1alpha5.VirtualMachineHardwareSpec{}
	}
	for i := range cdroms(spec) {
		cdrom := &spec.Hardware.Cdrom[i]
		if cdrom.Image.Kind == "" {
			cdrom.Image.Kind = imageKind
			if was := known(before, cdrom.Name); was != nil && was.Image.Name == cdrom.Image.Name {
				cdrom.Image.Kind = was.Image.Kind
			}
		}
		if cdrom.Connected == nil {
			cdrom.Connected = ptr.To(true)
		}
		if cdrom.AllowGuestControl == nil {
			cdrom.AllowGuestControl = ptr.To(true)
		}
	}
}

func known(before *v1alpha5.VirtualMachineSpec, name string) *v1alpha5.VirtualMachineCdromSpec {
	if before == nil {
		return nil
	}
	return cdromOf(cdroms(before), name)
}

// nameImageByCdrom has a machine of which nothing is said but what is in its drives be made of that: of the first disc
// that is connected, else of the first.
func nameImageByCdrom(spec *v1alpha5.VirtualMachineSpec) {
	list := cdroms(spec)
	if spec.Image != nil || spec.ImageName != "" || len(list) == 0 {
		return
	}
	first := max(0, slices.IndexFunc(list, func(c v1alpha5.VirtualMachineCdromSpec) bool { return *c.Connected }))
	spec.ImageName = list[first].Image.Name
}

// withoutCdroms is a spec without drives, of which changes are looked at by their names.
func withoutCdroms(spec v1alpha5.VirtualMachineSpec) v1alpha5.VirtualMachineSpec {
	if spec.Hardware == nil {
		return spec
	}
	rest := *spec.Hardware
	rest.Cdrom = nil
	if spec.Hardware = &rest; equality.Semantic.DeepEqual(rest, v1alpha5.VirtualMachineHardwareSpec{}) {
		spec.Hardware = nil
	}
	return spec
}

// validateCdroms looks at all drives that a machine declares.
func validateCdroms(vm *v1alpha5.VirtualMachine) field.ErrorList {
	var errs field.ErrorList
	list := cdroms(&vm.Spec)
	for i := range list {
		path, cdrom := cdromPath.Index(i), &list[i]
		if !cdromName.MatchString(cdrom.Name) {
			errs = append(errs, field.Invalid(path.Child("name"), cdrom.Name,
				"has to be at least two lower case letters and digits"))
		}
		if slices.ContainsFunc(list[:i], func(c v1alpha5.VirtualMachineCdromSpec) bool { return c.Name == cdrom.Name }) {
			errs = append(errs, field.Duplicate(path.Child("name"), cdrom.Name))
		}
		errs = append(errs, validateDisc(path.Child("image"), cdrom.Image, list[:i])...)
	}
	if len(list) > 0 && vm.Spec.GuestID == "" {
		errs = append(errs, field.Required(field.NewPath("spec", "guestID"),
			"a virtual machine with a CD-ROM drive has to say which operating system it is for, such as ubuntu64Guest"))
	}
	return errs
}

func validateDisc(path *field.Path, image v1alpha5.VirtualMachineImageRef,
	others []v1alpha5.VirtualMachineCdromSpec) field.ErrorList {
	var errs field.ErrorList
	if image.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), "name an image of type ISO"))
	}
	if image.Kind != imageKind && image.Kind != clusterImageKind {
		errs = append(errs, field.NotSupported(path.Child("kind"), image.Kind, []string{imageKind, clusterImageKind}))
	}
	if slices.ContainsFunc(others, func(c v1alpha5.VirtualMachineCdromSpec) bool { return c.Image.Name == image.Name }) {
		errs = append(errs, field.Duplicate(path.Child("name"), image.Name))
	}
	return errs
}

// validateCdromChange looks at drives that a write changes: whether they are connected can be changed at any time.
func validateCdromChange(vm, old *v1alpha5.VirtualMachine) field.ErrorList {
	now, before := cdroms(&vm.Spec), cdroms(&old.Spec)
	if equality.Semantic.DeepEqual(now, before) {
		return nil
	}
	errs := validateCdroms(vm)
	off := isToBeOff(vm) || isToBeOff(old)
	forbid := func(path *field.Path, what string) {
		if !off {
			errs = append(errs, field.Forbidden(path, what+" "+whileOff))
		}
	}
	for i := range now {
		path, cdrom := cdromPath.Index(i), &now[i]
		placed := v1alpha5.VirtualMachineCdromSpec{}
		switch was := cdromOf(before, cdrom.Name); {
		case was == nil:
			forbid(path.Child("name"), "a CD-ROM drive can be added")
		default:
			placed = *was
			if was.Image != cdrom.Image {
				forbid(path.Child("image"), "another image can be put into a CD-ROM drive")
			}
		}
		for _, one := range []struct {
			field   string
			changed bool
		}{
			{"controllerType", cdrom.ControllerType != placed.ControllerType},
			{"controllerBusNumber", !ptr.Equal(cdrom.ControllerBusNumber, placed.ControllerBusNumber)},
			{"unitNumber", !ptr.Equal(cdrom.UnitNumber, placed.UnitNumber)},
		} {
			if path := path.Child(one.field); one.changed {
				errs = append(errs, field.Forbidden(path, refusal("spec.hardware.cdrom."+one.field)))
			}
		}
	}
	for i := range before {
		if cdromOf(now, before[i].Name) == nil {
			forbid(cdromPath, "a CD-ROM drive, such as "+before[i].Name+", can be removed")
		}
	}
	return errs
}

// isToBeOff says that a machine is declared to be off, or is off where nobody declares it.
func isToBeOff(vm *v1alpha5.VirtualMachine) bool {
	if vm.Spec.PowerState != "" {
		return vm.Spec.PowerState == v1alpha5.VirtualMachinePowerStateOff
	}
	return vm.Status.PowerState == v1alpha5.VirtualMachinePowerStateOff
}
