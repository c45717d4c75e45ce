// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"context"
	"fmt"
	"maps"
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/controller"
	"github.com/openpacific/pacific/pkg/controller/storageclass"
)

const (
	// unlimited is what a quota says where there is no limit.
	unlimited = math.MaxInt64
	// smallPart and smallBytes are how little a quota may be off for quotaPause:
	// what virtual machines take moves all the time.
	smallPart  = 100 // of the limit
	smallBytes = 64 << 20
	quotaPause = time.Minute
)

// StorageClasses knows the StorageClasses that are kept for storage policies;
// storageclass.Controller does.
type StorageClasses interface {
	// Classes returns their names by the name of the storage policy, the names of
	// all of them, and whether they are known yet.
	Classes() (byPolicy map[string]string, all []string, known bool)
	// Changed returns a channel that is closed when there are other ones than now.
	Changed() <-chan struct{}
}

// allowance is what claims of one class may ask for, and what it was made of.
type allowance struct {
	bytes int64
	limit int64 // unlimited for none
}

// allowances returns what a vSphere Namespace may claim of each class: of those
// that it was given, the limit without what its virtual machines take now; of all
// others, nothing.
func allowances(namespace *v1alpha1.Namespace, byPolicy map[string]string, all []string) map[string]allowance {
	taken := map[string]int64{}
	for _, part := range namespace.Status.Usage.Storage {
		taken[part.Policy] = part.Used.Value()
	}
	allowed := map[string]allowance{}
	for _, class := range all {
		allowed[class] = allowance{}
	}
	for _, policy := range namespace.Spec.StoragePolicies {
		class, found := byPolicy[policy.Name]
		switch {
		case !found:
		case policy.Limit == nil:
			allowed[class] = allowance{bytes: unlimited, limit: unlimited}
		default:
			limit := policy.Limit.Value()
			allowed[class] = allowance{bytes: max(0, limit-taken[policy.Name]), limit: limit}
		}
	}
	return allowed
}

// quotaOf returns the quota that says so.
func quotaOf(namespace string, allowed map[string]allowance) *corev1.ResourceQuota {
	hard := corev1.ResourceList{}
	for class, a := range allowed {
		format := resource.BinarySI
		if a.bytes == unlimited {
			format = resource.DecimalSI
		}
		hard[storageclass.QuotaKey(class)] = *resource.NewQuantity(a.bytes, format)
	}
	return &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: storageclass.QuotaName(namespace),
			Labels: map[string]string{vsphere.ManagedLabel: vsphere.ManagedBy}},
		Spec: corev1.ResourceQuotaSpec{Hard: hard},
	}
}

// written is what this controller wrote last into the quota of a namespace.
type written struct {
	allowed map[string]allowance
	spec    corev1.ResourceQuotaSpec
	at      time.Time
}

// quota keeps the quota of a vSphere Namespace, and returns after how long to come
// again.
func (c *Controller) quota(ctx context.Context, namespace *v1alpha1.Namespace) (time.Duration, error) {
	byPolicy, all, known := c.Classes.Classes()
	if !known {
		return 0, nil
	}
	allowed := allowances(namespace, byPolicy, all)
	want := quotaOf(namespace.Name, allowed)
	have, err := c.Quotas.Lister().ResourceQuotas(namespace.Name).Get(want.Name)
	switch {
	case apierrors.IsNotFound(err):
		if have = nil; len(allowed) == 0 {
			return 0, nil
		}
	case err != nil:
		return 0, fmt.Errorf("get ResourceQuota %s/%s: %w", want.Namespace, want.Name, err)
	case len(allowed) == 0:
		return 0, c.removeQuota(ctx, have)
	case have.Labels[vsphere.ManagedLabel] == vsphere.ManagedBy:
		if equality.Semantic.DeepEqual(have.Spec, want.Spec) {
			return 0, nil
		}
		if pause := c.tolerate(have, allowed); pause > 0 {
			return pause, nil
		}
	}
	err = c.writeQuota(ctx, have, want)
	switch {
	case have == nil && apierrors.IsAlreadyExists(err):
		// The informer does not know it yet, and has us come again when it does.
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("keep ResourceQuota %s/%s: %w", want.Namespace, want.Name, err)
	}
	c.quotaLock.Lock()
	defer c.quotaLock.Unlock()
	if c.quotas == nil {
		c.quotas = map[string]written{}
	}
	c.quotas[namespace.Name] = written{allowed: allowed, spec: want.Spec, at: c.now()}
	return 0, nil
}

// tolerate returns for how long a quota may stay as it is: it is ours still, it was
// written less than a minute ago, and only what virtual machines take has moved, a
// little.
func (c *Controller) tolerate(have *corev1.ResourceQuota, allowed map[string]allowance) time.Duration {
	c.quotaLock.Lock()
	defer c.quotaLock.Unlock()
	last, found := c.quotas[have.Namespace]
	if !found || !equality.Semantic.DeepEqual(have.Spec, last.spec) {
		return 0
	}
	little := maps.EqualFunc(last.allowed, allowed, func(a, b allowance) bool {
		moved := max(a.bytes-b.bytes, b.bytes-a.bytes)
		return a.limit == b.limit && (moved < smallBytes || moved < a.limit/smallPart)
	})
	if !little {
		return 0
	}
	return max(0, last.at.Add(quotaPause).Sub(c.now()))
}

// writeQuota writes a quota in place of the one that is there; have is nil where
// none is known.
func (c *Controller) writeQuota(ctx context.Context, have, want *corev1.ResourceQuota) error {
	client := c.Client.CoreV1().ResourceQuotas(want.Namespace)
	if have == nil {
		_, err := client.Create(ctx, want, metav1.CreateOptions{FieldManager: vsphere.FieldManager})
		return err
	}
	// Kubernetes writes what is used into it at the same time.
	return retry.OnError(retry.DefaultBackoff, apierrors.IsConflict, func() error {
		next := have.DeepCopy()
		next.Spec = want.Spec
		if next.Labels == nil {
			next.Labels = map[string]string{}
		}
		next.Labels[vsphere.ManagedLabel] = vsphere.ManagedBy
		_, err := client.Update(ctx, next, metav1.UpdateOptions{FieldManager: vsphere.FieldManager})
		if apierrors.IsConflict(err) {
			if now, failed := client.Get(ctx, want.Name, metav1.GetOptions{}); failed == nil {
				have = now
			}
		}
		return err
	})
}

func (c *Controller) removeQuota(ctx context.Context, have *corev1.ResourceQuota) error {
	if have.Labels[vsphere.ManagedLabel] != vsphere.ManagedBy {
		return nil
	}
	err := c.Client.CoreV1().ResourceQuotas(have.Namespace).Delete(ctx, have.Name,
		metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &have.UID}})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove ResourceQuota %s/%s: %w", have.Namespace, have.Name, err)
	}
	return nil
}

// followClasses queues all vSphere Namespaces when there are other classes, of
// which those that were not given one are to have nothing.
func (c *Controller) followClasses(ctx context.Context, queue controller.Queue, namespaces cache.Store) {
	for {
		changed := c.Classes.Changed()
		for _, name := range namespaces.ListKeys() {
			queue.Add(name)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func (c *Controller) now() time.Time {
	if c.Clock == nil {
		return clock.RealClock{}.Now()
	}
	return c.Clock.Now()
}
