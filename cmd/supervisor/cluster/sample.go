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
)

// ApplySamples gives the vSphere Namespaces among the objects what they say, each once: what people make of it later
// stays. One whose folder is not in vCenter, and does not come within the time, which is for all of them together, is
// passed over. It returns when the roles that they give count. Objects of other kinds are applied as by Apply.
func (c *Cluster) ApplySamples(ctx context.Context, objects []*unstructured.Unstructured, patience time.Duration) error {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var given []*unstructured.Unstructured
	for _, object := range objects {
		if object.GetKind() == "Namespace" {
			wanted, err := c.wanted(waiting, object)
			if err != nil {
				return err
			}
			if !wanted {
				continue
			}
			given = append(given, object)
		}
		if err := c.Apply(ctx, []*unstructured.Unstructured{object}); err != nil {
			return err
		}
	}
	for _, object := range given {
		if err := c.waitBound(waiting, object); err != nil && ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// wanted says whether a vSphere Namespace is there and was not given its sample before.
func (c *Cluster) wanted(ctx context.Context, sample *unstructured.Unstructured) (bool, error) {
	var found *unstructured.Unstructured
	err := retry(ctx, func(ctx context.Context) (err error) {
		found, err = c.resource(sample.GroupVersionKind(), "").Get(ctx, sample.GetName(), metav1.GetOptions{})
		return err
	})
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("get vSphere Namespace %q: %w", sample.GetName(), err)
	}
	return !slices.ContainsFunc(found.GetManagedFields(), func(entry metav1.ManagedFieldsEntry) bool { return entry.Manager == FieldManager }), nil
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
