// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/rest"
)

// serverManager is the name under which the server owns what it puts into every object.
const serverManager = "vsphere-apiserver"

// Unowned wraps an update so that the values that an object has from vCenter belong to nobody. An object without
// managedFields otherwise counts as one from before server-side apply, all of whose fields belong to
// "before-first-apply": the first to declare the power state of a machine that was made in vCenter would be told of a
// conflict with nobody he could ask.
type Unowned struct {
	rest.UpdatedObjectInfo
	// Finalizer is what the server puts into every object, Version that of the objects.
	Finalizer string
	Version   schema.GroupVersion
}

// UpdatedObject shows the update an object in which the server owns the finalizer and nobody owns anything else. When
// that is all that became of its ownership, it is taken out again, so that an update which changes nothing writes
// nothing.
func (u Unowned) UpdatedObject(ctx context.Context, old runtime.Object) (runtime.Object, error) {
	before, err := meta.Accessor(old)
	if err != nil || before.GetResourceVersion() == "" || len(before.GetManagedFields()) > 0 {
		return u.UpdatedObjectInfo.UpdatedObject(ctx, old)
	}
	served := []metav1.ManagedFieldsEntry{{
		Manager:    serverManager,
		Operation:  metav1.ManagedFieldsOperationUpdate,
		APIVersion: u.Version.String(),
		Time:       &metav1.Time{Time: before.GetCreationTimestamp().Time},
		FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:finalizers":{".":{},` + strconv.Quote(`v:"`+u.Finalizer+`"`) +
			`:{}}}}`),
	}}
	shown := old.DeepCopyObject()
	if accessor, err := meta.Accessor(shown); err == nil {
		accessor.SetManagedFields(served)
	}
	updated, err := u.UpdatedObjectInfo.UpdatedObject(ctx, shown)
	if err != nil {
		return nil, err
	}
	after, err := meta.Accessor(updated)
	if err != nil {
		return nil, fmt.Errorf("update a %T: %w", updated, err)
	}
	if equality.Semantic.DeepEqual(after.GetManagedFields(), served) {
		after.SetManagedFields(nil)
	}
	return updated, nil
}
