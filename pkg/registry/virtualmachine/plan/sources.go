// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"

	"github.com/openpacific/pacific/pkg/failure"
)

// Sources know what disks may be copies of. Its fields are set before use.
type Sources struct {
	Images Images
	Places Places
	Site   Site
	// Read says whether the images are known.
	Read func() bool
}

// Permits says why a disk of a machine may not be a copy of a file, nil where it may: where that is one of the
// machine's image, and its namespace has that. What is left to be made of a machine lies in its ExtraConfig. Whoever
// may configure the machine in vCenter can write there, and has no right for that to any file that this process can
// read.
func (s *Sources) Permits(vm *vmopv1.VirtualMachine, file string) error {
	name := vm.Spec.ImageName
	if vm.Spec.Image != nil && vm.Spec.Image.Name != "" {
		name = vm.Spec.Image.Name
	}
	for _, image := range s.Images.Find(vm.Namespace, name) {
		for _, known := range image.Item.Files {
			if path, found := s.Places.Path(known.URL); found && path == file {
				return nil
			}
		}
	}
	if !s.Read() {
		return fmt.Errorf("the content libraries of vCenter have not been read yet: %w", failure.Unavailable)
	}
	return fmt.Errorf("a disk of it is to be a copy of %s, which is no file of the image %q in the namespace %q: delete "+
		"the virtual machine, and make it of an image that is there: %w", file, name, vm.Namespace, failure.Forbidden)
}
