// SPDX-License-Identifier: Apache-2.0

package realisation_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/vmware/govmomi/vim25/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/vspherenamespace/realisation"
)

// looking are folders before each of which is attached somebody looks.
type looking struct {
	realisation.Folders
	look func()
}

func (l looking) Attach(ctx context.Context, folder facts.ID) error {
	l.look()
	return l.Folders.Attach(ctx, folder)
}

// A folder that is detached still is not shown as that of the new vSphere
// Namespace: the controller would take it for one that was deleted meanwhile.
func TestADetachedFolderIsNotShownBeforeItIsAttached(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	folder := s.get("team-a").Status.Folder
	for _, moved := range []bool{false, true} {
		if err := s.remove("team-a"); err != nil {
			t.Fatal(err)
		}
		again := fresh("team-a")
		again.Spec.Zones, again.Spec.Folder = []string{"cluster-b"}, folder
		if moved {
			// A VI admin has taken it out of the namespaces folder since.
			task, err := w.folder("/DC0/vm").MoveInto(t.Context(),
				[]types.ManagedObjectReference{{Type: "Folder", Value: folder}})
			if err == nil {
				err = task.WaitEx(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			s.until("the inventory knows that it has moved", func() bool {
				err := s.backend.Refresher.Refresh(t.Context(), s.projector.ID(folder))
				return errors.Is(err, failure.NotFound)
			})
		}
		looks := 0
		s.backend.Folders = looking{s.backend.Folders, func() {
			looks++
			if shown := s.get("team-a").Status; shown.Folder != "" {
				t.Errorf("moved %t: shown before it is attached: %+v", moved, shown)
			}
		}}
		if err := s.create(again); err != nil {
			t.Fatal(err)
		}
		if shown := s.get("team-a").Status; shown.Folder != folder || w.detached[folder] || looks != 1 {
			t.Errorf("moved %t: attached after %d looks, detached %t: %+v", moved, looks, w.detached[folder], shown)
		}
	}
}

// One that is deleted before it could be written down that its folder is taken over is shown with the folder: by that
// the controller finds the Kubernetes Namespace that was made for it.
func TestDeletedWhileItIsTakenOver(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	folder := s.get("team-a").Status.Folder
	if err := s.remove("team-a"); err != nil {
		t.Fatal(err)
	}
	again := fresh("team-a")
	again.Spec.Zones, again.Spec.Folder = []string{"cluster-b"}, folder
	// The server dies with the folder attached, and that not written down.
	attach := &dying{Folders: s.backend.Folders}
	s.backend.Folders = attach
	if err := s.create(again); err != nil || !attach.died || s.get("team-a").Status.Folder != "" ||
		!s.projector.Awaited("team-a") {
		t.Fatalf("create: %v, %+v", err, s.get("team-a").Status)
	}
	if err := s.update("team-a", func(o *v1alpha1.Namespace) { o.DeletionTimestamp = &metav1.Time{Time: time.Unix(2e9, 0)} }); err != nil {
		t.Fatal(err)
	}
	if shown := s.get("team-a").Status.Folder; shown != folder || s.projector.Awaited("team-a") {
		t.Errorf("folder %q instead of %s, awaited %t", shown, folder, s.projector.Awaited("team-a"))
	}
	if err := s.remove("team-a"); err != nil || !w.detached[folder] || len(w.records.kept) > 0 ||
		len(w.things("team-a")) != 2 {
		t.Errorf("remove: %v, detached %v, records %v, vCenter %v", err, w.detached, w.records.kept, w.things("team-a"))
	}
}

// dying are folders that are attached, and nobody hears of it.
type dying struct {
	realisation.Folders
	died bool
}

func (d *dying) Attach(ctx context.Context, folder facts.ID) error {
	d.died = true
	return errors.Join(d.Folders.Attach(ctx, folder), failure.Unavailable)
}
