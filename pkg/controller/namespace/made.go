// SPDX-License-Identifier: Apache-2.0

package namespace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/ledger"
)

// Documents keeps what Pacific has made; ledger.Documents does.
type Documents interface {
	List(ctx context.Context) (map[string]ledger.Document, error)
	// Put stores a document in place of the one of that revision, 0 for none.
	Put(ctx context.Context, id string, value []byte, revision int64) (int64, error)
	Delete(ctx context.Context, id string, revision int64) error
}

// record says that Pacific made a Namespace. It is kept where whoever may write
// Namespaces cannot write: an annotation can be forged by anybody who may update
// one.
type record struct {
	Namespace string `json:"namespace"`
	// Mark is the value of the annotation that it is made with. Before it is there,
	// nobody else knows it.
	Mark string `json:"mark"`
	// UID is the Namespace's. Empty: it may have been made or not.
	UID types.UID `json:"uid,omitempty"`
	// Folder is the one that it was made for. Zero: one that is yet to come.
	Folder facts.ID `json:"folder,omitzero"`
	// Pending: no folder has been served in it yet.
	Pending bool `json:"pending,omitempty"`
	// Released: nobody waits for a folder in it any more, and it is being removed.
	Released bool `json:"released,omitempty"`
}

// kept is a record and the state of the document that it is kept in.
type kept struct {
	record
	revision int64
}

// made says whether a Namespace is the one that the record is about.
func (k *kept) made(namespace *corev1.Namespace) bool {
	switch {
	case k == nil:
		return false
	case k.UID != "":
		return k.UID == namespace.UID
	}
	return namespace.Annotations[vsphere.MarkAnnotation] == k.Mark
}

// unsettled says whether it is not written down whole that a Namespace is a
// folder's.
func (k *kept) unsettled(namespace *corev1.Namespace) bool {
	return k.Pending || k.UID != namespace.UID
}

func (c *Controller) load(ctx context.Context) (map[string]*kept, error) {
	documents, err := c.Made.List(ctx)
	if err != nil {
		return nil, err
	}
	made := make(map[string]*kept, len(documents))
	for name, document := range documents {
		one := &kept{revision: document.Revision}
		if err := json.Unmarshal(document.Value, &one.record); err != nil {
			c.Logger.Error(err, "Cannot read for which folder a Namespace was made, it counts as somebody else's", "namespace",
				name)
			one.record = record{Namespace: name, Mark: c.mark()}
		}
		made[name] = one
	}
	return made, nil
}

func (c *Controller) mark() string {
	if c.Mark != nil {
		return c.Mark()
	}
	return uuid.NewString()
}

func (c *Controller) lookUp(name string) *kept {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.made[name]
}

// put stores a record in place of the one of its name. making is held.
func (c *Controller) put(ctx context.Context, next record) error {
	value, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("encode for which folder Namespace %q was made: %w", next.Namespace, err)
	}
	var revision int64
	if before := c.lookUp(next.Namespace); before != nil {
		revision = before.revision
	}
	stored, err := c.Made.Put(ctx, next.Namespace, value, revision)
	if err != nil {
		return c.reload(ctx, err)
	}
	c.keep(next.Namespace, &kept{record: next, revision: stored})
	return nil
}

// drop removes the record of a name. making is held.
func (c *Controller) drop(ctx context.Context, name string) error {
	before := c.lookUp(name)
	if before == nil {
		return nil
	}
	if err := c.Made.Delete(ctx, name, before.revision); err != nil {
		return c.reload(ctx, err)
	}
	c.keep(name, nil)
	return nil
}

// reload reads the records again after a write that failed: it may have come to
// pass. Whoever asked tries again.
func (c *Controller) reload(ctx context.Context, failed error) error {
	made, err := c.load(ctx)
	if err == nil {
		c.lock.Lock()
		c.made = made
		c.show()
		c.lock.Unlock()
	}
	if errors.Is(failed, failure.Conflict) {
		return fmt.Errorf("%w: %v", failure.Unavailable, failed)
	}
	return failed
}

func (c *Controller) keep(name string, one *kept) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if one == nil {
		delete(c.made, name)
	} else {
		c.made[name] = one
	}
	c.show()
}

// make makes the Namespace of a name for a folder, or with none for one that is yet
// to come. That it is about to be made is written down before it is made. The
// error's kind is failure.AlreadyExists when the Namespace is there and Pacific did
// not make it for that.
func (c *Controller) make(ctx context.Context, name string, folder facts.ID, pending bool) error {
	c.making.Lock()
	defer c.making.Unlock()
	known := c.lookUp(name)
	there, err := c.Client.Get(ctx, name, metav1.GetOptions{})
	switch {
	case err == nil && known.made(there) && there.DeletionTimestamp == nil &&
		(known.Folder == folder || known.Folder.IsZero()):
		next := known.record
		next.UID, next.Folder, next.Pending, next.Released = there.UID, folder, known.Pending && pending, false
		if next == known.record {
			return nil
		}
		return c.put(ctx, next)
	case err == nil && known.made(there) && there.DeletionTimestamp != nil:
		if known.UID == "" { // from here on its mark tells nothing: everybody can read it
			next := known.record
			next.UID = there.UID
			if err := c.put(ctx, next); err != nil {
				return err
			}
		}
		return fmt.Errorf("the Kubernetes Namespace %q is being deleted still, try again: %w", name, failure.Unavailable)
	case err == nil:
		return fmt.Errorf("the Kubernetes Namespace %q is there, and was not made for it: %w", name, failure.AlreadyExists)
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("get Namespace %q: %w: %w", name, failure.Unavailable, err)
	}
	next := record{Namespace: name, Mark: c.mark(), Folder: folder, Pending: pending}
	if known != nil && known.UID == "" {
		// An attempt before that may be under way still: whichever is first is known.
		next.Mark = known.Mark
	}
	if err := c.put(ctx, next); err != nil {
		return err
	}
	return c.create(ctx, next)
}

// create makes the Namespace of a record. making is held. One whose folder went meanwhile is not made, and is
// failure.Unavailable: no name may be granted for it.
func (c *Controller) create(ctx context.Context, next record) error {
	gone := fmt.Errorf("the folder %s of Namespace %q went while that was made: %w", next.Folder, next.Namespace,
		failure.Unavailable)
	if !c.wanted(next) {
		return gone
	}
	annotations := map[string]string{vsphere.MarkAnnotation: next.Mark}
	if !next.Folder.IsZero() {
		annotations[vsphere.FolderAnnotation] = next.Folder.Value
	}
	made, err := c.Client.Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: next.Namespace, Annotations: annotations,
			Finalizers: []string{vsphere.FolderFinalizer}},
	}, metav1.CreateOptions{FieldManager: vsphere.FieldManager})
	switch {
	case apierrors.IsAlreadyExists(err):
		return fmt.Errorf("the Kubernetes Namespace %q has come to be there: %w", next.Namespace, failure.AlreadyExists)
	case err != nil:
		return fmt.Errorf("create Namespace %q for folder %s: %w: %w", next.Namespace, next.Folder, failure.Unavailable, err)
	}
	next.UID = made.UID
	if err := c.put(ctx, next); err != nil {
		return err
	}
	c.Logger.Info("Created Namespace", "namespace", next.Namespace, "folder", next.Folder)
	if c.wanted(next) {
		return nil
	}
	err = c.Client.Delete(ctx, next.Namespace, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &made.UID}})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove Namespace %q, whose folder went while it was made: %w: %w", next.Namespace,
			failure.Unavailable, err)
	}
	return gone
}

// wanted says whether the Namespace of a record is still to be made. Who removes a
// vSphere Namespace has its folder detached before that goes, and forgets that last:
// so detachments are looked at before the folders.
func (c *Controller) wanted(next record) bool {
	if next.Pending {
		return true // the folder comes later, or is yet to be attached
	}
	if c.Detached(next.Folder) {
		return false
	}
	now, there := c.folder(next.Folder.String())
	return there && !now.Terminating
}

// settle writes down that a Namespace that Pacific made is a folder's.
func (c *Controller) settle(ctx context.Context, name string, folder facts.ID) error {
	err := c.make(ctx, name, folder, c.Detached(folder))
	if errors.Is(err, failure.AlreadyExists) {
		return fmt.Errorf("settle Namespace %q: %w", name, err)
	}
	return err
}

// Reserve takes a name for a folder, or with none for one that is yet to come, and
// makes its Namespace. It may be done any number of times. The error's kind is
// failure.AlreadyExists when the name is somebody else's.
func (c *Controller) Reserve(ctx context.Context, name string, folder facts.ID) error {
	if !folder.IsZero() {
		there, err := c.Client.Get(ctx, name, metav1.GetOptions{})
		if err == nil && there.DeletionTimestamp == nil && there.Annotations[vsphere.ClaimAnnotation] == folder.String() {
			c.grant(folder, name)
			return nil
		}
	}
	switch err := c.make(ctx, name, folder, true); {
	case errors.Is(err, failure.AlreadyExists) && !folder.IsZero():
		return fmt.Errorf("%w: choose another name, delete that Namespace, or have it claim the folder: kubectl annotate "+
			"namespace %s %s=%s",
			err, name, vsphere.ClaimAnnotation, folder)
	case errors.Is(err, failure.AlreadyExists):
		return fmt.Errorf("%w: choose another name, or delete that Namespace", err)
	case err != nil:
		return err
	}
	if !folder.IsZero() {
		c.grant(folder, name)
	}
	return nil
}

// Release takes a reservation back, and with it the Namespace that was made for it,
// unless a folder has been served in it.
func (c *Controller) Release(ctx context.Context, name string) error {
	c.making.Lock()
	defer c.making.Unlock()
	return c.release(ctx, name)
}

// release is Release. making is held.
func (c *Controller) release(ctx context.Context, name string) error {
	known := c.lookUp(name)
	if known == nil || !known.Pending {
		return nil
	}
	there, err := c.Client.Get(ctx, name, metav1.GetOptions{})
	if err == nil && known.made(there) {
		// Written once more, the record says that nobody else has given the Namespace to
		// a folder, as a process does that has the lead by now.
		next := known.record
		next.UID, next.Released = there.UID, true
		if err := c.put(ctx, next); err != nil {
			return err
		}
		err = c.Client.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &there.UID}})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove Namespace %q, for which no folder came: %w: %w", name, failure.Unavailable, err)
	}
	if !known.Folder.IsZero() {
		c.grant(known.Folder, "")
	}
	if err == nil {
		return nil // until it has gone it is known whose it was
	}
	return c.drop(ctx, name)
}

// tidy takes back the reservations that nobody waits for, of a process that was
// killed, and forgets Namespaces that are gone as their folders are.
//
// It says whether something is left to do.
func (c *Controller) tidy(ctx context.Context) (left bool) {
	c.lock.Lock()
	var open, gone []string
	for name, record := range c.made {
		namespace, err := c.Informer.Lister().Get(name)
		_, there := c.folder(record.Folder.String())
		// One that was released stays when kube-apiserver did not take that it is to be deleted.
		released := record.Released && (err != nil || namespace.DeletionTimestamp != nil)
		switch {
		case record.Pending && record.Folder.IsZero() && !released:
			open = append(open, name)
		case apierrors.IsNotFound(err) && (!there || record.Released):
			gone = append(gone, name)
		}
	}
	c.lock.Unlock()
	for _, name := range open {
		if err := c.releaseForgotten(ctx, name); err != nil {
			left = true
			c.Logger.Error(err, "Cannot take a name back that nobody waits for, trying again later", "namespace", name)
		}
	}
	for _, name := range gone {
		if err := c.forget(ctx, name); err != nil {
			left = true
			c.Logger.Error(err, "Cannot forget a Namespace that is gone, trying again later", "namespace", name)
		}
	}
	return left
}

// releaseForgotten takes back a reservation that nobody waits for. Whoever makes a
// reservation waits already; and a folder that is not waited for any more is there:
// so the folders are looked at last.
func (c *Controller) releaseForgotten(ctx context.Context, name string) error {
	c.making.Lock()
	defer c.making.Unlock()
	if c.Folders.Awaited(name) {
		return nil
	}
	folders, _ := c.Folders.Folders()
	comes := slices.ContainsFunc(folders, func(f Folder) bool { return f.Path == name })
	if known := c.lookUp(name); comes && known != nil && !known.Released {
		return nil // it is that one's as soon as that is looked at
	}
	return c.release(ctx, name)
}

// forget drops the record of a Namespace that is gone.
func (c *Controller) forget(ctx context.Context, name string) error {
	c.making.Lock()
	defer c.making.Unlock()
	if _, err := c.Client.Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return err
	}
	return c.drop(ctx, name)
}
