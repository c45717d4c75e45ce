// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"maps"
	"slices"

	"github.com/vmware-tanzu/vm-operator/api/utilconversion"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	"github.com/openpacific/pacific/pkg/registry"
)

// strategy says what becomes of a virtual machine on its way in.
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

func (strategy) NamespaceScoped() bool { return true }

// AllowCreateOnUpdate is false: a PUT to a machine that is gone must say so, for a
// controller takes 404 as the answer that it is.
func (strategy) AllowCreateOnUpdate(context.Context) bool { return false }

// AllowUnconditionalUpdate is true: a PUT without a resourceVersion overwrites, as
// it does for most resources. vCenter's own changeVersion still guards the write.
func (strategy) AllowUnconditionalUpdate(context.Context) bool { return true }

func (strategy) Canonicalize(runtime.Object) {}

// PrepareForCreate, Validate and WarningsOnCreate are never reached while creation
// is refused before them.
func (strategy) PrepareForCreate(context.Context, runtime.Object) {}

func (strategy) Validate(context.Context, runtime.Object) field.ErrorList { return nil }

func (strategy) WarningsOnCreate(context.Context, runtime.Object) []string { return nil }

// PrepareForUpdate sets what is not the client's to say.
func (strategy) PrepareForUpdate(_ context.Context, obj, old runtime.Object) {
	vm, before := obj.(*v1alpha5.VirtualMachine), old.(*v1alpha5.VirtualMachine)

	// The hub is the internal version, where an object does not say its kind.
	vm.TypeMeta = metav1.TypeMeta{}
	vm.Status = before.Status

	// A manifest need not repeat which machine it is about.
	if vm.Spec.InstanceUUID == "" {
		vm.Spec.InstanceUUID = before.Spec.InstanceUUID
	}
	if vm.Spec.BiosUUID == "" {
		vm.Spec.BiosUUID = before.Spec.BiosUUID
	}

	// The stash belongs to the older versions' form of an object.
	if _, found := vm.Annotations[utilconversion.AnnotationKey]; found {
		vm.Annotations = maps.Clone(vm.Annotations)
		delete(vm.Annotations, utilconversion.AnnotationKey)
	}

	// Who paused the machine is told by a label of the server's, which a manifest need not repeat.
	if who, told := before.Labels[v1alpha5.PausedVMLabelKey]; told && vm.Labels[v1alpha5.PausedVMLabelKey] == "" {
		vm.Labels = maps.Clone(vm.Labels)
		metav1.SetMetaDataLabel(&vm.ObjectMeta, v1alpha5.PausedVMLabelKey, who)
	}

	// A PUT of a manifest without our finalizer must not let a later deletion pass
	// the controller by. Who wants to be rid of it deletes the machine first.
	if before.DeletionTimestamp == nil && slices.Contains(before.Finalizers, vmoperator.MachineFinalizer) && !slices.Contains(vm.Finalizers, vmoperator.MachineFinalizer) {
		vm.Finalizers = append(slices.Clone(vm.Finalizers), vmoperator.MachineFinalizer)
	}

	if !equality.Semantic.DeepEqual(vm.Spec, before.Spec) {
		vm.Generation = before.Generation + 1
	}
}

func (strategy) ValidateUpdate(_ context.Context, obj, old runtime.Object) field.ErrorList {
	return validateUpdate(obj.(*v1alpha5.VirtualMachine), old.(*v1alpha5.VirtualMachine))
}

// WarningsOnUpdate tells of a power state that nothing will bring about for now.
func (strategy) WarningsOnUpdate(_ context.Context, obj, old runtime.Object) []string {
	vm, before := obj.(*v1alpha5.VirtualMachine), old.(*v1alpha5.VirtualMachine)
	if vm.Spec.PowerState == before.Spec.PowerState || vm.Spec.PowerState == "" {
		return nil
	}
	if vmoperator.PausedByUser(vm.Annotations) {
		return []string{"spec.powerState: not applied while the annotation " + v1alpha5.PauseAnnotation + " is set"}
	}
	if vmoperator.PausedByAdmin(before.Labels) {
		return []string{"spec.powerState: not applied while " + v1alpha5.PauseVMExtraConfigKey +
			" is true in the virtual machine's ExtraConfig, by which a VI admin has paused it"}
	}
	return nil
}

// unowned leaves to nobody what a machine has from vCenter.
func unowned(info rest.UpdatedObjectInfo) rest.UpdatedObjectInfo {
	return registry.Unowned{UpdatedObjectInfo: info, Finalizer: vmoperator.MachineFinalizer, Version: v1alpha5.GroupVersion}
}

// GetResetFields names what no manager can own: status, which vCenter reports, and
// the stash of the older versions, which comes and goes with them.
func (strategy) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	reset := fieldpath.NewSet(
		fieldpath.MakePathOrDie("status"),
		fieldpath.MakePathOrDie("metadata", "annotations", utilconversion.AnnotationKey),
	)
	fields := map[fieldpath.APIVersion]*fieldpath.Set{}
	for _, version := range install.Versions() {
		fields[fieldpath.APIVersion(version.String())] = reset
	}
	return fields
}
