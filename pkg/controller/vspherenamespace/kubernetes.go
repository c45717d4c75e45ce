// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/controller/storageclass"
)

// The annotations of a Kubernetes Namespace, as the Supervisor's own, that this
// controller sets besides the folder's, which the controller of Namespaces sets.
const (
	poolAnnotation        = "vmware-system-resource-pool"
	cpuLimitAnnotation    = "vmware-system-resource-pool-cpu-limit"
	memoryLimitAnnotation = "vmware-system-resource-pool-memory-limit"
)

// annotations returns those that a Kubernetes Namespace is to have. A value that
// is missing is not to be there. Of several pools the first zone's is named: who
// reads it takes it for one id.
func annotations(namespace *v1alpha1.Namespace) map[string]string {
	wanted := map[string]string{}
	if len(namespace.Status.Zones) > 0 {
		wanted[poolAnnotation] = namespace.Status.Zones[0].ResourcePool
	}
	if limit := namespace.Spec.Resources.CPULimitMHz; limit != nil {
		wanted[cpuLimitAnnotation] = fmt.Sprintf("%d.%04d", *limit/1000, *limit%1000*10) // GHz
	}
	if limit := namespace.Spec.Resources.MemoryLimit; limit != nil {
		wanted[memoryLimitAnnotation] = limit.String()
	}
	return wanted
}

// kept are the annotations that this controller keeps.
func kept() []string {
	return []string{poolAnnotation, cpuLimitAnnotation, memoryLimitAnnotation}
}

// setAnnotations makes the annotations of those keys what they are to be.
func (c *Controller) setAnnotations(ctx context.Context, core *corev1.Namespace, keys []string,
	wanted map[string]string) error {
	changes := map[string]any{}
	for _, key := range keys {
		value, want := wanted[key]
		has, found := core.Annotations[key]
		switch {
		case want && (!found || has != value):
			changes[key] = value
		case !want && found:
			changes[key] = nil
		}
	}
	if len(changes) == 0 {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": changes}})
	if err != nil {
		return fmt.Errorf("encode the annotations of Namespace %q: %w", core.Name, err)
	}
	_, err = c.Client.CoreV1().Namespaces().Patch(ctx, core.Name, types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: vsphere.FieldManager})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("annotate Namespace %q: %w", core.Name, err)
	}
	return nil
}

// managed selects the RoleBindings of this controller.
func managed() labels.Selector {
	return labels.SelectorFromSet(labels.Set{vsphere.ManagedLabel: vsphere.ManagedBy})
}

// bindingPrefix is what the names of the RoleBindings in a Namespace begin with.
func bindingPrefix(namespace string) string { return "wcp:" + namespace + ":" }

// bindingName is the Supervisor's: wcp:<namespace>:user|group:<domain>:<name>. Two
// characters that a RoleBinding's name must not have are replaced; a hash then
// keeps it different from all others.
func bindingName(namespace string, entry v1alpha1.NamespaceAccess) string {
	at := strings.LastIndexByte(entry.Name, '@')
	name, domain := entry.Name[:at], entry.Name[at+1:]
	full := fmt.Sprintf("wcp:%s:%s:%s:%s", namespace, strings.ToLower(string(entry.Kind)), domain, name)
	if strings.ContainsAny(full, "/%") {
		sum := sha256.Sum256([]byte(full))
		full = strings.NewReplacer("/", "_", "%", "_").Replace(full) + ":" + hex.EncodeToString(sum[:4])
	}
	return full
}

// bindings returns the RoleBindings that a vSphere Namespace is to have, by name.
func bindings(namespace *v1alpha1.Namespace) map[string]*rbacv1.RoleBinding {
	wanted := map[string]*rbacv1.RoleBinding{}
	for _, entry := range namespace.Spec.Access {
		if strings.LastIndexByte(entry.Name, '@') < 0 {
			continue
		}
		name := bindingName(namespace.Name, entry)
		wanted[name] = &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace.Name,
				Labels: map[string]string{vsphere.ManagedLabel: vsphere.ManagedBy}},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: entry.Role.ClusterRoleName()},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: string(entry.Kind),
				Name: vsphere.SubjectPrefix + entry.Name}},
		}
	}
	return wanted
}

// bind makes the RoleBindings what they are to be.
func (c *Controller) bind(ctx context.Context, namespace *v1alpha1.Namespace) error {
	ours, err := c.Bindings.Lister().RoleBindings(namespace.Name).List(managed())
	if err != nil {
		return fmt.Errorf("list the RoleBindings of Namespace %q: %w", namespace.Name, err)
	}
	wanted := bindings(namespace)
	var errs []error
	for _, binding := range ours {
		want := wanted[binding.Name]
		if want != nil && binding.RoleRef == want.RoleRef || !strings.HasPrefix(binding.Name, bindingPrefix(namespace.Name)) {
			continue
		}
		// It is not wanted, or of another role: that cannot be changed.
		errs = append(errs, c.removeBinding(ctx, binding))
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if err := c.ensure(ctx, wanted[name]); err != nil {
			errs = append(errs, fmt.Errorf("keep RoleBinding %s/%s: %w", namespace.Name, name, err))
		}
	}
	return errors.Join(errs...)
}

func (c *Controller) removeBinding(ctx context.Context, binding *rbacv1.RoleBinding) error {
	err := c.Client.RbacV1().RoleBindings(binding.Namespace).Delete(ctx, binding.Name,
		metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &binding.UID}})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove RoleBinding %s/%s: %w", binding.Namespace, binding.Name, err)
	}
	return nil
}

func (c *Controller) ensure(ctx context.Context, want *rbacv1.RoleBinding) error {
	client := c.Client.RbacV1().RoleBindings(want.Namespace)
	have, err := c.Bindings.Lister().RoleBindings(want.Namespace).Get(want.Name)
	if err == nil && have.RoleRef == want.RoleRef {
		if equality.Semantic.DeepEqual(have.Subjects, want.Subjects) &&
			have.Labels[vsphere.ManagedLabel] == vsphere.ManagedBy {
			return nil
		}
		return c.repair(ctx, have, want)
	}
	_, err = client.Create(ctx, want, metav1.CreateOptions{FieldManager: vsphere.FieldManager})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	// The informer does not know it yet, or somebody made one of that name.
	now, err := client.Get(ctx, want.Name, metav1.GetOptions{})
	switch {
	case err != nil:
		return err
	case now.RoleRef != want.RoleRef:
		if err := client.Delete(ctx, now.Name, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &now.UID}}); err != nil {
			return err
		}
		_, err = client.Create(ctx, want, metav1.CreateOptions{FieldManager: vsphere.FieldManager})
		return err
	}
	return c.repair(ctx, now, want)
}

func (c *Controller) repair(ctx context.Context, have, want *rbacv1.RoleBinding) error {
	next := have.DeepCopy()
	next.Subjects = want.Subjects
	if next.Labels == nil {
		next.Labels = map[string]string{}
	}
	next.Labels[vsphere.ManagedLabel] = vsphere.ManagedBy
	_, err := c.Client.RbacV1().RoleBindings(want.Namespace).Update(ctx, next,
		metav1.UpdateOptions{FieldManager: vsphere.FieldManager})
	return err
}

// leave takes out of a Kubernetes Namespace what Pacific put in, where its folder is
// served under another name by now: it was renamed, or is claimed no more.
func (c *Controller) leave(ctx context.Context, name string) error {
	core, err := c.Core.Lister().Get(name)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("get Namespace %q: %w", name, err)
	}
	folder := core.Annotations[vsphere.FolderAnnotation]
	if core.DeletionTimestamp != nil || folder == "" || !c.Names.Elsewhere(folder, name) {
		return nil
	}
	return c.strip(ctx, core, false)
}

// strip takes out of a Kubernetes Namespace what Pacific put in: roles, the quota,
// annotations. claim says whether the claim of a folder goes too.
func (c *Controller) strip(ctx context.Context, core *corev1.Namespace, claim bool) error {
	bindings, err := c.Client.RbacV1().RoleBindings(core.Name).List(ctx,
		metav1.ListOptions{LabelSelector: managed().String()})
	if err != nil {
		return fmt.Errorf("list the RoleBindings of Namespace %q: %w", core.Name, err)
	}
	var errs []error
	for _, binding := range bindings.Items {
		if strings.HasPrefix(binding.Name, bindingPrefix(core.Name)) {
			errs = append(errs, c.removeBinding(ctx, &binding))
		}
	}
	quota, err := c.Client.CoreV1().ResourceQuotas(core.Name).Get(ctx, storageclass.QuotaName(core.Name),
		metav1.GetOptions{})
	switch {
	case err == nil:
		errs = append(errs, c.removeQuota(ctx, quota))
	case !apierrors.IsNotFound(err):
		errs = append(errs, fmt.Errorf("get the quota of Namespace %q: %w", core.Name, err))
	}
	if err := errors.Join(errs...); err != nil {
		return err // the annotations tell that there is something left to do
	}
	keys := append(kept(), vsphere.FolderAnnotation, vsphere.MarkAnnotation)
	if claim {
		keys = append(keys, vsphere.ClaimAnnotation)
	}
	if err := c.setAnnotations(ctx, core, keys, nil); err != nil {
		return err
	}
	c.Logger.Info("Took out of a Namespace what Pacific had put in", "namespace", core.Name)
	return nil
}
