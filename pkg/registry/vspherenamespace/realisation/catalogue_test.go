// SPDX-License-Identifier: Apache-2.0

package realisation_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// libraries are the content libraries of a vCenter; nil: not read yet.
type libraries []string

func (l libraries) Names() []string { return l }
func (l libraries) Synced() bool    { return l != nil }

// withSwitch is an inventory with port groups.
func withSwitch(ctx context.Context, b *vcentertest.Builder) error {
	return errors.Join(
		b.Datacenter(ctx, "DC0"),
		b.Switch(ctx, "dvs-lab", "workload-net", "a/b"),
		b.Cluster(ctx, "cluster-a", "esx-a1.lab.pacific.test"),
		b.Datastore(ctx, "datastore-1"),
		b.Folder(ctx, "Namespaces/team-a"),
	)
}

func TestNetworks(t *testing.T) {
	w := newWorld(t, withSwitch)
	s := w.start(-1)
	is := func(want ...string) func() bool {
		return func() bool { return cmp.Equal(want, s.projector.Networks()) }
	}
	s.until("networks, and no uplinks", is("VM Network", "a/b", "workload-net"))

	finder := find.NewFinder(w.builder().Client.Client)
	network, err := finder.Network(t.Context(), "/DC0/network/workload-net")
	if err != nil {
		t.Fatal(err)
	}
	common := object.NewCommon(w.builder().Client.Client, network.Reference())
	done := func(task *object.Task, err error) {
		t.Helper()
		if err == nil {
			err = task.WaitEx(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	done(common.Rename(t.Context(), "frontend"))
	s.until("a renamed one", is("VM Network", "a/b", "frontend"))
	done(common.Destroy(t.Context()))
	s.until("a deleted one", is("VM Network", "a/b"))
}

func TestWhatVCenterDoesNotHave(t *testing.T) {
	w := newWorld(t, withSwitch)
	s := w.start(-1)
	asking := func(libraries, networks []string) *v1alpha1.Namespace {
		object := fresh("team-c")
		object.Spec.Resources = v1alpha1.NamespaceResources{}
		object.Spec.ContentLibraries, object.Spec.Networks = libraries, networks
		return object
	}
	refused := func(err error, says string) {
		t.Helper()
		if !errors.Is(err, failure.Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("got the error %v, want one that says %q", err, says)
		}
	}
	s.backend.Libraries = libraries{"Platform images", "Team A images"}
	refused(s.create(asking([]string{"Platform images", "Platform"}, nil)),
		`spec.contentLibraries: there is no content library "Platform"; there are: Platform images, Team A images`)
	refused(s.create(asking(nil, []string{"workload-net", "workload"})),
		`spec.networks: there is no network "workload"; there are: VM Network, a/b, workload-net`)
	s.backend.Libraries = libraries{}
	refused(s.create(asking([]string{"any"}, nil)), `spec.contentLibraries: there is no content library "any", nor any other`)
	var many libraries
	for i := range 30 {
		many = append(many, fmt.Sprintf("library-%02d", i))
	}
	s.backend.Libraries = many
	refused(s.create(asking([]string{"any"}, nil)), "library-19 and 10 more")

	// Before the libraries are known, and for what was taken before, nothing is asked.
	s.backend.Libraries = libraries(nil)
	if err := s.create(asking([]string{"Old images"}, []string{"workload-net"})); err != nil {
		t.Fatal(err)
	}
	s.backend.Libraries = libraries{"Platform images"}
	set := func(libraries ...string) error {
		return s.update("team-c", func(o *v1alpha1.Namespace) { o.Spec.ContentLibraries = libraries })
	}
	if err := set("Old images", "Platform images"); err != nil {
		t.Errorf("one that was taken before: %v", err)
	}
	refused(set("Old images", "Team A images"), `there is no content library "Team A images"; there are: Platform images`)
	if err := set("Platform images"); err != nil {
		t.Errorf("the one that there is: %v", err)
	}
	refused(set("Old images", "Platform images"), `there is no content library "Old images"`)
	if diff := cmp.Diff([]string{"Platform images"}, s.get("team-c").Spec.ContentLibraries); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
