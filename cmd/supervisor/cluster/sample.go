// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
)

// ApplySamples gives the vSphere Namespaces among the objects what they say, each once: what people make of it later
// stays. One that is not there is passed over: somebody deleted it, or the inventory is another one. With awaited it is
// waited for before: a folder is served once it has been granted its name. Objects of other kinds are applied as by
// Apply. It returns when the roles that they give count, or when the time is over, which is for all of them together;
// the error names each that was not given by then.
func (c *Cluster) ApplySamples(ctx context.Context, objects []*unstructured.Unstructured, awaited bool,
	patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var given []*unstructured.Unstructured
	var failures []error
	for _, object := range objects {
		if object.GetKind() == "Namespace" {
			wanted, err := c.wanted(ctx, object, awaited)
			if err != nil {
				failures = append(failures, err)
			}
			if !wanted {
				continue
			}
		}
		if err := c.Apply(ctx, []*unstructured.Unstructured{object}); err != nil {
			failures = append(failures, err)
		} else if object.GetKind() == "Namespace" {
			given = append(given, object)
		}
	}
	for _, object := range given {
		if err := c.waitBound(ctx, object); err != nil {
			failures = append(failures, err)
		}
	}
	return utilerrors.NewAggregate(failures)
}

// wanted says whether a vSphere Namespace is there and was not given its sample before.
func (c *Cluster) wanted(ctx context.Context, sample *unstructured.Unstructured, awaited bool) (bool, error) {
	var found *unstructured.Unstructured
	err := retry(ctx, func(ctx context.Context) (err error) {
		found, err = c.resource(sample.GroupVersionKind(), "").Get(ctx, sample.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) && !awaited {
			found, err = nil, nil
		}
		return err
	})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("get vSphere Namespace %q: %w", sample.GetName(), err)
	}
	return found != nil && !slices.ContainsFunc(found.GetManagedFields(), func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Manager == FieldManager
	}), nil
}

// waitBound returns when there is a RoleBinding for each of the roles that a vSphere Namespace gives.
func (c *Cluster) waitBound(ctx context.Context, sample *unstructured.Unstructured) error {
	access, _, err := unstructured.NestedSlice(sample.Object, "spec", "access")
	if err != nil {
		return fmt.Errorf("sample %q: %w", sample.GetName(), err)
	}
	return retry(ctx, func(ctx context.Context) error {
		bindings, err := c.resource(rbacv1.SchemeGroupVersion.WithKind("RoleBinding"), sample.GetName()).
			List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=pacific"})
		if err == nil && len(bindings.Items) < len(access) {
			err = fmt.Errorf("%d of the %d roles in %q are bound", len(bindings.Items), len(access), sample.GetName())
		}
		return err
	})
}
