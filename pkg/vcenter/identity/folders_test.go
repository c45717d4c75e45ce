// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openpacific/pacific/pkg/facts"
)

// TestFolders: who has no Memory yet is told where the machines of one vCenter lay.
func TestFolders(t *testing.T) {
	r := lead(t, etcd(t))
	web, db, home, other := machineID("vm-1"), machineID("vm-2"), folderID("a"), folderID("b")
	r.Note(web, home, who("web"))
	r.Note(db, other, who("db"))
	if err := r.write(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.kept.Put(t.Context(), "x/Folder/c/0", []byte("not a document"), 0); err != nil {
		t.Fatal(err)
	}
	for vcenter, want := range map[string]map[facts.ID]facts.ID{
		web.VCenter: {web: home, db: other}, "another": {},
	} {
		got, err := Folders(t.Context(), r.kept, vcenter)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("of %s (-want +got):\n%s", vcenter, diff)
		}
	}
}
