// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// TestAnotherNamespacesFolderIsNotServed: the namespaces folder was renamed, and another one has its name. A server
// that begins then shows nothing, in place of showing that everything was deleted, and says what to do.
func TestAnotherNamespacesFolderIsNotServed(t *testing.T) {
	w := newWorld(t)
	v := vcentertest.Run(t, vcentertest.Options{})
	first := w.start("first", v, nil)
	first.serves("team-a/web-1")
	before, err := first.get("team-a/web-1")
	if err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "it is written down which folder is served", func() bool {
		documents, err := w.etcd.Client().Get(t.Context(), "/pacific/namespacesfolders/", clientv3.WithPrefix())
		return err == nil && documents.Count == 1 &&
			string(documents.Kvs[0].Value) == first.site.machines.NamespacesFolder().Value
	})
	first.stop()
	if err := first.ended(); err != nil {
		t.Fatal(err)
	}

	renameFolder(t, v, "/DC0/vm/Namespaces", "Old")
	makeFolder(t, v, "Namespaces/team-z")
	second := w.start("second", v, nil)
	waittest.Eventually(t, "the second says which folder it does not follow", func() bool {
		err := second.site.source.Status().Err
		return err != nil && strings.Contains(err.Error(), "which was served so far, is at /DC0/vm/Old")
	})
	if _, err := second.get("team-a/web-1"); !unavailable(err) {
		t.Errorf("a machine in the folder of before: %v", err)
	}

	renameFolder(t, v, "/DC0/vm/Namespaces", "Other")
	renameFolder(t, v, "/DC0/vm/Old", "Namespaces")
	second.serves("team-a/web-1")
	if after, err := second.get("team-a/web-1"); err != nil || after.UID != before.UID {
		t.Errorf("with its name again: %v, %v", after, err)
	}
}

// makeFolder does what somebody does in the vSphere Client.
func makeFolder(t *testing.T, v *vcentertest.VCenter, path string) {
	t.Helper()
	b, err := v.Builder(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(t.Context())
	if err = b.In(t.Context(), "DC0"); err == nil {
		err = b.Folder(t.Context(), path)
	}
	if err != nil {
		t.Fatal(err)
	}
}
