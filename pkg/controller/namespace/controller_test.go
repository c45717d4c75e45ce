// SPDX-License-Identifier: Apache-2.0

package namespace

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/klog/v2/ktesting"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/waittest"
)

func id(folder string) facts.ID { return facts.ID{VCenter: "vc-1", Type: "Folder", Value: folder} }

// called is a folder with that name in vCenter, which may also be served under that name and "-hash".
func called(path, folder string) Folder {
	return Folder{ID: id(folder), Path: path, Names: []string{path, path + "-hash"}}
}

// inventory is the Folders and the Projection of a test.
type inventory struct {
	lock     sync.Mutex
	folders  []Folder
	awaited  map[string]bool
	detached map[facts.ID]bool
	names    Names
	history  []string // each name that each folder was ever served under
	changed  chan struct{}
	asked    func() // called when somebody asks what is awaited
}

func newInventory(folders ...Folder) *inventory {
	return &inventory{folders: folders, changed: make(chan struct{}, 1)}
}

func (i *inventory) Folders() ([]Folder, bool) {
	i.lock.Lock()
	defer i.lock.Unlock()
	return slices.Clone(i.folders), true
}

func (i *inventory) Changed() <-chan struct{} { return i.changed }

func (i *inventory) Awaited(name string) bool {
	i.lock.Lock()
	defer i.lock.Unlock()
	if i.asked != nil {
		i.asked()
	}
	return i.awaited[name]
}

func (i *inventory) SetDetached(ids map[facts.ID]bool) {
	i.lock.Lock()
	defer i.lock.Unlock()
	i.detached = ids
}

func (i *inventory) SetNames(names Names) {
	i.lock.Lock()
	defer i.lock.Unlock()
	for folder, name := range names.Granted {
		if i.names.Granted[folder] != name {
			i.history = append(i.history, folder.Value+" "+name)
		}
	}
	i.names = names
}

func (i *inventory) set(folders ...Folder) {
	i.lock.Lock()
	i.folders = folders
	i.lock.Unlock()
	i.changed <- struct{}{}
}

func (i *inventory) isDetached(folder string) bool {
	i.lock.Lock()
	defer i.lock.Unlock()
	return i.detached[id(folder)]
}

func (i *inventory) nameOf(folder string) string {
	i.lock.Lock()
	defer i.lock.Unlock()
	return i.names.Granted[id(folder)]
}

func (i *inventory) refusedOf(folder string) string {
	i.lock.Lock()
	defer i.lock.Unlock()
	return i.names.Refused[id(folder)]
}

func (i *inventory) was() []string {
	i.lock.Lock()
	defer i.lock.Unlock()
	return slices.Clone(i.history)
}

// ledgers keeps detachments and documents in memory, as the ledger does in etcd.
type ledgers struct {
	lock      sync.Mutex
	detached  map[string]ledger.Detachment
	documents map[string]ledger.Document
	revision  int64
}

func newLedgers() *ledgers {
	return &ledgers{detached: map[string]ledger.Detachment{}, documents: map[string]ledger.Document{}}
}

func (l *ledgers) Detachments(context.Context) (map[string]ledger.Detachment, error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	return maps.Clone(l.detached), nil
}

func (l *ledgers) Detach(_ context.Context, detachment ledger.Detachment) error {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.detached[detachment.Folder] = detachment
	return nil
}

func (l *ledgers) Attach(_ context.Context, folder string) error {
	l.lock.Lock()
	defer l.lock.Unlock()
	delete(l.detached, folder)
	return nil
}

func (l *ledgers) List(context.Context) (map[string]ledger.Document, error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	return maps.Clone(l.documents), nil
}

func (l *ledgers) Put(_ context.Context, id string, value []byte, revision int64) (int64, error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.documents[id].Revision != revision {
		return 0, failure.Conflict
	}
	l.revision++
	l.documents[id] = ledger.Document{Value: value, Revision: l.revision}
	return l.revision, nil
}

func (l *ledgers) Delete(_ context.Context, id string, revision int64) error {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.documents[id].Revision != revision {
		return failure.Conflict
	}
	delete(l.documents, id)
	return nil
}

// events are the Events that were recorded.
type events struct {
	lock sync.Mutex
	said []string
}

func (e *events) Event(object runtime.Object, _, reason, message string) {
	e.lock.Lock()
	defer e.lock.Unlock()
	e.said = append(e.said, object.(metav1.Object).GetName()+" "+reason+" "+message)
}

func (e *events) all() []string {
	e.lock.Lock()
	defer e.lock.Unlock()
	return slices.Clone(e.said)
}

// cluster is a Kubernetes that gives each Namespace a uid of its own, as the fake does not.
func cluster(namespaces ...runtime.Object) *fake.Clientset {
	client := fake.NewClientset(namespaces...)
	var made atomic.Int64
	client.PrependReactor("create", "namespaces", func(action clienttesting.Action) (bool, runtime.Object, error) {
		namespace := action.(clienttesting.CreateAction).GetObject().(*corev1.Namespace)
		namespace.UID = types.UID(fmt.Sprintf("uid-%d", made.Add(1)))
		return false, nil, nil
	})
	return client
}

func foreign(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("foreign-" + name),
		Annotations: map[string]string{"mine": "kept"}}}
}

type running struct {
	*Controller
	events *events
	stop   func()
}

// run starts a controller; before it begins to change anything, begun is called.
func run(t *testing.T, client *fake.Clientset, folders *inventory, kept *ledgers, begun ...func(*Controller)) *running {
	t.Helper()
	logger, ctx := ktesting.NewTestContext(t)
	ctx, stop := context.WithCancel(ctx)
	factory := informers.NewSharedInformerFactory(client, 0)
	said := &events{}
	controller := &Controller{
		Folders: folders, Projection: folders, Records: kept, Made: kept, Client: client.CoreV1().Namespaces(),
		Informer: factory.Core().V1().Namespaces(), Recorder: said, Clock: clock.RealClock{}, Logger: logger,
	}
	if err := controller.Restore(ctx); err != nil {
		t.Fatal(err)
	}
	controller.Informer.Informer() // asks the factory for it, before the factory starts
	factory.Start(ctx.Done())
	if err := controller.Begin(ctx); err != nil {
		t.Fatal(err)
	}
	for _, look := range begun {
		look(controller)
	}
	done := make(chan error, 1)
	go func() { done <- controller.Run(ctx, 2) }()
	r := &running{controller, said, sync.OnceFunc(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		factory.Shutdown()
	})}
	t.Cleanup(r.stop)
	return r
}

func get(t *testing.T, client *fake.Clientset, name string) *corev1.Namespace {
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

func setClaim(t *testing.T, client *fake.Clientset, name, value string) {
	t.Helper()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, vsphere.ClaimAnnotation, value)
	if _, err := client.CoreV1().Namespaces().Patch(t.Context(), name, types.MergePatchType, []byte(patch),
		metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

func claims(folder facts.ID) string { return fmt.Sprintf("%q", folder) }

// remove deletes a Namespace as Kubernetes does, with a time between.
func remove(t *testing.T, client *fake.Clientset, name string, between func()) {
	t.Helper()
	terminating := get(t, client, name)
	terminating.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	terminating.Finalizers = []string{"kubernetes"}
	if _, err := client.CoreV1().Namespaces().Update(t.Context(), terminating, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	between()
	if err := client.CoreV1().Namespaces().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Each folder has a Namespace of its own: one that is there already is somebody else's, and is left alone.
func TestEachFolderHasItsNamespace(t *testing.T) {
	client := cluster(foreign("team-b"))
	folders := newInventory(called("team-a", "group-v1"), called("team-b", "group-v2"))
	c := run(t, client, folders, newLedgers())
	waittest.Eventually(t, "team-a is served", func() bool { return folders.nameOf("group-v1") == "team-a" })
	if got := get(t, client, "team-a").Annotations[vsphere.FolderAnnotation]; got != "group-v1" {
		t.Errorf("team-a names the folder %q", got)
	}
	waittest.Eventually(t, "team-b is served under another name",
		func() bool { return folders.nameOf("group-v2") == "team-b-hash" })
	if diff := cmp.Diff(foreign("team-b"), get(t, client, "team-b")); diff != "" || len(writesTo(client, "team-b")) > 0 {
		t.Errorf("the Namespace of somebody else (-before +after):\n%s\nwrites: %v", diff, writesTo(client, "team-b"))
	}
	if got := folders.refusedOf("group-v2"); got != "team-b" {
		t.Errorf("refused %q", got)
	}
	said := c.events.all()
	if len(said) != 1 || !strings.Contains(said[0],
		"kubectl annotate namespace team-b vsphere.openpacific.io/claim=vc-1/Folder/group-v2") {
		t.Errorf("Events: %q", said)
	}

	folders.set(called("team-a", "group-v1"), called("team-c", "group-v3"))
	waittest.Eventually(t, "team-c exists", func() bool { return get(t, client, "team-c") != nil })
	if get(t, client, "team-b-hash") == nil {
		t.Error("the Namespace of a folder that went was deleted, with all that lies in it")
	}
	if slices.Contains(folders.was(), "group-v2 team-b") {
		t.Errorf("served in a Namespace of somebody else: %v", folders.was())
	}
}

// Whoever may update a Namespace gives it to the folder that is called so, and takes it back.
func TestClaims(t *testing.T) {
	client := cluster(foreign("argocd"), foreign("other"))
	folders := newInventory(called("team-a", "group-v1"))
	run(t, client, folders, newLedgers())
	waittest.Eventually(t, "team-a is served", func() bool { return folders.nameOf("group-v1") == "team-a" })
	// Claims that do not count: of a folder of another name, of another vCenter's folder.
	setClaim(t, client, "other", claims(id("group-v1")))
	setClaim(t, client, "argocd", claims(facts.ID{VCenter: "vc-2", Type: "Folder", Value: "group-v1"}))
	folders.set(called("argocd", "group-v1"))
	waittest.Eventually(t, "the folder is served under another name",
		func() bool { return folders.nameOf("group-v1") == "argocd-hash" })
	setClaim(t, client, "argocd", claims(id("group-v1")))
	waittest.Eventually(t, "the folder is served under its name", func() bool {
		return folders.nameOf("group-v1") == "argocd" && folders.refusedOf("group-v1") == ""
	})
	setClaim(t, client, "argocd", "null")
	waittest.Eventually(t, "the folder is served under another name again",
		func() bool { return folders.nameOf("group-v1") == "argocd-hash" })
	want := []string{"group-v1 team-a", "group-v1 argocd-hash", "group-v1 argocd", "group-v1 argocd-hash"}
	if diff := cmp.Diff(want, folders.was()); diff != "" {
		t.Errorf("names that it was served under (-want +got):\n%s", diff)
	}
}

// A process that starts serves what the one before it served, before it changes anything, and no Namespace that looks
// like the one that was made but is another.
func TestNamesOutliveTheProcess(t *testing.T) {
	client, kept := cluster(foreign("team-b")), newLedgers()
	all := []Folder{called("team-a", "group-v1"), called("team-b", "group-v2"), called("team-c", "group-v3")}
	folders := newInventory(all...)
	first := run(t, client, folders, kept)
	waittest.Eventually(t, "all are served", func() bool {
		return folders.nameOf("group-v1") != "" && folders.nameOf("group-v2") != "" && folders.nameOf("group-v3") != ""
	})
	first.stop()
	// While nobody watches, somebody makes team-c anew, with all the same annotations.
	forged := get(t, client, "team-c")
	if err := client.CoreV1().Namespaces().Delete(t.Context(), "team-c", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), forged, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	folders = newInventory(all...)
	run(t, client, folders, kept, func(*Controller) {
		want := map[facts.ID]string{id("group-v1"): "team-a", id("group-v2"): "team-b-hash"}
		if diff := cmp.Diff(want, folders.names.Granted); diff != "" {
			t.Errorf("granted from the start (-want +got):\n%s", diff)
		}
	})
	waittest.Eventually(t, "the third is served under another name",
		func() bool { return folders.nameOf("group-v3") == "team-c-hash" })
}

// A folder that is renamed goes over at once, and not into a Namespace of somebody else's.
func TestRenamedFolders(t *testing.T) {
	client := cluster(foreign("argocd"))
	folders := newInventory(called("team-a", "group-v1"), called("team-b", "group-v2"))
	run(t, client, folders, newLedgers())
	waittest.Eventually(t, "both are served",
		func() bool { return folders.nameOf("group-v1") != "" && folders.nameOf("group-v2") != "" })
	folders.set(called("argocd", "group-v1"), called("team-a", "group-v2"))
	waittest.Eventually(t, "both have gone over", func() bool {
		return folders.nameOf("group-v1") == "argocd-hash" && folders.nameOf("group-v2") == "team-a-hash"
	})
	if diff := cmp.Diff(foreign("argocd"), get(t, client, "argocd")); diff != "" {
		t.Errorf("the Namespace of somebody else (-before +after):\n%s", diff)
	}
	if was := folders.was(); slices.Contains(was, "group-v1 argocd") || slices.Contains(was, "group-v2 team-a") {
		t.Errorf("served in a Namespace of somebody else: %v", was)
	}
}

// A Namespace that comes to be there just before Pacific makes it is somebody else's.
func TestQuickerOnesKeepTheirs(t *testing.T) {
	client := cluster()
	client.PrependReactor("create", "namespaces", func(action clienttesting.Action) (bool, runtime.Object, error) {
		namespace := action.(clienttesting.CreateAction).GetObject().(*corev1.Namespace)
		if namespace.Name != "team-a" || namespace.UID == "foreign-team-a" {
			return false, nil, nil
		}
		if err := client.Tracker().Add(foreign("team-a")); err != nil && !apierrors.IsAlreadyExists(err) {
			return true, nil, err
		}
		return true, nil, apierrors.NewAlreadyExists(corev1.Resource("namespaces"), "team-a")
	})
	folders := newInventory(called("team-a", "group-v1"))
	run(t, client, folders, newLedgers())
	waittest.Eventually(t, "it is served under another name",
		func() bool { return folders.nameOf("group-v1") == "team-a-hash" })
	if diff := cmp.Diff(foreign("team-a"), get(t, client, "team-a")); diff != "" {
		t.Errorf("the Namespace of somebody else (-before +after):\n%s", diff)
	}
}

func TestADeletedNamespaceDetachesAndAClaimAttaches(t *testing.T) {
	client := cluster()
	folder := called("team-a", "group-v1")
	folders, kept := newInventory(folder), newLedgers()
	run(t, client, folders, kept)
	waittest.Eventually(t, "team-a is served", func() bool { return folders.nameOf("group-v1") == "team-a" })
	remove(t, client, "team-a", func() {
		waittest.Eventually(t, "the folder is detached", func() bool { return folders.isDetached("group-v1") })
	})
	stored, err := kept.Detachments(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, found := stored["vc-1/Folder/group-v1"]; !found {
		t.Errorf("the folder is hidden, but no record says so: %v", stored)
	}
	folders.set(folder, called("team-b", "group-v2")) // a later pass over everything
	waittest.Eventually(t, "team-b exists", func() bool { return get(t, client, "team-b") != nil })
	if get(t, client, "team-a") != nil {
		t.Error("the Namespace of a detached folder was made again")
	}

	again := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-a"}}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), again, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	folders.set(folder, called("team-b", "group-v2"), called("team-c", "group-v3"))
	waittest.Eventually(t, "team-c exists", func() bool { return get(t, client, "team-c") != nil })
	waittest.Eventually(t, "the folder is not served in a Namespace that does not claim it",
		func() bool { return folders.nameOf("group-v1") == "" })
	if !folders.isDetached("group-v1") {
		t.Error("a Namespace of its name alone attached the folder")
	}
	setClaim(t, client, "team-a", claims(id("group-v1")))
	waittest.Eventually(t, "the folder is attached",
		func() bool { return !folders.isDetached("group-v1") && folders.nameOf("group-v1") == "team-a" })
}

func TestDetachedFoldersAreHiddenFromTheStart(t *testing.T) {
	client := cluster()
	folders := newInventory(called("team-a", "group-v1"), called("team-b", "group-v2"), called("team-c", "group-v3"))
	kept := newLedgers()
	for _, detachment := range []ledger.Detachment{
		{Folder: id("group-v1").String(), Namespace: "team-a", Called: "team-a"},
		// What has these ids by now is something else: of a vCenter that was restored, and of another one.
		{Folder: id("group-v2").String(), Namespace: "billing", Called: "billing"},
		{Folder: "vc-2/Folder/group-v3", Namespace: "team-c", Called: "team-c"},
	} {
		if err := kept.Detach(t.Context(), detachment); err != nil {
			t.Fatal(err)
		}
	}
	run(t, client, folders, kept, func(*Controller) {
		if !folders.isDetached("group-v1") || folders.isDetached("group-v2") || folders.isDetached("group-v3") {
			t.Errorf("hidden: %v", folders.detached)
		}
	})
	waittest.Eventually(t, "team-b exists",
		func() bool { return get(t, client, "team-b") != nil && get(t, client, "team-c") != nil })
	if get(t, client, "team-a") != nil {
		t.Error("the Namespace of a detached folder was made again")
	}
}

// A name is reserved for a folder that is yet to come, and is the folder's as soon as it is there.
func TestReservedNames(t *testing.T) {
	client := cluster(foreign("taken"))
	folders, kept := newInventory(), newLedgers()
	folders.awaited = map[string]bool{"team-a": true, "team-b": true}
	c := run(t, client, folders, kept)
	if err := c.Reserve(t.Context(), "taken", facts.ID{}); failure.KindOf(err) != failure.AlreadyExists {
		t.Errorf("a name that somebody has: %v", err)
	}
	for _, name := range []string{"team-a", "team-a", "team-b"} {
		if err := c.Reserve(t.Context(), name, facts.ID{}); err != nil {
			t.Fatal(err)
		}
		if get(t, client, name) == nil || !folders.names.Reserved[name] {
			t.Errorf("%s is not reserved: %v", name, folders.names)
		}
	}
	if err := c.Release(t.Context(), "team-b"); err != nil || get(t, client, "team-b") != nil {
		t.Errorf("released: %v, %v", err, get(t, client, "team-b"))
	}
	folders.set(called("team-a", "group-v1"))
	waittest.Eventually(t, "it is the folder's", func() bool { return folders.nameOf("group-v1") == "team-a" })
	if err := c.Release(t.Context(), "team-a"); err != nil || get(t, client, "team-a") == nil {
		t.Errorf("released when a folder is served in it: %v", err)
	}
	if held, made := c.Standing(get(t, client, "team-a"), id("group-v1")); !held || !made {
		t.Errorf("held %t, made %t", held, made)
	}
	// A folder that is to be brought may have a Namespace that claims it.
	setClaim(t, client, "taken", claims(id("group-v2")))
	if err := c.Reserve(t.Context(), "taken", id("group-v2")); err != nil || folders.nameOf("group-v2") != "taken" {
		t.Errorf("a Namespace that claims the folder: %v, served %v", err, folders.names.Granted)
	}
	if held, made := c.Standing(get(t, client, "taken"), id("group-v2")); !held || made {
		t.Errorf("claimed: held %t, made %t", held, made)
	}
}

// What was reserved by a process that was killed, for a vSphere Namespace that never came to be, is taken back.
func TestReservationsThatNobodyWaitsFor(t *testing.T) {
	client, kept := cluster(), newLedgers()
	folders := newInventory()
	folders.awaited = map[string]bool{"waits": true}
	first := run(t, client, folders, kept)
	for _, name := range []string{"waits", "forgotten"} {
		if err := first.Reserve(t.Context(), name, facts.ID{}); err != nil {
			t.Fatal(err)
		}
	}
	first.stop()
	run(t, client, folders, kept)
	waittest.Eventually(t, "it is taken back", func() bool { return get(t, client, "forgotten") == nil })
	if get(t, client, "waits") == nil {
		t.Error("the other one is gone too")
	}
}

// A process may be killed, or lose the lead, between the moment in which the folder is there and that in which its
// Namespace is written down as its own: nobody waits for the folder any more, and it is not forgotten either.
func TestReservationsWhoseFolderHasCome(t *testing.T) {
	client, kept := cluster(), newLedgers()
	folders := newInventory()
	folders.awaited = map[string]bool{"team-a": true}
	first := run(t, client, folders, kept)
	if err := first.Reserve(t.Context(), "team-a", facts.ID{}); err != nil {
		t.Fatal(err)
	}
	first.stop()
	made := get(t, client, "team-a")
	folders = newInventory(called("team-a", "group-v1"))
	second := run(t, client, folders, kept)
	waittest.Eventually(t, "it is written down", func() bool {
		return second.lookUp("team-a").Folder == id("group-v1") && folders.nameOf("group-v1") == "team-a"
	})
	if now := get(t, client, "team-a"); now == nil || now.UID != made.UID ||
		slices.Contains(writesTo(client, "team-a"), "delete") || folders.isDetached("group-v1") {
		t.Errorf("the Namespace: %+v, writes %v, detached %t", now, writesTo(client, "team-a"),
			folders.isDetached("group-v1"))
	}
}

// A process that has lost the lead and does not know it yet deletes nothing that the next one has given to a folder.
func TestNothingIsReleasedThatIsSettledElsewhere(t *testing.T) {
	client, kept := cluster(), newLedgers()
	folders := newInventory()
	folders.awaited = map[string]bool{"team-a": true}
	old := run(t, client, folders, kept)
	if err := old.Reserve(t.Context(), "team-a", facts.ID{}); err != nil {
		t.Fatal(err)
	}
	next := newInventory(called("team-a", "group-v1"))
	next.awaited = folders.awaited
	second := run(t, client, next, kept)
	waittest.Eventually(t, "it is the folder's", func() bool { return second.lookUp("team-a").Folder == id("group-v1") })
	if err := old.Release(t.Context(), "team-a"); failure.KindOf(err) != failure.Unavailable ||
		get(t, client, "team-a") == nil {
		t.Errorf("released: %v, %v", err, get(t, client, "team-a"))
	}
}

// TestEndedBeforeItBegan: that informers have ended with everything else is no failure of a controller that only begins.
func TestEndedBeforeItBegan(t *testing.T) {
	logger, ctx := ktesting.NewTestContext(t)
	ctx, stop := context.WithCancel(ctx)
	factory := informers.NewSharedInformerFactory(fake.NewClientset(), 0)
	controller := &Controller{Informer: factory.Core().V1().Namespaces(), Clock: clock.RealClock{}, Logger: logger}
	controller.Informer.Informer()
	factory.Start(ctx.Done())
	stop()
	factory.Shutdown()
	if err := controller.Run(ctx, 1); err != nil {
		t.Error(err)
	}
}
