// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"

	"github.com/openpacific/pacific/pkg/facts"
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

// Origin says which disk of an item of a content library a file is that a disk of a machine is to be a copy of, or to stand
// on. It is an error where it may not: it may where that is one of the machine's image, and its namespace has that. What is left to be made of a machine lies in its ExtraConfig. Whoever
// may configure the machine in vCenter can write there, and has no right for that to any file that this process can
// read.
func (s *Sources) Origin(vm *vmopv1.VirtualMachine, file string) (facts.Origin, error) {
	name := vm.Spec.ImageName
	if vm.Spec.Image != nil && vm.Spec.Image.Name != "" {
		name = vm.Spec.Image.Name
	}
	for _, image := range s.Images.Find(vm.Namespace, name) {
		for name, known := range image.Item.Files {
			if path, found := s.Places.Path(known.URL); found && path == file {
				return facts.Origin{Contents: image.Item.Contents(), Name: name, File: file}, nil
			}
		}
	}
	if !s.Read() {
		return facts.Origin{}, fmt.Errorf("the content libraries of vCenter have not been read yet: %w", failure.Unavailable)
	}
	return facts.Origin{}, fmt.Errorf("a disk of it is to be a copy of %s, which is no file of the image %q in the namespace %q: delete "+
		"the virtual machine, and make it of an image that is there: %w", file, name, vm.Namespace, failure.Forbidden)
}
