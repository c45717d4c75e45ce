// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"slices"

	vmregistry "github.com/openpacific/pacific/pkg/registry/virtualmachine"
	vnsprojection "github.com/openpacific/pacific/pkg/registry/vspherenamespace/projection"
	"github.com/openpacific/pacific/pkg/vcenter/contentlibrary"
)

// grants tells the machines what their vSphere Namespaces were given.
type grants struct {
	namespaces *vnsprojection.Projector
	policies   storagePolicies
	libraries  *contentlibrary.Catalogue
	// everywhere are the content libraries that count as given to all.
	everywhere []string
}

func (g grants) Given(namespace string) (vmregistry.Given, bool) {
	object, found := g.namespaces.Find(namespace)
	if !found {
		return vmregistry.Given{}, false
	}
	given := vmregistry.Given{
		Classes:   object.Spec.VirtualMachineClasses,
		Libraries: slices.Concat(object.Spec.ContentLibraries, g.everywhere),
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
	return given, true
}

func (g grants) Libraries(image string) []string { return g.libraries.Libraries(image) }

func (g grants) Unread() string {
	if _, read := g.policies.Policies(); !read {
		return "storage policies"
	}
	if !g.libraries.Synced() {
		return "content libraries"
	}
	return ""
}
