// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
)

// cdrom is a drive with an image in it, and all that is filled in.
func cdrom(name, image string) v1alpha5.VirtualMachineCdromSpec {
	return v1alpha5.VirtualMachineCdromSpec{Name: name,
		Image:     v1alpha5.VirtualMachineImageRef{Kind: imageKind, Name: image},
		Connected: ptr.To(true), AllowGuestControl: ptr.To(true)}
}

func hardware(list ...v1alpha5.VirtualMachineCdromSpec) *v1alpha5.VirtualMachineHardwareSpec {
	return &v1alpha5.VirtualMachineHardwareSpec{Cdrom: list}
}

func TestCdromsOfANewMachine(t *testing.T) {
	path, guest := field.NewPath("spec", "hardware", "cdrom"), field.NewPath("spec", "guestID")
	type list = []v1alpha5.VirtualMachineCdromSpec
	disk := cdrom("cd1", "a")
	disk.Image.Kind = "Disk"
	placed := cdrom("cd1", "a")
	placed.UnitNumber = ptr.To[int32](1)
	for name, test := range map[string]struct {
		list  []v1alpha5.VirtualMachineCdromSpec
		guest string
		want  field.ErrorList
	}{
		"none":     {},
		"two":      {list{cdrom("cd1", "vmi-1"), cdrom("cd2", "vmi-2")}, "x", nil},
		"no guest": {list{cdrom("cd1", "vmi-1")}, "", field.ErrorList{field.Required(guest, "")}},
		"one image": {list{cdrom("cd1", "vmi-1"), cdrom("cd2", "vmi-1")}, "x",
			field.ErrorList{field.Duplicate(path.Index(1).Child("image", "name"), "vmi-1")}},
		"one name": {list{cdrom("cd1", "vmi-1"), cdrom("cd1", "vmi-2")}, "x",
			field.ErrorList{field.Duplicate(path.Index(1).Child("name"), "cd1")}},
		"bad names": {list{cdrom("c", "vmi-1"), cdrom("CD-1", "")}, "x", field.ErrorList{
			field.Invalid(path.Index(0).Child("name"), "c", ""), field.Invalid(path.Index(1).Child("name"), "CD-1", ""),
			field.Required(path.Index(1).Child("image", "name"), "")}},
		"another kind": {list{disk}, "x", field.ErrorList{field.NotSupported(path.Index(0).Child("image", "kind"), "Disk",
			[]string{imageKind, clusterImageKind})}},
		"a place": {list{placed}, "x", field.ErrorList{field.Forbidden(path.Index(0).Child("unitNumber"), "")}},
	} {
		t.Run(name, func(t *testing.T) {
			vm := machine("web")
			vm.Spec = v1alpha5.VirtualMachineSpec{ClassName: "small", StorageClass: "gold", ImageName: "a",
				PowerState: "PoweredOn", GuestID: test.guest}
			if test.list != nil {
				vm.Spec.Hardware = hardware(test.list...)
			}
			got := validateCreate(context.Background(), vm)
			for i := range got {
				if got[i].Type != field.ErrorTypeNotSupported {
					got[i].Detail = ""
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChangesOfCdroms(t *testing.T) {
	path := field.NewPath("spec", "hardware", "cdrom")
	forbidden := func(path *field.Path) field.ErrorList { return field.ErrorList{field.Forbidden(path, "")} }
	one, cut, placed := cdrom("cd1", "vmi-1"), cdrom("cd1", "vmi-1"), cdrom("cd1", "vmi-1")
	two, same, other := cdrom("cd2", "vmi-2"), cdrom("cd2", "vmi-1"), cdrom("cd1", "vmi-2")
	cut.Connected, cut.AllowGuestControl = ptr.To(false), ptr.To(false)
	placed.ControllerType = "SATA"
	beside := hardware(one)
	beside.SATAControllers = make([]v1alpha5.SATAControllerSpec, 1)
	type state = v1alpha5.VirtualMachinePowerState
	const on, off, suspended state = "PoweredOn", "PoweredOff", "Suspended"
	for name, test := range map[string]struct {
		was, is *v1alpha5.VirtualMachineHardwareSpec
		// before and now are the power states that are declared, and live is vCenter's where none is.
		before, now, live state
		want              field.ErrorList
	}{
		"nothing":                   {was: hardware(one), is: hardware(one), before: on, now: on},
		"disconnected":              {was: hardware(one), is: hardware(cut), before: on, now: on},
		"another order":             {was: hardware(one, two), is: hardware(two, one), before: on, now: on},
		"another image, off":        {was: hardware(one), is: hardware(other), before: off, now: off},
		"added, and to be off":      {is: hardware(one), before: on, now: off},
		"added, and to be on":       {is: hardware(one), before: off, now: on},
		"removed, nobody says, off": {was: hardware(one), is: hardware(), live: off},
		"removed, nobody says, on":  {was: hardware(one), is: hardware(), live: on, want: forbidden(path)},
		"removed with all hardware": {was: hardware(one), before: on, now: on, want: forbidden(path)},
		"added":                     {is: hardware(one), before: on, now: on, want: forbidden(path.Index(0).Child("name"))},
		"added to one suspended": {is: hardware(one), before: suspended, now: suspended,
			want: forbidden(path.Index(0).Child("name"))},
		"another image": {was: hardware(one), is: hardware(other), before: on, now: on,
			want: forbidden(path.Index(0).Child("image"))},
		"a place": {was: hardware(one), is: hardware(placed), before: off, now: off,
			want: forbidden(path.Index(0).Child("controllerType"))},
		"other hardware beside them": {was: hardware(one), is: beside, before: off, now: off,
			want: forbidden(field.NewPath("spec", "hardware"))},
		"two of one image": {is: hardware(one, same), before: off, now: off,
			want: field.ErrorList{field.Duplicate(path.Index(1).Child("image", "name"), "vmi-1")}},
	} {
		t.Run(name, func(t *testing.T) {
			vm, old := machine("web"), machine("web")
			old.Spec.GuestID, vm.Spec.GuestID = "x", "x"
			old.Spec.Hardware, vm.Spec.Hardware = test.was.DeepCopy(), test.is.DeepCopy()
			old.Spec.PowerState, vm.Spec.PowerState = test.before, test.now
			old.Status.PowerState, vm.Status.PowerState = test.live, test.live
			r := rules{clock.RealClock{}}
			r.prepareUpdate(context.Background(), vm, old)
			got := r.validateUpdate(context.Background(), vm, old)
			for i := range got {
				got[i].Detail = ""
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCdromsAreFilledIn: what a manifest need not say is said again each time.
func TestCdromsAreFilledIn(t *testing.T) {
	manifest := func() *v1alpha5.VirtualMachine {
		vm := machine("web")
		vm.Spec.ImageName = ""
		one, two := v1alpha5.VirtualMachineCdromSpec{Name: "cd1"}, v1alpha5.VirtualMachineCdromSpec{Name: "cd2"}
		one.Image.Name, one.Connected, two.Image.Name = "vmi-1", ptr.To(false), "vmi-2"
		vm.Spec.Hardware = hardware(one, two)
		return vm
	}
	vm := manifest()
	prepareCreate(context.Background(), vm)
	cut := cdrom("cd1", "vmi-1")
	cut.Connected = ptr.To(false)
	if diff := cmp.Diff(hardware(cut, cdrom("cd2", "vmi-2")), vm.Spec.Hardware); diff != "" {
		t.Errorf("filled in (-want +got):\n%s", diff)
	}
	if vm.Spec.ImageName != "vmi-2" {
		t.Errorf("it is made of %q, and not of the disc that is connected", vm.Spec.ImageName)
	}
	vm.Spec.Hardware.Cdrom[1].Image.Kind = clusterImageKind
	again := manifest()
	rules{clock.RealClock{}}.prepareUpdate(context.Background(), again, vm)
	if diff := cmp.Diff(vm.Spec, again.Spec); diff != "" {
		t.Errorf("replaced by its manifest (-was +is):\n%s", diff)
	}
	bare := manifest()
	bare.Spec.Hardware = nil
	rules{clock.RealClock{}}.prepareUpdate(context.Background(), bare, vm)
	if diff := cmp.Diff(hardware(), bare.Spec.Hardware); diff != "" {
		t.Errorf("by one that says nothing of drives (-want +got):\n%s", diff)
	}
	other := machine("web")
	other.Spec.ImageName = "ubuntu"
	other.Spec.Hardware = hardware(cdrom("cd1", "vmi-1"))
	if prepareCreate(context.Background(), other); other.Spec.ImageName != "ubuntu" {
		t.Errorf("made of %q, where it says of what", other.Spec.ImageName)
	}
}
