// SPDX-License-Identifier: Apache-2.0

package realisation

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/records"
)

// namesInError is how many names an error lists.
const namesInError = 20

// StoragePolicies knows the storage policies of vCenter, by name, and whether they
// were read at all; storagepolicy.Catalogue does.
type StoragePolicies interface {
	Policies() ([]facts.StoragePolicy, bool)
}

// newLibraries are the names of content libraries that object has and before has not.
func newLibraries(before, object *v1alpha1.Namespace) []string {
	return slices.DeleteFunc(slices.Clone(object.Spec.ContentLibraries), func(name string) bool {
		return slices.Contains(before.Spec.ContentLibraries, name)
	})
}

// librariesAvailable checks the content libraries that are new: vCenter must have one of each name, and no more.
func (b *Backend) librariesAvailable(before, object *v1alpha1.Namespace) error {
	asked := newLibraries(before, object)
	if len(asked) == 0 {
		return nil
	}
	known, read := b.Projector.Libraries()
	if !read {
		return fmt.Errorf("spec.contentLibraries: vCenter's content libraries have not been read yet, "+
			"so that it is not known which are meant: try again: %w", failure.Unavailable)
	}
	for _, name := range asked {
		if ids := known[name]; len(ids) > 1 {
			return fmt.Errorf("spec.contentLibraries: vCenter has several content libraries called %q, %s, "+
				"and one has to be meant: rename the others: %w", name, strings.Join(ids, ", "), failure.Invalid)
		}
	}
	return named("spec.contentLibraries", "content library", nil, asked, slices.Sorted(maps.Keys(known)))
}

// give writes down which content libraries are meant by the names that object has and before has not.
func (b *Backend) give(record *records.Record, before, object *v1alpha1.Namespace) {
	known, _ := b.Projector.Libraries()
	for _, name := range newLibraries(before, object) {
		if ids := known[name]; len(ids) == 1 {
			record.Give(name, ids[0])
		}
	}
}

// givable checks the policies that object names and before did not: vCenter must
// have them. One that was named before and is gone is shown in a condition.
func (b *Backend) givable(before, object *v1alpha1.Namespace) error {
	old, asked := policyNames(before), policyNames(object)
	if b.StoragePolicies == nil || !slices.ContainsFunc(asked,
		func(name string) bool { return !slices.Contains(old, name) }) {
		return nil
	}
	policies, read := b.StoragePolicies.Policies()
	if !read {
		return fmt.Errorf("spec.storagePolicies: vCenter's storage policies have not been read yet, so that it cannot be "+
			"checked: try again: %w", failure.Unavailable)
	}
	known := make([]string, len(policies))
	for i, policy := range policies {
		known[i] = policy.Name
	}
	return named("spec.storagePolicies", "storage policy", old, asked, known)
}

func policyNames(object *v1alpha1.Namespace) []string {
	names := make([]string, len(object.Spec.StoragePolicies))
	for i, policy := range object.Spec.StoragePolicies {
		names[i] = policy.Name
	}
	return names
}

// available checks that vCenter has the content libraries, networks and storage
// policies that object names and before did not: what was taken once may be
// renamed in vCenter without making the namespace unwritable.
func (b *Backend) available(before, object *v1alpha1.Namespace) error {
	if err := b.librariesAvailable(before, object); err != nil {
		return err
	}
	if err := b.givable(before, object); err != nil {
		return err
	}
	return named("spec.networks", "network", before.Spec.Networks, object.Spec.Networks, b.Projector.Networks())
}

// named checks the names that are asked for and were not before.
func named(field, what string, before, asked, known []string) error {
	for _, name := range asked {
		switch {
		case slices.Contains(before, name) || slices.Contains(known, name):
		case len(known) == 0:
			return fmt.Errorf("%s: there is no %s %q, nor any other that the account may see in vCenter: %w", field, what, name,
				failure.Invalid)
		default:
			return fmt.Errorf("%s: there is no %s %q; there are: %s: %w", field, what, name, enumerate(known), failure.Invalid)
		}
	}
	return nil
}

// enumerate lists names, as many as somebody wants to read.
func enumerate(names []string) string {
	if more := len(names) - namesInError; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:namesInError], ", "), more)
	}
	return strings.Join(names, ", ")
}
