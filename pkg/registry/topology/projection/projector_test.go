// SPDX-License-Identifier: Apache-2.0

package projection_test

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	k8stypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/storage"

	"github.com/openpacific/pacific/pkg/apis/topology/install"
	"github.com/openpacific/pacific/pkg/apis/topology/v1alpha1"
	vspherev1 "github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/livestore"
	"github.com/openpacific/pacific/pkg/namespace"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/projected"
	"github.com/openpacific/pacific/pkg/registry/topology/projection"
)

var born = metav1.Unix(1_700_000_000, 0)

// world is a projector with the stores that it fills.
type world struct {
	t         *testing.T
	projector *projection.Projector
	zones     *livestore.Store
	parts     *livestore.Store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	install.Install(scheme)
	sequence := livestore.NewSequence(1)
	store := func(resource string, object, list func() runtime.Object) *livestore.Store {
		s, err := livestore.New(livestore.Config{
			GroupResource: v1alpha1.Resource(resource), Codec: serializer.NewCodecFactory(scheme).LegacyCodec(
				v1alpha1.SchemeGroupVersion),
			NewFunc: object, NewListFunc: list, ResourcePrefix: "/" + resource, Sequence: sequence,
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	return &world{
		t: t, projector: &projection.Projector{},
		zones: store("availabilityzones", func() runtime.Object { return &v1alpha1.AvailabilityZone{} },
			func() runtime.Object { return &v1alpha1.AvailabilityZoneList{} }),
		parts: store("zones", func() runtime.Object { return &v1alpha1.Zone{} },
			func() runtime.Object { return &v1alpha1.ZoneList{} }),
	}
}

func (w *world) attach() {
	w.projector.AvailabilityZones().Attach(registry.Into[v1alpha1.AvailabilityZone]{Mirror: w.zones,
		Prefix: "/availabilityzones"})
	w.projector.Zones().Attach(registry.Into[v1alpha1.Zone]{Mirror: w.parts, Prefix: "/zones"})
}

func (w *world) ready() bool { return w.zones.Ready() && w.parts.Ready() }

// served is what both stores hold, by key.
type served struct {
	Zones map[string]v1alpha1.AvailabilityZone
	Parts map[string]v1alpha1.Zone
}

func (w *world) served() served {
	w.t.Helper()
	zones, parts := &v1alpha1.AvailabilityZoneList{}, &v1alpha1.ZoneList{}
	options := storage.ListOptions{Recursive: true, Predicate: storage.Everything}
	if err := w.zones.GetList(w.t.Context(), "/availabilityzones", options, zones); err != nil {
		w.t.Fatal(err)
	}
	if err := w.parts.GetList(w.t.Context(), "/zones", options, parts); err != nil {
		w.t.Fatal(err)
	}
	s := served{Zones: map[string]v1alpha1.AvailabilityZone{}, Parts: map[string]v1alpha1.Zone{}}
	for _, zone := range zones.Items {
		s.Zones[zone.Name] = zone
	}
	for _, part := range parts.Items {
		s.Parts[part.Namespace+"/"+part.Name] = part
	}
	return s
}

// names is what is served, in short.
func (s served) names() []string {
	var names []string
	for name, zone := range s.Zones {
		names = append(names, name+": "+strings.Join(slices.Sorted(maps.Keys(zone.Spec.Namespaces)), " "))
	}
	names = append(names, slices.Collect(maps.Keys(s.Parts))...)
	slices.Sort(names)
	return names
}

func id(kind, value string) facts.ID { return facts.ID{VCenter: "vcenter-1", Type: kind, Value: value} }

func cluster(value, name string) facts.Cluster {
	return facts.Cluster{ID: id(facts.TypeCluster, value), Name: name}
}

func pool(value, cluster string) facts.Pool {
	return facts.Pool{ID: id(facts.TypePool, value), Owner: id(facts.TypeCluster, cluster)}
}

// step is a step of the inventory in which these clusters and pools changed.
func step(objects ...any) facts.Step {
	s := facts.Step{VCenter: "vcenter-1"}
	for _, object := range objects {
		switch o := object.(type) {
		case facts.Cluster:
			s.Clusters = append(s.Clusters, o)
		case facts.Pool:
			s.Pools = append(s.Pools, o)
		}
	}
	return s
}

func initial(objects ...any) facts.Step {
	s := step(objects...)
	s.Initial = true
	return s
}

func without(cluster string) facts.Step {
	return facts.Step{VCenter: "vcenter-1", Removed: []facts.ID{id(facts.TypeCluster, cluster)}}
}

// vns is a vSphere Namespace as it is served; each pool is "zone=pool".
func vns(name string, pools ...string) *vspherev1.Namespace {
	object := &vspherev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: k8stypes.UID("uid-" + name), CreationTimestamp: born},
		Status:     vspherev1.NamespaceStatus{Folder: "group-" + name},
	}
	for _, pool := range pools {
		zone, id, _ := strings.Cut(pool, "=")
		object.Status.Zones = append(object.Status.Zones, vspherev1.NamespaceZoneStatus{Name: zone, ResourcePool: id})
	}
	return object
}

func all(namespaces ...*vspherev1.Namespace) iter.Seq[*vspherev1.Namespace] {
	return slices.Values(namespaces)
}

type change = projected.Change[vspherev1.Namespace]

func changed(namespaces ...*vspherev1.Namespace) []change {
	var changes []change
	for _, namespace := range namespaces {
		changes = append(changes, change{Name: namespace.Name, Object: namespace})
	}
	return changes
}

func gone(name string) []change { return []change{{Name: name}} }

func withoutDRS(id, name string) facts.Cluster {
	c := cluster(id, name)
	c.DRSOff = true
	return c
}

// A cluster that is not a zone shows nowhere, nor does what lies in it.
func TestClustersThatAreNotZones(t *testing.T) {
	w := newWorld(t)
	w.projector.Clusters = namespace.Zones{"cluster-a", "Rack/1"}
	w.projector.Take(initial(
		cluster("domain-c1", "cluster-a"), cluster("domain-c2", "management"), cluster("domain-c3", "Rack%2f1"),
		pool("resgroup-1", "domain-c1"), pool("resgroup-2", "domain-c2"),
	))
	w.projector.Namespaces().Replace(all(vns("team-a", "cluster-a=resgroup-1", "management=resgroup-2")))
	w.attach()
	want := []string{"cluster-a: team-a", namespace.Label("Rack/1", "zone", "domain-c3") + ": ", "team-a/cluster-a"}
	if diff := cmp.Diff(want, w.served().names()); diff != "" {
		t.Errorf("served (-want +got):\n%s", diff)
	}
}

func TestObjects(t *testing.T) {
	rack := namespace.Label("Rack 1", "zone", "domain-c2")
	w := newWorld(t)
	w.projector.Take(initial(
		withoutDRS("domain-c2", "Rack 1"), cluster("domain-c1", "cluster-a"), cluster("domain-c3", "cluster-a"),
		pool("resgroup-3", "domain-c1"),
	))
	w.projector.Namespaces().Replace(all(vns("team-a", "cluster-a=resgroup-3")))
	w.attach()
	got := w.served()
	ready := metav1.Condition{Type: "Ready", Status: "True", Reason: "Ready",
		Message: "vSphere Namespaces can have resource pools in it.", LastTransitionTime: metav1.Unix(0, 0)}
	drsOff := metav1.Condition{Type: "Ready", Status: "False", Reason: "DRSOff", LastTransitionTime: metav1.Unix(0, 0),
		Message: "DRS is turned off in the cluster domain-c2, so that it can have no resource pools: turn it on in " +
			"vCenter, or leave the cluster out of --zone-clusters."}
	want := served{
		Zones: map[string]v1alpha1.AvailabilityZone{
			"cluster-a": {
				ObjectMeta: metav1.ObjectMeta{Name: "cluster-a"},
				Spec: v1alpha1.AvailabilityZoneSpec{
					ClusterComputeResourceMoID: "domain-c1", ClusterComputeResourceMoIDs: []string{"domain-c1", "domain-c3"},
					Namespaces: map[string]v1alpha1.NamespaceInfo{"team-a": {PoolMoID: "resgroup-3", PoolMoIDs: []string{"resgroup-3"},
						FolderMoID: "group-team-a"}},
				},
				Status: v1alpha1.AvailabilityZoneStatus{Conditions: []metav1.Condition{ready}},
			},
			rack: {
				ObjectMeta: metav1.ObjectMeta{Name: rack},
				Spec: v1alpha1.AvailabilityZoneSpec{ClusterComputeResourceMoID: "domain-c2",
					ClusterComputeResourceMoIDs: []string{"domain-c2"}},
				Status: v1alpha1.AvailabilityZoneStatus{Conditions: []metav1.Condition{drsOff}},
			},
		},
		Parts: map[string]v1alpha1.Zone{
			"team-a/cluster-a": {
				ObjectMeta: metav1.ObjectMeta{Name: "cluster-a", Namespace: "team-a", CreationTimestamp: born},
				Spec: v1alpha1.ZoneSpec{
					Namespace:  v1alpha1.VSphereEntityInfo{PoolMoIDs: []string{"resgroup-3"}, FolderMoID: "group-team-a"},
					ManagedVMs: v1alpha1.VSphereEntityInfo{PoolMoIDs: []string{"resgroup-3"}, FolderMoID: "group-team-a"},
					AvailabilityZone: v1alpha1.AvailabilityZoneReference{APIVersion: "topology.tanzu.vmware.com/v1alpha1",
						Name: "cluster-a"},
				},
			},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(metav1.ObjectMeta{}, "UID", "ResourceVersion"),
		cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("served (-want +got):\n%s", diff)
	}
	uids := map[k8stypes.UID]bool{"": true}
	for _, object := range got.Zones {
		uids[object.UID] = true
	}
	for _, object := range got.Parts {
		uids[object.UID] = true
	}
	if len(uids) != 4 {
		t.Errorf("uids %v, want three that differ", slices.Collect(maps.Keys(uids)))
	}
	// Another process makes the same.
	again := newWorld(t)
	again.attach()
	again.projector.Namespaces().Replace(all(vns("team-a", "cluster-a=resgroup-3")))
	again.projector.Take(initial(
		cluster("domain-c3", "cluster-a"), cluster("domain-c1", "cluster-a"), withoutDRS("domain-c2", "Rack 1"),
		pool("resgroup-3", "domain-c1"),
	))
	if diff := cmp.Diff(got, again.served(), cmpopts.IgnoreFields(metav1.ObjectMeta{}, "ResourceVersion")); diff != "" {
		t.Errorf("in another process (-first +other):\n%s", diff)
	}
}

// TestOrders takes the same steps in every order: what is served in the end
// depends on what there is alone.
func TestOrders(t *testing.T) {
	steps := map[string]func(*world){
		"attach": func(w *world) { w.attach() },
		"clusters, then another and one renamed": func(w *world) {
			w.projector.Take(initial(cluster("domain-c1", "cluster-a"), cluster("domain-c2", "old"),
				cluster("domain-c3", "gone"),
				pool("p1", "domain-c1"), pool("p2", "domain-c2"), pool("p3", "domain-c1"), pool("p4", "domain-c2"),
				pool("p5", "domain-c3"),
				pool("p6", "domain-c1")))
			w.projector.Take(step(pool("p7", "domain-c2")))
			w.projector.Take(step(cluster("domain-c4", "cluster-a")))
			w.projector.Take(step(cluster("domain-c2", "cluster-b")))
			w.projector.Take(without("domain-c3"))
		},
		"namespaces, then a new one, one with a pool less, and one deleted": func(w *world) {
			w.projector.Namespaces().Replace(all(vns("team-a", "cluster-a=p1", "old=p2"),
				vns("team-b", "cluster-a=p3", "cluster-b=p4"), vns("team-c", "gone=p5", "cluster-a=p6")))
			w.projector.Namespaces().Apply(changed(vns("team-d", "cluster-b=p7")))
			w.projector.Namespaces().Apply(changed(vns("team-a", "cluster-a=p1", "cluster-b=p2"), vns("team-b", "cluster-a=p3")))
			w.projector.Namespaces().Apply(gone("team-c"))
		},
	}
	var want *served
	for _, order := range permutations(slices.Sorted(maps.Keys(steps))) {
		w := newWorld(t)
		for i, step := range order {
			if w.ready() {
				t.Errorf("%v: something is served after %d steps", order, i)
			}
			steps[step](w)
		}
		got := w.served()
		if want == nil {
			want = &got
			wantNames := []string{"cluster-a: team-a team-b", "cluster-b: team-a team-d", "team-a/cluster-a", "team-a/cluster-b",
				"team-b/cluster-a", "team-d/cluster-b"}
			if diff := cmp.Diff(wantNames, got.names()); diff != "" {
				t.Fatalf("%v (-want +got):\n%s", order, diff)
			}
		}
		if diff := cmp.Diff(*want, got, cmpopts.IgnoreFields(metav1.ObjectMeta{}, "ResourceVersion")); diff != "" {
			t.Errorf("%v (-first +this):\n%s", order, diff)
		}
	}
}

// TestChanges follows changes while everything is served already, in both orders
// in which the two feeds may tell of one.
func TestChanges(t *testing.T) {
	for _, test := range []struct {
		name       string
		clusters   []facts.Step
		namespaces []change
		want       []string
	}{
		{"a cluster is renamed", []facts.Step{step(cluster("domain-c1", "cluster-z"))},
			changed(vns("team-a", "cluster-z=p1", "cluster-b=p2")),
			[]string{"cluster-b: team-a", "cluster-z: team-a", "team-a/cluster-b", "team-a/cluster-z"}},
		{"two clusters swap their names", []facts.Step{step(cluster("domain-c1", "cluster-b"),
			cluster("domain-c2", "cluster-a"))}, changed(vns("team-a", "cluster-a=p2", "cluster-b=p1")),
			[]string{"cluster-a: team-a", "cluster-b: team-a", "team-a/cluster-a", "team-a/cluster-b"}},
		{"a cluster is removed", []facts.Step{without("domain-c1")}, changed(vns("team-a", "cluster-b=p2")),
			[]string{"cluster-b: team-a", "team-a/cluster-b"}},
		{"a cluster is added", []facts.Step{step(cluster("domain-c3", "cluster-c"), pool("p3", "domain-c3"))},
			changed(vns("team-a", "cluster-a=p1", "cluster-b=p2", "cluster-c=p3")),
			[]string{"cluster-a: team-a", "cluster-b: team-a", "cluster-c: team-a", "team-a/cluster-a", "team-a/cluster-b",
				"team-a/cluster-c"}},
		{"another cluster of one name comes, and the first goes",
			[]facts.Step{step(cluster("domain-c3", "cluster-a"), pool("p9", "domain-c3")), without("domain-c1")},
			changed(vns("team-a", "cluster-a=p9", "cluster-b=p2")),
			[]string{"cluster-a: team-a", "cluster-b: team-a", "team-a/cluster-a", "team-a/cluster-b"}},
		{"the namespace is deleted with its cluster", []facts.Step{without("domain-c1"), without("domain-c2")},
			gone("team-a"), nil},
		{"a pool is removed", nil, changed(vns("team-a", "cluster-a=p1")),
			[]string{"cluster-a: team-a", "cluster-b: ", "team-a/cluster-a"}},
		{"a namespace comes", nil, changed(vns("team-b", "cluster-b=p8")),
			[]string{"cluster-a: team-a", "cluster-b: team-a team-b", "team-a/cluster-a", "team-a/cluster-b",
				"team-b/cluster-b"}},
		{"the namespace is deleted", nil, gone("team-a"), []string{"cluster-a: ", "cluster-b: "}},
		{"a pool that is still to be made", nil, changed(vns("team-a", "cluster-a=", "cluster-b=p2")),
			[]string{"cluster-a: ", "cluster-b: team-a", "team-a/cluster-b"}},
	} {
		var first *served
		for _, clustersFirst := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, clusters first %t", test.name, clustersFirst), func(t *testing.T) {
				w := newWorld(t)
				w.attach()
				w.projector.Take(initial(cluster("domain-c1", "cluster-a"), cluster("domain-c2", "cluster-b"),
					pool("p1", "domain-c1"), pool("p2", "domain-c2"), pool("p8", "domain-c2")))
				w.projector.Namespaces().Replace(all(vns("team-a", "cluster-a=p1", "cluster-b=p2")))
				if !clustersFirst {
					w.projector.Namespaces().Apply(test.namespaces)
				}
				for _, update := range test.clusters {
					w.projector.Take(update)
				}
				if clustersFirst {
					w.projector.Namespaces().Apply(test.namespaces)
				}
				got := w.served()
				if diff := cmp.Diff(test.want, got.names()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if first == nil {
					first = &got
				}
				if diff := cmp.Diff(*first, got, cmpopts.IgnoreFields(metav1.ObjectMeta{}, "ResourceVersion")); diff != "" {
					t.Errorf("in the other order (-first +this):\n%s", diff)
				}
			})
		}
	}
}

// The name of a cluster is that of a zone at once: a Zone does not go in between,
// until the vSphere Namespaces tell of the other name.
func TestRenamedClusterIsOneChange(t *testing.T) {
	w := newWorld(t)
	w.attach()
	w.projector.Take(initial(cluster("domain-c1", "cluster-a"), pool("p1", "domain-c1")))
	w.projector.Namespaces().Replace(all(vns("team-a", "cluster-a=p1")))
	w.projector.Take(step(cluster("domain-c1", "cluster-z")))
	between := w.served()
	if diff := cmp.Diff([]string{"cluster-z: team-a", "team-a/cluster-z"}, between.names()); diff != "" {
		t.Errorf("before the namespaces tell (-want +got):\n%s", diff)
	}
	w.projector.Namespaces().Apply(changed(vns("team-a", "cluster-z=p1")))
	if diff := cmp.Diff(between, w.served()); diff != "" {
		t.Errorf("when the namespaces tell (-before +after):\n%s", diff)
	}
}

// A change of usage is the most frequent one there is, and nothing to the zones.
func TestUsageIsNoChange(t *testing.T) {
	w := newWorld(t)
	w.attach()
	w.projector.Take(initial(cluster("domain-c1", "cluster-a"), pool("p1", "domain-c1")))
	w.projector.Namespaces().Replace(all(vns("team-a", "cluster-a=p1")))
	before := w.served()
	busy := vns("team-a", "cluster-a=p1")
	busy.Status.Usage.CPUMHz, busy.Labels, busy.ResourceVersion = 500, map[string]string{"team": "a"}, "7"
	w.projector.Namespaces().Apply(changed(busy))
	w.projector.Take(step(cluster("domain-c1", "cluster-a")))
	if diff := cmp.Diff(before, w.served()); diff != "" {
		t.Errorf("after a change of usage (-before +after):\n%s", diff)
	}
	// An age that becomes known is one to the Zone alone.
	older := vns("team-a", "cluster-a=p1")
	older.CreationTimestamp = metav1.Unix(1_600_000_000, 0)
	w.projector.Namespaces().Apply(changed(older))
	after := w.served()
	if got := after.Parts["team-a/cluster-a"].CreationTimestamp; !got.Equal(&older.CreationTimestamp) {
		t.Errorf("the Zone was created at %v", got)
	}
	if diff := cmp.Diff(before.Zones, after.Zones); diff != "" {
		t.Errorf("availability zones (-before +after):\n%s", diff)
	}
}

// A namespace that was deleted and made again between two changes is another one.
func TestAnotherNamespaceOfTheName(t *testing.T) {
	w := newWorld(t)
	w.attach()
	w.projector.Take(initial(cluster("domain-c1", "cluster-a"), pool("p1", "domain-c1")))
	w.projector.Namespaces().Replace(all(vns("team-a", "cluster-a=p1")))
	before := w.served().Parts["team-a/cluster-a"].UID
	other := vns("team-a", "cluster-a=p1")
	other.UID = "another"
	w.projector.Namespaces().Apply(changed(other))
	if after := w.served().Parts["team-a/cluster-a"].UID; after == before {
		t.Errorf("the Zone of another namespace has the uid %s still", after)
	}
}

// The folder of a namespace that is still being made comes after its pools.
func TestFolderComesLater(t *testing.T) {
	w := newWorld(t)
	w.attach()
	w.projector.Take(initial(cluster("domain-c1", "cluster-a"), pool("p1", "domain-c1")))
	young := vns("team-a", "cluster-a=p1")
	young.Status.Folder = ""
	w.projector.Namespaces().Replace(all(young))
	w.projector.Namespaces().Apply(changed(vns("team-a", "cluster-a=p1")))
	got := w.served()
	at := v1alpha1.VSphereEntityInfo{PoolMoIDs: []string{"p1"}, FolderMoID: "group-team-a"}
	if diff := cmp.Diff(at, got.Parts["team-a/cluster-a"].Spec.ManagedVMs); diff != "" {
		t.Errorf("Zone (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("group-team-a", got.Zones["cluster-a"].Spec.Namespaces["team-a"].FolderMoID); diff != "" {
		t.Errorf("AvailabilityZone (-want +got):\n%s", diff)
	}
}

func permutations(items []string) [][]string {
	if len(items) == 0 {
		return [][]string{nil}
	}
	var orders [][]string
	for i, item := range items {
		for _, rest := range permutations(slices.Delete(slices.Clone(items), i, i+1)) {
			orders = append(orders, append([]string{item}, rest...))
		}
	}
	return orders
}
