// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/topology/install"
	"github.com/openpacific/pacific/pkg/apis/topology/v1alpha1"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/kindtest"
	"github.com/openpacific/pacific/pkg/registry/projected"
	"github.com/openpacific/pacific/pkg/waittest"
)

// TestReadyWaitsForEveryKindThatIsFed: a server is ready when the last of the kinds that the inventory feeds can be
// read.
func TestReadyWaitsForEveryKindThatIsFed(t *testing.T) {
	frame := kindtest.NewFrame(install.Install, clock.RealClock{})
	first := serveReadOnly[v1alpha1.Zone, v1alpha1.ZoneList](t, frame, "zones", "zone")
	second := serveReadOnly[v1alpha1.AvailabilityZone, v1alpha1.AvailabilityZoneList](t, frame, "availabilityzones",
		"availabilityzone")
	t.Cleanup(func() { registry.Destroy(first, second) })
	var zones kindtest.World[v1alpha1.Zone]
	var availabilityZones kindtest.World[v1alpha1.AvailabilityZone]
	first.Project(zones.Shown())
	second.Project(availabilityZones.Shown())
	frame.Sequence.Begin(1)
	first.Open()
	second.Open()

	zones.ShowAll()
	waittest.Eventually(t, "the first can be read", func() bool { return first.ReadinessCheck() == nil })
	if err := registry.Ready(first, second); err == nil || !strings.Contains(err.Error(), "availabilityzones") {
		t.Errorf("before the second was fed: %v, want an error that names it", err)
	}
	availabilityZones.ShowAll()
	waittest.Eventually(t, "both can be read", func() bool { return registry.Ready(first, second) == nil })
}

// TestProjectedBeforeItIsOpened: what a projection of a standby shows is shown when the kind is opened, and then each
// of its steps, under the keys of the kind.
func TestProjectedBeforeItIsOpened(t *testing.T) {
	frame := kindtest.NewFrame(install.Install, clock.RealClock{})
	served := serveReadOnly[v1alpha1.AvailabilityZone, v1alpha1.AvailabilityZoneList](t, frame, "availabilityzones",
		"availabilityzone")
	t.Cleanup(func() { registry.Destroy(served) })
	zones := &projected.Objects[v1alpha1.AvailabilityZone]{}
	served.Project(zones)
	show := func(name string) {
		zones.Set(name, &v1alpha1.AvailabilityZone{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)}})
	}
	zones.Begin()
	show("zone-a")
	zones.Flush()
	show("zone-b")
	zones.Flush()
	if version := zones.Get("zone-a").ResourceVersion; version != "" {
		t.Errorf("a version %q before the first term", version)
	}
	frame.Sequence.Begin(1)
	served.Open()
	waittest.Eventually(t, "it can be read", func() bool { return served.ReadinessCheck() == nil })
	expect := func(want ...string) {
		t.Helper()
		list, err := served.Inside().List(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, zone := range list {
			got = append(got, zone.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("served (-want +got):\n%s", diff)
		}
	}
	expect("zone-a", "zone-b")
	zones.Drop("zone-a")
	show("zone-c")
	zones.Flush()
	expect("zone-b", "zone-c")
	// Whoever follows it in this process is handed what is kept, and not a copy each.
	var followed [2]runtime.Object
	for i := range followed {
		events, err := served.Inside().ListerWatcher().Watch(metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		followed[i] = (<-events.ResultChan()).Object
		events.Stop()
	}
	if followed[0] == nil || followed[0] != followed[1] {
		t.Errorf("two informers have %p and %p of the first zone", followed[0], followed[1])
	}
	if zone, err := served.Inside().Get(t.Context(), "", "zone-b"); err != nil || zone.Name != "zone-b" {
		t.Errorf("zone-b: %v, %v", zone, err)
	}
}

func serveReadOnly[T, L any](t *testing.T, frame *registry.Frame, resource, singular string) *registry.Resource[T, L] {
	t.Helper()
	served, err := registry.ServeReadOnly(frame, &registry.Kind[T, L]{
		Resource: resource, Singular: singular, Title: resource, Versions: []schema.GroupVersion{v1alpha1.SchemeGroupVersion},
		Columns: []registry.Column[T]{registry.NameColumn[T]("The name.")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return served
}
