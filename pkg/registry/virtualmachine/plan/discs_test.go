// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/plan"
)

// drive is a CD-ROM drive with an image in it.
func drive(image string) *vmopv1.VirtualMachineHardwareSpec {
	return &vmopv1.VirtualMachineHardwareSpec{Cdrom: []vmopv1.VirtualMachineCdromSpec{{Name: "cd1",
		Image: vmopv1.VirtualMachineImageRef{Kind: "VirtualMachineImage", Name: image}}}}
}

// TestOfAnISO: of a disc nothing is copied. A machine has a disk where it says how large, and none else.
func TestOfAnISO(t *testing.T) {
	drives := &facts.Drives{{Image: "vmi-2", File: "[library] netinst.iso", Connected: true, GuestControl: true}}
	for name, test := range map[string]struct {
		image, capacity string
		disks           []facts.BuildDisk
		space           int64
		fails           string
	}{
		"no disk":            {image: "vmi-2", space: 4 << 30},
		"by the item's name": {image: "netinst", space: 4 << 30},
		"a disk to install to": {image: "vmi-2", capacity: "20Gi", disks: []facts.BuildDisk{{Capacity: 20 << 30}},
			space: 4 << 30},
		"a disk of no size": {image: "vmi-2", capacity: "0", fails: "spec.advanced.bootDiskCapacity"},
		"an odd disk":       {image: "vmi-2", capacity: "1048577", fails: "multiple of 1 MiB"},
		"beside a machine's disk": {image: "vmi-1", space: 7 << 30, disks: []facts.BuildDisk{
			{From: "[library] disk-0.vmdk", Capacity: 20 << 30}, {Capacity: 1 << 30}}},
	} {
		t.Run(name, func(t *testing.T) {
			w, vm := newWorld(), wanted()
			vm.Spec.ImageName, vm.Spec.GuestID, vm.Spec.Hardware = test.image, "debian12_64Guest", drive("vmi-2")
			if test.capacity != "" {
				vm.Spec.Advanced = &vmopv1.VirtualMachineAdvancedSpec{
					BootDiskCapacity: ptr.To(resource.MustParse(test.capacity))}
			}
			shell, _, err := (&plan.Planner{Classes: w, Images: w, Site: w, Places: w}).Plan(t.Context(), vm)
			if test.fails != "" {
				if failure.KindOf(err) != failure.Invalid || !strings.Contains(err.Error(), test.fails) {
					t.Errorf("got %v, want what says %q", err, test.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := facts.Shell{Drives: drives, GuestID: "debian12_64Guest",
				Build: facts.Build{Policy: "gold-id", Disks: test.disks}}
			got := facts.Shell{Drives: shell.Drives, GuestID: shell.GuestID, Build: shell.Build}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the shell (-want +got):\n%s", diff)
			}
			if w.wish.Space != test.space {
				t.Errorf("it takes %d bytes, want %d", w.wish.Space, test.space)
			}
			if vm.Spec.Image == nil || vm.Spec.Image.Kind != "VirtualMachineImage" {
				t.Errorf("its image is filled in as %v", vm.Spec.Image)
			}
		})
	}
}

func TestDrives(t *testing.T) {
	w, vm := newWorld(), wanted()
	p := &plan.Planner{Images: w, Places: w}
	if drives, err := p.Drives(vm, nil); drives != nil || err != nil {
		t.Errorf("of a machine that declares none: %v, %v", drives, err)
	}
	vm.Spec.Hardware = &vmopv1.VirtualMachineHardwareSpec{}
	if drives, err := p.Drives(vm, nil); drives == nil || *drives == nil || len(*drives) > 0 || err != nil {
		t.Errorf("of a machine that declares that it has none: %v, %v", drives, err)
	}
	vm.Spec.Hardware = drive("gone")
	vm.Spec.Hardware.Cdrom[0].Connected = ptr.To(false)
	if _, err := p.Drives(vm, &facts.Drives{{Image: "other", File: "x"}}); failure.KindOf(err) != failure.Invalid {
		t.Errorf("with an image that is gone: %v", err)
	}
	drives, err := p.Drives(vm, &facts.Drives{{Image: "gone", File: "[library] gone.iso", Connected: true}})
	want := &facts.Drives{{Image: "gone", File: "[library] gone.iso", GuestControl: true}}
	if diff := cmp.Diff(want, drives); diff != "" || err != nil {
		t.Errorf("with an image that was in it before: %v, (-want +got):\n%s", err, diff)
	}
}

func TestPermitsDisc(t *testing.T) {
	for name, test := range map[string]struct {
		image, file string
		unread      bool
		want        failure.Kind
	}{
		"of the image":             {image: "vmi-2", file: "[library] netinst.iso"},
		"of another image":         {image: "vmi-5", file: "[library] netinst.iso", want: failure.Forbidden},
		"a disk":                   {image: "vmi-1", file: "[library] disk-0.vmdk", want: failure.Forbidden},
		"of a machine's image":     {image: "vmi-1", file: "[library] tools.iso", want: failure.Forbidden},
		"what is no disc":          {image: "vmi-2", file: "[library] sums", want: failure.Forbidden},
		"of no image":              {image: "vmi-2", file: "[nfs] secrets.iso", want: failure.Forbidden},
		"of an image that is gone": {image: "vmi-9", file: "[library] netinst.iso", want: failure.Forbidden},
		"before they were read":    {image: "vmi-9", file: "[library] netinst.iso", unread: true, want: failure.Unavailable},
	} {
		w := newWorld()
		sources := &plan.Sources{Images: w, Places: w, Read: func() bool { return !test.unread }}
		err := sources.PermitsDisc(wanted(), test.image, test.file)
		if failure.KindOf(err) != test.want || (err == nil) != (test.want == "") {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}
