// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/openpacific/pacific/pkg/failure"
)

// Grants knows what the vSphere Namespaces were given of vCenter.
type Grants interface {
	// Given returns what may be used in a namespace. It wraps failure.NotFound where that is not a vSphere Namespace, and
	// failure.Unavailable while nobody knows.
	Given(namespace string) (Given, error)
	// Libraries names those of the content libraries given to a namespace that hold an image.
	Libraries(namespace, image string) []string
	// Unread says what of vCenter has not been read yet, so that it may be given
	// and nobody knows; "" is nothing.
	Unread() string
}

// Given is what may be used in one vSphere Namespace. What is not in it may not.
type Given struct {
	Classes, Libraries, Networks []string
	Storage                      []GivenStorage
}

// GivenStorage is a storage policy that may be used.
type GivenStorage struct {
	// Policy is its name in vCenter, Class the name of its StorageClass.
	Policy, Class string
	// Limit is how much space may be taken with it; nil is no limit. Used is what
	// is taken now.
	Limit *resource.Quantity
	Used  resource.Quantity
}

// part is something of vCenter that a machine is made of.
type part int

const (
	partClass part = iota
	partImage
	partNetwork
	partStorage
)

// use is the use of a part, by the name under which it is known.
type use struct {
	part part
	name string
}

// uses returns what a machine is made of, each with the field that says so first.
func uses(spec *v1alpha5.VirtualMachineSpec) ([]use, map[use]*field.Path) {
	var order []use
	paths := map[use]*field.Path{}
	add := func(part part, name string, path *field.Path) {
		one := use{part, name}
		if _, found := paths[one]; name == "" || found {
			return
		}
		order = append(order, one)
		paths[one] = path
	}
	root := field.NewPath("spec")
	add(partClass, spec.ClassName, root.Child("className"))
	if spec.Image != nil {
		add(partImage, spec.Image.Name, root.Child("image", "name"))
	}
	add(partImage, spec.ImageName, root.Child("imageName"))
	if spec.Hardware != nil {
		for i := range spec.Hardware.Cdrom {
			add(partImage, spec.Hardware.Cdrom[i].Image.Name, root.Child("hardware", "cdrom").Index(i).Child("image", "name"))
		}
	}
	if spec.Network != nil {
		for i := range spec.Network.Interfaces {
			if named := spec.Network.Interfaces[i].Network; named != nil {
				add(partNetwork, named.Name, root.Child("network", "interfaces").Index(i).Child("network", "name"))
			}
		}
	}
	add(partStorage, spec.StorageClass, root.Child("storageClass"))
	for i := range spec.Volumes {
		claim := spec.Volumes[i].PersistentVolumeClaim
		if claim != nil && claim.InstanceVolumeClaim != nil {
			add(partStorage, claim.InstanceVolumeClaim.StorageClass,
				root.Child("volumes").Index(i).Child("persistentVolumeClaim", "instanceVolumeClaim", "storageClass"))
		}
	}
	return order, paths
}

// refuse refuses a machine that is made of what its namespace was not given. Of
// a machine that is there, what it has already may stay. before is nil for a new
// one.
func refuse(ctx context.Context, grants Grants, vm, before *v1alpha5.VirtualMachine) error {
	wanted, paths := uses(&vm.Spec)
	if before != nil {
		has, _ := uses(&before.Spec)
		wanted = slices.DeleteFunc(wanted, func(one use) bool { return slices.Contains(has, one) })
	}
	if len(wanted) == 0 {
		return nil
	}
	namespace := request.NamespaceValue(ctx)
	name := vm.Name
	if vm.GenerateName != "" && before == nil {
		name = ""
	}
	given, err := grants.Given(namespace)
	if errors.Is(err, failure.NotFound) {
		return apierrors.NewForbidden(machines(), name, fmt.Errorf("the namespace %q is not a vSphere Namespace, so that "+
			"nothing of vCenter may be used in it: see `kubectl get vns` for those that are", namespace))
	}
	if err != nil {
		return fmt.Errorf("it is not known yet what may be used in the namespace %q; try again: %w", namespace, err)
	}
	var refusals []string
	for _, one := range wanted {
		if reason := given.refuse(grants, namespace, one); reason != "" {
			refusals = append(refusals, fmt.Sprintf("%s: %s", paths[one], reason))
		}
	}
	if len(refusals) == 0 {
		return nil
	}
	if unread := grants.Unread(); unread != "" {
		return fmt.Errorf("it is not known yet what may be used in the vSphere Namespace %q: the %s of vCenter have not been read; try again: %w", namespace, unread, failure.Unavailable)
	}
	return apierrors.NewForbidden(machines(), name, errors.New(strings.Join(refusals, "; ")))
}

// refuse says why something may not be used, and "" when it may.
func (g Given) refuse(grants Grants, namespace string, one use) string {
	var what, where string
	var given []string
	switch one.part {
	case partClass:
		what, where, given = "class %q is not given", "virtualMachineClasses", g.Classes
		if slices.Contains(given, one.name) {
			return ""
		}
	case partImage:
		what, where, given = "image %q is in no content library that is given", "contentLibraries", g.Libraries
		if slices.ContainsFunc(grants.Libraries(namespace, one.name), func(library string) bool { return slices.Contains(given, library) }) {
			return ""
		}
	case partNetwork:
		what, where, given = "network %q is not given", "networks", g.Networks
		if slices.Contains(given, one.name) {
			return ""
		}
	case partStorage:
		what, where = "storage class %q is not given", "storagePolicies"
		for _, storage := range g.Storage {
			if storage.Class == one.name {
				return storage.usedUp()
			}
			given = append(given, storage.Class)
		}
	}
	is := "nothing is"
	if len(given) > 0 {
		is = strings.Join(given, ", ")
	}
	return fmt.Sprintf("the "+what+" to the vSphere Namespace %q; given: %s (an administrator changes that in its spec.%s)", one.name, namespace, is, where)
}

// usedUp says that machines take as much as they may, and "" when they do not.
func (g GivenStorage) usedUp() string {
	if g.Limit == nil || g.Used.Cmp(*g.Limit) < 0 {
		return ""
	}
	return fmt.Sprintf("the limit of %s for the storage policy %q is used up: the machines of the namespace take %s", g.Limit, g.Policy, &g.Used)
}
