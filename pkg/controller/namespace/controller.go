// SPDX-License-Identifier: Apache-2.0

package namespace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	coreinformers "k8s.io/client-go/informers/core/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/controller"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/ledger"
)

const (
	// syncTimeout bounds one pass over one folder.
	syncTimeout = 30 * time.Second
	// knownInterval is how often it is looked whether the folders are known, when a
	// process starts.
	knownInterval = 50 * time.Millisecond
	// heldInterval is how often a Namespace is looked at that is being deleted and
	// cannot go yet.
	heldInterval = time.Second
	// resyncInterval is how often everything is looked at once more, and tidyInterval how
	// soon after something could not be tidied up.
	resyncInterval = 5 * time.Minute
	tidyInterval   = 10 * time.Second
)

// ReasonNameTaken is the reason of the Event that says that a folder is not served
// under its own name.
const ReasonNameTaken = "NameTaken"

// Folder is a vCenter folder that is a vSphere Namespace, detached or not.
type Folder struct {
	ID facts.ID
	// Path is how it is called in vCenter.
	Path string
	// Names are those under which it may be served, the most wanted first.
	Names []string
	// Terminating: its vSphere Namespace is being deleted, so that no Namespace is
	// to be made for it.
	Terminating bool
}

// Folders is the inventory as this controller sees it.
type Folders interface {
	// Folders lists every folder, detached ones too, once they are known.
	Folders() (folders []Folder, known bool)
	// Changed yields whenever the list may be another one.
	Changed() <-chan struct{}
	// Awaited says whether a vSphere Namespace of a name is yet to get its folder.
	Awaited(name string) bool
}

// Names say which folder is served under which name.
type Names struct {
	Granted map[facts.ID]string
	// Reserved are names for folders that are yet to come. Whichever is called so
	// may have it: the Namespace is a new one of Pacific's.
	Reserved map[string]bool
	// Refused are the names that folders are called by in vCenter and do not have.
	Refused map[facts.ID]string
}

// Projection is what serves the folders.
type Projection interface {
	// SetDetached names the detached folders. When it returns, what Pacific did not
	// make in them is no longer served.
	SetDetached(folders map[facts.ID]bool)
	// SetNames names the folders that are served. When it returns, no other is.
	SetNames(names Names)
}

// Records keeps which folders are detached; ledger.Ledger does.
type Records interface {
	Detachments(context.Context) (map[string]ledger.Detachment, error)
	Detach(context.Context, ledger.Detachment) error
	Attach(ctx context.Context, folder string) error
}

// Recorder writes Events; record.EventRecorder of client-go does.
type Recorder interface {
	Event(object runtime.Object, eventtype, reason, message string)
}

// Controller keeps Namespaces and folders in step. Its fields are set before
// Restore and Run and not changed afterwards.
type Controller struct {
	Folders    Folders
	Projection Projection
	Records    Records
	// Made keeps which Namespaces Pacific has made; ledger.Documents does.
	Made     Documents
	Client   coreclient.NamespaceInterface
	Informer coreinformers.NamespaceInformer
	// Recorder is told what people should know. Nil: nobody is.
	Recorder Recorder
	Clock    clock.Clock
	Logger   klog.Logger
	// Mark makes a text that nobody can guess. Nil: a random uuid.
	Mark func() string

	lock     sync.Mutex
	detached map[facts.ID]ledger.Detachment // guarded by lock; a copy of Records
	// recognised are the detached folders that are still what was detached.
	recognised map[facts.ID]bool   // guarded by lock
	made       map[string]*kept    // guarded by lock; a copy of Made, by name
	granted    map[facts.ID]string // guarded by lock
	refused    map[facts.ID]string // guarded by lock

	making    sync.Mutex // one Namespace at a time is made or taken back
	recording sync.Mutex // one detachment at a time is written or taken back
}

// Restore reads the records and hides the detached folders. It must have returned
// before Begin, and that before anything is served.
func (c *Controller) Restore(ctx context.Context) error {
	records, err := c.Records.Detachments(ctx)
	if err != nil {
		return err
	}
	detached := make(map[facts.ID]ledger.Detachment, len(records))
	for text, detachment := range records {
		folder, err := facts.ParseID(text)
		if err != nil {
			c.Logger.Error(err, "Cannot read which folder is detached, it is passed over", "folder", text)
			continue
		}
		detached[folder] = detachment
	}
	made, err := c.load(ctx)
	if err != nil {
		return err
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	c.detached, c.made, c.recognised = detached, made, map[facts.ID]bool{}
	c.granted, c.refused = map[facts.ID]string{}, map[facts.ID]string{}
	c.hide()
	return nil
}

// Begin waits until the folders and the Namespaces are known, and grants what can be
// granted without changing anything, so that a process that starts serves what the
// one before it served. The informer must have been started. It fails only when ctx
// ends.
func (c *Controller) Begin(ctx context.Context) error {
	if !cache.WaitForCacheSync(ctx.Done(), c.Informer.Informer().HasSynced) {
		return ctx.Err()
	}
	var folders []Folder
	err := wait.PollUntilContextCancel(ctx, knownInterval, true, func(context.Context) (known bool, _ error) {
		folders, known = c.Folders.Folders()
		return known, nil
	})
	if err != nil {
		return err
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	c.recognise(folders)
	for _, folder := range folders {
		if found, err := c.judge(folder); err == nil && found.name != "" {
			c.granted[folder.ID] = found.name
		}
	}
	c.show()
	return nil
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context, workers int) error {
	queue := controller.NewQueue("namespace", 50*time.Millisecond, time.Minute)
	defer queue.ShutDown()
	told, stop, err := controller.Watch(ctx, c.Informer.Informer(), "Namespaces", c.enqueueFolders(queue))
	if err != nil {
		return err
	}
	defer stop()
	if !cache.WaitForCacheSync(ctx.Done(), told) {
		return nil
	}

	var running sync.WaitGroup
	running.Go(func() { c.followFolders(ctx, queue) })
	controller.Worker{
		Timeout: syncTimeout,
		Failed: func(key string, err error) {
			c.Logger.Error(err, "Cannot keep Namespace and folder in step, trying again", "item", key)
		},
		Sync: func(ctx context.Context, key string) (time.Duration, error) {
			if !strings.Contains(key, "/") { // no folder's id
				return c.letGo(ctx, key)
			}
			return 0, c.sync(ctx, key)
		},
	}.Work(ctx, queue, workers)
	running.Wait()
	return nil
}

// enqueueFolders returns what has a queue hold the folders that may have a
// Namespace, or have it, whenever it comes, changes or goes; and the Namespace
// itself, by its name, when it is being deleted.
func (c *Controller) enqueueFolders(queue controller.Queue) cache.ResourceEventHandlerFuncs {
	concerned := func(object any) {
		if final, ok := object.(cache.DeletedFinalStateUnknown); ok {
			object = final.Obj
		}
		namespace, ok := object.(*corev1.Namespace)
		if !ok {
			return
		}
		if namespace.DeletionTimestamp != nil {
			queue.Add(namespace.Name)
		}
		folders, _ := c.Folders.Folders()
		for _, folder := range folders {
			if folder.mayHave(namespace.Name) || c.NameOf(folder.ID) == namespace.Name {
				queue.Add(folder.ID.String())
			}
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: concerned, UpdateFunc: func(_, object any) { concerned(object) },
		DeleteFunc: concerned}
}

// followFolders queues every folder when folders change, and now and then, so that
// nothing depends on one notice.
func (c *Controller) followFolders(ctx context.Context, queue controller.Queue) {
	resync := c.Clock.NewTimer(0)
	defer resync.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.Folders.Changed():
		case <-resync.C():
			// Whatever changes meanwhile, it comes again.
			pause := resyncInterval
			if c.tidy(ctx) {
				pause = tidyInterval
			}
			resync.Reset(wait.Jitter(pause, 0.2))
		}
		folders, _ := c.Folders.Folders()
		for _, folder := range folders {
			queue.Add(folder.ID.String())
		}
	}
}

// sync brings one folder and its Namespace in step.
func (c *Controller) sync(ctx context.Context, id string) error {
	folder, found := c.folder(id)
	if !found {
		return nil
	}
	if err := c.remember(ctx, folder); err != nil {
		return err
	}
	c.lock.Lock()
	now, err := c.judge(folder)
	before, stays := c.granted[folder.ID], c.stays(folder)
	c.lock.Unlock()
	if err != nil {
		return err
	}
	c.refuse(folder, now)
	if before != "" && before != now.name && !stays {
		c.grant(folder.ID, "") // at once: the Namespace is not the folder's
	}
	switch {
	case now.make != "":
		err := c.make(ctx, now.make, folder.ID, false)
		if errors.Is(err, failure.AlreadyExists) {
			return fmt.Errorf("make Namespace %q for folder %s: %w", now.make, folder.ID, err) // the informer is behind
		} else if err != nil {
			return err
		}
		c.grant(folder.ID, now.make)
		return nil
	case now.name == "":
		return nil
	case now.settle:
		if err := c.settle(ctx, now.name, folder.ID); err != nil {
			return err
		}
	}
	if now.attach {
		if err := c.Attach(ctx, folder.ID); err != nil {
			return err
		}
	}
	c.grant(folder.ID, now.name)
	if now.detach {
		if err := c.Detach(ctx, folder.ID, now.name); err != nil {
			return err
		}
		_, err := c.letGo(ctx, now.name) // if not now, it comes by its own name
		return err
	}
	return c.annotate(ctx, now.name, folder)
}

func (c *Controller) folder(id string) (Folder, bool) {
	folders, _ := c.Folders.Folders()
	for _, folder := range folders {
		if folder.ID.String() == id {
			return folder, true
		}
	}
	return Folder{}, false
}

// annotate names the folder in its Namespace, as the Supervisor does, and has one
// that Pacific made wait for it when it is deleted.
func (c *Controller) annotate(ctx context.Context, name string, folder Folder) error {
	namespace, err := c.Informer.Lister().Get(name)
	if err != nil || namespace.DeletionTimestamp != nil {
		return nil // it goes, or will come again
	}
	metadata := map[string]any{}
	if namespace.Annotations[vsphere.FolderAnnotation] != folder.ID.Value {
		metadata["annotations"] = map[string]string{vsphere.FolderAnnotation: folder.ID.Value}
	}
	if c.lookUp(name).made(namespace) && !slices.Contains(namespace.Finalizers, vsphere.FolderFinalizer) {
		metadata["finalizers"] = append(slices.Clone(namespace.Finalizers), vsphere.FolderFinalizer)
		metadata["resourceVersion"] = namespace.ResourceVersion
	}
	if len(metadata) == 0 {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": metadata})
	if err != nil {
		return fmt.Errorf("encode the annotation of Namespace %q: %w", name, err)
	}
	_, err = c.Client.Patch(ctx, name, types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: vsphere.FieldManager})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("name folder %s in Namespace %q: %w", folder.ID, name, err)
	}
	return nil
}

// letGo lets a Namespace that is being deleted end, unless a folder is served in it
// of which it is not written down yet that it is detached, or a vSphere Namespace
// waits for its folder, of which it is not written down that it is deleted.
func (c *Controller) letGo(ctx context.Context, name string) (again time.Duration, err error) {
	namespace, err := c.Informer.Lister().Get(name)
	if err != nil {
		return 0, nil // it has gone
	}
	at := slices.Index(namespace.Finalizers, vsphere.FolderFinalizer)
	folders, known := c.Folders.Folders()
	if namespace.DeletionTimestamp == nil || at < 0 || !known {
		return 0, nil
	}
	c.lock.Lock()
	served := slices.ContainsFunc(folders, func(folder Folder) bool {
		granted := c.granted[folder.ID]
		return (granted == name || granted == "") && c.claimOf(namespace, folder) != notClaimed && !c.isDetached(folder.ID)
	})
	record := c.made[name]
	reserved := record.made(namespace) && record.Pending && !record.Released
	c.lock.Unlock()
	if served || reserved && c.Folders.Awaited(name) {
		return heldInterval, nil
	}
	path := fmt.Sprintf("/metadata/finalizers/%d", at)
	patch, err := json.Marshal([]map[string]string{
		{"op": "test", "path": path, "value": vsphere.FolderFinalizer}, {"op": "remove", "path": path},
	})
	if err != nil {
		return 0, fmt.Errorf("encode the end of Namespace %q: %w", name, err)
	}
	_, err = c.Client.Patch(ctx, name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: vsphere.FieldManager})
	// invalid: it has others by now, and we come again
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsInvalid(err) {
		return 0, fmt.Errorf("let Namespace %q go: %w", name, err)
	}
	return 0, nil
}

// Detach stores that a folder is detached before it hides what lies in it, so that
// no restart brings it back. Doing it twice is not an error.
func (c *Controller) Detach(ctx context.Context, folder facts.ID, namespace string) error {
	c.recording.Lock()
	defer c.recording.Unlock()
	if c.Detached(folder) {
		return nil
	}
	detachment := ledger.Detachment{Folder: folder.String(), Namespace: namespace, Time: c.Clock.Now().UTC()}
	if now, there := c.folder(folder.String()); there {
		detachment.Called = now.Path
	}
	if err := c.Records.Detach(ctx, detachment); err != nil {
		return err
	}
	c.setDetached(folder, &detachment)
	c.Logger.Info("Detached the folder of a deleted Namespace; vCenter keeps what Pacific did not make", "namespace",
		namespace, "folder", folder)
	return nil
}

// Attach takes back that a folder is detached, or forgets it when it is gone.
func (c *Controller) Attach(ctx context.Context, folder facts.ID) error {
	c.recording.Lock()
	defer c.recording.Unlock()
	if !c.Detached(folder) {
		return nil
	}
	if err := c.Records.Attach(ctx, folder.String()); err != nil {
		return err
	}
	c.setDetached(folder, nil)
	c.Logger.Info("Attached a folder again", "folder", folder)
	return nil
}

// Detached says whether a folder is detached.
func (c *Controller) Detached(folder facts.ID) bool {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.isDetached(folder)
}

func (c *Controller) isDetached(folder facts.ID) bool {
	_, found := c.detached[folder]
	return found
}

func (c *Controller) setDetached(folder facts.ID, detachment *ledger.Detachment) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if detachment != nil {
		c.detached[folder], c.recognised[folder] = *detachment, true
	} else {
		delete(c.detached, folder)
	}
	c.hide()
}

// hide hands the detached folders to what serves the others. The lock is held.
func (c *Controller) hide() {
	hidden := make(map[facts.ID]bool, len(c.detached))
	for folder := range c.detached {
		hidden[folder] = true
	}
	c.Projection.SetDetached(hidden)
}

// recognise passes over the detachments of folders that are not what was detached:
// they have the id, and are called otherwise than when the folder was seen last. The
// lock is held.
func (c *Controller) recognise(folders []Folder) {
	for _, folder := range folders {
		detachment, found := c.detached[folder.ID]
		switch {
		case !found || c.recognised[folder.ID]:
		case detachment.Called != "" && detachment.Called != folder.Path:
			c.Logger.Info("A folder has the id of one that was detached and is called otherwise: it is taken for another one, "+
				"and served",
				"folder", folder.ID, "called", folder.Path, "was", detachment.Called)
			delete(c.detached, folder.ID)
		default:
			c.recognised[folder.ID] = true
		}
	}
	c.hide()
}

// remember writes down how a detached folder is called by now.
func (c *Controller) remember(ctx context.Context, folder Folder) error {
	if _, news := c.calledOtherwise(folder); !news {
		return nil
	}
	c.recording.Lock()
	defer c.recording.Unlock()
	detachment, news := c.calledOtherwise(folder) // by now it may be attached
	if !news {
		return nil
	}
	detachment.Called = folder.Path
	if err := c.Records.Detach(ctx, detachment); err != nil {
		return err
	}
	c.setDetached(folder.ID, &detachment)
	return nil
}

// calledOtherwise says whether a folder is detached and called otherwise than was
// written down.
func (c *Controller) calledOtherwise(folder Folder) (ledger.Detachment, bool) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.recognise([]Folder{folder})
	detachment, found := c.detached[folder.ID]
	return detachment, found && detachment.Called != folder.Path
}
