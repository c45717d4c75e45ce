// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/authentication/user"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"

	"github.com/openpacific/pacific/pkg/apis/topology/install"
	"github.com/openpacific/pacific/pkg/apis/topology/v1alpha1"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/kindtest"
)

// The upstream cache asks a package variable what the storage below it can do.
func TestMain(m *testing.M) {
	kindtest.UseLiveStores()
	os.Exit(m.Run())
}

var created = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// sight is who sees which namespaces; "*" is all.
type sight struct {
	mu    sync.Mutex
	sees  map[string][]string
	err   error
	asked int
}

func (s *sight) Sees(_ context.Context, who user.Info, namespaces []string) ([]bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.err != nil {
		return nil, s.err
	}
	answers := make([]bool, len(namespaces))
	for i, namespace := range namespaces {
		answers[i] = slices.Contains(s.sees[who.GetName()], namespace) || slices.Contains(s.sees[who.GetName()], "*")
	}
	return answers, nil
}

func (s *sight) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// endpoint is how a kind is read.
type endpoint interface {
	rest.Storage
	rest.Getter
	rest.Lister
	rest.Watcher
	rest.TableConvertor
}

type server struct {
	AvailabilityZone, Zone endpoint

	t     *testing.T
	sight *sight
	zones kindtest.World[v1alpha1.AvailabilityZone]
	parts kindtest.World[v1alpha1.Zone]
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, sight: &sight{sees: map[string][]string{"admin": {"*"}, "dev": {"team-a"},
		"both": {"team-a", "team-b"}}}}
	frame := kindtest.NewFrame(install.Install, kindtest.Clock{At: created.Add(50 * time.Hour)})
	zones, err := registry.ServeReadOnly(frame, AvailabilityZones(s.sight))
	if err != nil {
		t.Fatal(err)
	}
	parts, err := registry.ServeReadOnly(frame, Zones())
	if err != nil {
		t.Fatal(err)
	}
	zones.Project(s.zones.Shown())
	parts.Project(s.parts.Shown())
	s.zones.ShowAll(zone("cluster-a", "team-a", "team-b"), zone("cluster-b", "team-b"), zone("cluster-c"))
	s.parts.ShowAll(part("team-a", "cluster-a"), part("team-b", "cluster-a"))
	kindtest.Open(t, zones, parts)
	s.AvailabilityZone, s.Zone = zones.Endpoints()["availabilityzones"].(endpoint), parts.Endpoints()["zones"].(endpoint)
	return s
}

// as is a request of somebody.
func (s *server) as(name string) context.Context {
	ctx := genericapirequest.WithNamespace(s.t.Context(), metav1.NamespaceNone)
	return genericapirequest.WithUser(ctx, &user.DefaultInfo{Name: name})
}

func zone(name string, namespaces ...string) *v1alpha1.AvailabilityZone {
	object := &v1alpha1.AvailabilityZone{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name)},
		Spec: v1alpha1.AvailabilityZoneSpec{ClusterComputeResourceMoID: "domain-" + name,
			ClusterComputeResourceMoIDs: []string{"domain-" + name}},
	}
	for _, namespace := range namespaces {
		if object.Spec.Namespaces == nil {
			object.Spec.Namespaces = map[string]v1alpha1.NamespaceInfo{}
		}
		object.Spec.Namespaces[namespace] = v1alpha1.NamespaceInfo{PoolMoID: "pool-" + namespace,
			PoolMoIDs: []string{"pool-" + namespace}, FolderMoID: "group-" + namespace}
	}
	return object
}

func part(namespace, name string) *v1alpha1.Zone {
	at := v1alpha1.VSphereEntityInfo{PoolMoIDs: []string{"pool-1", "pool-2"}, FolderMoID: "group-1"}
	return &v1alpha1.Zone{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, UID: types.UID("uid-" + namespace + "-" + name),
			CreationTimestamp: metav1.NewTime(created)},
		Spec: v1alpha1.ZoneSpec{Namespace: at, ManagedVMs: at,
			AvailabilityZone: v1alpha1.AvailabilityZoneReference{APIVersion: "topology.tanzu.vmware.com/v1alpha1", Name: name}},
	}
}

// shown is the namespaces that somebody is shown, by zone.
func (s *server) shown(who string) map[string][]string {
	s.t.Helper()
	object, err := s.AvailabilityZone.List(s.as(who), &metainternalversion.ListOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	shown := map[string][]string{}
	for _, item := range object.(*v1alpha1.AvailabilityZoneList).Items {
		shown[item.Name] = namespacesOf(&item)
	}
	return shown
}

func namespacesOf(zone *v1alpha1.AvailabilityZone) []string {
	return slices.Sorted(maps.Keys(zone.Spec.Namespaces))
}

// Everybody sees every zone, and in it the namespaces that are theirs.
func TestShownByRights(t *testing.T) {
	s := newServer(t)
	for who, want := range map[string]map[string][]string{
		"admin":  {"cluster-a": {"team-a", "team-b"}, "cluster-b": {"team-b"}, "cluster-c": nil},
		"both":   {"cluster-a": {"team-a", "team-b"}, "cluster-b": {"team-b"}, "cluster-c": nil},
		"dev":    {"cluster-a": {"team-a"}, "cluster-b": nil, "cluster-c": nil},
		"nobody": {"cluster-a": nil, "cluster-b": nil, "cluster-c": nil},
	} {
		if diff := cmp.Diff(want, s.shown(who)); diff != "" {
			t.Errorf("%s sees (-want +got):\n%s", who, diff)
		}
		for name, namespaces := range want {
			object, err := s.AvailabilityZone.Get(s.as(who), name, &metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(namespaces, namespacesOf(object.(*v1alpha1.AvailabilityZone))); diff != "" {
				t.Errorf("%s gets %s (-want +got):\n%s", who, name, diff)
			}
		}
	}
	// What was cut out was not cut out of the store.
	object, err := s.AvailabilityZone.Get(s.as("admin"), "cluster-a", &metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := zone("cluster-a", "team-a", "team-b")
	want.ResourceVersion = object.(*v1alpha1.AvailabilityZone).ResourceVersion
	if diff := cmp.Diff(want, object); diff != "" {
		t.Errorf("cluster-a for an administrator (-want +got):\n%s", diff)
	}
	before := s.sight.asked
	s.shown("dev")
	if asked := s.sight.asked - before; asked != 1 {
		t.Errorf("a list asked %d times who sees what", asked)
	}
	if _, err := s.AvailabilityZone.Get(s.as("admin"), "cluster-x", &metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a zone that is not there: %v", err)
	}
}

func TestNothingIsShownWhenRightsAreUnknown(t *testing.T) {
	s := newServer(t)
	if _, err := s.AvailabilityZone.Get(t.Context(), "cluster-a", &metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a get by nobody: %v", err)
	}
	if _, err := s.AvailabilityZone.List(t.Context(), &metainternalversion.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a list by nobody: %v", err)
	}
	if _, err := s.AvailabilityZone.Watch(t.Context(), &metainternalversion.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a watch by nobody: %v", err)
	}
	for _, failing := range []error{
		errors.New("kube-apiserver is away"),
		// Not an answer to the user, though it looks like one.
		apierrors.NewForbidden(schema.GroupResource{Resource: "subjectaccessreviews"}, "", errors.New("not you")),
	} {
		s.sight.fail(failing)
		object, err := s.AvailabilityZone.Get(s.as("admin"), "cluster-a", &metav1.GetOptions{})
		if object != nil || !apierrors.IsServiceUnavailable(err) {
			t.Errorf("a get: %v, %v", object, err)
		}
		if seconds, wait := apierrors.SuggestsClientDelay(err); !wait || seconds == 0 {
			t.Errorf("no word of when to try again: %v", err)
		}
		if object, err = s.AvailabilityZone.List(s.as("admin"), &metainternalversion.ListOptions{}); object != nil ||
			!apierrors.IsServiceUnavailable(err) {
			t.Errorf("a list: %v, %v", object, err)
		}
	}
}

// next is the next event but for bookmarks.
func next(t *testing.T, events watch.Interface) watch.Event {
	t.Helper()
	for {
		select {
		case event, open := <-events.ResultChan():
			if !open {
				t.Fatal("the watch ended")
			}
			if event.Type != watch.Bookmark {
				return event
			}
		case <-time.After(10 * time.Second):
			t.Fatal("no event within 10 s")
		}
	}
}

func TestWatchByRights(t *testing.T) {
	s := newServer(t)
	list, err := s.AvailabilityZone.List(s.as("dev"), &metainternalversion.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	events, err := s.AvailabilityZone.Watch(s.as("dev"), &metainternalversion.ListOptions{
		ResourceVersion: list.(*v1alpha1.AvailabilityZoneList).ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	apply := func(name string, object *v1alpha1.AvailabilityZone) {
		if object == nil {
			s.zones.Hide("", name)
			return
		}
		s.zones.Show(object)
	}
	type seen struct {
		Type       watch.EventType
		Name       string
		Namespaces []string
	}
	for _, step := range []struct {
		name   string
		object *v1alpha1.AvailabilityZone
		want   seen
	}{
		{"cluster-b", zone("cluster-b", "team-a", "team-b"), seen{watch.Modified, "cluster-b", []string{"team-a"}}},
		{"cluster-b", zone("cluster-b", "team-b", "team-c"), seen{watch.Modified, "cluster-b", nil}},
		{"cluster-d", zone("cluster-d", "team-c", "team-a"), seen{watch.Added, "cluster-d", []string{"team-a"}}},
		{"cluster-a", nil, seen{watch.Deleted, "cluster-a", []string{"team-a"}}},
	} {
		apply(step.name, step.object)
		event := next(t, events)
		object, ok := event.Object.(*v1alpha1.AvailabilityZone)
		if !ok {
			t.Fatalf("%s of a %T", event.Type, event.Object)
		}
		if diff := cmp.Diff(step.want, seen{event.Type, object.Name, namespacesOf(object)}); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}

	// When it cannot be known who sees what, the watch says so and ends.
	s.sight.fail(errors.New("kube-apiserver is away"))
	apply("cluster-b", zone("cluster-b", "team-a"))
	event := next(t, events)
	if status, ok := event.Object.(*metav1.Status); event.Type != watch.Error || !ok ||
		status.Reason != metav1.StatusReasonServiceUnavailable {
		t.Errorf("while nobody can be asked: %v", event)
	}
	select {
	case event, open := <-events.ResultChan():
		if open {
			t.Errorf("after the error comes %v", event)
		}
	case <-time.After(10 * time.Second):
		t.Error("the watch goes on after the error")
	}
}

// A watch that begins with all there is, as kubectl and informers do, shows no
// more than a list, and says when it has shown all.
func TestInitialEvents(t *testing.T) {
	s := newServer(t)
	all := true
	events, err := s.AvailabilityZone.Watch(s.as("dev"), &metainternalversion.ListOptions{
		SendInitialEvents: &all, AllowWatchBookmarks: true, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	shown := map[string][]string{}
	for done := false; !done; {
		select {
		case event := <-events.ResultChan():
			object := event.Object
			if wrapped, ok := object.(runtime.CacheableObject); ok {
				object = wrapped.GetObject()
			}
			zone, ok := object.(*v1alpha1.AvailabilityZone)
			if !ok {
				t.Fatalf("%s of a %T", event.Type, object)
			}
			if event.Type == watch.Bookmark {
				done = zone.Annotations[metav1.InitialEventsAnnotationKey] == "true"
				continue
			}
			shown[zone.Name] = namespacesOf(zone)
		case <-time.After(10 * time.Second):
			t.Fatal("no end of the initial events within 10 s")
		}
	}
	if diff := cmp.Diff(s.shown("dev"), shown); diff != "" {
		t.Errorf("initial events (-listed +got):\n%s", diff)
	}
}

func TestZones(t *testing.T) {
	s := newServer(t)
	ctx := genericapirequest.WithNamespace(s.as("dev"), "team-a")
	object, err := s.Zone.Get(ctx, "cluster-a", &metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := part("team-a", "cluster-a")
	want.ResourceVersion = object.(*v1alpha1.Zone).ResourceVersion
	if diff := cmp.Diff(want, object); diff != "" {
		t.Errorf("cluster-a in team-a (-want +got):\n%s", diff)
	}
	if _, err := s.Zone.Get(ctx, "cluster-b", &metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a zone that is not there: %v", err)
	}
	for name, test := range map[string]struct {
		ctx     context.Context
		options *metainternalversion.ListOptions
		want    []string
	}{
		"one namespace": {ctx, &metainternalversion.ListOptions{}, []string{"team-a/cluster-a"}},
		"all namespaces": {s.as("admin"), &metainternalversion.ListOptions{},
			[]string{"team-a/cluster-a", "team-b/cluster-a"}},
		"one namespace by selector": {s.as("admin"), &metainternalversion.ListOptions{
			FieldSelector: fields.OneTermEqualSelector("metadata.namespace", "team-b")}, []string{"team-b/cluster-a"}},
	} {
		list, err := s.Zone.List(test.ctx, test.options)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, item := range list.(*v1alpha1.ZoneList).Items {
			got = append(got, item.Namespace+"/"+item.Name)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	events, err := s.Zone.Watch(ctx, &metainternalversion.ListOptions{ResourceVersion: want.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	s.parts.Hide("team-b", "cluster-a")
	s.parts.Hide("team-a", "cluster-a")
	event := next(t, events)
	gone := event.Object
	if wrapped, ok := gone.(runtime.CacheableObject); ok {
		gone = wrapped.GetObject()
	}
	if zone, ok := gone.(*v1alpha1.Zone); event.Type != watch.Deleted || !ok || zone.Namespace != "team-a" {
		t.Errorf("after the zones of both namespaces went: %v", event)
	}
}

// Nothing can be written: the endpoints offer what they implement.
func TestReadsAlone(t *testing.T) {
	s := newServer(t)
	for _, endpoint := range []rest.Storage{s.AvailabilityZone, s.Zone} {
		for verb, offered := range map[string]func(any) bool{
			"create":           func(e any) bool { _, ok := e.(rest.Creater); return ok },
			"update":           func(e any) bool { _, ok := e.(rest.Updater); return ok },
			"patch":            func(e any) bool { _, ok := e.(rest.Patcher); return ok },
			"delete":           func(e any) bool { _, ok := e.(rest.GracefulDeleter); return ok },
			"deletecollection": func(e any) bool { _, ok := e.(rest.CollectionDeleter); return ok },
			"connect":          func(e any) bool { _, ok := e.(rest.Connecter); return ok },
		} {
			if offered(endpoint) {
				t.Errorf("%T offers %s", endpoint, verb)
			}
		}
		for verb, offered := range map[string]func(any) bool{
			"get":   func(e any) bool { _, ok := e.(rest.Getter); return ok },
			"list":  func(e any) bool { _, ok := e.(rest.Lister); return ok },
			"watch": func(e any) bool { _, ok := e.(rest.Watcher); return ok },
		} {
			if !offered(endpoint) {
				t.Errorf("%T does not offer %s", endpoint, verb)
			}
		}
	}
}

func TestTables(t *testing.T) {
	s := newServer(t)
	ageless := part("team-a", "cluster-b")
	ageless.CreationTimestamp = metav1.Time{}
	for name, test := range map[string]struct {
		convert rest.TableConvertor
		object  runtime.Object
		columns []string
		rows    [][]any
	}{
		"availability zones": {s.AvailabilityZone, &v1alpha1.AvailabilityZoneList{
			Items: []v1alpha1.AvailabilityZone{*zone("cluster-a", "team-a", "team-b"), *zone("cluster-b")}},
			[]string{"Name", "Namespaces", "Clusters"}, [][]any{{"cluster-a", int64(2), "domain-cluster-a"},
				{"cluster-b", int64(0), "domain-cluster-b"}}},
		"an availability zone": {s.AvailabilityZone, zone("cluster-b", "team-a"), []string{"Name", "Namespaces", "Clusters"},
			[][]any{{"cluster-b", int64(1), "domain-cluster-b"}}},
		"zones": {s.Zone, &v1alpha1.ZoneList{Items: []v1alpha1.Zone{*part("team-a", "cluster-a"), *ageless}},
			[]string{"Name", "Age", "Pools", "Folder"}, [][]any{{"cluster-a", "2d2h", "pool-1,pool-2", "group-1"},
				{"cluster-b", "<unknown>", "pool-1,pool-2", "group-1"}}},
		"a zone": {s.Zone, part("team-a", "cluster-a"), []string{"Name", "Age", "Pools", "Folder"},
			[][]any{{"cluster-a", "2d2h", "pool-1,pool-2", "group-1"}}},
	} {
		table, err := test.convert.ConvertToTable(t.Context(), test.object, nil)
		if err != nil {
			t.Fatal(err)
		}
		var columns []string
		for _, column := range table.ColumnDefinitions {
			columns = append(columns, column.Name)
		}
		var rows [][]any
		for _, row := range table.Rows {
			rows = append(rows, row.Cells)
		}
		if diff := cmp.Diff(test.columns, columns); diff != "" {
			t.Errorf("%s: columns (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(test.rows, rows); diff != "" {
			t.Errorf("%s: rows (-want +got):\n%s", name, diff)
		}
		if table, err := test.convert.ConvertToTable(t.Context(), test.object,
			&metav1.TableOptions{NoHeaders: true}); err != nil || len(table.ColumnDefinitions) > 0 {
			t.Errorf("%s without headers: %v, %v", name, table, err)
		}
	}
}
