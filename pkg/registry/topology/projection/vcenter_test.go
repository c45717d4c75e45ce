// SPDX-License-Identifier: Apache-2.0

package projection_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"k8s.io/klog/v2"

	vspherev1 "github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/registry/projected"
	"github.com/openpacific/pacific/pkg/registry/topology/projection"
	vnsprojection "github.com/openpacific/pacific/pkg/registry/vspherenamespace/projection"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/picture"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

const patience = 20 * time.Second

var _ projected.Sink[vspherev1.Namespace] = projection.Namespaces{}

// TestFollowsVCenter has a VI admin change clusters, pools and folders in the
// vSphere Client.
func TestFollowsVCenter(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{Inventory: vcentertest.Sample})
	session, err := vcenter.NewSession(vcenter.Config{URL: v.URL(), CredentialsFile: v.CredentialsFile(t),
		CAFile: v.CAFile(t), Logger: klog.Background()})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	namespaces := vnsprojection.NewProjector(vnsprojection.Config{Logger: klog.Background()})
	handler := &picture.Picture{Followers: []facts.Follower{w.projector, namespaces}}
	collector := &inventory.Collector{
		Session: session, Handler: handler, Logger: klog.Background(),
		Kinds: picture.Kinds(nil),
	}
	w.attach()
	namespaces.Namespaces().Attach(w.projector.Namespaces())
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = session.Run(ctx) })
	running.Go(func() { _ = collector.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})

	builder, err := v.Builder(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { builder.Close(context.Background()) })
	if err := builder.In(t.Context(), "DC0"); err != nil {
		t.Fatal(err)
	}
	finder := find.NewFinder(builder.Client.Client)
	cluster := func(path string) *object.ClusterComputeResource {
		found, err := finder.ClusterComputeResource(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	done := func(task *object.Task, err error) error {
		if err != nil {
			return err
		}
		return task.Wait(t.Context())
	}
	for _, step := range []struct {
		what string
		do   func() error
		want []string
	}{
		{"at first", func() error { return nil },
			[]string{"cluster-a: team-a team-b", "cluster-b: team-a team-b", "team-a/cluster-a", "team-a/cluster-b",
				"team-b/cluster-a", "team-b/cluster-b"}},
		{"a folder and a pool are made", func() error {
			if err := builder.Folder(t.Context(), "Namespaces/team-c"); err != nil {
				return err
			}
			return builder.ResourcePool(t.Context(), "cluster-b", "team-c")
		}, []string{"cluster-a: team-a team-b", "cluster-b: team-a team-b team-c", "team-a/cluster-a", "team-a/cluster-b",
			"team-b/cluster-a", "team-b/cluster-b", "team-c/cluster-b"}},
		{"the pool is destroyed", func() error {
			pool, err := finder.ResourcePool(t.Context(), "/DC0/host/cluster-b/Resources/team-c")
			if err != nil {
				return err
			}
			return done(pool.Destroy(t.Context()))
		}, []string{"cluster-a: team-a team-b", "cluster-b: team-a team-b", "team-a/cluster-a", "team-a/cluster-b",
			"team-b/cluster-a", "team-b/cluster-b"}},
		{"a cluster is made", func() error { return builder.Cluster(t.Context(), "cluster-c", "esx-c1.lab.pacific.test") },
			[]string{"cluster-a: team-a team-b", "cluster-b: team-a team-b", "cluster-c: ", "team-a/cluster-a",
				"team-a/cluster-b", "team-b/cluster-a", "team-b/cluster-b"}},
		{"it is renamed", func() error { return done(cluster("/DC0/host/cluster-c").Rename(t.Context(), "cluster-d")) },
			[]string{"cluster-a: team-a team-b", "cluster-b: team-a team-b", "cluster-d: ", "team-a/cluster-a",
				"team-a/cluster-b", "team-b/cluster-a", "team-b/cluster-b"}},
		{"a cluster with machines is renamed", func() error {
			return done(cluster("/DC0/host/cluster-a").Rename(t.Context(), "rack-1"))
		},
			[]string{"cluster-b: team-a team-b", "cluster-d: ", "rack-1: team-a team-b", "team-a/cluster-b", "team-a/rack-1",
				"team-b/cluster-b", "team-b/rack-1"}},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		deadline, diff := time.Now().Add(patience), "nothing is served"
		for {
			if w.ready() {
				diff = cmp.Diff(step.want, w.served().names())
			}
			if diff == "" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: not within %s (-want +got):\n%s", step.what, patience, diff)
			}
			<-time.After(5 * time.Millisecond)
		}
	}
}
