// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

const discSuffix = ".iso"

// Drives are the CD-ROM drives that a machine declares, nil where it declares nothing of them. An image that was in one
// before is taken to lie where it did, so that a drive can be disconnected whatever has become of its image.
func (p *Planner) Drives(vm *vmopv1.VirtualMachine, before *facts.Drives) (*facts.Drives, error) {
	if vm.Spec.Hardware == nil {
		return nil, nil
	}
	drives := make(facts.Drives, len(vm.Spec.Hardware.Cdrom))
	for i, cdrom := range vm.Spec.Hardware.Cdrom {
		drives[i] = facts.Drive{Image: cdrom.Image.Name, Connected: ptr.Deref(cdrom.Connected, true),
			GuestControl: ptr.Deref(cdrom.AllowGuestControl, true)}
		if before != nil {
			known := slices.IndexFunc(*before, func(d facts.Drive) bool { return d.Image == cdrom.Image.Name })
			if known >= 0 {
				drives[i].File = (*before)[known].File
				continue
			}
		}
		file, err := p.disc(vm.Namespace, cdrom.Image,
			field.NewPath("spec", "hardware", "cdrom").Index(i).Child("image"))
		if err != nil {
			return nil, err
		}
		drives[i].File = file
	}
	return &drives, nil
}

// disc is the file of an ISO image.
func (p *Planner) disc(namespace string, named vmopv1.VirtualMachineImageRef, path *field.Path) (string, error) {
	list := fmt.Sprintf("see `kubectl get virtualmachineimages --namespace %s`", namespace)
	found := p.Images.Find(namespace, named.Name)
	if len(found) == 0 {
		return "", invalid(path.Child("name"), "there is no image %q: %s", named.Name, list)
	}
	image := found[0]
	switch {
	case image.Name != named.Name:
		return "", invalid(path.Child("name"), "it has to be an object's name, such as %s: %s", image.Name, list)
	case named.Kind != "" && image.Kind != named.Kind:
		return "", invalid(path.Child("kind"), "the image %q is a %s", named.Name, image.Kind)
	case image.Item.Type != facts.ItemISO:
		return "", invalid(path.Child("name"), "the image %q is of the type %s, and one of type ISO goes into a "+
			"CD-ROM drive", named.Name, strings.ToUpper(image.Item.Type))
	}
	for _, file := range discs(image) {
		if at, known := p.Places.Path(file.URL); known {
			return at, nil
		}
	}
	return "", fmt.Errorf("%s: the file of the image %q is on no datastore of vCenter: if its content library is a "+
		"subscribed one that gets contents only when they are needed, synchronise the item: %w", path, named.Name,
		failure.Unavailable)
}

// discs are those of an image's files that go into a drive.
func discs(image Image) (files []facts.ItemFile) {
	for _, name := range slices.Sorted(maps.Keys(image.Item.Files)) {
		if strings.HasSuffix(strings.ToLower(name), discSuffix) {
			files = append(files, image.Item.Files[name])
		}
	}
	return files
}

// contents are those of the image that a machine is made of. An ISO image has none of a machine: one that has it in a
// drive gets an empty disk to install to where it says how large, and else none, as vm-operator makes it.
func contents(vm *vmopv1.VirtualMachine, image Image, path *field.Path) (Image, error) {
	switch image.Item.Type {
	case facts.ItemOVF, facts.ItemVM:
		if image.Item.Image == nil {
			return Image{}, fmt.Errorf("%s: what the image %q consists of is not known: %s: %w", path, image.Name,
				image.Item.Problem, failure.Unavailable)
		}
		return image, nil
	case facts.ItemISO:
		if vm.Spec.Hardware == nil || !slices.ContainsFunc(vm.Spec.Hardware.Cdrom,
			func(c vmopv1.VirtualMachineCdromSpec) bool { return c.Image.Name == image.Name }) {
			return Image{}, invalid(path, "the image %q is of the type ISO: name it in spec.hardware.cdrom too, as %s",
				image.Name, image.Name)
		}
		item := *image.Item
		item.Image = &facts.Image{}
		if vm.Spec.Advanced != nil && vm.Spec.Advanced.BootDiskCapacity != nil {
			item.Image.Disks = []facts.ImageDisk{{Capacity: 1 << 20}}
		}
		image.Item = &item
		return image, nil
	}
	return Image{}, invalid(path, "the image %q is of the type %s, and a machine can be made of one of type OVF, VM or "+
		"ISO alone", image.Name, strings.ToUpper(image.Item.Type))
}

// PermitsDisc says why a file may not come into a drive of a machine as that of an image, nil where it may: as Origin
// does, and for its reasons.
func (s *Sources) PermitsDisc(vm *vmopv1.VirtualMachine, name, file string) error {
	for _, image := range s.Images.Find(vm.Namespace, name) {
		if image.Item.Type != facts.ItemISO {
			continue
		}
		for _, known := range discs(image) {
			if path, found := s.Places.Path(known.URL); found && path == file {
				return nil
			}
		}
	}
	if !s.Read() {
		return fmt.Errorf("the content libraries of vCenter have not been read yet: %w", failure.Unavailable)
	}
	return fmt.Errorf("spec.hardware.cdrom: the image %q is not in the namespace %q any more, or its file is not %s: "+
		"name another one, or none: %w", name, vm.Namespace, file, failure.Forbidden)
}
