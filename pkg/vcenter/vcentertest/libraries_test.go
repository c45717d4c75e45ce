// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/vapi/library"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/directory"
)

// stranger is a client that has not logged in.
func stranger(t *testing.T, v *VCenter) *vim25.Client {
	t.Helper()
	c := soap.NewClient(v.URL(), false)
	c.SetThumbprint(v.Addr(), v.Thumbprint())
	client, err := vim25.NewClient(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestRESTLoginChecksPasswords(t *testing.T) {
	v := Run(t, Options{})
	logIn := func(username, password string) error {
		return rest.NewClient(stranger(t, v)).Login(t.Context(), url.UserPassword(username, password))
	}
	for name, password := range map[string]string{
		"dev-a@vsphere.local": "wrong", "stranger@vsphere.local": SamplePassword, "nobody@vsphere.local": "",
		v.Username(): SamplePassword,
	} {
		if err := logIn(name, password); !rest.IsStatusError(err, http.StatusUnauthorized) {
			t.Errorf("%s with the password %q: %v", name, password, err)
		}
	}
	if err := logIn("dev-a@vsphere.local", SamplePassword); err != nil {
		t.Errorf("the right password: %v", err)
	}
	for range directory.LockoutAttempts {
		if err := logIn("viewer@vsphere.local", "wrong"); err == nil {
			t.Fatal("a wrong password is accepted")
		}
	}
	if err := logIn("viewer@vsphere.local", SamplePassword); err == nil || !v.Directory().Locked("viewer@vsphere.local") {
		t.Errorf("the account is not locked by failures at the REST endpoints: %v", err)
	}

	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+v.Addr()+"/api",
		bytes.NewBufferString(
			`{"jsonrpc":"2.0","id":"1","params":{"serviceId":"com.vmware.cis.session","operationId":"create"}}`))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := stranger(t, v).Client.Client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("JSON-RPC lets a stranger in: %s", answer.Status)
	}
}

func TestRESTSessions(t *testing.T) {
	v := Run(t, Options{})
	client := rest.NewClient(stranger(t, v))
	if err := client.Login(t.Context(), url.UserPassword(v.Username(), v.Password())); err != nil {
		t.Fatal(err)
	}
	if n := v.RESTSessions(); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
	v.RefuseREST(http.StatusServiceUnavailable)
	if _, err := client.Session(t.Context()); !rest.IsStatusError(err, http.StatusServiceUnavailable) {
		t.Errorf("a refused request: %v", err)
	}
	v.RefuseREST(0)
	if session, err := client.Session(t.Context()); err != nil || session == nil {
		t.Errorf("the session: %v, %v", session, err)
	}
	if err := client.Logout(t.Context()); err != nil || v.RESTSessions() != 0 {
		t.Errorf("%d sessions after the logout (%v), want none", v.RESTSessions(), err)
	}
	if err := client.Login(t.Context(), url.UserPassword(v.Username(), v.Password())); err != nil {
		t.Fatal(err)
	}
	v.TerminateRESTSessions()
	if session, err := client.Session(t.Context()); err != nil || session != nil {
		t.Errorf("the session after its end: %v, %v", session, err)
	}
}

// Items have the same identifiers at each start, and one that is made anew has
// another one.
func TestLibraryItemIdentifiers(t *testing.T) {
	identifiers := func() (ids []string) {
		v := Run(t, Options{Inventory: func(ctx context.Context, b *Builder) error {
			return b.steps(ctx,
				func() error { return b.Datacenter(ctx, "DC0") },
				func() error { return b.Cluster(ctx, "cluster-a", "esx-a1.lab.pacific.test") },
				func() error { return b.Datastore(ctx, "datastore-1") },
				func() error {
					return b.Library(ctx, "images", "datastore-1", LibraryItem{Name: "photon-5", Type: library.ItemTypeOVF})
				},
			)
		}})
		client := rest.NewClient(stranger(t, v))
		if err := client.Login(t.Context(), url.UserPassword(v.Username(), v.Password())); err != nil {
			t.Fatal(err)
		}
		manager := library.NewManager(client)
		images, err := manager.GetLibraryByName(t.Context(), "images")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			items, err := manager.GetLibraryItems(t.Context(), images.ID)
			if err != nil || len(items) != 1 {
				t.Fatalf("items %v, %v", items, err)
			}
			ids = append(ids, items[0].ID)
			if err := manager.DeleteLibraryItem(t.Context(), &items[0]); err != nil {
				t.Fatal(err)
			}
			if _, err := manager.CreateLibraryItem(t.Context(), library.Item{Name: "photon-5", Type: library.ItemTypeOVF,
				LibraryID: images.ID}); err != nil {
				t.Fatal(err)
			}
		}
		return ids
	}
	first, second := identifiers(), identifiers()
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("a second start differs (-first +second):\n%s", diff)
	}
	if first[0] != LibraryItemID("images", "photon-5") || first[0] == first[1] {
		t.Errorf("identifiers %q", first)
	}
}

// TestLibraryContent changes what is in an item, and its description: what a client needs not to read again what did
// not change, and to find the files.
func TestLibraryContent(t *testing.T) {
	ctx := t.Context()
	v := Run(t, Options{Inventory: func(ctx context.Context, b *Builder) error {
		return b.steps(ctx,
			func() error { return b.Datacenter(ctx, "DC0") },
			func() error { return b.Cluster(ctx, "cluster-a", "esx-a1.lab.pacific.test") },
			func() error { return b.Datastore(ctx, "datastore-1") },
			func() error {
				return b.Library(ctx, "images", "datastore-1", LibraryItem{Name: "photon-5", Type: library.ItemTypeOVF,
					Descriptor: "<first/>"})
			},
		)
	}})
	b, err := v.Builder(ctx)
	if err == nil {
		err = b.In(ctx, "DC0")
	}
	if err != nil {
		t.Fatal(err)
	}
	client := rest.NewClient(b.Client.Client)
	if err := client.Login(ctx, url.UserPassword(v.Username(), v.Password())); err != nil {
		t.Fatal(err)
	}
	manager := library.NewManager(client)
	id := LibraryItemID("images", "photon-5")
	look := func() *library.Item {
		t.Helper()
		item, err := manager.GetLibraryItem(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		return item
	}
	type versions struct{ Content, Metadata string }
	before := look()
	steps := []struct {
		name string
		do   func() error
		want versions
	}{
		{"new files", func() error {
			return b.UpdateLibraryItem(ctx, "images", LibraryItem{Name: "photon-5", Type: library.ItemTypeOVF,
				Descriptor: "<second/>"})
		}, versions{"3", "1"}},
		{"new description", func() error {
			description := "renewed"
			return manager.UpdateLibraryItem(ctx, &library.Item{ID: id, Description: &description})
		}, versions{"3", "2"}},
	}
	if got := (versions{before.ContentVersion, before.MetadataVersion}); got != (versions{"2", "1"}) {
		t.Errorf("at the start: %+v", got)
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		now := look()
		if diff := cmp.Diff(step.want, versions{now.ContentVersion, now.MetadataVersion}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
		if !now.LastModifiedTime.After(*before.LastModifiedTime) {
			t.Errorf("%s: modified at %s, before that at %s", step.name, now.LastModifiedTime, before.LastModifiedTime)
		}
		before = now
	}

	files, err := manager.ListLibraryItemFiles(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string]string{}
	for _, file := range files {
		kept[file.Name] = file.Version
	}
	if diff := cmp.Diff(map[string]string{"photon-5.ovf": "2", "disk-0.vmdk": "2"}, kept); diff != "" {
		t.Errorf("files and their versions (-want +got):\n%s", diff)
	}
	var datastore mo.Datastore
	found, err := b.finder.Datastore(ctx, "datastore-1")
	if err == nil {
		err = found.Properties(ctx, found.Reference(), []string{"summary", "info"}, &datastore)
	}
	if err != nil {
		t.Fatal(err)
	}
	storage, err := manager.ListLibraryItemStorage(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	var uris []string
	for _, file := range storage {
		uris = append(uris, file.StorageURIs...)
	}
	place := datastore.Summary.Url + "contentlib-" + before.LibraryID + "/" + id + "/"
	if diff := cmp.Diff([]string{place + "disk-0.vmdk", place + "photon-5.ovf"}, uris); diff != "" {
		t.Errorf("where the files are (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(datastore.Summary.Url, "ds:///vmfs/volumes/") ||
		datastore.Info.GetDatastoreInfo().Url != datastore.Summary.Url {
		t.Errorf("the datastore is at %s and %s", datastore.Summary.Url, datastore.Info.GetDatastoreInfo().Url)
	}
}
