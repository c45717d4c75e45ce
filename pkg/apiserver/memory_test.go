// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// TestAStandbyKnowsWhoTheLostMachinesAre: a replica that begins while the datastore is inaccessible was never told who
// the machines are. It takes over from one that was.
func TestAStandbyKnowsWhoTheLostMachinesAre(t *testing.T) {
	w := newWorld(t)
	v := vcentertest.Run(t, vcentertest.Options{})
	first := w.start("first", v, nil)
	first.serves("team-a/web-1")
	before, err := first.get("team-a/web-1")
	if err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "it is written down which machine is which", func() bool {
		documents, err := w.etcd.Client().Get(t.Context(), "/pacific/identities/", clientv3.WithPrefix())
		return err == nil && documents.Count == 2
	})
	if err := v.LoseDatastore("datastore-1"); err != nil {
		t.Fatal(err)
	}
	second := w.start("second", v, nil)
	waittest.Eventually(t, "the second stands by", func() bool { return second.site.source.Status().Synced })
	first.stop()
	if err := first.ended(); err != nil {
		t.Fatal(err)
	}
	second.serves("team-a/web-1")
	after, err := second.get("team-a/web-1")
	if err != nil || after.UID != before.UID || !after.CreationTimestamp.Equal(&before.CreationTimestamp) {
		t.Fatalf("after the standby took over: %+v, %v; before %+v", after.ObjectMeta, err, before.ObjectMeta)
	}
	machines := second.kinds.machines.Inside()
	end := doomed{machines: machines, origins: second.site.machines}
	// asked does what a client does that is told to come back: a cache that has just begun is not there yet.
	asked := func(act func() error) (err error) {
		waittest.Eventually(t, "the cache is there", func() bool {
			err = act()
			return !apierrors.IsTooManyRequests(err)
		})
		return err
	}
	deleteAll := func() error {
		_, err := end.DeleteAll(t.Context(), "team-a")
		return err
	}
	all := asked(deleteAll)
	folders := map[string]bool{}
	for _, n := range second.site.picture.Namespaces() {
		folders[n.Folder.Value] = n.Name == "team-a"
	}
	second.site.picture.SetDetached(folders)
	detached := asked(deleteAll)
	second.site.picture.SetDetached(nil)
	for verb, err := range map[string]error{
		"label":             asked(func() error { return second.label("team-a/web-1", "x") }),
		"delete":            asked(func() error { return machines.Delete(t.Context(), "team-a", "web-1", before.UID) }),
		"delete all of it":  all,
		"and once detached": detached,
	} {
		if !unavailable(err) || !strings.Contains(err.Error(), "vCenter cannot read the virtual machine's conf") {
			t.Errorf("%s: %v", verb, err)
		}
	}
	if err := v.FindDatastore("datastore-1"); err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "it can be labelled again", func() bool { return second.label("team-a/web-1", "x") == nil })
	if after, err = second.get("team-a/web-1"); err != nil || after.UID != before.UID || after.Labels["n"] != "x" {
		t.Errorf("once vCenter tells it again: %+v, %v", after, err)
	}
}
