// SPDX-License-Identifier: Apache-2.0

package vspherenamespace

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	testclock "k8s.io/utils/clock/testing"

	"k8s.io/apimachinery/pkg/api/equality"
	clienttesting "k8s.io/client-go/testing"

	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
)

// classes are StorageClasses by the name of their storage policy; nil is that they
// are not known.
type classes map[string]string

func (c classes) Classes() (map[string]string, []string, bool) {
	var all []string
	for _, class := range c {
		all = append(all, class)
	}
	return c, all, c != nil
}

func (classes) Changed() <-chan struct{} { return nil }

// turning are classes that become other ones.
type turning struct {
	mu      sync.Mutex
	now     classes
	changed chan struct{}
}

func (c *turning) Classes() (map[string]string, []string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now.Classes()
}

func (c *turning) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

func (c *turning) become(next classes) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = next
	close(c.changed)
	c.changed = make(chan struct{})
}

const gibibyte = 1 << 30

// stored is a vSphere Namespace with storage policies and what is taken with them.
func storing(policies []v1alpha1.NamespaceStoragePolicy, used map[string]int64) *v1alpha1.Namespace {
	namespace := declared()
	namespace.Spec.StoragePolicies = policies
	for policy, bytes := range used {
		namespace.Status.Usage.Storage = append(namespace.Status.Usage.Storage,
			v1alpha1.NamespaceStorageUsage{Policy: policy, Used: *resource.NewQuantity(bytes, resource.BinarySI)})
	}
	return namespace
}

func limited(name string, bytes int64) v1alpha1.NamespaceStoragePolicy {
	return v1alpha1.NamespaceStoragePolicy{Name: name, Limit: resource.NewQuantity(bytes, resource.BinarySI)}
}

func TestAllowances(t *testing.T) {
	kept := classes{"Gold": "gold", "Bronze": "bronze", "Iron": "iron"}
	for _, test := range []struct {
		what     string
		policies []v1alpha1.NamespaceStoragePolicy
		used     map[string]int64
		classes  classes
		want     map[corev1.ResourceName]string
	}{
		{"nothing kept", []v1alpha1.NamespaceStoragePolicy{limited("Gold", gibibyte)}, nil, classes{},
			map[corev1.ResourceName]string{}},
		{"no policies", nil, nil, kept, map[corev1.ResourceName]string{
			"bronze.storageclass.storage.k8s.io/requests.storage": "0",
			"gold.storageclass.storage.k8s.io/requests.storage":   "0",
			"iron.storageclass.storage.k8s.io/requests.storage":   "0",
		}},
		{"a limit, without what machines take; none; more taken than the limit",
			[]v1alpha1.NamespaceStoragePolicy{limited("Gold", 10*gibibyte), {Name: "Bronze"}, limited("Iron", gibibyte),
				{Name: "vanished"}},
			map[string]int64{"Gold": 3 * gibibyte, "Bronze": gibibyte, "Iron": 2 * gibibyte, "": 5 * gibibyte}, kept,
			map[corev1.ResourceName]string{
				"bronze.storageclass.storage.k8s.io/requests.storage": "9223372036854775807",
				"gold.storageclass.storage.k8s.io/requests.storage":   "7Gi",
				"iron.storageclass.storage.k8s.io/requests.storage":   "0",
			}},
		{"a limit of nothing", []v1alpha1.NamespaceStoragePolicy{limited("Gold", 0)}, nil, classes{"Gold": "gold"},
			map[corev1.ResourceName]string{
				"gold.storageclass.storage.k8s.io/requests.storage": "0",
			}},
	} {
		t.Run(test.what, func(t *testing.T) {
			byPolicy, all, _ := test.classes.Classes()
			quota := quotaOf("team-a", allowances(storing(test.policies, test.used), byPolicy, all))
			got := map[corev1.ResourceName]string{}
			for name, quantity := range quota.Spec.Hard {
				got[name] = quantity.String()
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if quota.Name != "team-a-storagequota" {
				t.Errorf("it is named %q", quota.Name)
			}
		})
	}
}

// cluster is a controller that keeps the quota of team-a.
type cluster struct {
	*testing.T
	*fake.Clientset
	watch   *watch.FakeWatcher
	classes *turning
	clock   *testclock.FakePassiveClock
}

func runQuotas(t *testing.T, namespace *v1alpha1.Namespace, known classes, objects ...runtime.Object) *cluster {
	t.Helper()
	c := &cluster{
		T: t, Clientset: fake.NewClientset(append(objects, core("group-v1"))...), watch: watch.NewFake(),
		classes: &turning{now: known, changed: make(chan struct{})},
		clock:   testclock.NewFakePassiveClock(time.Unix(1_700_000_000, 0)),
	}
	w := &world{}
	factory := informers.NewSharedInformerFactory(c.Clientset, 0)
	controller := &Controller{
		Namespaces: listsOnly{&cache.ListWatch{
			ListFunc: func(metav1.ListOptions) (runtime.Object, error) {
				return &v1alpha1.NamespaceList{ListMeta: metav1.ListMeta{ResourceVersion: "1"},
					Items: []v1alpha1.Namespace{*namespace}}, nil
			},
			WatchFunc: func(metav1.ListOptions) (watch.Interface, error) { return c.watch, nil },
		}},
		Backend: w, Problems: w, Machines: w, Releaser: w, Names: w, Client: c.Clientset,
		Core: factory.Core().V1().Namespaces(), Bindings: factory.Rbac().V1().RoleBindings(),
		Quotas:  factory.Core().V1().ResourceQuotas(),
		Classes: c.classes, Clock: c.clock, Logger: klog.Background(),
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
	return c
}

// hard is what the quota says, nil when there is none.
func (c *cluster) hard() map[string]string {
	c.Helper()
	quota, err := c.CoreV1().ResourceQuotas("team-a").Get(c.Context(), "team-a-storagequota", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		c.Fatal(err)
	}
	if quota.Labels[vsphere.ManagedLabel] != vsphere.ManagedBy || len(quota.Spec.Scopes) > 0 {
		return map[string]string{"broken": "yes"}
	}
	hard := map[string]string{}
	for name, quantity := range quota.Spec.Hard {
		hard[string(name)[:len(name)-len(".storageclass.storage.k8s.io/requests.storage")]] = quantity.String()
	}
	return hard
}

func (c *cluster) is(what string, want map[string]string) {
	c.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !cmp.Equal(want, c.hard()) {
		if time.Now().After(deadline) {
			c.Fatalf("%s (-want +got):\n%s", what, cmp.Diff(want, c.hard()))
		}
		<-time.After(5 * time.Millisecond)
	}
}

func (c *cluster) modify(namespace *v1alpha1.Namespace) {
	c.watch.Modify(namespace.DeepCopy())
}

func TestQuotaIsKeptAndRepaired(t *testing.T) {
	foreign := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "foreign"}}
	c := runQuotas(t, storing([]v1alpha1.NamespaceStoragePolicy{limited("Gold", 10*gibibyte)},
		map[string]int64{"Gold": gibibyte}), nil, foreign)
	c.classes.become(classes{"Gold": "gold"})
	c.is("given", map[string]string{"gold": "9Gi"})
	c.classes.become(classes{"Gold": "gold", "Bronze": "bronze"})
	c.is("another class that was not given", map[string]string{"gold": "9Gi", "bronze": "0"})

	quotas := c.CoreV1().ResourceQuotas("team-a")
	change := func(what string, change func(*corev1.ResourceQuota)) {
		t.Helper()
		quota, err := quotas.Get(t.Context(), "team-a-storagequota", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		change(quota)
		if _, err := quotas.Update(t.Context(), quota, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		c.is(what, map[string]string{"gold": "9Gi", "bronze": "0"})
	}
	change("an amount, by hand", func(q *corev1.ResourceQuota) {
		q.Spec.Hard["bronze.storageclass.storage.k8s.io/requests.storage"] = resource.MustParse("1")
	})
	change("a class, by hand", func(q *corev1.ResourceQuota) {
		delete(q.Spec.Hard, "bronze.storageclass.storage.k8s.io/requests.storage")
	})
	change("a label and a scope, by hand", func(q *corev1.ResourceQuota) {
		q.Labels, q.Spec.Scopes = nil, []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeTerminating}
	})
	if err := quotas.Delete(t.Context(), "team-a-storagequota", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.is("deleted, by hand", map[string]string{"gold": "9Gi", "bronze": "0"})

	c.modify(storing(nil, nil))
	c.is("taken away", map[string]string{"gold": "0", "bronze": "0"})
	c.classes.become(classes{})
	c.is("no class left", nil)
	if _, err := quotas.Get(t.Context(), "foreign", metav1.GetOptions{}); err != nil {
		t.Errorf("somebody else's quota: %v", err)
	}
}

// What virtual machines take moves all the time: a quota is not written for a
// little of it more than once a minute.
func TestQuotaTolerates(t *testing.T) {
	const limit = 100 * gibibyte
	policies := []v1alpha1.NamespaceStoragePolicy{limited("Gold", limit)}
	using := func(bytes int64) *v1alpha1.Namespace {
		return storing(policies, map[string]int64{"Gold": bytes})
	}
	c := runQuotas(t, using(0), classes{"Gold": "gold", "Bronze": "bronze"})
	c.is("made", map[string]string{"gold": "100Gi", "bronze": "0"})
	// The same once more, while the informer has not seen the last write, is none
	// to kube-apiserver.
	writes := func() (n int) {
		var last any
		for _, action := range c.Actions() {
			update, ok := action.(clienttesting.UpdateAction)
			if !ok || !action.Matches("update", "resourcequotas") {
				continue
			}
			if spec := update.GetObject().(*corev1.ResourceQuota).Spec; !equality.Semantic.DeepEqual(last, spec) {
				n, last = n+1, spec
			}
		}
		return n
	}
	before := writes()
	for i := range int64(5) {
		c.modify(using(i * gibibyte / 6))
	}
	// All that came before has been seen when this shows.
	c.modify(using(2 * gibibyte))
	c.is("much of it", map[string]string{"gold": "98Gi", "bronze": "0"})
	if n := writes() - before; n != 1 {
		t.Errorf("written %d times", n)
	}
	c.modify(using(2*gibibyte + gibibyte/2))
	policies[0] = limited("Gold", limit+1<<20)
	c.modify(using(2*gibibyte + gibibyte/2))
	c.is("another limit counts at once", map[string]string{"gold": "99841Mi", "bronze": "0"})
	// The last write may be under way still, and be of a minute later then: so a
	// minute passes before each look.
	const later = "100097Mi"
	for deadline := time.Now().Add(20 * time.Second); c.hard()["gold"] != later; <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("a little, a minute later: %v", c.hard())
		}
		c.clock.SetTime(c.clock.Now().Add(quotaPause))
		c.modify(using(2*gibibyte + gibibyte/4))
	}
}
