// SPDX-License-Identifier: Apache-2.0

package namespace

import (
	"context"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/klog/v2/ktesting"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/waittest"
)

// inventory is a Folders that a test changes.
type inventory struct {
	lock     sync.Mutex
	folders  []Folder
	detached map[string]bool
	changed  chan struct{}
}

func newInventory(folders ...Folder) *inventory {
	return &inventory{folders: folders, changed: make(chan struct{}, 1)}
}

func (i *inventory) Folders() []Folder {
	i.lock.Lock()
	defer i.lock.Unlock()
	return append([]Folder(nil), i.folders...)
}

func (i *inventory) Changed() <-chan struct{} { return i.changed }

func (i *inventory) SetDetached(ids map[string]bool) {
	i.lock.Lock()
	defer i.lock.Unlock()
	i.detached = maps.Clone(ids)
}

func (i *inventory) set(folders ...Folder) {
	i.lock.Lock()
	i.folders = folders
	i.lock.Unlock()
	i.changed <- struct{}{}
}

func (i *inventory) isDetached(id string) bool {
	i.lock.Lock()
	defer i.lock.Unlock()
	return i.detached[id]
}

// records keeps detachments in memory, as the ledger does in etcd.
type records struct {
	lock sync.Mutex
	kept map[string]ledger.Detachment
}

func (r *records) Detachments(context.Context) (map[string]ledger.Detachment, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	return maps.Clone(r.kept), nil
}

func (r *records) Detach(_ context.Context, detachment ledger.Detachment) error {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.kept == nil {
		r.kept = map[string]ledger.Detachment{}
	}
	r.kept[detachment.Folder] = detachment
	return nil
}

func (r *records) Attach(_ context.Context, folder string) error {
	r.lock.Lock()
	defer r.lock.Unlock()
	delete(r.kept, folder)
	return nil
}

func run(t *testing.T, client kubernetes.Interface, folders Folders, kept Records) {
	t.Helper()
	logger, ctx := ktesting.NewTestContext(t)
	ctx, stop := context.WithCancel(ctx)
	factory := informers.NewSharedInformerFactory(client, 0)
	controller := &Controller{
		Folders: folders, Records: kept, Client: client.CoreV1().Namespaces(),
		Informer: factory.Core().V1().Namespaces(), Clock: clock.RealClock{}, Logger: logger,
	}
	if err := controller.Restore(ctx); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	controller.Informer.Informer() // asks the factory for it, before the factory starts
	factory.Start(ctx.Done())
	go func() { done <- controller.Run(ctx, 2) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		factory.Shutdown()
	})
}

func get(t *testing.T, client kubernetes.Interface, name string) *corev1.Namespace {
	t.Helper()
	namespace, err := client.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return namespace
}

func TestEachFolderHasItsNamespace(t *testing.T) {
	client := fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-b", Annotations: map[string]string{"mine": "kept"}}})
	folders := newInventory(Folder{ID: "group-v1", Namespace: "team-a"}, Folder{ID: "group-v2", Namespace: "team-b"})
	run(t, client, folders, &records{})

	waittest.Eventually(t, "team-a exists", func() bool { return get(t, client, "team-a") != nil })
	waittest.Eventually(t, "team-b is annotated", func() bool { return get(t, client, "team-b").Annotations[vsphere.FolderAnnotation] != "" })
	want := map[string]string{vsphere.FolderAnnotation: "group-v2", "mine": "kept"}
	if diff := cmp.Diff(want, get(t, client, "team-b").Annotations); diff != "" {
		t.Errorf("annotations of team-b (-want +got):\n%s", diff)
	}

	folders.set(Folder{ID: "group-v1", Namespace: "team-a"}, Folder{ID: "group-v3", Namespace: "team-c"})
	waittest.Eventually(t, "team-c exists", func() bool { return get(t, client, "team-c") != nil })
	if get(t, client, "team-b") == nil {
		t.Error("the Namespace of a folder that went was deleted, with all that lies in it")
	}
}

func TestADeletedNamespaceDetachesAndANewOneAttaches(t *testing.T) {
	client := fake.NewClientset()
	folder := Folder{ID: "group-v1", Namespace: "team-a"}
	folders, kept := newInventory(folder), &records{}
	run(t, client, folders, kept)
	waittest.Eventually(t, "team-a exists", func() bool { return get(t, client, "team-a") != nil })

	terminating := get(t, client, "team-a")
	terminating.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	terminating.Finalizers = []string{"kubernetes"}
	if _, err := client.CoreV1().Namespaces().Update(t.Context(), terminating, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "the folder is detached", func() bool { return folders.isDetached("group-v1") })
	stored, err := kept.Detachments(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, found := stored["group-v1"]; !found {
		t.Error("the folder is hidden, but no record says so")
	}

	if err := client.CoreV1().Namespaces().Delete(t.Context(), "team-a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	folders.set(folder, Folder{ID: "group-v2", Namespace: "team-b"}) // a later pass over everything
	waittest.Eventually(t, "team-b exists", func() bool { return get(t, client, "team-b") != nil })
	if get(t, client, "team-a") != nil {
		t.Error("the Namespace of a detached folder was made again")
	}

	again := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-a"}}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), again, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "the folder is attached", func() bool { return !folders.isDetached("group-v1") })
}

func TestDetachedFoldersAreHiddenFromTheStart(t *testing.T) {
	client := fake.NewClientset()
	folders := newInventory(Folder{ID: "group-v1", Namespace: "team-a"}, Folder{ID: "group-v2", Namespace: "team-b"})
	kept := &records{kept: map[string]ledger.Detachment{"group-v1": {Folder: "group-v1", Namespace: "team-a"}}}
	run(t, client, folders, kept)
	if !folders.isDetached("group-v1") {
		t.Error("Restore did not hide group-v1")
	}
	waittest.Eventually(t, "team-b exists", func() bool { return get(t, client, "team-b") != nil })
	if get(t, client, "team-a") != nil {
		t.Error("the Namespace of a detached folder was made again")
	}
}
