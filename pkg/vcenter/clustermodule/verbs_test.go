// SPDX-License-Identifier: Apache-2.0

package clustermodule_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/vapi/rest"
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/clustermodule"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

type writer struct {
	*vcenter.Writer
	session *vcenter.RESTSession
}

func (w writer) Do(ctx context.Context, operation string, f func(context.Context, *rest.Client) error) error {
	return w.DoREST(ctx, w.session, operation, f)
}

func TestVerbs(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: vcentertest.Sample})
	session, err := vcenter.NewSession(vcenter.Config{
		URL: v.URL(), CredentialsFile: v.CredentialsFile(t), CAFile: v.CAFile(t), Logger: klog.Background(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- session.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-done
	})
	client, err := v.Client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := func(path string) facts.ID {
		found, err := find.NewFinder(client.Client, false).ManagedObjectList(t.Context(), path)
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %v, %v", path, found, err)
		}
		ref := found[0].Object.Reference()
		return facts.ID{VCenter: client.ServiceContent.About.InstanceUuid, Type: ref.Type, Value: ref.Value}
	}
	login := &vcenter.RESTSession{Session: session}
	gate := &vcenter.Writer{Session: session, Reign: vcentertest.Reign{}, Following: vcentertest.Following}
	verbs := &clustermodule.Verbs{Session: login, Writer: writer{gate, login}}
	cluster, web, db := id("/DC0/host/cluster-a"), id("/DC0/vm/Namespaces/team-a/web-1"), id("/DC0/vm/Namespaces/team-a/db-1")

	made, err := verbs.Create(t.Context(), cluster)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := verbs.In(t.Context(), cluster); err != nil || !cmp.Equal([]string{made}, all) {
		t.Errorf("in the cluster: %v, %v", all, err)
	}
	if all, err := verbs.In(t.Context(), id("/DC0/host/cluster-b")); err != nil || len(all) > 0 {
		t.Errorf("in another: %v, %v", all, err)
	}
	if err := verbs.Add(t.Context(), made, web, db); err != nil {
		t.Error(err)
	}
	if err := verbs.Add(t.Context(), made, web); !errors.Is(err, failure.Conflict) {
		t.Errorf("added once more: %v", err)
	}
	for range 2 {
		if err := verbs.Remove(t.Context(), made, db); err != nil {
			t.Errorf("removed: %v", err)
		}
	}
	occupied := errors.New("occupied")
	var seen []facts.ID
	err = verbs.Destroy(t.Context(), cluster, made, func(members []facts.ID) error {
		seen = members
		return occupied
	})
	if diff := cmp.Diff([]facts.ID{web}, seen); diff != "" || !errors.Is(err, occupied) {
		t.Errorf("not destroyed: %v, members (-want +got):\n%s", err, diff)
	}
	gate.Following = func() error { return errors.New("the inventory is behind") }
	if _, err := verbs.Create(t.Context(), cluster); !errors.Is(err, failure.Unavailable) {
		t.Errorf("made where nothing may be: %v", err)
	}
	gate.Following = vcentertest.Following
	if err := verbs.Destroy(t.Context(), cluster, made, func([]facts.ID) error { return nil }); err != nil {
		t.Error(err)
	}
	if _, err := verbs.Members(t.Context(), cluster, made); !errors.Is(err, failure.NotFound) {
		t.Errorf("members of one that is gone: %v", err)
	}
}
