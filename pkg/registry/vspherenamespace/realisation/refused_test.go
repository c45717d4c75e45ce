// SPDX-License-Identifier: Apache-2.0

package realisation_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/realisation"
)

// releasing are folders at whose releasing of a name something happens.
type releasing struct {
	realisation.Folders
	happens func()
}

func (r releasing) Release(ctx context.Context, name string) error {
	r.happens()
	return r.Folders.Release(ctx, name)
}

// A create that is refused is as if it had never been asked: the controller, which knows of the record for a moment,
// makes nothing by it while that is taken back.
func TestNothingIsMadeOfWhatIsRefused(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	w.taken["team-x"] = true
	var meanwhile error
	s.backend.Folders = releasing{s.backend.Folders, func() {
		delete(w.taken, "team-x") // what it was refused for is over
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		meanwhile = s.backend.Realise(ctx, "uid-of-team-x")
	}}
	if err := s.create(fresh("team-x")); !errors.Is(err, failure.AlreadyExists) {
		t.Errorf("create: %v", err)
	}
	if meanwhile == nil {
		t.Error("it was made while the user was told that it is refused")
	}
	if things := w.things("team-x"); len(things) > 0 || len(w.records.kept) > 0 || s.list()["team-x"] != nil {
		t.Errorf("left over: %v, records %v", things, w.records.kept)
	}
}

// Whether the record of a create that was refused is gone is not known while etcd does not say: then nobody is told
// that it is accepted.
func TestWhatIsRefusedIsNotAccepted(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	etcd := &shaky{documents: w.records}
	s.backend.Documents = etcd
	w.taken["team-x"] = true
	s.backend.Folders = releasing{s.backend.Folders, func() { etcd.set(1, 1_000_000) }}
	if err := s.create(fresh("team-x")); !errors.Is(err, failure.Unavailable) {
		t.Errorf("create: %v", err)
	}
	etcd.set(0, 0)
	if err := s.backend.Realise(t.Context(), "uid-of-team-x"); err != nil {
		t.Error(err)
	}
	if things := w.things("team-x"); len(things) > 0 || len(w.records.kept) > 0 || s.list()["team-x"] != nil {
		t.Errorf("left over: %v, records %v", things, w.records.kept)
	}
}

// Somebody who asks once more, since nobody told them what became of it, does not get a second one of the name.
func TestAskedAgainWhenEtcdIsBack(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	etcd := &shaky{documents: w.records}
	s.backend.Documents = etcd
	etcd.set(1, 1_000_000)
	if err := s.create(fresh("twice")); !errors.Is(err, failure.Unavailable) {
		t.Fatalf("create while etcd is away: %v", err)
	}
	etcd.set(0, 0)
	again := fresh("twice")
	again.UID = "another"
	if err := s.create(again); !errors.Is(err, failure.AlreadyExists) {
		t.Errorf("create again: %v", err)
	}
	if len(w.records.kept) != 1 {
		t.Errorf("records: %v", w.records.kept)
	}
	if err := s.backend.Realise(t.Context(), "uid-of-twice"); err != nil {
		t.Fatal(err)
	}
	if got := s.get("twice"); got.UID != "uid-of-twice" || got.Status.Phase != v1alpha1.NamespaceRunning {
		t.Errorf("created: %+v", got)
	}
	if diff := cmp.Diff(made("twice"), w.things("twice")); diff != "" {
		t.Errorf("vCenter (-want +got):\n%s", diff)
	}
}

// blind refreshers are refused to look, so many times.
type blind struct {
	realisation.Refresher
	times *int
	with  error
}

func (b blind) Refresh(ctx context.Context, id facts.ID) error {
	if *b.times > 0 {
		*b.times--
		return b.with
	}
	return b.Refresher.Refresh(ctx, id)
}

// A folder that has been taken over is not forgotten again, with all that lies in it for everybody to see, when vCenter
// refuses to show it a moment later.
func TestWhatIsTakenOverIsNotForgotten(t *testing.T) {
	w := newWorld(t, withOldFolders("billing"))
	s := w.start(-1)
	times := 1
	s.backend.Refresher = blind{s.backend.Refresher, &times, failure.Forbidden}
	old := w.folder("/DC0/vm/Old/billing")
	if err := s.create(taking("billing", old)); err != nil {
		t.Errorf("create: %v", err)
	}
	if len(w.records.kept) != 1 {
		t.Errorf("records: %v", w.records.kept)
	}
	if err := s.backend.Realise(t.Context(), "uid-of-billing"); err != nil {
		t.Fatal(err)
	}
	if got := s.get("billing"); got.UID != "uid-of-billing" || got.Status.Phase != v1alpha1.NamespaceRunning {
		t.Errorf("taken over: %+v", got)
	}
}
