// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/clock"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/access"
	"github.com/openpacific/pacific/pkg/apis/vsphere/install"
	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/livestore"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/kindtest"
)

// The upstream cache asks a package variable what the storage below it can do.
func TestMain(m *testing.M) {
	kindtest.UseLiveStores()
	os.Exit(m.Run())
}

var created = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// grants are what users may do: "user verb resource namespace", with "*" for any
// verb or namespace. Everything else is denied.
type grants struct {
	mu    sync.Mutex
	given []string
	err   error
	asked int
}

func (g *grants) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	if g.err != nil {
		return authorizer.DecisionNoOpinion, "", g.err
	}
	what := a.GetResource()
	if what == "clusterroles" {
		what = a.GetName()
	}
	for _, namespace := range []string{a.GetNamespace(), "*"} {
		for _, verb := range []string{a.GetVerb(), "*"} {
			for _, resource := range []string{what, "*"} {
				if slices.Contains(g.given, a.GetUser().GetName()+" "+verb+" "+resource+" "+namespace) {
					return authorizer.DecisionAllow, "", nil
				}
			}
		}
	}
	return authorizer.DecisionNoOpinion, "", nil
}

func (g *grants) revoke(given ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.given = slices.DeleteFunc(g.given, func(one string) bool { return slices.Contains(given, one) })
}

// endpoint is how the kind is read and written.
type endpoint interface {
	rest.Storage
	rest.Getter
	rest.Lister
	rest.Watcher
	rest.CreaterUpdater
	rest.GracefulDeleter
}

type server struct {
	*registry.Resource[v1alpha1.Namespace, v1alpha1.NamespaceList]
	Namespace endpoint

	t      *testing.T
	world  *kindtest.World[v1alpha1.Namespace]
	grants *grants
	clock  *testingclock.FakePassiveClock
}

func newServer(t *testing.T, sequence *livestore.Sequence, namespaces ...*v1alpha1.Namespace) *server {
	t.Helper()
	s := &server{t: t, grants: &grants{given: []string{"admin * * *"}},
		clock: testingclock.NewFakePassiveClock(created.Add(50 * time.Hour))}
	reviewer, err := access.NewReviewer(s.grants,
		informers.NewSharedInformerFactory(fake.NewClientset(), 0).Rbac().V1().RoleBindings())
	if err != nil {
		t.Fatal(err)
	}
	frame := kindtest.NewFrame(install.Install, clock.RealClock{})
	frame.Sequence = sequence
	s.world = &kindtest.World[v1alpha1.Namespace]{}
	s.Resource, err = registry.ServeLive(frame, Kind(Asked{
		Authorizer: s.grants, Reviewer: reviewer, Taken: func(name string) bool { return name == "monitoring" },
		Clock: s.clock,
	}), s.world)
	if err != nil {
		t.Fatal(err)
	}
	s.Project(s.world.Shown())
	s.world.ShowAll(namespaces...)
	kindtest.Open(t, s.Resource)
	s.Namespace = s.Endpoints()["namespaces"].(endpoint)
	return s
}

// as is a request of somebody.
func (s *server) as(name string, groups ...string) context.Context {
	ctx := genericapirequest.WithNamespace(s.t.Context(), metav1.NamespaceNone)
	return genericapirequest.WithUser(ctx, &user.DefaultInfo{Name: name, Groups: groups})
}

func (s *server) list(ctx context.Context) error {
	_, err := s.Namespace.List(ctx, &metainternalversion.ListOptions{})
	return err
}

func (s *server) names(ctx context.Context) []string {
	s.t.Helper()
	list, err := s.Namespace.List(ctx, &metainternalversion.ListOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	names := []string{}
	for _, item := range list.(*v1alpha1.NamespaceList).Items {
		names = append(names, item.Name)
	}
	return names
}

func (s *server) update(ctx context.Context, name string, change func(*v1alpha1.Namespace)) error {
	info := rest.DefaultUpdatedObjectInfo(nil, func(_ context.Context, object,
		old runtime.Object) (runtime.Object, error) {
		next := old.DeepCopyObject().(*v1alpha1.Namespace)
		change(next)
		return next, nil
	})
	_, _, err := s.Namespace.Update(ctx, name, info, rest.ValidateAllObjectFunc, rest.ValidateAllObjectUpdateFunc, false,
		&metav1.UpdateOptions{})
	return err
}

func namespace(name string, access ...v1alpha1.NamespaceAccess) *v1alpha1.Namespace {
	return &v1alpha1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name), CreationTimestamp: metav1.NewTime(created),
			Generation: 1, Finalizers: []string{v1alpha1.NamespaceFinalizer}},
		Spec: v1alpha1.NamespaceSpec{Zones: []string{"cluster-a"}, Access: access},
	}
}

func gives(kind v1alpha1.SubjectKind, name string, role v1alpha1.Role) v1alpha1.NamespaceAccess {
	return v1alpha1.NamespaceAccess{Kind: kind, Name: name, Role: role}
}

// Each is shown what is theirs, and the rest does not exist for them.
func TestShownByRights(t *testing.T) {
	s := newServer(t, livestore.NewSequence(1),
		namespace("team-a", gives("User", "dev@vsphere.local", "View")),
		namespace("team-b", gives("Group", "devs@vsphere.local", "Edit")),
		namespace("team-c"))
	s.grants.given = append(s.grants.given, "reader get virtualmachines team-c")
	for _, test := range []struct {
		who    string
		groups []string
		want   []string
	}{
		{"admin", nil, []string{"team-a", "team-b", "team-c"}},
		{"sso:dev@vsphere.local", nil, []string{"team-a"}},
		{"sso:other@vsphere.local", []string{"sso:devs@vsphere.local"}, []string{"team-b"}},
		{"reader", nil, []string{"team-c"}},
		{"nobody", nil, []string{}},
		// Names that look like those of single sign-on and are not.
		{"dev@vsphere.local", []string{"devs@vsphere.local"}, []string{}},
		{"sso:devs@vsphere.local", []string{"sso:dev@vsphere.local"}, []string{}},
		{"sso:DEV@vsphere.local", nil, []string{}},
	} {
		ctx := s.as(test.who, test.groups...)
		if diff := cmp.Diff(test.want, s.names(ctx)); diff != "" {
			t.Errorf("%s sees (-want +got):\n%s", test.who, diff)
		}
		for _, name := range []string{"team-a", "team-b", "team-c"} {
			_, err := s.Namespace.Get(ctx, name, &metav1.GetOptions{})
			if slices.Contains(test.want, name) != (err == nil) || err != nil && !apierrors.IsNotFound(err) {
				t.Errorf("%s gets %s: %v", test.who, name, err)
			}
		}
	}
	if _, err := s.Namespace.List(s.t.Context(), &metainternalversion.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a list by nobody: %v", err)
	}
	if _, err := s.Namespace.Watch(s.t.Context(), &metainternalversion.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a watch by nobody: %v", err)
	}
	// When it cannot be known, nothing is shown.
	s.grants.err = errors.New("kube-apiserver is away")
	s.clock.SetTime(s.clock.Now().Add(time.Minute))
	if _, err := s.Namespace.List(s.as("reader"),
		&metainternalversion.ListOptions{}); !apierrors.IsServiceUnavailable(err) {
		t.Errorf("a list while nobody can be asked: %v", err)
	}
}

// A page ends with one that is shown, since where the next one begins is told by
// its name, and the number of those that are left counts all.
func TestPagesTellNoNames(t *testing.T) {
	s := newServer(t, livestore.NewSequence(1),
		namespace("a-hidden"), namespace("b-shown", gives("User", "dev@vsphere.local", "View")), namespace("c-hidden"),
		namespace("d-shown", gives("User", "dev@vsphere.local", "View")), namespace("e-hidden"))
	for who, want := range map[string][][]string{
		"sso:dev@vsphere.local": {{"b-shown", "d-shown"}},
		"nobody":                {{}},
		"admin":                 {{"a-hidden"}, {"b-shown"}, {"c-hidden"}, {"d-shown"}, {"e-hidden"}},
	} {
		var got [][]string
		for options := (&metainternalversion.ListOptions{Limit: 1}); ; {
			obj, err := s.Namespace.List(s.as(who), options)
			if err != nil {
				t.Fatal(err)
			}
			list := obj.(*v1alpha1.NamespaceList)
			names := []string{}
			for _, item := range list.Items {
				names = append(names, item.Name)
			}
			if got = append(got, names); list.RemainingItemCount != nil {
				t.Errorf("%s is told that %d are left", who, *list.RemainingItemCount)
			}
			if options.Continue = list.Continue; options.Continue == "" {
				break
			}
			if position, err := base64.RawURLEncoding.DecodeString(list.Continue); err != nil || who != "admin" &&
				strings.Contains(string(position), "hidden") {
				t.Errorf("%s is told to go on from %s (%v)", who, position, err)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: pages (-want +got):\n%s", who, diff)
		}
	}
}

func TestDecisionsAreKeptForAMoment(t *testing.T) {
	s := newServer(t, livestore.NewSequence(1), namespace("team-a"), namespace("team-b"))
	get := func() error {
		_, err := s.Namespace.Get(s.as("reader"), "team-a", &metav1.GetOptions{})
		return err
	}
	if err := get(); !apierrors.IsNotFound(err) {
		t.Errorf("without the right: %v", err)
	}
	before := s.grants.asked
	if err := get(); !apierrors.IsNotFound(err) || s.grants.asked != before {
		t.Errorf("the second time: %v, and %d questions more", err, s.grants.asked-before)
	}
	s.grants.given = append(s.grants.given, "reader get virtualmachines team-a")
	s.clock.SetTime(s.clock.Now().Add(decisionAge + time.Second))
	if err := get(); err != nil {
		t.Errorf("with the new right: %v", err)
	}
}

// A list asks about no more than what spec.access does not tell, and a get about
// one.
func TestQuestionsAreFew(t *testing.T) {
	mine := gives("User", "dev@vsphere.local", "View")
	s := newServer(t, livestore.NewSequence(1), namespace("team-a", mine), namespace("team-b", mine), namespace("team-c"))
	for _, test := range []struct {
		what, who string
		do        func(context.Context) error
		want      int
	}{
		{"a list by an administrator", "admin", s.list, 1},
		{"a list by somebody with roles", "sso:dev@vsphere.local", s.list, 2}, // everywhere, and team-c
		{"a get with a role", "sso:dev@vsphere.local", func(ctx context.Context) error {
			_, err := s.Namespace.Get(ctx, "team-a", &metav1.GetOptions{})
			return err
		}, 0},
		{"a get by the right", "admin", func(ctx context.Context) error {
			_, err := s.Namespace.Get(ctx, "team-c", &metav1.GetOptions{})
			return err
		}, 1},
	} {
		before := s.grants.asked
		if err := test.do(s.as(test.who)); err != nil {
			t.Errorf("%s: %v", test.what, err)
		}
		if got := s.grants.asked - before; got != test.want {
			t.Errorf("%s asked %d questions, want %d", test.what, got, test.want)
		}
	}
}

// Nobody gives what is not theirs to give.
func TestEscalation(t *testing.T) {
	edit, owner := gives("User", "dev@vsphere.local", "Edit"), gives("User", "boss@vsphere.local", "Owner")
	s := newServer(t, livestore.NewSequence(1), namespace("team-a", edit, owner), namespace("team-b"))
	s.grants.given = append(s.grants.given,
		"sso:dev@vsphere.local get virtualmachines team-a",
		"sso:boss@vsphere.local update namespaces team-a", "sso:boss@vsphere.local delete namespaces team-a",
		"sso:boss@vsphere.local bind pacific:view team-a", "sso:boss@vsphere.local bind pacific:edit team-a",
		"sso:boss@vsphere.local bind pacific:owner team-a",
		// Someone who was given the verb update without any role to give.
		"clerk update namespaces team-a", "clerk get virtualmachines team-a",
		"maker get virtualmachines *",
	)
	add := func(entry v1alpha1.NamespaceAccess) func(*v1alpha1.Namespace) {
		return func(n *v1alpha1.Namespace) { n.Spec.Access = append(n.Spec.Access, entry) }
	}
	limit := int64(5)
	for _, test := range []struct {
		what, who, name string
		change          func(*v1alpha1.Namespace)
		want            func(error) bool
	}{
		{"an editor raises himself", "sso:dev@vsphere.local", "team-a",
			func(n *v1alpha1.Namespace) { n.Spec.Access[0].Role = "Owner" }, apierrors.IsForbidden},
		{"a clerk gives a role", "clerk", "team-a", add(gives("User", "clerk@vsphere.local", "View")), apierrors.IsForbidden},
		{"a clerk describes", "clerk", "team-a", func(n *v1alpha1.Namespace) { n.Spec.Description = "x" }, noError},
		{"an owner raises the limit", "sso:boss@vsphere.local", "team-a",
			func(n *v1alpha1.Namespace) { n.Spec.Resources.CPULimitMHz = &limit }, apierrors.IsForbidden},
		{"an owner takes over a resource pool", "sso:boss@vsphere.local", "team-a",
			func(n *v1alpha1.Namespace) { n.Spec.ResourcePools = []string{"resgroup-12"} }, apierrors.IsForbidden},
		{"an owner takes more storage", "sso:boss@vsphere.local", "team-a", func(n *v1alpha1.Namespace) {
			n.Spec.StoragePolicies = []v1alpha1.NamespaceStoragePolicy{{Name: "gold"}}
		}, apierrors.IsForbidden},
		{"an owner in another namespace", "sso:boss@vsphere.local", "team-b", add(owner), apierrors.IsNotFound},
		{"an owner gives a role", "sso:boss@vsphere.local", "team-a", add(gives("Group", "qa@vsphere.local", "Owner")),
			noError},
		{"an administrator raises the limit", "admin", "team-a",
			func(n *v1alpha1.Namespace) { n.Spec.Resources.CPULimitMHz = &limit }, noError},
	} {
		if err := s.update(s.as(test.who), test.name, test.change); !test.want(err) {
			t.Errorf("%s: %v", test.what, err)
		}
	}
	object := namespace("team-x", gives("User", "maker@vsphere.local", "Owner"))
	object.UID = ""
	if _, err := s.Namespace.Create(s.as("maker"), object.DeepCopy(), rest.ValidateAllObjectFunc,
		&metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a maker who gives himself a role: %v", err)
	}
	if _, err := s.Namespace.Create(s.as("admin"), object.DeepCopy(), rest.ValidateAllObjectFunc,
		&metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
	taking := namespace("old")
	taking.UID, taking.Spec.Folder = "", "group-v12"
	if _, err := s.Namespace.Create(s.as("maker"), taking.DeepCopy(), rest.ValidateAllObjectFunc,
		&metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a maker who takes over a folder: %v", err)
	}
	if _, err := s.Namespace.Create(s.as("admin"), taking, rest.ValidateAllObjectFunc,
		&metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
	pools := namespace("pools")
	pools.UID, pools.Spec.ResourcePools = "", []string{"resgroup-12"}
	if _, err := s.Namespace.Create(s.as("maker"), pools.DeepCopy(), rest.ValidateAllObjectFunc,
		&metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a maker who takes over a resource pool: %v", err)
	}
	if _, err := s.Namespace.Create(s.as("admin"), pools, rest.ValidateAllObjectFunc,
		&metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
	object.Name = "monitoring"
	if _, err := s.Namespace.Create(s.as("admin"), object, rest.ValidateAllObjectFunc,
		&metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a name of a Namespace that has nothing to do with vCenter: %v", err)
	}
	for who, want := range map[string]func(error) bool{"sso:dev@vsphere.local": apierrors.IsForbidden,
		"nobody": apierrors.IsNotFound, "sso:boss@vsphere.local": noError} {
		if _, _, err := s.Namespace.Delete(s.as(who), "team-a", rest.ValidateAllObjectFunc,
			&metav1.DeleteOptions{}); !want(err) {
			t.Errorf("%s deletes: %v", who, err)
		}
	}
	// It is being deleted, until the controller lets go of it.
	if got, err := s.Namespace.Get(s.as("admin"), "team-a", &metav1.GetOptions{}); err != nil ||
		got.(*v1alpha1.Namespace).DeletionTimestamp == nil {
		t.Errorf("after the deletion was asked for: %v, %v", got, err)
	}
	// Without the controller, its pools would stay in vCenter, and its machines where nobody sees them.
	letGo := func(n *v1alpha1.Namespace) { n.Finalizers = nil }
	for _, who := range []string{"sso:boss@vsphere.local", "admin"} {
		if err := s.update(s.as(who), "team-a", letGo); !apierrors.IsInvalid(err) ||
			!strings.Contains(err.Error(), "metadata.finalizers") {
			t.Errorf("%s lets go of it: %v", who, err)
		}
		if _, err := s.Namespace.Get(s.as("admin"), "team-a", &metav1.GetOptions{}); err != nil {
			t.Errorf("after %s wanted to let go of it: %v", who, err)
		}
	}
	for range 2 {
		if err := s.Inside().Release(s.t.Context(), "", "team-a", "uid-team-a"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Namespace.Get(s.as("admin"), "team-a", &metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after its end: %v", err)
	}
}

func noError(err error) bool { return err == nil }

// A watch shows what becomes visible as new, and what is not any more as gone.
func TestWatchByRights(t *testing.T) {
	mine := gives("User", "dev@vsphere.local", "View")
	s := newServer(t, livestore.NewSequence(1), namespace("team-a", mine), namespace("team-b"))
	ctx := s.as("sso:dev@vsphere.local")
	list, err := s.Namespace.List(ctx, &metainternalversion.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	events, err := s.Namespace.Watch(ctx,
		&metainternalversion.ListOptions{ResourceVersion: list.(*v1alpha1.NamespaceList).ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	admin := s.as("admin")
	steps := []struct {
		name   string
		change func(*v1alpha1.Namespace)
	}{
		{"team-b", func(n *v1alpha1.Namespace) { n.Spec.Description = "not to be seen" }},
		{"team-a", func(n *v1alpha1.Namespace) { n.Spec.Description = "seen" }},
		{"team-b", func(n *v1alpha1.Namespace) { n.Spec.Access = []v1alpha1.NamespaceAccess{mine} }},
		{"team-a", func(n *v1alpha1.Namespace) { n.Spec.Access = nil }},
		{"team-a", func(n *v1alpha1.Namespace) { n.Spec.Description = "not to be seen any more" }},
		{"team-b", func(n *v1alpha1.Namespace) { n.Spec.Description = "seen" }},
	}
	for _, step := range steps {
		if err := s.update(admin, step.name, step.change); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"MODIFIED team-a seen", "ADDED team-b not to be seen", "DELETED team-a", "MODIFIED team-b seen"}
	if diff := cmp.Diff(want, next(t, events, len(want))); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// next returns the next events of a watch but for bookmarks, with what the objects
// are described as.
func next(t *testing.T, events watch.Interface, count int) []string {
	t.Helper()
	var got []string
	for len(got) < count {
		select {
		case event := <-events.ResultChan():
			if event.Type == watch.Bookmark {
				continue
			}
			namespace, ok := event.Object.(*v1alpha1.Namespace)
			if !ok {
				t.Fatalf("after %v: %s %v", got, event.Type, event.Object)
			}
			got = append(got, strings.TrimSpace(string(event.Type)+" "+namespace.Name+" "+namespace.Spec.Description))
		case <-time.After(10 * time.Second):
			t.Fatalf("no more events after %v", got)
		}
	}
	return got
}

// What went between a list and the watch that goes on from it is told, to those
// who were shown it and to nobody else: also where all that said that they may see
// it has gone with it.
func TestWatchTellsWhatWentBefore(t *testing.T) {
	const devs, reader, other = "sso:dev@vsphere.local", "reader", "other"
	mine := gives("User", "dev@vsphere.local", "View")
	rightOfReader := func(name string) string { return reader + " get virtualmachines " + name }
	all := []string{"DELETED team-a", "DELETED team-b", "MODIFIED team-z last"}
	for name, test := range map[string]struct {
		who    string
		before func(*server)
		want   []string
	}{
		"by access":  {who: devs, want: all},
		"by a right": {who: reader, want: all},
		"everywhere": {who: "admin", want: all},
		"by a right that went as well": {who: reader,
			before: func(s *server) { s.grants.revoke(rightOfReader("team-a"), rightOfReader("team-b")) }, want: all},
		"everywhere, which went as well": {who: "boss",
			before: func(s *server) { s.grants.revoke("boss get virtualmachines *") },
			want:   all[:2]},
		"never seen": {who: other, want: all[2:]},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, livestore.NewSequence(1), namespace("team-a", mine), namespace("team-b", mine),
				namespace("team-z", mine))
			s.grants.given = append(s.grants.given, rightOfReader("team-a"), rightOfReader("team-b"), rightOfReader("team-z"),
				other+" get virtualmachines team-z", "boss get virtualmachines *")
			ctx := s.as(test.who)
			list, err := s.Namespace.List(ctx, &metainternalversion.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if test.before != nil {
				test.before(s)
			}
			// One is deleted, and the other is shown no more before it is.
			s.world.Hide("", "team-a")
			if err := s.update(s.as("admin"), "team-b", func(n *v1alpha1.Namespace) { n.Spec.Access = nil }); err != nil {
				t.Fatal(err)
			}
			s.world.Hide("", "team-b")
			if err := s.update(s.as("admin"), "team-z",
				func(n *v1alpha1.Namespace) { n.Spec.Description = "last" }); err != nil {
				t.Fatal(err)
			}
			version := list.(*v1alpha1.NamespaceList).ResourceVersion
			events, err := s.Namespace.Watch(ctx, &metainternalversion.ListOptions{ResourceVersion: version})
			if err != nil {
				t.Fatal(err)
			}
			defer events.Stop()
			got := next(t, events, len(test.want))
			got = slices.DeleteFunc(got, func(event string) bool { return event == "MODIFIED team-b" })
			for len(got) < len(test.want) {
				got = append(got, next(t, events, 1)...)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

// A watch from a version at which nobody knows any more what there was is told so,
// and its client lists anew.
func TestWatchFromTooLongAgo(t *testing.T) {
	s := newServer(t, livestore.NewSequence(2), namespace("team-a"))
	_, err := s.Namespace.Watch(s.as("admin"), &metainternalversion.ListOptions{ResourceVersion: "5"})
	if !apierrors.IsResourceExpired(err) {
		t.Errorf("a watch from a version of an earlier term: %v, want one that is expired", err)
	}
}
