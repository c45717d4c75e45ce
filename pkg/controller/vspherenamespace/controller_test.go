// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/waittest"
)

// world is vCenter and the API as the controller sees them.
type world struct {
	mu       sync.Mutex
	calls    []string
	err      error // what Realise and Dismantle fail with
	problems []string
	detached bool
	machines int // that Pacific made; each look finds one less
}

func (w *world) call(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.calls) == 0 || w.calls[len(w.calls)-1] != what {
		w.calls = append(w.calls, what)
	}
}

func (w *world) called() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

func (w *world) fails() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *world) Realise(context.Context, types.UID) error { w.call("realise"); return w.fails() }

func (w *world) Dismantle(context.Context, types.UID) error { w.call("dismantle"); return w.fails() }

func (w *world) DeleteAll(context.Context, string) (int, error) {
	w.mu.Lock()
	left := w.machines
	w.machines = max(0, left-1)
	w.mu.Unlock()
	if left > 0 {
		w.call("delete machines")
	}
	return left, nil
}

func (w *world) Delete(context.Context, string, string, types.UID) error {
	w.call("delete")
	return nil
}

func (w *world) Release(context.Context, string, string, types.UID) error {
	w.call("remove finalizer")
	return nil
}

func (w *world) SetProblem(_ types.UID, message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.problems = append(w.problems, message)
}

func (*world) SetBirth(string, metav1.Time) {}

func (w *world) Detached(string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.detached
}

// Standing takes the annotation of a test's Namespace for what is written down elsewhere.
func (w *world) Standing(namespace *corev1.Namespace, folder string) (held, made bool) {
	claimed := folder != "" && namespace.Annotations[vsphere.ClaimAnnotation] == "vc/Folder/"+folder
	made = folder != "" && namespace.Annotations[vsphere.FolderAnnotation] == folder && !claimed
	return made || claimed, made
}

func (w *world) Elsewhere(folder, namespace string) bool { return folder == "group-elsewhere" }

// listsOnly begins with a list, not with a watch that sends what there is.
type listsOnly struct{ *cache.ListWatch }

func (listsOnly) IsWatchListSemanticsUnSupported() bool { return true }

// start runs a controller for one vSphere Namespace in a cluster.
func start(t *testing.T, w *world, namespace *v1alpha1.Namespace, cluster ...runtime.Object) *fake.Clientset {
	t.Helper()
	client := fake.NewClientset(cluster...)
	factory := informers.NewSharedInformerFactory(client, 0)
	controller := &Controller{
		Namespaces: listsOnly{&cache.ListWatch{
			ListFunc: func(metav1.ListOptions) (runtime.Object, error) {
				return &v1alpha1.NamespaceList{ListMeta: metav1.ListMeta{ResourceVersion: "1"},
					Items: []v1alpha1.Namespace{*namespace}}, nil
			},
			WatchFunc: func(metav1.ListOptions) (watch.Interface, error) { return watch.NewFake(), nil },
		}},
		Backend: w, Problems: w, Machines: w, Releaser: w, Names: w,
		Client: client, Core: factory.Core().V1().Namespaces(), Bindings: factory.Rbac().V1().RoleBindings(),
		Logger: klog.Background(),
		Quotas: factory.Core().V1().ResourceQuotas(), Classes: classes{},
	}
	controller.Core.Informer()
	controller.Bindings.Informer()
	controller.Quotas.Informer()
	ctx, cancel := context.WithCancel(t.Context())
	factory.StartWithContext(ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = controller.Run(ctx, 2) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		factory.Shutdown()
	})
	return client
}

func declared() *v1alpha1.Namespace {
	limit := int64(10_001)
	memory := resource.MustParse("8Gi")
	return &v1alpha1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: "team-a", UID: "u", ResourceVersion: "1",
			Finalizers: []string{v1alpha1.NamespaceFinalizer}},
		Spec: v1alpha1.NamespaceSpec{
			Resources: v1alpha1.NamespaceResources{CPULimitMHz: &limit, MemoryLimit: &memory},
			Access: []v1alpha1.NamespaceAccess{
				{Kind: "User", Name: "dev@vsphere.local", Role: "Edit"},
				{Kind: "Group", Name: "a/b@c@corp.example.com", Role: "View"},
			},
		},
		Status: v1alpha1.NamespaceStatus{Folder: "group-v1", Zones: []v1alpha1.NamespaceZoneStatus{
			{Name: "a", ResourcePool: "resgroup-1"}, {Name: "b", ResourcePool: "resgroup-2"}}},
	}
}

func deleted() *v1alpha1.Namespace {
	namespace := declared()
	namespace.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	return namespace
}

func core(folder string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-a", UID: "core",
		Annotations: map[string]string{vsphere.FolderAnnotation: folder}}}
}

func state(t *testing.T, client *fake.Clientset) (annotations map[string]string, roles map[string]string) {
	t.Helper()
	namespace, err := client.CoreV1().Namespaces().Get(t.Context(), "team-a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := client.RbacV1().RoleBindings("team-a").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	roles = map[string]string{}
	for _, binding := range list.Items {
		subjects := make([]string, len(binding.Subjects))
		for i, subject := range binding.Subjects {
			subjects[i] = subject.Kind + " " + subject.Name
		}
		roles[binding.Name] = binding.RoleRef.Name + " " + strings.Join(subjects, ",")
	}
	return namespace.Annotations, roles
}

// What is kept is made, and made again when somebody changes it by hand.
func TestKeptAndRepaired(t *testing.T) {
	stray := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a",
		Name: "wcp:team-a:user:vsphere.local:gone", Labels: map[string]string{vsphere.ManagedLabel: vsphere.ManagedBy}}}
	foreign := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "foreign"},
		RoleRef: rbacv1.RoleRef{Name: "x"}}
	client := start(t, &world{}, declared(), core("group-v1"), stray, foreign)
	wantAnnotations := map[string]string{
		vsphere.FolderAnnotation: "group-v1", poolAnnotation: "resgroup-1", cpuLimitAnnotation: "10.0010",
		memoryLimitAnnotation: "8Gi",
	}
	wantRoles := map[string]string{
		"wcp:team-a:user:vsphere.local:dev":                "pacific:edit User sso:dev@vsphere.local",
		"wcp:team-a:group:corp.example.com:a_b@c:549b4e8a": "pacific:view Group sso:a/b@c@corp.example.com",
		"foreign": "x ",
	}
	asWanted := func() bool {
		annotations, roles := state(t, client)
		return cmp.Equal(wantAnnotations, annotations) && cmp.Equal(wantRoles, roles)
	}
	deadline := time.Now().Add(10 * time.Second)
	for !asWanted() {
		if time.Now().After(deadline) {
			annotations, roles := state(t, client)
			t.Fatalf("(-want +got):\n%s\n%s", cmp.Diff(wantAnnotations, annotations), cmp.Diff(wantRoles, roles))
		}
		<-time.After(5 * time.Millisecond)
	}
	bindings := client.RbacV1().RoleBindings("team-a")
	const dev = "wcp:team-a:user:vsphere.local:dev"
	for what, change := range map[string]func() error{
		"a binding is removed": func() error { return bindings.Delete(t.Context(), dev, metav1.DeleteOptions{}) },
		"a subject is added": func() error {
			binding, err := bindings.Get(t.Context(), dev, metav1.GetOptions{})
			if err != nil {
				return err
			}
			binding.Subjects = append(binding.Subjects, rbacv1.Subject{Kind: "User", Name: "eve"})
			binding.Labels = nil
			_, err = bindings.Update(t.Context(), binding, metav1.UpdateOptions{})
			return err
		},
		"a binding is replaced by one of another role": func() error {
			if err := bindings.Delete(t.Context(), dev, metav1.DeleteOptions{}); err != nil {
				return err
			}
			_, err := bindings.Create(t.Context(), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: dev},
				RoleRef: rbacv1.RoleRef{Name: "cluster-admin"}}, metav1.CreateOptions{})
			if err != nil && strings.Contains(err.Error(), "already exists") { // it was repaired in between
				return nil
			}
			return err
		},
		"an annotation is changed": func() error {
			_, err := client.CoreV1().Namespaces().Patch(t.Context(), "team-a", types.MergePatchType,
				[]byte(`{"metadata":{"annotations":{"`+poolAnnotation+`":"x"}}}`), metav1.PatchOptions{})
			return err
		},
	} {
		if err := change(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		waittest.Eventually(t, what+", and repaired", asWanted)
	}
}

func TestDeletion(t *testing.T) {
	ending := core("group-v1")
	ending.DeletionTimestamp, ending.Finalizers = &metav1.Time{Time: time.Unix(1, 0)}, []string{"kubernetes"}
	for _, test := range []struct {
		what      string
		namespace *v1alpha1.Namespace
		world     *world
		cluster   []runtime.Object
		want      []string
		left      bool // the Kubernetes Namespace
	}{
		{"its Namespace goes first, then vCenter, then it", deleted(), &world{}, []runtime.Object{core("group-v1")},
			[]string{"dismantle", "remove finalizer"}, false},
		{"without a Namespace", deleted(), &world{}, nil, []string{"dismantle", "remove finalizer"}, false},
		{"with machines that its Namespace did not take along", deleted(), &world{machines: 1}, nil,
			[]string{"delete machines", "dismantle", "remove finalizer"}, false},
		{"a Namespace of another folder is left alone", deleted(), &world{}, []runtime.Object{core("group-v2")},
			[]string{"dismantle", "remove finalizer"}, true},
		{"a Namespace of no folder is left alone", deleted(), &world{}, []runtime.Object{core("")},
			[]string{"dismantle", "remove finalizer"}, true},
		{"its Namespace is being deleted", declared(), &world{}, []runtime.Object{ending}, []string{"delete"}, true},
		{"its Namespace was deleted while nobody watched", declared(), &world{detached: true}, nil, []string{"delete"},
			false},
		{"its Namespace is not there yet", declared(), &world{}, nil, []string{"realise"}, false},
	} {
		t.Run(test.what, func(t *testing.T) {
			client := start(t, test.world, test.namespace, test.cluster...)
			waittest.Eventually(t, strings.Join(test.want, ", "), func() bool {
				calls := test.world.called()
				return len(calls) >= len(test.want)
			})
			if diff := cmp.Diff(test.want, test.world.called()[:len(test.want)]); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			_, err := client.CoreV1().Namespaces().Get(t.Context(), "team-a", metav1.GetOptions{})
			if (err == nil) != test.left {
				t.Errorf("the Namespace: %v", err)
			}
		})
	}
}

// keptIn is what Pacific keeps in a Namespace.
func keptIn(namespace string) []runtime.Object {
	labels := map[string]string{vsphere.ManagedLabel: vsphere.ManagedBy}
	return []runtime.Object{
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace,
			Name: "wcp:" + namespace + ":user:vsphere.local:dev", Labels: labels}},
		&corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: namespace + "-storagequota",
			Labels: labels}},
	}
}

// foreignIn is what others have in it.
func foreignIn(namespace string) []runtime.Object {
	return []runtime.Object{
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "foreign"},
			RoleRef: rbacv1.RoleRef{Name: "x"}},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "other",
			Labels: map[string]string{vsphere.ManagedLabel: vsphere.ManagedBy}}},
		&corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "foreign"}},
	}
}

// left is what there is in a Namespace, and its annotations.
func left(t *testing.T, client *fake.Clientset, name string) (left []string) {
	t.Helper()
	namespace, err := client.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for key := range namespace.Annotations {
		left = append(left, "annotation "+key)
	}
	bindings, err := client.RbacV1().RoleBindings(name).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, binding := range bindings.Items {
		left = append(left, "binding "+binding.Name)
	}
	quotas, err := client.CoreV1().ResourceQuotas(name).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, quota := range quotas.Items {
		left = append(left, "quota "+quota.Name)
	}
	slices.Sort(left)
	return left
}

// A Namespace that claims the folder is not Pacific's to delete: what Pacific put in goes, and the claim with it.
func TestDeletionLeavesANamespaceThatClaims(t *testing.T) {
	claiming := core("group-v1")
	claiming.Annotations[vsphere.ClaimAnnotation] = "vc/Folder/group-v1"
	claiming.Annotations["mine"], claiming.Annotations[poolAnnotation] = "kept", "resgroup-1"
	w := &world{}
	client := start(t, w, deleted(), slices.Concat([]runtime.Object{claiming}, keptIn("team-a"), foreignIn("team-a"))...)
	waittest.Eventually(t, "it ends", func() bool { return slices.Contains(w.called(), "remove finalizer") })
	want := []string{"annotation mine", "binding foreign", "binding other", "quota foreign"}
	if diff := cmp.Diff(want, left(t, client, "team-a")); diff != "" {
		t.Errorf("left in the Namespace (-want +got):\n%s", diff)
	}
}

// A Namespace whose folder is served elsewhere keeps nothing of Pacific's.
func TestNamespacesThatFoldersLeft(t *testing.T) {
	old, other := core("group-elsewhere"), core("group-v9")
	old.Name, other.Name = "old", "other"
	client := start(t, &world{}, declared(), slices.Concat([]runtime.Object{core("group-v1"), old, other}, keptIn("old"),
		foreignIn("old"), keptIn("other"))...)
	want := []string{"binding foreign", "binding other", "quota foreign"}
	waittest.Eventually(t, "what Pacific put in is gone", func() bool { return cmp.Equal(want, left(t, client, "old")) })
	if got := left(t, client, "other"); len(got) != 3 {
		t.Errorf("left where the folder is only not to be seen: %v", got)
	}
}

// What cannot be done is said, and tried again.
func TestProblem(t *testing.T) {
	w := &world{err: errors.New("vCenter is away")}
	start(t, w, declared(), core("group-v1"))
	waittest.Eventually(t, "the problem is said", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.problems) > 1 && strings.Contains(w.problems[1], "vCenter is away")
	})
}
