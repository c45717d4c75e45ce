// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	coreinformers "k8s.io/client-go/informers/core/v1"
	rbacinformers "k8s.io/client-go/informers/rbac/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/controller"
)

const (
	// syncTimeout bounds one pass over one vSphere Namespace.
	syncTimeout = time.Minute
	// endingInterval is how often a Kubernetes Namespace that is being deleted is
	// looked at, besides when the informer tells.
	endingInterval = 5 * time.Second
)

// Backend is the vCenter side. Both methods may be called any number of times.
type Backend interface {
	// Realise makes what is declared and not there yet.
	Realise(ctx context.Context, uid types.UID) error
	// Dismantle removes what Pacific made and what is empty, and detaches the rest.
	Dismantle(ctx context.Context, uid types.UID) error
}

// Problems shows on a vSphere Namespace what could not be done, and its age where
// vCenter has none.
type Problems interface {
	SetProblem(uid types.UID, message string)
	SetBirth(folder string, at metav1.Time)
}

// Machines are the virtual machines that Pacific made.
type Machines interface {
	// DeleteAll asks for the deletion of those of a Kubernetes Namespace, and
	// returns how many there are still.
	DeleteAll(ctx context.Context, namespace string) (left int, err error)
}

// Releaser ends vSphere Namespaces. It is no error when one is gone.
type Releaser interface {
	// Delete asks for its deletion. The namespace, in which it lies, is "".
	Delete(ctx context.Context, namespace, name string, uid types.UID) error
	// Release removes the finalizer.
	Release(ctx context.Context, namespace, name string, uid types.UID) error
}

// Names knows which Kubernetes Namespaces are whose. Folders are managed-object ids.
type Names interface {
	// Standing says whether a Namespace is the one in which a folder is served, and
	// whether Pacific made it for it. Without a folder, it is about one that is yet
	// to come.
	Standing(namespace *corev1.Namespace, folder string) (held, made bool)
	// Elsewhere says whether a folder is served under another name.
	Elsewhere(folder, namespace string) bool
	// Detached says whether a folder is detached.
	Detached(folder string) bool
}

// Controller keeps vSphere Namespaces. Its fields are set before Run and not
// changed afterwards.
type Controller struct {
	Namespaces cache.ListerWatcher // as the API serves them, all of them
	Backend    Backend
	Problems   Problems
	Machines   Machines
	Releaser   Releaser
	Names      Names
	Client     kubernetes.Interface
	Core       coreinformers.NamespaceInformer
	Bindings   rbacinformers.RoleBindingInformer
	Quotas     coreinformers.ResourceQuotaInformer
	Classes    StorageClasses
	Clock      clock.PassiveClock // Nil: the real one.
	Logger     klog.Logger

	quotaLock sync.Mutex
	quotas    map[string]written // guarded by quotaLock; by namespace
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context, workers int) error {
	queue := controller.NewQueue("vspherenamespace", 100*time.Millisecond, time.Minute)
	defer queue.ShutDown()
	name := func(o metav1.Object) string { return o.GetName() }
	namespace := func(o metav1.Object) string { return o.GetNamespace() }
	store, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: c.Namespaces,
		ObjectType:    &v1alpha1.Namespace{},
		// Nothing depends on one notice.
		ResyncPeriod: 10 * time.Minute,
		Handler:      controller.Enqueue(queue, name),
	})
	synced := []cache.InformerSynced{informer.HasSynced}
	for _, watched := range []struct {
		informer cache.SharedInformer
		what     string
		key      func(metav1.Object) string
	}{
		{c.Core.Informer(), "Namespaces", name}, {c.Bindings.Informer(), "RoleBindings", namespace},
		{c.Quotas.Informer(), "ResourceQuotas", namespace},
	} {
		told, stop, err := controller.Watch(ctx, watched.informer, watched.what, controller.Enqueue(queue, watched.key))
		if err != nil {
			return err
		}
		defer stop()
		synced = append(synced, told)
	}

	var running sync.WaitGroup
	running.Go(func() { informer.RunWithContext(ctx) })
	if cache.WaitForCacheSync(ctx.Done(), synced...) {
		running.Go(func() { c.followClasses(ctx, queue, store) })
		c.worker(store).Work(ctx, queue, workers)
	}
	running.Wait()
	return nil
}

func (c *Controller) worker(namespaces cache.Store) controller.Worker {
	return controller.Worker{
		Timeout: syncTimeout,
		Failed: func(name string, err error) {
			c.Logger.Error(err, "Cannot keep the vSphere Namespace as declared, trying again", "namespace", name)
		},
		Sync: func(ctx context.Context, name string) (time.Duration, error) {
			object, found, err := namespaces.GetByKey(name)
			if err != nil {
				return 0, err
			}
			if !found {
				return 0, c.leave(ctx, name)
			}
			namespace := object.(*v1alpha1.Namespace)
			again, err := c.sync(ctx, namespace)
			if err != nil {
				c.Problems.SetProblem(namespace.UID, err.Error())
			}
			return again, err
		},
	}
}

// sync brings one vSphere Namespace further, and returns after how long to come
// again.
func (c *Controller) sync(ctx context.Context, namespace *v1alpha1.Namespace) (time.Duration, error) {
	if namespace.DeletionTimestamp != nil {
		return c.end(ctx, namespace)
	}
	core, err := c.Core.Lister().Get(namespace.Name)
	switch {
	case apierrors.IsNotFound(err):
		if c.Names.Detached(namespace.Status.Folder) {
			// It was deleted while nobody watched.
			return 0, c.delete(ctx, namespace)
		}
		// The controller of Namespaces makes it once the folder is there.
		return 0, c.realise(ctx, namespace)
	case err != nil:
		return 0, fmt.Errorf("get Namespace %q: %w", namespace.Name, err)
	}
	held, _ := c.Names.Standing(core, namespace.Status.Folder)
	if core.DeletionTimestamp != nil {
		if !held {
			return endingInterval, nil
		}
		return 0, c.delete(ctx, namespace)
	}
	ours := held && namespace.Status.Folder != ""
	var again time.Duration
	if ours {
		// Before anybody is given a role in it, and whatever vCenter says.
		if again, err = c.quota(ctx, namespace); err != nil {
			return 0, err
		}
	}
	if err := c.realise(ctx, namespace); err != nil {
		return 0, err
	}
	if !ours {
		// The controller of Namespaces says which folder it is, and then we come again.
		return 0, nil
	}
	c.Problems.SetBirth(namespace.Status.Folder, core.CreationTimestamp)
	if err := c.setAnnotations(ctx, core, kept(), annotations(namespace)); err != nil {
		return 0, err
	}
	return again, c.bind(ctx, namespace)
}

func (c *Controller) realise(ctx context.Context, namespace *v1alpha1.Namespace) error {
	if err := c.Backend.Realise(ctx, namespace.UID); err != nil {
		return fmt.Errorf("make vSphere Namespace %q in vCenter: %w", namespace.Name, err)
	}
	return nil
}

func (c *Controller) delete(ctx context.Context, namespace *v1alpha1.Namespace) error {
	c.Logger.Info("Deleting the vSphere Namespace of a deleted Namespace", "namespace", namespace.Name)
	if err := c.Releaser.Delete(ctx, "", namespace.Name, namespace.UID); err != nil {
		return fmt.Errorf("delete vSphere Namespace %q: %w", namespace.Name, err)
	}
	return nil
}

// end takes a vSphere Namespace out of Kubernetes and then out of vCenter. Its
// Kubernetes Namespace goes if Pacific made it; of one that claims the folder, what
// Pacific put in.
func (c *Controller) end(ctx context.Context, namespace *v1alpha1.Namespace) (time.Duration, error) {
	if !slices.Contains(namespace.Finalizers, v1alpha1.NamespaceFinalizer) {
		return 0, nil
	}
	core, err := c.Client.CoreV1().Namespaces().Get(ctx, namespace.Name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return 0, fmt.Errorf("get Namespace %q: %w", namespace.Name, err)
	}
	held, made := false, false
	if err == nil {
		held, made = c.Names.Standing(core, namespace.Status.Folder)
	}
	switch {
	case !held: // there is none, or it is somebody else's
	case core.DeletionTimestamp != nil:
		return endingInterval, nil
	case made:
		err := c.Client.CoreV1().Namespaces().Delete(ctx, namespace.Name,
			metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &core.UID}})
		if err != nil && !apierrors.IsNotFound(err) {
			return 0, fmt.Errorf("delete Namespace %q: %w", namespace.Name, err)
		}
		return endingInterval, nil
	}
	// They went with the Kubernetes Namespace, unless kube-apiserver had just been
	// started: until it has asked vsphere-apiserver what that serves, whoever
	// empties Namespaces knows nothing of virtual machines.
	switch left, err := c.Machines.DeleteAll(ctx, namespace.Name); {
	case err != nil:
		return 0, fmt.Errorf("delete the virtual machines of vSphere Namespace %q: %w", namespace.Name, err)
	case left > 0:
		return endingInterval, nil
	}
	if err := c.Backend.Dismantle(ctx, namespace.UID); err != nil {
		return 0, fmt.Errorf("remove vSphere Namespace %q from vCenter: %w", namespace.Name, err)
	}
	if held {
		// After the folder was detached: without the claim it would be served under
		// another name. And before the end: with the claim it would be attached again.
		if err := c.strip(ctx, core, true); err != nil {
			return 0, err
		}
	}
	if err := c.Releaser.Release(ctx, "", namespace.Name, namespace.UID); err != nil {
		return 0, fmt.Errorf("let go of vSphere Namespace %q: %w", namespace.Name, err)
	}
	c.Logger.Info("Deleted a vSphere Namespace", "namespace", namespace.Name)
	return 0, nil
}
