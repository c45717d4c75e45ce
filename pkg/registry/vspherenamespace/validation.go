// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
)

const (
	mebibyte = 1 << 20
	// maxDescription and maxEntries keep an object of a size that can be listed.
	maxDescription = 4096
	maxEntries     = 500
	maxName        = 256
	// maxRef is how long the id of a managed object may be.
	maxRef = 80
)

var (
	domains    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$`)
	folderRefs = regexp.MustCompile(`^group-[A-Za-z0-9-]+$`)
	poolRefs   = regexp.MustCompile(`^resgroup-[A-Za-z0-9-]+$`)
)

// reserved says whether a name belongs to Kubernetes or to the Supervisor.
func reserved(name string) bool {
	return name == "default" || name == "pacific-system" ||
		strings.HasPrefix(name, "kube-") || strings.HasPrefix(name, "vmware-system-")
}

func validate(_ context.Context, object *v1alpha1.Namespace) field.ErrorList {
	errs := validation.ValidateObjectMeta(&object.ObjectMeta, false, func(name string, prefix bool) []string {
		return utilvalidation.IsDNS1123Label(name)
	}, field.NewPath("metadata"))
	if reserved(object.Name) {
		errs = append(errs, field.Forbidden(field.NewPath("metadata", "name"),
			"names that are default or pacific-system, or begin with kube- or vmware-system-, belong to the Supervisor: choose another"))
	}
	spec := field.NewPath("spec")
	if f := object.Spec.Folder; f != "" && (len(f) > maxRef || !folderRefs.MatchString(f)) {
		errs = append(errs, field.Invalid(spec.Child("folder"), f, "it must be the managed-object id of a folder, such as group-v12"))
	}
	return append(errs, validateSpec(&object.Spec, spec)...)
}

func validateUpdate(_ context.Context, object, before *v1alpha1.Namespace) field.ErrorList {
	errs := validation.ValidateObjectMetaUpdate(&object.ObjectMeta, &before.ObjectMeta, field.NewPath("metadata"))
	spec := field.NewPath("spec")
	errs = append(errs, validation.ValidateImmutableField(object.Spec.Folder, before.Spec.Folder, spec.Child("folder"))...)
	for _, taken := range before.Spec.ResourcePools {
		if !slices.Contains(object.Spec.ResourcePools, taken) {
			errs = append(errs, field.Forbidden(spec.Child("resourcePools"),
				fmt.Sprintf("%s was taken over, so its id must stay; give up its zone to let it go", taken)))
		}
	}
	return append(errs, validateSpec(&object.Spec, spec)...)
}

func validateSpec(spec *v1alpha1.NamespaceSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(spec.Description) > maxDescription {
		errs = append(errs, field.TooLong(path.Child("description"), "", maxDescription))
	}
	for _, list := range []struct {
		name   string
		values []string
	}{
		{"zones", spec.Zones}, {"virtualMachineClasses", spec.VirtualMachineClasses},
		{"contentLibraries", spec.ContentLibraries}, {"networks", spec.Networks},
	} {
		errs = append(errs, validateNames(list.values, path.Child(list.name))...)
	}
	for i, pool := range spec.ResourcePools {
		if len(pool) > maxRef || !poolRefs.MatchString(pool) {
			errs = append(errs, field.Invalid(path.Child("resourcePools").Index(i), pool, "it must be the managed-object id of a resource pool, such as resgroup-12"))
		}
	}
	errs = append(errs, validateNames(spec.ResourcePools, path.Child("resourcePools"))...)
	errs = append(errs, validateResources(&spec.Resources, path.Child("resources"))...)
	policies := make([]string, len(spec.StoragePolicies))
	for i, policy := range spec.StoragePolicies {
		policies[i] = policy.Name
		errs = append(errs, validateBytes(policy.Limit, path.Child("storagePolicies").Index(i).Child("limit"))...)
	}
	errs = append(errs, validateNames(policies, path.Child("storagePolicies"))...)
	return append(errs, validateAccess(spec.Access, path.Child("access"))...)
}

func validateNames(values []string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(values) > maxEntries {
		return append(errs, field.TooMany(path, len(values), maxEntries))
	}
	seen := map[string]bool{}
	for i, value := range values {
		switch {
		case value == "":
			errs = append(errs, field.Required(path.Index(i), "a name"))
		case len(value) > maxName:
			errs = append(errs, field.TooLong(path.Index(i), "", maxName))
		case seen[value]:
			errs = append(errs, field.Duplicate(path.Index(i), value))
		}
		seen[value] = true
	}
	return errs
}

func validateResources(r *v1alpha1.NamespaceResources, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, amount := range []struct {
		name  string
		value *int64
	}{{"cpuLimitMHz", r.CPULimitMHz}, {"cpuReservationMHz", r.CPUReservationMHz}} {
		if amount.value != nil && *amount.value < 0 {
			errs = append(errs, field.Invalid(path.Child(amount.name), *amount.value, "it must not be negative; leave it out for none"))
		}
	}
	errs = append(errs, validateBytes(r.MemoryLimit, path.Child("memoryLimit"))...)
	errs = append(errs, validateBytes(r.MemoryReservation, path.Child("memoryReservation"))...)
	if r.CPULimitMHz != nil && r.CPUReservationMHz != nil && *r.CPUReservationMHz > *r.CPULimitMHz {
		errs = append(errs, field.Invalid(path.Child("cpuReservationMHz"), *r.CPUReservationMHz, "it is more than the limit"))
	}
	if r.MemoryLimit != nil && r.MemoryReservation != nil && r.MemoryReservation.Cmp(*r.MemoryLimit) > 0 {
		errs = append(errs, field.Invalid(path.Child("memoryReservation"), r.MemoryReservation.String(), "it is more than the limit"))
	}
	return errs
}

// validateBytes takes whole mebibytes, which is what vCenter counts in.
func validateBytes(q *resource.Quantity, path *field.Path) field.ErrorList {
	switch {
	case q == nil:
		return nil
	case q.Sign() < 0:
		return field.ErrorList{field.Invalid(path, q.String(), "it must not be negative; leave it out for none")}
	}
	bytes, exact := q.AsInt64()
	if !exact || bytes%mebibyte != 0 {
		return field.ErrorList{field.Invalid(path, q.String(), "it must be whole mebibytes, such as 512Mi or 8Gi")}
	}
	return nil
}

func validateAccess(access []v1alpha1.NamespaceAccess, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(access) > maxEntries {
		return append(errs, field.TooMany(path, len(access), maxEntries))
	}
	type subject struct {
		kind v1alpha1.SubjectKind
		name string
	}
	seen := map[subject]bool{}
	for i, entry := range access {
		at := path.Index(i)
		switch entry.Kind {
		case v1alpha1.SubjectUser, v1alpha1.SubjectGroup:
		default:
			errs = append(errs, field.NotSupported(at.Child("kind"), entry.Kind, []v1alpha1.SubjectKind{v1alpha1.SubjectUser, v1alpha1.SubjectGroup}))
		}
		switch entry.Role {
		case v1alpha1.RoleView, v1alpha1.RoleEdit, v1alpha1.RoleOwner:
		default:
			errs = append(errs, field.NotSupported(at.Child("role"), entry.Role, []v1alpha1.Role{v1alpha1.RoleView, v1alpha1.RoleEdit, v1alpha1.RoleOwner}))
		}
		if problem := subjectProblem(entry.Name); problem != "" {
			errs = append(errs, field.Invalid(at.Child("name"), entry.Name, problem))
		}
		key := subject{entry.Kind, entry.Name}
		if seen[key] {
			errs = append(errs, field.Duplicate(at, fmt.Sprintf("%s %s", entry.Kind, entry.Name)))
		}
		seen[key] = true
	}
	return errs
}

// subjectProblem says what is wrong with a name of single sign-on. Groups may
// have all sorts of characters before the last @.
func subjectProblem(name string) string {
	at := strings.LastIndexByte(name, '@')
	switch {
	case at <= 0 || at == len(name)-1:
		return "it must be name@domain, such as dev@vsphere.local"
	case len(name) > maxName:
		return fmt.Sprintf("it must not be longer than %d bytes", maxName)
	case !domains.MatchString(name[at+1:]):
		return "what follows the last @ must be a domain, such as vsphere.local"
	case strings.TrimSpace(name[:at]) != name[:at]:
		return "the name must not begin or end with a space"
	}
	for _, r := range name[:at] {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return "it must not have control characters"
		}
	}
	return ""
}
