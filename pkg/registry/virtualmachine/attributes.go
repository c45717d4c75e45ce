// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"fmt"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/client-go/tools/cache"
)

const (
	fieldPowerState = "status.powerState"
	fieldNodeName   = "status.nodeName"
)

// attributes returns what label and field selectors see of a virtual machine. The
// names that a client may use are told by the scheme, version by version.
func attributes(obj runtime.Object) (labels.Set, fields.Set, error) {
	vm, ok := obj.(*v1alpha5.VirtualMachine)
	if !ok {
		return nil, nil, fmt.Errorf("select a virtual machine: got a %T", obj)
	}
	return vm.Labels, fields.Set{
		"metadata.name":      vm.Name,
		"metadata.namespace": vm.Namespace,
		fieldPowerState:      string(vm.Status.PowerState),
		fieldNodeName:        vm.Status.NodeName,
	}, nil
}

func predicate(label labels.Selector, field fields.Selector) storage.SelectionPredicate {
	return storage.SelectionPredicate{
		Label:       label,
		Field:       field,
		GetAttrs:    attributes,
		IndexFields: []string{fieldNodeName},
	}
}

// storeOptions lets the watch cache answer "which machines run on this host"
// without looking at every machine, in lists and in watches.
func storeOptions(getter generic.RESTOptionsGetter) *generic.StoreOptions {
	return &generic.StoreOptions{
		RESTOptions: getter,
		AttrFunc:    attributes,
		TriggerFunc: map[string]storage.IndexerFunc{fieldNodeName: nodeName},
		Indexers: &cache.Indexers{
			storage.FieldIndex(fieldNodeName): func(obj any) ([]string, error) {
				vm, ok := obj.(*v1alpha5.VirtualMachine)
				if !ok {
					return nil, fmt.Errorf("index a virtual machine: got a %T", obj)
				}
				return []string{vm.Status.NodeName}, nil
			},
		},
	}
}

func nodeName(obj runtime.Object) string {
	vm, ok := obj.(*v1alpha5.VirtualMachine)
	if !ok {
		return ""
	}
	return vm.Status.NodeName
}
