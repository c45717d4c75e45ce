// SPDX-License-Identifier: Apache-2.0

package virtualmachinesetresourcepolicy

import (
	"fmt"
	"slices"

	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	// maxName is how long a name in vCenter may be.
	maxName = 80
	// maxGroups is how many groups a policy may have, each a module in each zone: modules are made one at a time, and
	// those of others wait for that.
	maxGroups = 64
)

func validate(policy *v1alpha5.VirtualMachineSetResourcePolicy) field.ErrorList {
	errs := validation.ValidateObjectMeta(&policy.ObjectMeta, true, validation.NameIsDNSSubdomain,
		field.NewPath("metadata"))
	spec, path := policy.Spec, field.NewPath("spec")
	errs = append(errs, validateName(spec.Folder, path.Child("folder"))...)
	pool, poolPath := spec.ResourcePool, path.Child("resourcePool")
	errs = append(errs, validateName(pool.Name, poolPath.Child("name"))...)
	for _, one := range []struct {
		name               string
		reservation, limit resource.Quantity
	}{
		{"cpu", pool.Reservations.Cpu, pool.Limits.Cpu},
		{"memory", pool.Reservations.Memory, pool.Limits.Memory},
	} {
		errs = append(errs, validateAmount(pool.Name, one.reservation, one.limit, poolPath, one.name)...)
	}
	groups := path.Child("clusterModuleGroups")
	if count := len(spec.ClusterModuleGroups); count > maxGroups {
		errs = append(errs, field.TooMany(groups, count, maxGroups))
	}
	for i, group := range spec.ClusterModuleGroups {
		switch {
		case group == "":
			errs = append(errs, field.Required(groups.Index(i), "name the group, or leave it out"))
		case slices.Contains(spec.ClusterModuleGroups[:i], group):
			errs = append(errs, field.Duplicate(groups.Index(i), group))
		}
	}
	return errs
}

// validateAmount holds what is reserved to what may be taken. Without a limit there is none.
func validateAmount(pool string, reservation, limit resource.Quantity, path *field.Path, name string) field.ErrorList {
	var errs field.ErrorList
	for _, one := range []struct {
		amount resource.Quantity
		field  string
	}{{reservation, "reservations"}, {limit, "limits"}} {
		switch at := path.Child(one.field, name); {
		case one.amount.Sign() < 0:
			errs = append(errs, field.Invalid(at, one.amount.String(), "it must not be negative; leave it out for none"))
		case one.amount.Sign() > 0 && pool == "":
			errs = append(errs, field.Forbidden(at, "it is the resource pool's: name that in spec.resourcePool.name"))
		}
	}
	if limit.Sign() > 0 && reservation.Cmp(limit) > 0 {
		errs = append(errs, field.Invalid(path.Child("reservations", name), reservation.String(),
			"it is more than the limit, "+limit.String()))
	}
	return errs
}

// validateName refuses what vCenter would not take for a name, or keeps otherwise than it was given.
func validateName(name string, path *field.Path) field.ErrorList {
	switch {
	case len(name) > maxName:
		return field.ErrorList{field.TooLong(path, name, maxName)}
	case slices.ContainsFunc([]rune(name), func(r rune) bool { return r < ' ' || r == '/' || r == '\\' || r == '%' }):
		return field.ErrorList{field.Invalid(path, name,
			`it must have no slash, backslash, per cent or control character in it`)}
	}
	return nil
}

// validateUpdate refuses changes of what machines stand on.
func validateUpdate(policy, before *v1alpha5.VirtualMachineSetResourcePolicy) field.ErrorList {
	errs := validation.ValidateObjectMetaUpdate(&policy.ObjectMeta, &before.ObjectMeta, field.NewPath("metadata"))
	path := field.NewPath("spec")
	for _, one := range []struct {
		name         string
		now, earlier any
	}{
		{"resourcePool", policy.Spec.ResourcePool, before.Spec.ResourcePool},
		{"folder", policy.Spec.Folder, before.Spec.Folder},
		{"clusterModuleGroups", policy.Spec.ClusterModuleGroups, before.Spec.ClusterModuleGroups},
	} {
		if !equality.Semantic.DeepEqual(one.now, one.earlier) {
			errs = append(errs, field.Invalid(path.Child(one.name), fmt.Sprint(one.now),
				"field is immutable: make another policy, and virtual machines by that"))
		}
	}
	return errs
}
