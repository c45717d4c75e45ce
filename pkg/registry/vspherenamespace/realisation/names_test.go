// SPDX-License-Identifier: Apache-2.0

package realisation_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/namespace"
)

// A name that is somebody else's in Kubernetes is refused before anything is made in vCenter, and one that is reserved
// for nothing is let go.
func TestNamesAreReservedBeforeAnythingIsMade(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	w.taken["argocd"] = true
	if err := s.create(fresh("argocd")); !errors.Is(err, failure.AlreadyExists) {
		t.Errorf("a name that is taken: %v", err)
	}
	if things := w.things("argocd"); len(things) > 0 || len(w.records.kept) > 0 || s.list()["argocd"] != nil {
		t.Errorf("left over: %v, records %v, served %v", things, w.records.kept, s.list()["argocd"])
	}
	object := fresh("team-c")
	object.Spec.Folder = w.folder("/DC0/vm/Namespaces").Reference().Value // it can never be taken over
	if err := s.create(object); !errors.Is(err, failure.Invalid) || len(w.reserved) > 0 {
		t.Errorf("what cannot be: %v, reserved %v", err, w.reserved)
	}
	if err := s.create(fresh("team-c")); err != nil || !w.reserved["team-c"] {
		t.Errorf("create: %v, reserved %v", err, w.reserved)
	}
}

// Folders are served under the names that they were granted, and under no other.
func TestFoldersAreServedUnderGrantedNames(t *testing.T) {
	w := newWorld(t, twoClusters)
	s := w.start(-1)
	folder := s.get("team-a").Status.Folder
	s.picture.SetNames(namespace.Names{})
	if list := s.list(); len(list) > 0 {
		t.Errorf("served without a name: %v", list)
	}
	s.picture.SetNames(namespace.Names{Granted: map[string]string{folder: "team-a-hash"},
		Refused: map[string]string{folder: "team-a"}})
	got := s.get("team-a-hash")
	named := meta.FindStatusCondition(got.Status.Conditions, "Named")
	if len(s.list()) != 1 || got.Status.Folder != folder || named == nil || named.Status != "False" ||
		!strings.HasSuffix(named.Message,
			"kubectl annotate namespace team-a vsphere.openpacific.io/claim="+s.projector.ID(folder).String()) {
		t.Errorf("served under another name: %v, conditions %+v", got.Status.Folder, got.Status.Conditions)
	}
	// It keeps its name through a new reading of the inventory, and a rename in vCenter.
	task, err := w.folder("/DC0/vm/Namespaces/team-a").Rename(t.Context(), "argocd")
	if err == nil {
		err = task.WaitEx(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	s.knows(w.folder("/DC0/vm/Namespaces/argocd").Reference())
	s.picture.SetNames(namespace.Names{
		Granted: map[string]string{folder: "team-a-hash"}, Reserved: map[string]bool{"late": true, "argocd": true},
	})
	if diff := cmp.Diff(1, len(s.list())); diff != "" || s.get("team-a-hash").Status.Usage.VirtualMachines != 2 {
		t.Errorf("renamed: %v", s.list())
	}
	b := w.builder()
	if err := errors.Join(b.In(t.Context(), "DC0"), b.Folder(t.Context(), "Namespaces/late"),
		b.Folder(t.Context(), "Namespaces/later")); err != nil {
		t.Fatal(err)
	}
	s.until("the folder of the reserved name is served", func() bool { return s.list()["late"] != nil })
	if s.list()["later"] != nil {
		t.Error("a folder without a name is served")
	}
}
