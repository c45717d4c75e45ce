// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"fmt"
	"slices"

	vspherev1 "github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	vmregistry "github.com/openpacific/pacific/pkg/registry/virtualmachine"
	vnsprojection "github.com/openpacific/pacific/pkg/registry/vspherenamespace/projection"
	"github.com/openpacific/pacific/pkg/vcenter/contentlibrary"
)

// grants tells the machines what their vSphere Namespaces were given.
type grants struct {
	namespaces *vnsprojection.Projector
	policies   storagePolicies
	libraries  *contentlibrary.Catalogue
	// everybody are the content libraries that count as given to all.
	everybody func() []facts.LibraryRef
	// unread says why it is not known yet which vSphere Namespaces there are.
	unread func() error
}

func (g grants) Given(namespace string) (vmregistry.Given, error) {
	// Before that, what is found may be a folder whose record is yet to be read.
	if err := g.unread(); err != nil {
		return vmregistry.Given{}, fmt.Errorf("%w: %w", failure.Unavailable, err)
	}
	object, found := g.namespaces.Find(namespace)
	if !found {
		return vmregistry.Given{}, failure.NotFound
	}
	given := vmregistry.Given{
		Classes:   object.Spec.VirtualMachineClasses,
		Libraries: named(g.libraryRefs(object)),
		Networks:  object.Spec.Networks,
	}
	for _, policy := range object.Spec.StoragePolicies {
		class := g.policies.className(policy.Name)
		if class == "" {
			continue
		}
		storage := vmregistry.GivenStorage{Policy: policy.Name, Class: class, Limit: policy.Limit}
		for _, usage := range object.Status.Usage.Storage {
			if usage.Policy == policy.Name {
				storage.Used = usage.Used
			}
		}
		given.Storage = append(given.Storage, storage)
	}
	return given, nil
}

func (g grants) Libraries(namespace, image string) []string {
	object, found := g.namespaces.Find(namespace)
	if !found {
		return nil
	}
	given := g.libraryRefs(object)
	return named(slices.DeleteFunc(g.libraries.Libraries(image), func(library facts.LibraryRef) bool {
		return !slices.ContainsFunc(given, func(ref facts.LibraryRef) bool { return ref.Means(library) })
	}))
}

// libraryRefs are the content libraries that a vSphere Namespace is given: by its own spec the very ones that were
// meant then, and those that everybody is.
func (g grants) libraryRefs(object *vspherev1.Namespace) []facts.LibraryRef {
	var given []facts.LibraryRef
	for _, library := range object.Status.ContentLibraries {
		given = append(given, facts.LibraryRef{ID: library.ID, Name: library.Name})
	}
	return append(given, g.everybody()...)
}

func named(libraries []facts.LibraryRef) []string {
	names := make([]string, len(libraries))
	for i, library := range libraries {
		names[i] = library.Name
	}
	return names
}

func (g grants) Unread() string {
	if _, read := g.policies.Policies(); !read {
		return "storage policies"
	}
	if !g.libraries.Synced() {
		return "content libraries"
	}
	return ""
}
