// SPDX-License-Identifier: Apache-2.0

package namespace

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/ledger"
	"github.com/openpacific/pacific/pkg/waittest"
)

// terminate asks for the deletion of a Namespace; what lies in it goes at once.
func terminate(t *testing.T, client *fake.Clientset, name string) {
	t.Helper()
	namespace := get(t, client, name)
	namespace.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	if _, err := client.CoreV1().Namespaces().Update(t.Context(), namespace, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// gone is Kubernetes, which removes a Namespace once nothing keeps it, and says whether it is gone.
func gone(t *testing.T, client *fake.Clientset, name string) bool {
	t.Helper()
	namespace := get(t, client, name)
	if namespace == nil {
		return true
	}
	if namespace.DeletionTimestamp == nil || len(namespace.Finalizers) > 0 {
		return false
	}
	if err := client.CoreV1().Namespaces().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	return true
}

// writesTo are what was written to a Namespace.
func writesTo(client *fake.Clientset, name string) []string {
	var writes []string
	for _, action := range client.Actions() {
		switch a := action.(type) {
		case clienttesting.PatchAction:
			if a.GetName() == name {
				writes = append(writes, action.GetVerb())
			}
		case clienttesting.DeleteAction:
			if a.GetName() == name {
				writes = append(writes, action.GetVerb())
			}
		}
	}
	return writes
}

// A Namespace that is deleted while no process leads does not go unnoticed.
func TestDeletionsOutliveTheProcess(t *testing.T) {
	client, kept := cluster(), newLedgers()
	folder := called("team-a", "group-v1")
	folders := newInventory(folder, called("left", "group-v2"))
	first := run(t, client, folders, kept)
	waittest.Eventually(t, "both are served", func() bool {
		return folders.nameOf("group-v1") == "team-a" &&
			folders.nameOf("group-v2") == "left"
	})
	first.stop()
	terminate(t, client, "team-a")
	gone(t, client, "team-a")
	folders = newInventory(folder)
	run(t, client, folders, kept)
	waittest.Eventually(t, "the folder is detached", func() bool { return folders.isDetached("group-v1") })
	waittest.Eventually(t, "the Namespace goes", func() bool { return gone(t, client, "team-a") })
	if stored, err := kept.Detachments(t.Context()); err != nil || len(stored) != 1 {
		t.Errorf("recorded: %v, %v", stored, err)
	}
	// Nothing holds one whose folder is gone.
	terminate(t, client, "left")
	waittest.Eventually(t, "the other goes", func() bool { return gone(t, client, "left") })
	folders.set(folder, called("team-b", "group-v3")) // a later pass over everything
	waittest.Eventually(t, "team-b exists", func() bool { return get(t, client, "team-b") != nil })
	if get(t, client, "team-a") != nil {
		t.Error("the Namespace of a deleted one was made again")
	}
}

// unreliable are records that cannot be written for a while.
type unreliable struct {
	*ledgers
	asked  chan struct{}
	broken atomic.Bool
}

func (u *unreliable) Detach(ctx context.Context, detachment ledger.Detachment) error {
	if u.broken.Load() {
		select {
		case u.asked <- struct{}{}:
		default:
		}
		return failure.Unavailable
	}
	return u.ledgers.Detach(ctx, detachment)
}

// A Namespace does not wait for ever for a folder that goes before it could be detached.
func TestNothingWaitsForAFolderThatHasGone(t *testing.T) {
	client, kept := cluster(), newLedgers()
	folders := newInventory(called("team-a", "group-v1"))
	records := &unreliable{ledgers: kept, asked: make(chan struct{}, 1)}
	records.broken.Store(true)
	c := run(t, client, folders, kept, func(c *Controller) { c.Records = records })
	waittest.Eventually(t, "it is served", func() bool { return folders.nameOf("group-v1") == "team-a" })
	terminate(t, client, "team-a")
	<-records.asked
	if gone(t, client, "team-a") {
		t.Error("it has gone before its folder was detached")
	}
	folders.set()
	waittest.Eventually(t, "it goes", func() bool { return gone(t, client, "team-a") })
	c.stop()
}

// What Pacific made waits for it, also when somebody takes the finalizer off; a Namespace of somebody else's does not.
func TestOnlyWhatPacificMadeWaits(t *testing.T) {
	client := cluster(foreign("argocd"))
	folders := newInventory(called("team-a", "group-v1"), called("argocd", "group-v2"))
	setClaim(t, client, "argocd", claims(id("group-v2")))
	run(t, client, folders, newLedgers())
	waittest.Eventually(t, "both are served", func() bool {
		return folders.nameOf("group-v1") == "team-a" &&
			folders.nameOf("group-v2") == "argocd"
	})
	if got := get(t, client, "argocd").Finalizers; len(got) > 0 {
		t.Errorf("finalizers of somebody else's: %v", got)
	}
	waits := func() bool {
		return slices.Equal(get(t, client, "team-a").Finalizers, []string{vsphere.FolderFinalizer})
	}
	if !waits() {
		t.Errorf("made with %v", get(t, client, "team-a").Finalizers)
	}
	without := get(t, client, "team-a")
	without.Finalizers = nil
	if _, err := client.CoreV1().Namespaces().Update(t.Context(), without, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "it has the finalizer again", waits)
}

// A vSphere Namespace may be removed between a look at its folder and the moment in which a Namespace is made for that.
func TestNothingIsMadeForAFolderThatHasGone(t *testing.T) {
	for _, verb := range []string{"get", "create"} {
		client, folders := cluster(), newInventory(called("team-b", "group-v2"))
		var removed sync.Once
		client.PrependReactor(verb, "namespaces", func(action clienttesting.Action) (bool, runtime.Object, error) {
			if named, ok := action.(clienttesting.GetAction); ok && named.GetName() != "team-a" {
				return false, nil, nil
			}
			if named, ok := action.(clienttesting.CreateAction); ok && named.GetObject().(*corev1.Namespace).Name != "team-a" {
				return false, nil, nil
			}
			removed.Do(func() {
				folders.lock.Lock()
				defer folders.lock.Unlock()
				folders.folders = folders.folders[1:]
			})
			return false, nil, nil
		})
		run(t, client, folders, newLedgers())
		folders.set(called("team-a", "group-v1"), called("team-b", "group-v2"))
		waittest.Eventually(t, "another folder is served", func() bool { return folders.nameOf("group-v2") == "team-b" })
		folders.set(called("team-b", "group-v2"), called("team-c", "group-v3"))
		waittest.Eventually(t, "a third is served", func() bool { return folders.nameOf("group-v3") == "team-c" })
		waittest.Eventually(t, "nothing is left", func() bool { return get(t, client, "team-a") == nil })
		if name := folders.nameOf("group-v1"); name != "" {
			t.Errorf("%s: the folder that went was granted the name %q, of which there is no Namespace", verb, name)
		}
	}
}

// A request to make a Namespace may arrive when nobody waits for its answer any more. It is known all the same.
func TestNamespacesThatAreMadeLate(t *testing.T) {
	client, kept := cluster(), newLedgers()
	var late *corev1.Namespace
	client.PrependReactor("create", "namespaces", func(action clienttesting.Action) (bool, runtime.Object, error) {
		namespace := action.(clienttesting.CreateAction).GetObject().(*corev1.Namespace)
		if late == nil {
			late = namespace.DeepCopy()
			late.UID = "uid-late"
			return true, nil, errors.New("connection reset by peer")
		}
		if err := client.Tracker().Add(late); err != nil && !apierrors.IsAlreadyExists(err) {
			return true, nil, err
		}
		return false, nil, nil
	})
	folders := newInventory(called("team-a", "group-v1"))
	run(t, client, folders, kept)
	waittest.Eventually(t, "the folder is served", func() bool { return folders.nameOf("group-v1") != "" })
	if name := folders.nameOf("group-v1"); name != "team-a" || folders.refusedOf("group-v1") != "" {
		t.Errorf("served under %q, refused %q", name, folders.refusedOf("group-v1"))
	}
}

// A folder may come in between the looks of who takes reservations back.
func TestReservationsWhoseFolderComesMeanwhile(t *testing.T) {
	client, kept := cluster(), newLedgers()
	folders := newInventory()
	folders.awaited = map[string]bool{"team-a": true}
	first := run(t, client, folders, kept)
	if err := first.Reserve(t.Context(), "team-a", facts.ID{}); err != nil {
		t.Fatal(err)
	}
	first.stop()
	folders = newInventory()
	looked := make(chan struct{})
	folders.asked = sync.OnceFunc(func() {
		folders.folders = []Folder{called("team-a", "group-v1")}
		close(looked)
	})
	second := run(t, client, folders, kept)
	<-looked
	folders.set(called("team-a", "group-v1"), called("team-b", "group-v2"))
	waittest.Eventually(t, "both are served", func() bool {
		return folders.nameOf("group-v1") != "" &&
			folders.nameOf("group-v2") != ""
	})
	second.stop()
	if slices.Contains(writesTo(client, "team-a"), "delete") {
		t.Error("the Namespace of a folder was taken back")
	}
}

// As soon as a process serves, it knows what the one before it reserved for a folder that has come since: a vSphere
// Namespace may be deleted before that is written down.
func TestReservedNamesStandFromTheStart(t *testing.T) {
	client, kept := cluster(foreign("argocd")), newLedgers()
	folders := newInventory()
	folders.awaited = map[string]bool{"team-a": true}
	first := run(t, client, folders, kept)
	if err := first.Reserve(t.Context(), "team-a", facts.ID{}); err != nil {
		t.Fatal(err)
	}
	first.stop()
	folders = newInventory(called("team-a", "group-v1"), called("argocd", "group-v2"))
	second := run(t, client, folders, kept, func(c *Controller) {
		if held, made := c.Standing(get(t, client, "team-a"), id("group-v1")); !held || !made {
			t.Errorf("held %t, made %t", held, made)
		}
		for _, folder := range []string{"group-v2", "group-v3"} {
			if held, made := c.Standing(get(t, client, "team-a"), id(folder)); held || made {
				t.Errorf("of %s: held %t, made %t", folder, held, made)
			}
		}
		if held, made := c.Standing(get(t, client, "argocd"), id("group-v2")); held || made {
			t.Errorf("argocd: held %t, made %t", held, made)
		}
	})
	waittest.Eventually(t, "it is written down", func() bool { return second.lookUp("team-a").Folder == id("group-v1") })
}

// A reservation that is taken back can be asked for again, while its Namespace goes and afterwards, and nobody else has
// it.
func TestReleasedNames(t *testing.T) {
	client, kept := cluster(), newLedgers()
	folders := newInventory()
	folders.awaited = map[string]bool{"team-a": true, "team-b": true}
	c := run(t, client, folders, kept)
	client.PrependReactor("delete", "namespaces", func(action clienttesting.Action) (bool, runtime.Object, error) {
		resource := action.GetResource()
		found, err := client.Tracker().Get(resource, "", action.(clienttesting.DeleteAction).GetName())
		if err != nil {
			return true, nil, err
		}
		namespace := found.(*corev1.Namespace).DeepCopy()
		if namespace.DeletionTimestamp != nil {
			return false, nil, nil
		}
		namespace.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		return true, nil, client.Tracker().Update(resource, namespace, "")
	})
	if err := c.Reserve(t.Context(), "team-a", facts.ID{}); err != nil {
		t.Fatal(err)
	}
	// One that is reserved for a folder which is to be taken over is that vSphere Namespace's too.
	if err := c.Reserve(t.Context(), "team-b", id("group-v2")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"team-a", "team-b"} {
		if held, made := c.Standing(get(t, client, name), facts.ID{}); !held || !made {
			t.Errorf("%s: held %t, made %t", name, held, made)
		}
	}
	if err := c.Release(t.Context(), "team-a"); err != nil {
		t.Fatal(err)
	}
	if folders.names.Reserved["team-a"] {
		t.Error("it is reserved still")
	}
	if held, made := c.Standing(get(t, client, "team-a"), facts.ID{}); held || made {
		t.Errorf("held %t, made %t", held, made)
	}
	if err := c.Reserve(t.Context(), "team-a", facts.ID{}); failure.KindOf(err) != failure.Unavailable {
		t.Errorf("reserve: %v", err)
	}
	waittest.Eventually(t, "it is gone", func() bool { return gone(t, client, "team-a") })
	if err := c.Reserve(t.Context(), "team-a", facts.ID{}); err != nil || !folders.names.Reserved["team-a"] {
		t.Errorf("reserve again: %v", err)
	}
}

// slow has something happen while it is written down how a detached folder is called.
type slow struct {
	*ledgers
	during func()
}

func (s *slow) Detach(ctx context.Context, detachment ledger.Detachment) error {
	if detachment.Called == "renamed" {
		s.during()
	}
	return s.ledgers.Detach(ctx, detachment)
}

// A folder that is attached while it is written down how it is called stays attached.
func TestAttachedFoldersStayAttached(t *testing.T) {
	c := &Controller{Projection: newInventory(), Records: &slow{newLedgers(), nil},
		Folders: newInventory(called("renamed", "group-v1"))}
	c.detached = map[facts.ID]ledger.Detachment{id("group-v1"): {Folder: id("group-v1").String(), Called: "team-a"}}
	c.recognised = map[facts.ID]bool{id("group-v1"): true}
	attached := make(chan error, 1)
	c.Records.(*slow).during = func() {
		go func() { attached <- c.Attach(context.Background(), id("group-v1")) }()
		select {
		case err := <-attached: // nothing keeps it from that
			attached <- err
		case <-time.After(50 * time.Millisecond):
		}
	}
	if err := c.remember(t.Context(), called("renamed", "group-v1")); err != nil {
		t.Fatal(err)
	}
	if err := <-attached; err != nil {
		t.Fatal(err)
	}
	if stored, _ := c.Records.Detachments(t.Context()); c.Detached(id("group-v1")) || len(stored) > 0 {
		t.Errorf("detached %t, recorded %v", c.Detached(id("group-v1")), stored)
	}
}

// What is being deleted still may be asked for again, and is not gone before anybody knows.
func TestReservingWhatIsBeingDeleted(t *testing.T) {
	client := cluster()
	folders := newInventory()
	folders.awaited = map[string]bool{"team-a": true}
	c := run(t, client, folders, newLedgers())
	if err := c.Reserve(t.Context(), "team-a", facts.ID{}); err != nil {
		t.Fatal(err)
	}
	terminate(t, client, "team-a")
	if err := c.Reserve(t.Context(), "team-a", facts.ID{}); failure.KindOf(err) != failure.Unavailable {
		t.Errorf("reserve: %v", err)
	}
	// It stays until it is written down that the vSphere Namespace is deleted, which waits for its folder.
	folders.set(called("team-b", "group-v2"))
	waittest.Eventually(t, "team-b is served", func() bool { return folders.nameOf("group-v2") == "team-b" })
	if gone(t, client, "team-a") {
		t.Error("it is gone while a vSphere Namespace waits")
	}
	folders.lock.Lock()
	folders.awaited = nil
	folders.lock.Unlock()
	waittest.Eventually(t, "it is gone", func() bool { return gone(t, client, "team-a") })
	if err := c.Reserve(t.Context(), "team-a", facts.ID{}); err != nil || get(t, client, "team-a") == nil {
		t.Errorf("reserve again: %v", err)
	}
}

// A Namespace that Pacific made for a folder stands for it also before anybody has looked at the folder: a vSphere
// Namespace that is deleted so soon would leave it behind.
func TestANamespaceStandsBeforeItsFolderIsLookedAt(t *testing.T) {
	client, kept := cluster(), newLedgers()
	folders := newInventory()
	folders.awaited = map[string]bool{"team-a": true}
	first := run(t, client, folders, kept)
	if err := first.Reserve(t.Context(), "team-a", facts.ID{}); err != nil {
		t.Fatal(err)
	}
	first.stop()
	// The folder is there, and the process that is to grant it its name has not come to it yet.
	folders.set(called("team-a", "group-v1"), called("team-b", "group-v2"))
	c := &Controller{Folders: folders, granted: map[facts.ID]string{}, made: first.made}
	for folder, want := range map[string]bool{"group-v1": true, "group-v2": false, "group-v3": false} {
		if held, made := c.Standing(get(t, client, "team-a"), id(folder)); held != want || made != want {
			t.Errorf("of %s: held %t, made %t, want %t", folder, held, made, want)
		}
	}
}

// A reservation is taken back to its end, also when kube-apiserver did not take the deletion of its Namespace at first.
func TestReleasedNamesGo(t *testing.T) {
	client, kept := cluster(), newLedgers()
	folders := newInventory()
	folders.awaited = map[string]bool{"team-a": true}
	var broken atomic.Bool
	client.PrependReactor("delete", "namespaces", func(clienttesting.Action) (bool, runtime.Object, error) {
		if broken.Load() {
			return true, nil, errors.New("connection reset by peer")
		}
		return false, nil, nil
	})
	first := run(t, client, folders, kept)
	if err := first.Reserve(t.Context(), "team-a", facts.ID{}); err != nil {
		t.Fatal(err)
	}
	broken.Store(true)
	if err := first.Release(t.Context(), "team-a"); failure.KindOf(err) != failure.Unavailable {
		t.Fatalf("released although kube-apiserver is away: %v", err)
	}
	first.stop()
	broken.Store(false)
	folders.awaited = nil
	run(t, client, folders, kept)
	waittest.Eventually(t, "it goes", func() bool { return gone(t, client, "team-a") })
}
