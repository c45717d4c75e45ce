// SPDX-License-Identifier: Apache-2.0

package namespace

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	coreinformers "k8s.io/client-go/informers/core/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/controller"
	"github.com/openpacific/pacific/pkg/ledger"
)

// syncTimeout bounds one pass over one Namespace.
const syncTimeout = 30 * time.Second

// Folder is a vCenter folder that is a vSphere Namespace, detached or not.
type Folder struct {
	// ID is its managed-object id, such as "group-v12".
	ID string
	// Namespace is the name that it is served under.
	Namespace string
	// Terminating: its vSphere Namespace is being deleted, so that no Namespace is
	// to be made for it.
	Terminating bool
}

// Folders is the inventory as this controller sees it.
type Folders interface {
	// Folders lists every folder, detached ones too.
	Folders() []Folder
	// Changed yields whenever the list may be another one.
	Changed() <-chan struct{}
	// SetDetached names the detached folders by ID. When it returns, what
	// Pacific did not make in them is no longer served.
	SetDetached(ids map[string]bool)
}

// Records keeps which folders are detached; ledger.Ledger does.
type Records interface {
	Detachments(context.Context) (map[string]ledger.Detachment, error)
	Detach(context.Context, ledger.Detachment) error
	Attach(ctx context.Context, folder string) error
}

// Controller keeps Namespaces and folders in step. Its fields are set before
// Restore and Run and not changed afterwards.
type Controller struct {
	Folders  Folders
	Records  Records
	Client   coreclient.NamespaceInterface
	Informer coreinformers.NamespaceInformer
	Clock    clock.Clock
	Logger   klog.Logger

	lock     sync.Mutex
	detached map[string]bool // guarded by lock; a copy of Records
}

// Restore reads the records and hides the detached folders. It must have
// returned before anything is served and before Run.
func (c *Controller) Restore(ctx context.Context) error {
	records, err := c.Records.Detachments(ctx)
	if err != nil {
		return err
	}
	detached := make(map[string]bool, len(records))
	for folder := range records {
		detached[folder] = true
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	c.detached = detached
	c.Folders.SetDetached(maps.Clone(detached))
	return nil
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context, workers int) error {
	queue := controller.NewQueue("namespace", 50*time.Millisecond, time.Minute)
	defer queue.ShutDown()
	registration, err := c.Informer.Informer().AddEventHandler(controller.Enqueue(queue, func(o metav1.Object) string { return o.GetName() }))
	if err != nil {
		return fmt.Errorf("watch Namespaces: %w", err)
	}
	defer func() { _ = c.Informer.Informer().RemoveEventHandler(registration) }()
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return nil
	}

	var running sync.WaitGroup
	running.Go(func() { c.followFolders(ctx, queue) })
	controller.Worker{
		Timeout: syncTimeout,
		Failed: func(name string, err error) {
			c.Logger.Error(err, "Cannot keep Namespace and folder in step, trying again", "namespace", name)
		},
		Sync: func(ctx context.Context, name string) (time.Duration, error) { return 0, c.sync(ctx, name) },
	}.Work(ctx, queue, workers)
	running.Wait()
	return nil
}

// followFolders queues every folder's Namespace when folders change, and now
// and then, so that nothing depends on one notice.
func (c *Controller) followFolders(ctx context.Context, queue controller.Queue) {
	resync := c.Clock.NewTimer(0)
	defer resync.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.Folders.Changed():
		case <-resync.C():
		}
		for _, folder := range c.Folders.Folders() {
			queue.Add(folder.Namespace)
		}
		resync.Reset(wait.Jitter(5*time.Minute, 0.2))
	}
}

// sync brings one Namespace and its folder in step.
func (c *Controller) sync(ctx context.Context, name string) error {
	folder, found := c.folder(name)
	if !found {
		return nil
	}
	namespace, err := c.Informer.Lister().Get(name)
	switch {
	case apierrors.IsNotFound(err):
		if c.isDetached(folder.ID) || folder.Terminating {
			return nil
		}
		return c.create(ctx, folder)
	case err != nil:
		return fmt.Errorf("get Namespace %q: %w", name, err)
	case namespace.DeletionTimestamp != nil:
		return c.detach(ctx, folder)
	}
	if err := c.attach(ctx, folder); err != nil {
		return err
	}
	if namespace.Annotations[vsphere.FolderAnnotation] != folder.ID {
		return c.annotate(ctx, folder)
	}
	return nil
}

func (c *Controller) folder(namespace string) (Folder, bool) {
	for _, folder := range c.Folders.Folders() {
		if folder.Namespace == namespace {
			return folder, true
		}
	}
	return Folder{}, false
}

func (c *Controller) create(ctx context.Context, folder Folder) error {
	_, err := c.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name:        folder.Namespace,
		Annotations: map[string]string{vsphere.FolderAnnotation: folder.ID},
	}}, metav1.CreateOptions{FieldManager: vsphere.FieldManager})
	if apierrors.IsAlreadyExists(err) { // the informer will say so
		return nil
	}
	if err != nil {
		return fmt.Errorf("create Namespace %q for folder %s: %w", folder.Namespace, folder.ID, err)
	}
	c.Logger.Info("Created Namespace", "namespace", folder.Namespace, "folder", folder.ID)
	return nil
}

func (c *Controller) annotate(ctx context.Context, folder Folder) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{vsphere.FolderAnnotation: folder.ID}}})
	if err != nil {
		return fmt.Errorf("encode the annotation of Namespace %q: %w", folder.Namespace, err)
	}
	_, err = c.Client.Patch(ctx, folder.Namespace, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: vsphere.FieldManager})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("name folder %s in Namespace %q: %w", folder.ID, folder.Namespace, err)
	}
	return nil
}

// detach stores that a folder is detached before it hides what lies in it, so
// that no restart brings it back.
func (c *Controller) detach(ctx context.Context, folder Folder) error {
	if c.isDetached(folder.ID) {
		return nil
	}
	err := c.Records.Detach(ctx, ledger.Detachment{Folder: folder.ID, Namespace: folder.Namespace, Time: c.Clock.Now().UTC()})
	if err != nil {
		return err
	}
	c.setDetached(folder.ID, true)
	c.Logger.Info("Detached the folder of a deleted Namespace; vCenter keeps what Pacific did not make", "namespace", folder.Namespace, "folder", folder.ID)
	return nil
}

func (c *Controller) attach(ctx context.Context, folder Folder) error {
	if !c.isDetached(folder.ID) {
		return nil
	}
	if err := c.Records.Attach(ctx, folder.ID); err != nil {
		return err
	}
	c.setDetached(folder.ID, false)
	c.Logger.Info("Attached the folder of a Namespace again", "namespace", folder.Namespace, "folder", folder.ID)
	return nil
}

// Detach detaches the folder of a vSphere Namespace that is being deleted. Doing
// it twice is no error.
func (c *Controller) Detach(ctx context.Context, folder, namespace string) error {
	return c.detach(ctx, Folder{ID: folder, Namespace: namespace})
}

// Attach takes back that a folder is detached, or forgets it when it is gone.
func (c *Controller) Attach(ctx context.Context, folder string) error {
	return c.attach(ctx, Folder{ID: folder})
}

// Detached says whether a folder is detached.
func (c *Controller) Detached(folder string) bool { return c.isDetached(folder) }

func (c *Controller) isDetached(id string) bool {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.detached[id]
}

func (c *Controller) setDetached(id string, detached bool) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if detached {
		c.detached[id] = true
	} else {
		delete(c.detached, id)
	}
	c.Folders.SetDetached(maps.Clone(c.detached))
}
