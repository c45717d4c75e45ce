// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"errors"
	"testing"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/plan"
)

func TestSources(t *testing.T) {
	named := func(image string) *vmopv1.VirtualMachineImageRef { return &vmopv1.VirtualMachineImageRef{Name: image} }
	const file = "[library] disk-0.vmdk"
	for name, test := range map[string]struct {
		image  *vmopv1.VirtualMachineImageRef
		also   string // spec.imageName
		file   string
		unread bool
		want   failure.Kind
	}{
		"of its image":               {image: named("vmi-1"), file: file},
		"of its image, by the item":  {also: "ubuntu", file: file},
		"of another image":           {image: named("vmi-2"), also: "ubuntu", file: file, want: failure.Forbidden},
		"of no image":                {image: named("vmi-1"), file: "[library] other/other.vmdk", want: failure.Forbidden},
		"of an image that is gone":   {image: named("vmi-9"), file: file, want: failure.Forbidden},
		"before they were read":      {image: named("vmi-9"), file: file, unread: true, want: failure.Unavailable},
		"known although more is not": {also: "ubuntu", file: file, unread: true},
		"without an image":           {file: file, want: failure.Forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			w, vm := newWorld(), wanted()
			vm.Spec.Image, vm.Spec.ImageName = test.image, test.also
			got, err := (&plan.Sources{Images: w, Places: w, Read: func() bool { return !test.unread }}).Origin(vm, test.file)
			if err == nil && (got.File != file || got.Name != "disk-0.vmdk") {
				t.Errorf("it is %+v", got)
			}
			if failure.KindOf(err) != test.want || (err == nil) != (test.want == "") {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if errors.Is(err, failure.NotFound) {
				t.Error("whoever asks takes that for a machine that is gone")
			}
		})
	}
}
