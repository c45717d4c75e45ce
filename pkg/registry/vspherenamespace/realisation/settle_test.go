// SPDX-License-Identifier: Apache-2.0

package realisation_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8stypes "k8s.io/apimachinery/pkg/types"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/realisation"
)

// shaky are documents in an etcd that is killed after a write and before its
// answer, and comes back later.
type shaky struct {
	*documents
	mu sync.Mutex
	// unconfirmed is how many writes have no answer, and unread how many reads
	// fail after them.
	unconfirmed, unread int
	// late: a write without an answer is under way still, and arrives with the
	// next read, after what that returns.
	late    bool
	arrives func()
}

func (s *shaky) set(unconfirmed, unread int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unconfirmed, s.unread = unconfirmed, unread
}

func (s *shaky) Put(ctx context.Context, id string, value []byte, revision int64) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.late && s.unconfirmed > 0 {
		s.unconfirmed--
		s.arrives = func() { _, _ = s.documents.Put(ctx, id, value, revision) }
		return 0, failure.Unavailable
	}
	stored, err := s.documents.Put(ctx, id, value, revision)
	if s.unconfirmed > 0 {
		s.unconfirmed--
		return 0, failure.Unavailable
	}
	return stored, err
}

func (s *shaky) List(ctx context.Context) (map[string]realisation.Document, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unread > 0 {
		s.unread--
		return nil, errors.New("etcd does not answer")
	}
	list, err := s.documents.List(ctx)
	if s.arrives != nil {
		s.arrives()
		s.arrives = nil
	}
	return list, err
}

func (s *shaky) Delete(ctx context.Context, id string, revision int64) error {
	err := s.documents.Delete(ctx, id, revision)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unconfirmed > 0 {
		s.unconfirmed--
		return failure.Unavailable
	}
	return err
}

// A write that etcd took and did not confirm counts, and does not keep the later
// ones from being made.
func TestUnconfirmedWrites(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	etcd := &shaky{documents: w.records}
	s.backend.Documents = etcd

	etcd.set(1, 2)
	if err := s.create(fresh("soon")); err != nil {
		t.Fatalf("create: %v", err)
	}
	if diff := cmp.Diff(made("soon"), w.things("soon")); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	etcd.set(1, 2)
	if err := s.update("soon", func(object *v1alpha1.Namespace) { object.Spec.Description = "changed" }); err != nil {
		t.Errorf("update: %v", err)
	}
	if got := s.get("soon"); got.Spec.Description != "changed" || got.Status.Phase != v1alpha1.NamespaceRunning {
		t.Errorf("updated: %+v", got)
	}

	// It is away for so long that nobody can be told anything but that.
	etcd.set(1, 1_000_000)
	if err := s.create(fresh("late")); !errors.Is(err, failure.Unavailable) {
		t.Fatalf("create while etcd is away: %v", err)
	}
	etcd.set(0, 0)
	if err := s.backend.Realise(t.Context(), k8stypes.UID("uid-of-late")); err != nil {
		t.Fatal(err)
	}
	if got := s.get("late"); got.Status.Phase != v1alpha1.NamespaceRunning {
		t.Errorf("created when etcd is back: %+v", got)
	}
	for _, name := range []string{"soon", "late"} {
		etcd.set(1, 1)
		if err := s.remove(name); err != nil {
			t.Errorf("remove %s: %v", name, err)
		}
		if things := w.things(name); len(things) > 0 || w.detached[name] {
			t.Errorf("%s is left over: %v", name, things)
		}
	}
	if len(w.records.kept) > 0 {
		t.Errorf("records are left over: %v", w.records.kept)
	}
}

// A write that is given up while it is under way may arrive after the first look
// at what became of it.
func TestLateWrites(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	etcd := &shaky{documents: w.records, late: true}
	s.backend.Documents = etcd

	etcd.set(1, 0)
	if err := s.create(fresh("late")); err != nil {
		t.Errorf("create: %v", err)
	}
	etcd.set(1, 0)
	if err := s.update("late", func(object *v1alpha1.Namespace) { object.Spec.Description = "first" }); err != nil {
		t.Errorf("update: %v", err)
	}
	if err := s.update("late", func(object *v1alpha1.Namespace) { object.Spec.Description = "second" }); err != nil {
		t.Errorf("update after a late one: %v", err)
	}
	if got := s.get("late"); got.Spec.Description != "second" || got.Status.Phase != v1alpha1.NamespaceRunning {
		t.Errorf("updated: %+v", got)
	}
	if err := s.remove("late"); err != nil {
		t.Errorf("remove: %v", err)
	}
	if things := w.things("late"); len(things) > 0 || len(w.records.kept) > 0 {
		t.Errorf("left over: %v, records %v", things, w.records.kept)
	}
}

// A record that is not the one that is known is read again, however that came.
func TestConflictsPass(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	if err := s.create(fresh("twice")); err != nil {
		t.Fatal(err)
	}
	elsewhere := func() {
		for id, document := range w.records.kept {
			if _, err := w.records.Put(t.Context(), id, document.Value, document.Revision); err != nil {
				t.Fatal(err)
			}
		}
	}
	describe := func() error {
		return s.update("twice", func(object *v1alpha1.Namespace) { object.Spec.Description = "changed" })
	}
	elsewhere()
	if err := describe(); !errors.Is(err, failure.Unavailable) {
		t.Errorf("update of what is not known: %v", err)
	}
	if err := describe(); err != nil {
		t.Errorf("update again: %v", err)
	}
	if got := s.get("twice"); got.Spec.Description != "changed" {
		t.Errorf("updated: %+v", got)
	}

	if err := s.update("twice", func(object *v1alpha1.Namespace) { object.DeletionTimestamp = &metav1.Time{Time: time.Unix(2e9, 0)} }); err != nil {
		t.Fatal(err)
	}
	if err := s.backend.Dismantle(t.Context(), "uid-of-twice"); err != nil {
		t.Fatal(err)
	}
	elsewhere()
	if err := s.remove("twice"); !errors.Is(err, failure.Unavailable) {
		t.Errorf("remove what is not known: %v", err)
	}
	if err := s.remove("twice"); err != nil || len(w.records.kept) > 0 {
		t.Errorf("remove again: %v, records %v", err, w.records.kept)
	}
}
