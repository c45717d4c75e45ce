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
	"k8s.io/apimachinery/pkg/runtime/schema"
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
	hub := func(list *v1alpha5.VirtualMachineList) (*metav1.ListMeta, *[]v1alpha5.VirtualMachine) {
		return &list.ListMeta, &list.Items
	}
	return errors.Join(
		addConversions(scheme, hub, func(list *v1alpha1.VirtualMachineList) (*metav1.ListMeta, *[]v1alpha1.VirtualMachine) {
			return &list.ListMeta, &list.Items
		}),
		addConversions(scheme, hub, func(list *v1alpha2.VirtualMachineList) (*metav1.ListMeta, *[]v1alpha2.VirtualMachine) {
			return &list.ListMeta, &list.Items
		}),
		addConversions(scheme, hub, func(list *v1alpha3.VirtualMachineList) (*metav1.ListMeta, *[]v1alpha3.VirtualMachine) {
			return &list.ListMeta, &list.Items
		}),
		addConversions(scheme, hub, func(list *v1alpha4.VirtualMachineList) (*metav1.ListMeta, *[]v1alpha4.VirtualMachine) {
			return &list.ListMeta, &list.Items
		}),
	)
}

func addVirtualMachineClassConversions(scheme *runtime.Scheme) error {
	hub := func(list *v1alpha5.VirtualMachineClassList) (*metav1.ListMeta, *[]v1alpha5.VirtualMachineClass) {
		return &list.ListMeta, &list.Items
	}
	return errors.Join(
		addConversions(scheme, hub, func(list *v1alpha1.VirtualMachineClassList) (*metav1.ListMeta,
			*[]v1alpha1.VirtualMachineClass) {
			return &list.ListMeta, &list.Items
		}),
		addConversions(scheme, hub, func(list *v1alpha2.VirtualMachineClassList) (*metav1.ListMeta,
			*[]v1alpha2.VirtualMachineClass) {
			return &list.ListMeta, &list.Items
		}),
		addConversions(scheme, hub, func(list *v1alpha3.VirtualMachineClassList) (*metav1.ListMeta,
			*[]v1alpha3.VirtualMachineClass) {
			return &list.ListMeta, &list.Items
		}),
		addConversions(scheme, hub, func(list *v1alpha4.VirtualMachineClassList) (*metav1.ListMeta,
			*[]v1alpha4.VirtualMachineClass) {
			return &list.ListMeta, &list.Items
		}),
	)
}

func addVirtualMachineImageConversions(scheme *runtime.Scheme) error {
	hub := func(list *v1alpha5.VirtualMachineImageList) (*metav1.ListMeta, *[]v1alpha5.VirtualMachineImage) {
		return &list.ListMeta, &list.Items
	}
	return errors.Join(
		addConversions(scheme, hub, func(list *v1alpha1.VirtualMachineImageList) (*metav1.ListMeta,
			*[]v1alpha1.VirtualMachineImage) {
			return &list.ListMeta, &list.Items
		}),
		addConversions(scheme, hub, func(list *v1alpha2.VirtualMachineImageList) (*metav1.ListMeta,
			*[]v1alpha2.VirtualMachineImage) {
			return &list.ListMeta, &list.Items
		}),
		addConversions(scheme, hub, func(list *v1alpha3.VirtualMachineImageList) (*metav1.ListMeta,
			*[]v1alpha3.VirtualMachineImage) {
			return &list.ListMeta, &list.Items
		}),
		addConversions(scheme, hub, func(list *v1alpha4.VirtualMachineImageList) (*metav1.ListMeta,
			*[]v1alpha4.VirtualMachineImage) {
			return &list.ListMeta, &list.Items
		}),
	)
}

func addClusterVirtualMachineImageConversions(scheme *runtime.Scheme) error {
	hub := func(list *v1alpha5.ClusterVirtualMachineImageList) (*metav1.ListMeta, *[]v1alpha5.ClusterVirtualMachineImage) {
		return &list.ListMeta, &list.Items
	}
	return errors.Join(
		addConversions(scheme, hub, func(list *v1alpha1.ClusterVirtualMachineImageList) (*metav1.ListMeta,
			*[]v1alpha1.ClusterVirtualMachineImage) {
			return &list.ListMeta, &list.Items
		}),
		addConversions(scheme, hub, func(list *v1alpha2.ClusterVirtualMachineImageList) (*metav1.ListMeta,
			*[]v1alpha2.ClusterVirtualMachineImage) {
			return &list.ListMeta, &list.Items
		}),
		addConversions(scheme, hub, func(list *v1alpha3.ClusterVirtualMachineImageList) (*metav1.ListMeta,
			*[]v1alpha3.ClusterVirtualMachineImage) {
			return &list.ListMeta, &list.Items
		}),
		addConversions(scheme, hub, func(list *v1alpha4.ClusterVirtualMachineImageList) (*metav1.ListMeta,
			*[]v1alpha4.ClusterVirtualMachineImage) {
			return &list.ListMeta, &list.Items
		}),
	)
}

func addSetResourcePolicyConversions(scheme *runtime.Scheme) error {
	hub := func(list *v1alpha5.VirtualMachineSetResourcePolicyList) (*metav1.ListMeta, *[]v1alpha5.VirtualMachineSetResourcePolicy) {
		return &list.ListMeta, &list.Items
	}
	return errors.Join(
		addConversions(scheme, hub, func(list *v1alpha1.VirtualMachineSetResourcePolicyList) (*metav1.ListMeta,
			*[]v1alpha1.VirtualMachineSetResourcePolicy) {
			return &list.ListMeta, &list.Items
		}),
		addConversions(scheme, hub, func(list *v1alpha2.VirtualMachineSetResourcePolicyList) (*metav1.ListMeta,
			*[]v1alpha2.VirtualMachineSetResourcePolicy) {
			return &list.ListMeta, &list.Items
		}),
		addConversions(scheme, hub, func(list *v1alpha3.VirtualMachineSetResourcePolicyList) (*metav1.ListMeta,
			*[]v1alpha3.VirtualMachineSetResourcePolicy) {
			return &list.ListMeta, &list.Items
		}),
		addConversions(scheme, hub, func(list *v1alpha4.VirtualMachineSetResourcePolicyList) (*metav1.ListMeta,
			*[]v1alpha4.VirtualMachineSetResourcePolicy) {
			return &list.ListMeta, &list.Items
		}),
	)
}

func addServiceConversions(scheme *runtime.Scheme) error {
	hub := func(list *v1alpha5.VirtualMachineServiceList) (*metav1.ListMeta, *[]v1alpha5.VirtualMachineService) {
		return &list.ListMeta, &list.Items
	}
	return errors.Join(
		addConversions(scheme, hub, func(list *v1alpha1.VirtualMachineServiceList) (*metav1.ListMeta,
			*[]v1alpha1.VirtualMachineService) {
			return &list.ListMeta, &list.Items
		}),
		addConversions(scheme, hub, func(list *v1alpha2.VirtualMachineServiceList) (*metav1.ListMeta,
			*[]v1alpha2.VirtualMachineService) {
			return &list.ListMeta, &list.Items
		}),
		addConversions(scheme, hub, func(list *v1alpha3.VirtualMachineServiceList) (*metav1.ListMeta,
			*[]v1alpha3.VirtualMachineService) {
			return &list.ListMeta, &list.Items
		}),
		addConversions(scheme, hub, func(list *v1alpha4.VirtualMachineServiceList) (*metav1.ListMeta,
			*[]v1alpha4.VirtualMachineService) {
			return &list.ListMeta, &list.Items
		}),
	)
}

// hub is the type that the older versions' convert to and from.
type hub[H any] interface {
	*H
	ctrlconversion.Hub
	metav1.Object
	DeepCopy() *H
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
func addConversions[V, H any, P spoke[V], Q hub[H], L, M any](scheme *runtime.Scheme,
	hubParts func(*M) (*metav1.ListMeta, *[]H), parts func(*L) (*metav1.ListMeta, *[]V)) error {
	object, list := (*V)(nil), (*L)(nil)
	hubObject, hubList := (*H)(nil), (*M)(nil)

	return errors.Join(
		scheme.AddConversionFunc(object, hubObject, func(in, out any, _ conversion.Scope) error {
			return toHub[V, H, P, Q](in.(*V), out.(*H))
		}),
		scheme.AddConversionFunc(hubObject, object, func(in, out any, _ conversion.Scope) error {
			return fromHub[V, H, P, Q](in.(*H), out.(*V))
		}),
		scheme.AddConversionFunc(list, hubList, func(in, out any, _ conversion.Scope) error {
			meta, items := parts(in.(*L))
			hubMeta, hubItems := hubParts(out.(*M))
			*hubMeta = *meta
			*hubItems = make([]H, len(*items))
			for i := range *items {
				if err := toHub[V, H, P, Q](&(*items)[i], &(*hubItems)[i]); err != nil {
					return err
				}
			}
			return nil
		}),
		scheme.AddConversionFunc(hubList, list, func(in, out any, _ conversion.Scope) error {
			hubMeta, hubItems := hubParts(in.(*M))
			meta, items := parts(out.(*L))
			*meta = *hubMeta
			*items = make([]V, len(*hubItems))
			for i := range *hubItems {
				if err := fromHub[V, H, P, Q](&(*hubItems)[i], &(*items)[i]); err != nil {
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
func toHub[V, H any, P spoke[V], Q hub[H]](in *V, out *H) error {
	source := P(P(in).DeepCopy())
	_, stashed := source.GetAnnotations()[utilconversion.AnnotationKey]
	if err := source.ConvertTo(Q(out)); err != nil {
		if stashed {
			return fmt.Errorf("convert to %s: read the object again, or remove its annotation %s: %w",
				v1alpha5.GroupVersion, utilconversion.AnnotationKey, err)
		}
		return fmt.Errorf("convert to %s: %w", v1alpha5.GroupVersion, err)
	}
	dropStash(Q(out))
	if !stashed {
		return nil
	}
	back := P(new(V))
	if err := fromHub[V, H, P, Q](out, (*V)(back)); err != nil {
		return err
	}
	if dropped := difference.Between(field.NewPath("spec"), specOf(in), specOf((*V)(back))); len(dropped) > 0 {
		names := make([]string, len(dropped))
		for i, path := range dropped {
			names[i] = path.String()
		}
		return fmt.Errorf("%s: cannot be changed through this version; use %s", strings.Join(names, ", "),
			v1alpha5.GroupVersion)
	}
	return nil
}

// specOf returns the spec of a version's object.
func specOf(object any) any {
	return reflect.ValueOf(object).Elem().FieldByName("Spec").Interface()
}

// fromHub works on a copy for the same reason, and here it matters most: the
// hub object belongs to the watch cache, which every request shares. What the
// object is called is in the stash of one that a patch has made, and not of one
// that was read: without it they are the same.
func fromHub[V, H any, P spoke[V], Q hub[H]](in *H, out *V) error {
	source := Q(Q(in).DeepCopy())
	source.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	if err := P(out).ConvertFrom(source); err != nil {
		return fmt.Errorf("convert from %s: %w", v1alpha5.GroupVersion, err)
	}
	return nil
}

// dropStash removes the stash, which belongs to the older version's form of an
// object and would otherwise be stored, and grow, with each write.
func dropStash(object metav1.Object) {
	annotations := object.GetAnnotations()
	delete(annotations, utilconversion.AnnotationKey)
	if len(annotations) == 0 {
		object.SetAnnotations(nil)
	}
}
