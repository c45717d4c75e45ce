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
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

// hasLibraries has vCenter have content libraries of those names.
func (s *server) hasLibraries(names ...string) {
	all := make([]*facts.Library, len(names))
	for i, name := range names {
		all[i] = &facts.Library{ID: "id-of-" + name, Name: name}
	}
	s.projector.SetLibraries(all)
}

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
	if err := s.create(asking([]string{"any"}, nil)); !errors.Is(err, failure.Unavailable) {
		t.Errorf("before the libraries are known: %v", err)
	}
	s.hasLibraries("Platform images", "Team A images")
	refused(s.create(asking([]string{"Platform images", "Platform"}, nil)),
		`spec.contentLibraries: there is no content library "Platform"; there are: Platform images, Team A images`)
	refused(s.create(asking(nil, []string{"workload-net", "workload"})),
		`spec.networks: there is no network "workload"; there are: VM Network, a/b, workload-net`)
	s.hasLibraries()
	refused(s.create(asking([]string{"any"}, nil)),
		`spec.contentLibraries: there is no content library "any", nor any other`)
	var many []string
	for i := range 30 {
		many = append(many, fmt.Sprintf("library-%02d", i))
	}
	s.hasLibraries(many...)
	refused(s.create(asking([]string{"any"}, nil)), "library-19 and 10 more")

	// For what was taken before, nothing is asked.
	s.hasLibraries("Old images")
	if err := s.create(asking([]string{"Old images"}, []string{"workload-net"})); err != nil {
		t.Fatal(err)
	}
	s.hasLibraries("Platform images")
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

// A content library is given by its name, and that one is meant: one that comes to be called so later does not count.
func TestLibrariesAreKnownByMoreThanTheirNames(t *testing.T) {
	w := newWorld(t, withSwitch)
	s := w.start(-1)
	has := func(libraries ...*facts.Library) { s.projector.SetLibraries(libraries) }
	first, second := &facts.Library{ID: "1", Name: "images"}, &facts.Library{ID: "2", Name: "images"}
	set := func(libraries ...string) error {
		return s.update("team-a", func(o *v1alpha1.Namespace) { o.Spec.ContentLibraries = libraries })
	}
	counts := func(what, id, says string) {
		t.Helper()
		got := s.get("team-a")
		condition := meta.FindStatusCondition(got.Status.Conditions, v1alpha1.NamespaceConditionLibraries)
		if want := []v1alpha1.NamespaceContentLibrary{{Name: "images", ID: id}}; !cmp.Equal(want,
			got.Status.ContentLibraries) {
			t.Errorf("%s: %+v, want %+v", what, got.Status.ContentLibraries, want)
		}
		if (condition != nil) != (says != "") || condition != nil && !strings.Contains(condition.Message, says) {
			t.Errorf("%s: %+v, want one that says %q", what, condition, says)
		}
	}
	has(first, second)
	if err := set("images"); !errors.Is(err, failure.Invalid) || !strings.Contains(err.Error(), "1, 2") {
		t.Errorf("a name that two have: %v", err)
	}
	has(first)
	if err := set("images"); err != nil {
		t.Fatal(err)
	}
	counts("given", "1", "")
	has(first, second)
	counts("beside another", "1", "")
	has(second)
	counts("without it", "1", "the id 1, which was given. Another one of that name, 2, does not count")
	if err := s.update("team-a", func(o *v1alpha1.Namespace) { o.Spec.Description = "changed" }); err != nil {
		t.Fatal(err)
	}
	counts("after a change of something else", "1", "does not count")
	s.stop()
	s = w.start(-1)
	counts("in the next process", "1", "")
	has(second)
	if err := errors.Join(set(), set("images")); err != nil {
		t.Fatal(err)
	}
	counts("given anew", "2", "")
}
