// SPDX-License-Identifier: Apache-2.0

package vspherenamespace_test

import (
	"context"
	"errors"
	"testing"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter/vspherenamespace"
)

// looking are folders before each of which is attached somebody looks.
type looking struct {
	vspherenamespace.Folders
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
			task, err := w.folder("/DC0/vm").MoveInto(t.Context(), []types.ManagedObjectReference{{Type: "Folder", Value: folder}})
			if err == nil {
				err = task.WaitEx(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			s.until("the inventory knows that it has moved", func() bool {
				err := s.backend.Refresher.Refresh(t.Context(), types.ManagedObjectReference{Type: "Folder", Value: folder})
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
