// SPDX-License-Identifier: Apache-2.0

package storageclass

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	coreinformers "k8s.io/client-go/informers/core/v1"
	storageinformers "k8s.io/client-go/informers/storage/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/controller"
)

// syncTimeout bounds one pass over all classes.
const syncTimeout = time.Minute

// Policy is a storage policy of vCenter.
type Policy struct {
	ID, Name string
	// ClassName is the name of its StorageClass.
	ClassName string
}

// Policies knows vCenter's storage policies.
type Policies interface {
	// Policies returns them, and whether they were read at all.
	Policies() ([]Policy, bool)
	// Changed returns a channel that is closed when there are other ones than now.
	Changed() <-chan struct{}
}

// Controller keeps StorageClasses. Its fields are set before Run and not changed
// afterwards.
type Controller struct {
	Namespaces cache.ListerWatcher // vSphere Namespaces, all of them
	Policies   Policies
	Client     kubernetes.Interface
	Informer   storageinformers.StorageClassInformer
	Core       coreinformers.NamespaceInformer
	Quotas     coreinformers.ResourceQuotaInformer
	Logger     klog.Logger

	// said and waits belong to the one worker: the classes of which the log tells
	// that they are somebody else's, and that they wait for quotas.
	said, waits map[string]bool

	mu      sync.Mutex // Guards what follows.
	names   *names     // Nil: not known yet.
	changed chan struct{}
}

// names are those of the classes that are to be there or still are.
type names struct {
	byPolicy map[string]string
	ours     []string
}

// Classes returns the names of the StorageClasses that are to be there, by the
// name of the storage policy, and the sorted names of all that are kept here:
// those, and those that are about to go. It says whether they are known yet.
func (c *Controller) Classes() (byPolicy map[string]string, ours []string, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names == nil {
		return nil, nil, false
	}
	return maps.Clone(c.names.byPolicy), slices.Clone(c.names.ours), true
}

// Changed returns a channel that is closed when there are other Classes than now.
// To miss nothing, call it before Classes.
func (c *Controller) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.changed
}

func (c *Controller) publish(next *names) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names != nil && maps.Equal(c.names.byPolicy, next.byPolicy) && slices.Equal(c.names.ours, next.ours) {
		return
	}
	c.names = next
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// everything is the one thing in the queue: all classes are looked at together.
const everything = "storageclasses"

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	c.said, c.waits = map[string]bool{}, map[string]bool{}
	queue := controller.NewQueue("storageclass", 100*time.Millisecond, time.Minute)
	defer queue.ShutDown()
	look := controller.Enqueue(queue, func(metav1.Object) string { return everything })
	namespaces, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: c.Namespaces,
		ObjectType:    &v1alpha1.Namespace{},
		// Nothing depends on one notice.
		ResyncPeriod: 10 * time.Minute,
		Handler: cache.ResourceEventHandlerFuncs{AddFunc: look.AddFunc, DeleteFunc: look.DeleteFunc,
			UpdateFunc: func(old, object any) {
				// Its usage changes all the time.
				if relevant(old.(*v1alpha1.Namespace), object.(*v1alpha1.Namespace)) {
					queue.Add(everything)
				}
			}},
	})
	synced := []cache.InformerSynced{informer.HasSynced}
	for what, watched := range map[string]cache.SharedIndexInformer{
		"StorageClasses": c.Informer.Informer(), "Namespaces": c.Core.Informer(), "ResourceQuotas": c.Quotas.Informer(),
	} {
		told, stop, err := controller.Watch(ctx, watched, what, look)
		if err != nil {
			return err
		}
		defer stop()
		synced = append(synced, told)
	}

	var running sync.WaitGroup
	running.Go(func() { informer.RunWithContext(ctx) })
	if cache.WaitForCacheSync(ctx.Done(), synced...) {
		running.Go(func() { c.followPolicies(ctx, queue) })
		controller.Worker{
			Timeout: syncTimeout,
			Failed: func(_ string, err error) {
				c.Logger.Error(err, "Cannot keep the StorageClasses of storage policies, trying again")
			},
			Sync: func(ctx context.Context, _ string) (time.Duration, error) { return 0, c.sync(ctx, namespaces) },
		}.Work(ctx, queue, 1)
	}
	running.Wait()
	return nil
}

// relevant says whether the classes may be other ones after a change.
func relevant(old, object *v1alpha1.Namespace) bool {
	return (old.DeletionTimestamp == nil) != (object.DeletionTimestamp == nil) ||
		old.Status.Folder != object.Status.Folder || old.UID != object.UID ||
		!slices.EqualFunc(old.Spec.StoragePolicies, object.Spec.StoragePolicies,
			func(a, b v1alpha1.NamespaceStoragePolicy) bool { return a.Name == b.Name })
}

func (c *Controller) followPolicies(ctx context.Context, queue controller.Queue) {
	for {
		changed := c.Policies.Changed()
		queue.Add(everything)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// sync brings the classes to what is given.
func (c *Controller) sync(ctx context.Context, namespaces cache.Store) error {
	policies, known := c.Policies.Policies()
	if !known {
		return nil
	}
	var living []*v1alpha1.Namespace
	given := map[string]bool{}
	for _, object := range namespaces.List() {
		namespace := object.(*v1alpha1.Namespace)
		if namespace.DeletionTimestamp != nil {
			continue
		}
		living = append(living, namespace)
		for _, policy := range namespace.Spec.StoragePolicies {
			given[policy.Name] = true
		}
	}
	ours, err := c.Informer.Lister().List(labels.SelectorFromSet(labels.Set{vsphere.ManagedLabel: vsphere.ManagedBy}))
	if err != nil {
		return fmt.Errorf("list StorageClasses: %w", err)
	}
	wanted := map[string]*storagev1.StorageClass{}
	next := &names{byPolicy: map[string]string{}}
	for _, policy := range policies {
		if !given[policy.Name] || c.foreign(policy) {
			continue
		}
		wanted[policy.ClassName] = class(policy)
		next.byPolicy[policy.Name] = policy.ClassName
	}
	next.ours = slices.Collect(maps.Keys(wanted))
	for _, have := range ours {
		next.ours = append(next.ours, have.Name)
	}
	slices.Sort(next.ours)
	next.ours = slices.Compact(next.ours)
	c.publish(next)

	var errs []error
	for _, have := range ours {
		if wanted[have.Name] != nil {
			continue
		}
		if err := c.remove(ctx, have); err != nil {
			errs = append(errs, err)
			continue
		}
		c.Logger.Info("Removed the StorageClass of a storage policy that no vSphere Namespace has", "storageClass", have.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if err := c.ensure(ctx, wanted[name], living); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// foreign says whether somebody else has a StorageClass of the name of a policy's.
func (c *Controller) foreign(policy Policy) bool {
	have, err := c.Informer.Lister().Get(policy.ClassName)
	foreign := err == nil && have.Labels[vsphere.ManagedLabel] != vsphere.ManagedBy
	if foreign && !c.said[policy.ClassName] {
		c.Logger.Info("A storage policy gets no StorageClass: there is one of its name that is not Pacific's. Remove it, "+
			"or label it "+vsphere.ManagedLabel+"="+vsphere.ManagedBy+" to have it kept",
			"storagePolicy", policy.Name, "storageClass", policy.ClassName)
	}
	c.said[policy.ClassName] = foreign
	return foreign
}

func (c *Controller) ensure(ctx context.Context, want *storagev1.StorageClass, namespaces []*v1alpha1.Namespace) error {
	have, err := c.Informer.Lister().Get(want.Name)
	switch {
	case apierrors.IsNotFound(err):
		if open := c.open(want.Name, namespaces); open != "" {
			// The notice of its quota brings us back.
			if !c.waits[want.Name] {
				c.waits[want.Name] = true
				c.Logger.Info("A StorageClass waits until the quotas of all vSphere Namespaces count it", "storageClass", want.Name,
					"namespace", open)
			}
			return nil
		}
		delete(c.waits, want.Name)
		return c.create(ctx, want)
	case err != nil:
		return fmt.Errorf("get StorageClass %q: %w", want.Name, err)
	case same(have, want):
		return nil
	case !repairable(have, want):
		if err := c.remove(ctx, have); err != nil {
			return err
		}
		want.Annotations = have.Annotations
		c.Logger.Info("Making a StorageClass anew that was changed by hand", "storageClass", want.Name)
		return c.create(ctx, want)
	}
	next := have.DeepCopy()
	next.AllowVolumeExpansion, next.MountOptions, next.AllowedTopologies = want.AllowVolumeExpansion, want.MountOptions,
		want.AllowedTopologies
	if _, err := c.Client.StorageV1().StorageClasses().Update(ctx, next,
		metav1.UpdateOptions{FieldManager: vsphere.FieldManager}); err != nil {
		return fmt.Errorf("put StorageClass %q right: %w", want.Name, err)
	}
	return nil
}

func (c *Controller) create(ctx context.Context, want *storagev1.StorageClass) error {
	_, err := c.Client.StorageV1().StorageClasses().Create(ctx, want,
		metav1.CreateOptions{FieldManager: vsphere.FieldManager})
	if apierrors.IsAlreadyExists(err) { // the informer will say so
		return nil
	}
	if err != nil {
		return fmt.Errorf("create StorageClass %q: %w", want.Name, err)
	}
	c.Logger.Info("Created the StorageClass of a storage policy", "storageClass", want.Name, "storagePolicyID",
		want.Parameters[policyParameter])
	return nil
}

func (c *Controller) remove(ctx context.Context, have *storagev1.StorageClass) error {
	err := c.Client.StorageV1().StorageClasses().Delete(ctx, have.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &have.UID, ResourceVersion: &have.ResourceVersion},
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove StorageClass %q: %w", have.Name, err)
	}
	return nil
}
