// SPDX-License-Identifier: Apache-2.0

package install

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	ctrlconversion "sigs.k8s.io/controller-runtime/pkg/conversion"

	"github.com/vmware-tanzu/vm-operator/api/utilconversion"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha1"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha2"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha3"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha4"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"

	"github.com/openpacific/pacific/pkg/apis/vmoperator/difference"
)

func addVirtualMachineConversions(scheme *runtime.Scheme) error {
	return errors.Join(
		addConversions[v1alpha1.VirtualMachine](scheme, func(list *v1alpha1.VirtualMachineList) (*metav1.ListMeta, *[]v1alpha1.VirtualMachine) {
			return &list.ListMeta, &list.Items
		}),
		addConversions[v1alpha2.VirtualMachine](scheme, func(list *v1alpha2.VirtualMachineList) (*metav1.ListMeta, *[]v1alpha2.VirtualMachine) {
			return &list.ListMeta, &list.Items
		}),
		addConversions[v1alpha3.VirtualMachine](scheme, func(list *v1alpha3.VirtualMachineList) (*metav1.ListMeta, *[]v1alpha3.VirtualMachine) {
			return &list.ListMeta, &list.Items
		}),
		addConversions[v1alpha4.VirtualMachine](scheme, func(list *v1alpha4.VirtualMachineList) (*metav1.ListMeta, *[]v1alpha4.VirtualMachine) {
			return &list.ListMeta, &list.Items
		}),
	)
}

// spoke is an older version's type, which knows the way to the hub and back.
type spoke[V any] interface {
	*V
	ctrlconversion.Convertible
	metav1.Object
	DeepCopy() *V
}

// addConversions registers both ways between a version and the hub, for an
// object and for a list. The module's own list conversions do without the
// stash, so that an object out of a list would lose fields when it is written
// back: lists are converted item by item here.
func addConversions[V any, P spoke[V], L any](scheme *runtime.Scheme, parts func(*L) (*metav1.ListMeta, *[]V)) error {
	object, list := (*V)(nil), (*L)(nil)
	hubObject, hubList := (*v1alpha5.VirtualMachine)(nil), (*v1alpha5.VirtualMachineList)(nil)

	return errors.Join(
		scheme.AddConversionFunc(object, hubObject, func(in, out any, _ conversion.Scope) error {
			return toHub[V, P](in.(*V), out.(*v1alpha5.VirtualMachine))
		}),
		scheme.AddConversionFunc(hubObject, object, func(in, out any, _ conversion.Scope) error {
			return fromHub[V, P](in.(*v1alpha5.VirtualMachine), out.(*V))
		}),
		scheme.AddConversionFunc(list, hubList, func(in, out any, _ conversion.Scope) error {
			hub := out.(*v1alpha5.VirtualMachineList)
			listMeta, items := parts(in.(*L))
			hub.ListMeta = *listMeta
			hub.Items = make([]v1alpha5.VirtualMachine, len(*items))
			for i := range *items {
				if err := toHub[V, P](&(*items)[i], &hub.Items[i]); err != nil {
					return err
				}
			}
			return nil
		}),
		scheme.AddConversionFunc(hubList, list, func(in, out any, _ conversion.Scope) error {
			hub := in.(*v1alpha5.VirtualMachineList)
			listMeta, items := parts(out.(*L))
			*listMeta = hub.ListMeta
			*items = make([]V, len(hub.Items))
			for i := range hub.Items {
				if err := fromHub[V, P](&hub.Items[i], &(*items)[i]); err != nil {
					return err
				}
			}
			return nil
		}),
	)
}

// toHub works on a copy: the module's conversions share maps and pointers
// between their two objects and then write to both.
//
// What the stash restores wins over the object in a few fields, so that a write
// to them through the older version would be dropped in silence, and answered
// with success. Such a write is refused.
func toHub[V any, P spoke[V]](in *V, out *v1alpha5.VirtualMachine) error {
	source := P(P(in).DeepCopy())
	_, stashed := source.GetAnnotations()[utilconversion.AnnotationKey]
	if err := source.ConvertTo(out); err != nil {
		if stashed {
			return fmt.Errorf("convert to %s: read the object again, or remove its annotation %s: %w",
				v1alpha5.GroupVersion, utilconversion.AnnotationKey, err)
		}
		return fmt.Errorf("convert to %s: %w", v1alpha5.GroupVersion, err)
	}
	dropStash(out)
	if !stashed {
		return nil
	}
	back := P(new(V))
	if err := fromHub[V, P](out, (*V)(back)); err != nil {
		return err
	}
	if dropped := difference.Between(field.NewPath("spec"), specOf(in), specOf((*V)(back))); len(dropped) > 0 {
		names := make([]string, len(dropped))
		for i, path := range dropped {
			names[i] = path.String()
		}
		return fmt.Errorf("%s: cannot be changed through this version; use %s", strings.Join(names, ", "), v1alpha5.GroupVersion)
	}
	return nil
}

// specOf returns the spec of a version's object.
func specOf(object any) any {
	return reflect.ValueOf(object).Elem().FieldByName("Spec").Interface()
}

// fromHub works on a copy for the same reason, and here it matters most: the
// hub object belongs to the watch cache, which every request shares.
func fromHub[V any, P spoke[V]](in *v1alpha5.VirtualMachine, out *V) error {
	if err := P(out).ConvertFrom(in.DeepCopy()); err != nil {
		return fmt.Errorf("convert from %s: %w", v1alpha5.GroupVersion, err)
	}
	return nil
}

// dropStash removes the stash, which belongs to the older version's form of an
// object and would otherwise be stored, and grow, with each write.
func dropStash(vm *v1alpha5.VirtualMachine) {
	delete(vm.Annotations, utilconversion.AnnotationKey)
	if len(vm.Annotations) == 0 {
		vm.Annotations = nil
	}
}
