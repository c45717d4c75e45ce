// SPDX-License-Identifier: Apache-2.0

package etcdusers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/cmd/supervisor/pki"
	"github.com/openpacific/pacific/pkg/ledger"
)

// server is an etcd that asks every client for a certificate.
type server struct {
	store     pki.Store
	authority *pki.Authority
	url       string
}

func start(t *testing.T) *server {
	t.Helper()
	s := &server{store: pki.Store{Dir: t.TempDir(), Clock: clock.RealClock{}}}
	var err error
	if s.authority, err = s.store.Authority("ca", "test", pki.Known{}); err != nil {
		t.Fatal(err)
	}
	serving, _, err := s.store.Certificate(s.authority, "etcd",
		pki.Request{CommonName: "etcd", Hosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.url = "https://" + listener.Addr().String()
	listener.Close()
	listen, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	config := embed.NewConfig()
	config.Dir, config.LogLevel, config.LogOutputs = t.TempDir(), "fatal", []string{"stderr"}
	config.ListenClientUrls, config.AdvertiseClientUrls, config.ListenPeerUrls = []url.URL{*listen}, []url.URL{*listen},
		nil
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.EnableGRPCGateway = false
	config.ClientTLSInfo = transport.TLSInfo{
		CertFile: serving.CertFile, KeyFile: serving.KeyFile, TrustedCAFile: s.authority.CertFile, ClientCertAuth: true,
	}
	config.TickMs, config.ElectionMs = 20, 200
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(etcd.Close)
	select {
	case <-etcd.Server.ReadyNotify():
	case <-time.After(time.Minute):
		t.Fatal("etcd does not start")
	}
	return s
}

// client shows a certificate of that name.
func (s *server) client(t *testing.T, name string) *clientv3.Client {
	t.Helper()
	pair, _, err := s.store.Certificate(s.authority, name, pki.Request{CommonName: name, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	client, err := ledger.Dial(ledger.Server{Endpoints: []string{s.url}, CAFile: s.authority.CertFile,
		CertFile: pair.CertFile,
		KeyFile:  pair.KeyFile})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func users() []User {
	return []User{{Name: "kube", Prefix: "/registry/"}, {Name: "ours", Prefix: "/pacific/"}}
}

func keep(t *testing.T, root *clientv3.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := Keep(ctx, root, users()); err != nil {
		t.Fatal(err)
	}
}

// outcome is whether a request was allowed.
func outcome(err error) string {
	switch {
	case err == nil:
		return "allowed"
	case errors.Is(err, rpctypes.ErrPermissionDenied), errors.Is(err, rpctypes.ErrUserNotFound):
		return "denied"
	default:
		return err.Error()
	}
}

// watched is the outcome of a watch, which etcd refuses by ending it.
func watched(ctx context.Context, client *clientv3.Client, key string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	response, open := <-client.Watch(ctx, key, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	switch {
	case !open:
		return errors.New("no answer")
	case response.Canceled && response.Created, response.Canceled && response.Err() != nil:
		return rpctypes.ErrPermissionDenied
	}
	return nil
}

// TestEachHasItsPart asks for everything under each prefix as each of the clients.
func TestEachHasItsPart(t *testing.T) {
	t.Parallel()
	s := start(t)
	root := s.client(t, Root)
	// There was an etcd before there were users.
	for _, prefix := range []string{"/registry/", "/pacific/", "/pacificother/"} {
		if _, err := root.Put(t.Context(), prefix+"old", "kept"); err != nil {
			t.Fatal(err)
		}
	}
	keep(t, root)
	got := map[string]string{}
	for _, name := range []string{"kube", "ours", "stranger"} {
		client := s.client(t, name)
		for _, prefix := range []string{"/registry/", "/pacific/", "/pacificother/"} {
			_, read := client.Get(t.Context(), prefix, clientv3.WithPrefix())
			_, written := client.Put(t.Context(), prefix+"new-"+name, "x")
			_, taken := client.Txn(t.Context()).If(clientv3.Compare(clientv3.Version(prefix+"old"), ">", 0)).
				Then(clientv3.OpGet(prefix + "old")).Commit()
			_, removed := client.Delete(t.Context(), prefix+"new-"+name)
			got[name+" "+prefix] = fmt.Sprint("get ", outcome(read), ", put ", outcome(written), ", txn ", outcome(taken),
				", delete ", outcome(removed), ", watch ", outcome(watched(t.Context(), client, prefix)))
		}
		_, all := client.Get(t.Context(), "\x00", clientv3.WithFromKey())
		_, compacted := client.Compact(t.Context(), 1)
		_, state := client.Status(t.Context(), s.url)
		_, added := client.UserGrantRole(t.Context(), name, Root)
		got[name] = fmt.Sprint("get everything ", outcome(all), ", compact ", outcome(compacted), ", status ", outcome(state),
			", become root ", outcome(added))
	}
	const allowed, denied = "get allowed, put allowed, txn allowed, delete allowed, watch allowed",
		"get denied, put denied, txn denied, delete denied, watch denied"
	const rest = "get everything denied, compact denied, status allowed, become root denied"
	want := map[string]string{
		"kube": rest, "kube /registry/": allowed, "kube /pacific/": denied, "kube /pacificother/": denied,
		"ours": rest, "ours /registry/": denied, "ours /pacific/": allowed, "ours /pacificother/": denied,
		"stranger": rest, "stranger /registry/": denied, "stranger /pacific/": denied, "stranger /pacificother/": denied,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("who may what (-want +got):\n%s", diff)
	}
	elect(t, s.client(t, "ours"))
}

// elect stands for election as vsphere-apiserver does, and gives the lead back.
func elect(t *testing.T, client *clientv3.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	session, err := concurrency.NewSession(client, concurrency.WithTTL(5), concurrency.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	if err := concurrency.NewElection(session, "/pacific/leader").Campaign(ctx, "me"); err != nil {
		t.Errorf("stand for election: %v", err)
	}
	if _, err := client.KeepAliveOnce(ctx, session.Lease()); err != nil {
		t.Errorf("keep the lease: %v", err)
	}
	if err := session.Close(); err != nil {
		t.Errorf("give the lease back: %v", err)
	}
}

// TestKeepMendsAndIsIdempotent: what is as it should be is not touched, since each change disturbs whoever is at work.
func TestKeepMendsAndIsIdempotent(t *testing.T) {
	t.Parallel()
	s := start(t)
	root := s.client(t, Root)
	revision := func() uint64 {
		status, err := root.AuthStatus(t.Context())
		if err != nil || !status.Enabled {
			t.Fatalf("etcd asks nobody who they are: %v, %v", status, err)
		}
		return status.AuthRevision
	}
	keep(t, root)
	first := revision()
	keep(t, root)
	if second := revision(); second != first {
		t.Errorf("keeping them again makes revision %d of %d", second, first)
	}
	for _, change := range []func() error{
		func() error {
			_, err := root.RoleGrantPermission(t.Context(), "ours", "/registry/", "", clientv3.PermissionType(clientv3.PermRead))
			return err
		},
		func() error { _, err := root.UserGrantRole(t.Context(), "ours", Root); return err },
		func() error { _, err := root.UserDelete(t.Context(), "kube"); return err },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
	}
	keep(t, root)
	_, ours := s.client(t, "ours").Get(t.Context(), "/registry/")
	_, kube := s.client(t, "kube").Get(t.Context(), "/registry/x")
	if outcome(ours) != "denied" || outcome(kube) != "allowed" {
		t.Errorf("after mending: ours %v, kube %v", ours, kube)
	}
}
