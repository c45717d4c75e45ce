// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	vmregistry "github.com/openpacific/pacific/pkg/registry/virtualmachine"
	vnsvcenter "github.com/openpacific/pacific/pkg/vcenter/vspherenamespace"
)

// grants tells the machines what their vSphere Namespaces were given.
type grants struct {
	namespaces *vnsvcenter.Projector
	// storageClass is the name of the StorageClass of a storage policy; "" when
	// vCenter has no such policy.
	storageClass func(policy string) string
	// libraries names the content libraries that hold an image.
	libraries func(image string) []string
}

func (g grants) Given(namespace string) (vmregistry.Given, bool) {
	object, found := g.namespaces.Find(namespace)
	if !found {
		return vmregistry.Given{}, false
	}
	given := vmregistry.Given{
		Classes:   object.Spec.VirtualMachineClasses,
		Libraries: object.Spec.ContentLibraries,
		Networks:  object.Spec.Networks,
	}
	for _, policy := range object.Spec.StoragePolicies {
		class := g.storageClass(policy.Name)
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

func (g grants) Libraries(image string) []string { return g.libraries(image) }
