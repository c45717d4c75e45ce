// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/registry"
)

// strategy says what becomes of a vSphere Namespace on its way in.
type strategy struct {
	runtime.ObjectTyper
	names.NameGenerator
}

var (
	_ rest.RESTCreateStrategy  = strategy{}
	_ rest.RESTUpdateStrategy  = strategy{}
	_ rest.RESTDeleteStrategy  = strategy{}
	_ rest.ResetFieldsStrategy = strategy{}
)

func (strategy) NamespaceScoped() bool { return false }

func (strategy) AllowCreateOnUpdate(context.Context) bool { return false }

func (strategy) AllowUnconditionalUpdate(context.Context) bool { return true }

func (strategy) Canonicalize(runtime.Object) {}

func (strategy) PrepareForCreate(_ context.Context, obj runtime.Object) {
	object := obj.(*v1alpha1.Namespace)
	object.TypeMeta = metav1.TypeMeta{}
	object.Status = v1alpha1.NamespaceStatus{}
	object.Generation = 1
	if !slices.Contains(object.Finalizers, v1alpha1.NamespaceFinalizer) {
		object.Finalizers = append(slices.Clone(object.Finalizers), v1alpha1.NamespaceFinalizer)
	}
}

func (strategy) PrepareForUpdate(_ context.Context, obj, old runtime.Object) {
	object, before := obj.(*v1alpha1.Namespace), old.(*v1alpha1.Namespace)
	object.TypeMeta = metav1.TypeMeta{}
	object.Status = before.Status
	// A manifest need not repeat what the server filled in.
	if len(object.Spec.Zones) == 0 {
		object.Spec.Zones = before.Spec.Zones
	}
	if object.Spec.Folder == "" {
		object.Spec.Folder = before.Spec.Folder
	}
	if len(object.Spec.ResourcePools) == 0 {
		object.Spec.ResourcePools = before.Spec.ResourcePools
	}
	// A PUT of a manifest without our finalizer must not let a later deletion pass
	// the controller by.
	if before.DeletionTimestamp == nil && slices.Contains(before.Finalizers, v1alpha1.NamespaceFinalizer) && !slices.Contains(object.Finalizers, v1alpha1.NamespaceFinalizer) {
		object.Finalizers = append(slices.Clone(object.Finalizers), v1alpha1.NamespaceFinalizer)
	}
	if !equality.Semantic.DeepEqual(object.Spec, before.Spec) {
		object.Generation = before.Generation + 1
	}
}

func (strategy) Validate(_ context.Context, obj runtime.Object) field.ErrorList {
	return validate(obj.(*v1alpha1.Namespace))
}

func (strategy) ValidateUpdate(_ context.Context, obj, old runtime.Object) field.ErrorList {
	return validateUpdate(obj.(*v1alpha1.Namespace), old.(*v1alpha1.Namespace))
}

func (strategy) WarningsOnCreate(context.Context, runtime.Object) []string { return nil }

func (strategy) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}

// GetResetFields names what no manager can own: status.
func (strategy) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return map[fieldpath.APIVersion]*fieldpath.Set{
		fieldpath.APIVersion(v1alpha1.SchemeGroupVersion.String()): fieldpath.NewSet(fieldpath.MakePathOrDie("status")),
	}
}

// unowned leaves to nobody what a vSphere Namespace has from vCenter.
func unowned(info rest.UpdatedObjectInfo) rest.UpdatedObjectInfo {
	return registry.Unowned{UpdatedObjectInfo: info, Finalizer: v1alpha1.NamespaceFinalizer, Version: v1alpha1.SchemeGroupVersion}
}
