// SPDX-License-Identifier: Apache-2.0

package storageclass

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
)

// policies are those of vCenter.
type policies struct {
	mu      sync.Mutex
	now     []Policy
	read    bool
	changed chan struct{}
}

func (p *policies) Policies() ([]Policy, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now, p.read
}

func (p *policies) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

func (p *policies) become(now ...Policy) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now, p.read = now, true
	close(p.changed)
	p.changed = make(chan struct{})
}

// listsOnly begins with a list, not with a watch that sends what there is.
type listsOnly struct{ *cache.ListWatch }

func (listsOnly) IsWatchListSemanticsUnSupported() bool { return true }

// world is a cluster with a controller.
type world struct {
	*testing.T
	*fake.Clientset
	policies   *policies
	namespaces *watch.FakeWatcher
	controller *Controller
}

var (
	gold   = Policy{ID: "1", Name: "Gold Storage", ClassName: "gold-storage"}
	bronze = Policy{ID: "2", Name: "Bronze Storage", ClassName: "bronze-storage"}
)

func start(t *testing.T, objects ...runtime.Object) *world {
	t.Helper()
	w := &world{T: t, Clientset: fake.NewClientset(objects...), policies: &policies{changed: make(chan struct{})},
		namespaces: watch.NewFake()}
	factory := informers.NewSharedInformerFactory(w.Clientset, 0)
	w.controller = &Controller{
		Namespaces: listsOnly{&cache.ListWatch{
			ListFunc: func(metav1.ListOptions) (runtime.Object, error) {
				return &v1alpha1.NamespaceList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}, nil
			},
			WatchFunc: func(metav1.ListOptions) (watch.Interface, error) { return w.namespaces, nil },
		}},
		Policies: w.policies, Client: w.Clientset, Informer: factory.Storage().V1().StorageClasses(),
		Core: factory.Core().V1().Namespaces(), Quotas: factory.Core().V1().ResourceQuotas(), Logger: klog.Background(),
	}
	w.controller.Informer.Informer()
	w.controller.Core.Informer()
	w.controller.Quotas.Informer()
	ctx, cancel := context.WithCancel(t.Context())
	factory.StartWithContext(ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = w.controller.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		factory.Shutdown()
	})
	return w
}

// namespace is a vSphere Namespace with storage policies.
func namespace(name string, given ...Policy) *v1alpha1.Namespace {
	n := &v1alpha1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name},
		Status: v1alpha1.NamespaceStatus{Folder: "group-" + name}}
	for _, policy := range given {
		n.Spec.StoragePolicies = append(n.Spec.StoragePolicies, v1alpha1.NamespaceStoragePolicy{Name: policy.Name})
	}
	return n
}

func core(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name,
		Annotations: map[string]string{vsphere.FolderAnnotation: "group-" + name}}}
}

// quota is one that Kubernetes has taken up, with entries for these classes.
func quota(namespace string, policies ...Policy) *corev1.ResourceQuota {
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: QuotaName(namespace)},
		Status: corev1.ResourceQuotaStatus{Hard: corev1.ResourceList{}}}
	for _, policy := range policies {
		q.Status.Hard[QuotaKey(policy.ClassName)] = resource.MustParse("0")
	}
	return q
}

func (w *world) until(what string, done func() bool) {
	w.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			byPolicy, all, known := w.controller.Classes()
			w.Fatalf("not in time: %s; there is %v, wanted %v %v %v", what, w.parameters(), byPolicy, all, known)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// parameters are those of all StorageClasses, by name.
func (w *world) parameters() map[string]string {
	w.Helper()
	list, err := w.StorageV1().StorageClasses().List(w.Context(), metav1.ListOptions{})
	if err != nil {
		w.Fatal(err)
	}
	parameters := map[string]string{}
	for _, class := range list.Items {
		parameters[class.Name] = fmt.Sprint(class.Parameters)
	}
	return parameters
}

func (w *world) are(what string, want map[string]string) {
	w.Helper()
	w.until(what, func() bool { return cmp.Equal(want, w.parameters()) })
}

func (w *world) get(name string) *storagev1.StorageClass {
	w.Helper()
	class, err := w.StorageV1().StorageClasses().Get(w.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return class
}

const (
	goldParameters   = "map[storagePolicyID:1]"
	bronzeParameters = "map[storagePolicyID:2]"
)

func TestClassFollowsPolicy(t *testing.T) {
	w := start(t)
	w.namespaces.Add(namespace("team-a", gold))
	w.policies.become(gold, bronze)
	w.are("given", map[string]string{"gold-storage": goldParameters})
	reclaim, binding, expand := corev1.PersistentVolumeReclaimDelete, storagev1.VolumeBindingImmediate, true
	want := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: "gold-storage",
			Labels: map[string]string{"app.kubernetes.io/managed-by": "pacific"}},
		Provisioner:   "csi.vsphere.vmware.com",
		Parameters:    map[string]string{"storagePolicyID": "1"},
		ReclaimPolicy: &reclaim, VolumeBindingMode: &binding, AllowVolumeExpansion: &expand,
	}
	got := w.get("gold-storage")
	got.TypeMeta, got.ManagedFields = metav1.TypeMeta{}, nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	w.namespaces.Add(namespace("team-b", gold, bronze))
	w.are("given to two", map[string]string{"gold-storage": goldParameters, "bronze-storage": bronzeParameters})
	w.namespaces.Modify(namespace("team-a"))
	w.namespaces.Modify(namespace("team-b", gold))
	w.are("taken from one", map[string]string{"gold-storage": goldParameters})
	renamed := gold
	renamed.Name = "Platinum"
	w.policies.become(renamed, bronze)
	w.are("renamed in vCenter", map[string]string{})
	w.policies.become(gold)
	w.are("renamed again", map[string]string{"gold-storage": goldParameters})
	again := gold
	again.ID = "3"
	w.policies.become(again)
	w.are("deleted and made anew in vCenter", map[string]string{"gold-storage": "map[storagePolicyID:3]"})
	ending := namespace("team-b", gold)
	ending.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	w.namespaces.Modify(ending)
	w.are("the last namespace is being deleted", map[string]string{})
}

// A class is made only where every vSphere Namespace's quota holds it back.
func TestClassWaitsForQuotas(t *testing.T) {
	gone := core("team-gone")
	gone.DeletionTimestamp, gone.Finalizers = &metav1.Time{Time: time.Unix(1, 0)}, []string{"kubernetes"}
	w := start(t, core("team-a"), core("team-b"), gone, quota("team-a", gold, bronze))
	w.policies.become(gold, bronze)
	w.namespaces.Add(namespace("team-b"))
	w.namespaces.Add(namespace("team-without"))
	w.namespaces.Add(namespace("team-gone"))
	w.namespaces.Add(namespace("team-a", gold, bronze))
	w.until("the quotas are told", func() bool {
		byPolicy, all, known := w.controller.Classes()
		return known && cmp.Equal(byPolicy, map[string]string{"Gold Storage": "gold-storage",
			"Bronze Storage": "bronze-storage"}) &&
			cmp.Equal(all, []string{"bronze-storage", "gold-storage"})
	})
	quotas := w.CoreV1().ResourceQuotas("team-b")
	if _, err := quotas.Create(t.Context(), quota("team-b", bronze), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.are("the one that is held back everywhere", map[string]string{"bronze-storage": bronzeParameters})
	if _, err := quotas.Update(t.Context(), quota("team-b", bronze, gold), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.are("then the other", map[string]string{"gold-storage": goldParameters, "bronze-storage": bronzeParameters})
	var order []string
	for _, action := range w.Actions() {
		if verb := action.GetVerb(); verb == "create" || verb == "update" {
			order = append(order, verb+" "+action.GetResource().Resource)
		}
	}
	if diff := cmp.Diff([]string{"create resourcequotas", "create storageclasses", "update resourcequotas",
		"create storageclasses"}, slices.Compact(order)); diff != "" {
		t.Errorf("in this order (-want +got):\n%s", diff)
	}
}

func TestChangesByHand(t *testing.T) {
	w := start(t)
	w.namespaces.Add(namespace("team-a", gold))
	w.policies.become(gold)
	w.are("given", map[string]string{"gold-storage": goldParameters})
	client := w.StorageV1().StorageClasses()
	for _, test := range []struct {
		what   string
		change func(*storagev1.StorageClass)
	}{
		{"what cannot be changed", func(c *storagev1.StorageClass) {
			c.Parameters = map[string]string{"storagePolicyID": "other"}
		}},
		{"more parameters", func(c *storagev1.StorageClass) { c.Parameters["datastoreurl"] = "x" }},
		{"another provisioner", func(c *storagev1.StorageClass) { c.Provisioner = "example.com/other" }},
		{"what can be changed", func(c *storagev1.StorageClass) { *c.AllowVolumeExpansion = false }},
		{"mount options", func(c *storagev1.StorageClass) { c.MountOptions = []string{"ro"} }},
	} {
		class := w.get("gold-storage")
		want := class.DeepCopy()
		test.change(class)
		class.Annotations = map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}
		if _, err := client.Update(t.Context(), class, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		w.until(test.what, func() bool {
			list, err := client.List(t.Context(), metav1.ListOptions{})
			return err == nil && len(list.Items) == 1 && same(&list.Items[0], want) &&
				list.Items[0].Annotations["storageclass.kubernetes.io/is-default-class"] == "true"
		})
	}
	if err := client.Delete(t.Context(), "gold-storage", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.are("deleted", map[string]string{"gold-storage": goldParameters})
}

func TestWhatIsNotOursStays(t *testing.T) {
	foreign := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "gold-storage"},
		Provisioner: "example.com/other"}
	left := class(Policy{ID: "9", Name: "Iron", ClassName: "iron"})
	w := start(t, foreign, left)
	w.namespaces.Add(namespace("team-a", gold, bronze))

	// Before anything was read nothing is removed: what was there last stands.
	if _, _, known := w.controller.Classes(); known {
		t.Error("classes are known before the policies are")
	}
	w.policies.become(gold, bronze)
	w.are("ours go and come, others stay", map[string]string{"gold-storage": "map[]", "bronze-storage": bronzeParameters})
	byPolicy, all, _ := w.controller.Classes()
	if !cmp.Equal(byPolicy, map[string]string{"Bronze Storage": "bronze-storage"}) ||
		!cmp.Equal(all, []string{"bronze-storage"}) {
		w.until("quotas leave it alone", func() bool {
			byPolicy, all,
				_ = w.controller.Classes()
			return len(byPolicy) == 1 && len(all) == 1
		})
	}
	if got := w.get("gold-storage"); got.Provisioner != "example.com/other" || len(got.Labels) != 0 {
		t.Errorf("somebody else's: %+v", got)
	}
	if err := w.StorageV1().StorageClasses().Delete(t.Context(), "gold-storage", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.are("once it is gone, ours comes", map[string]string{"gold-storage": goldParameters,
		"bronze-storage": bronzeParameters})
}
