// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"fmt"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
)

// serverManager is the name under which the server owns what it puts into every
// virtual machine.
const serverManager = "vsphere-apiserver"

// unowned wraps an update so that the values that a machine has from vCenter
// belong to nobody. An object without managedFields otherwise counts as one from
// before server-side apply, all of whose fields belong to "before-first-apply":
// the first to declare the power state of a machine that was made in vCenter would
// be told of a conflict with nobody he could ask.
type unowned struct {
	rest.UpdatedObjectInfo
}

// UpdatedObject shows the update a machine in which the server owns the finalizer
// and nobody owns anything else. When that is all that became of its ownership, it
// is taken out again, so that an update which changes nothing writes nothing.
func (u unowned) UpdatedObject(ctx context.Context, old runtime.Object) (runtime.Object, error) {
	vm, ok := old.(*v1alpha5.VirtualMachine)
	if !ok || vm.ResourceVersion == "" || len(vm.ManagedFields) > 0 {
		return u.UpdatedObjectInfo.UpdatedObject(ctx, old)
	}
	served := []metav1.ManagedFieldsEntry{{
		Manager:    serverManager,
		Operation:  metav1.ManagedFieldsOperationUpdate,
		APIVersion: v1alpha5.GroupVersion.String(),
		Time:       &vm.CreationTimestamp,
		FieldsType: "FieldsV1",
		FieldsV1:   metav1.NewFieldsV1(`{"f:metadata":{"f:finalizers":{".":{},"v:\"` + vmoperator.MachineFinalizer + `\"":{}}}}`),
	}}
	shown := *vm
	shown.ManagedFields = served
	updated, err := u.UpdatedObjectInfo.UpdatedObject(ctx, &shown)
	if err != nil {
		return nil, err
	}
	result, ok := updated.(*v1alpha5.VirtualMachine)
	if !ok {
		return nil, fmt.Errorf("update a virtual machine: got a %T", updated)
	}
	if equality.Semantic.DeepEqual(result.ManagedFields, served) {
		result.ManagedFields = nil
	}
	return result, nil
}
