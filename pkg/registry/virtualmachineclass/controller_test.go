// SPDX-License-Identifier: Apache-2.0

package virtualmachineclass_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2/ktesting"

	vspherev1 "github.com/openpacific/pacific/pkg/apis/vsphere/v1alpha1"
	"github.com/openpacific/pacific/pkg/registry/projected"
	"github.com/openpacific/pacific/pkg/registry/virtualmachineclass"
	"github.com/openpacific/pacific/pkg/waittest"
)

// cluster is the outside of a Controller.
type cluster struct {
	given projected.Objects[vspherev1.Namespace]

	mu      sync.Mutex
	classes map[string]int64 // CPUs by namespace/name
	gone    map[string]bool  // Namespaces that are not there
	notes   map[string]string
	failing error
	failed  int
	reads   int // of notes
}

func newCluster() *cluster {
	return &cluster{classes: map[string]int64{}, gone: map[string]bool{}, notes: map[string]string{}}
}

// show is what vSphere Namespace there is.
func (c *cluster) show(namespace *vspherev1.Namespace) {
	c.given.Begin()
	c.given.Set(namespace.Name, namespace)
	c.given.Flush()
}

// change is what it becomes.
func (c *cluster) change(namespace *vspherev1.Namespace) {
	c.given.Set(namespace.Name, namespace)
	c.given.Flush()
}

func (c *cluster) Create(_ context.Context, class *v1alpha5.VirtualMachineClass) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failing != nil {
		c.failed++
		return false, c.failing
	}
	key := class.Namespace + "/" + class.Name
	if _, found := c.classes[key]; found {
		return false, nil
	}
	c.classes[key] = class.Spec.Hardware.Cpus
	return true, nil
}

func (c *cluster) Terminating(_ context.Context, name string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone[name], nil
}

func (c *cluster) Read(_ context.Context, id string) ([]byte, int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
	value, found := c.notes[id]
	if !found {
		return nil, 0, nil
	}
	return []byte(value), 1, nil
}

func (c *cluster) Write(_ context.Context, id string, value []byte, _ int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if value == nil {
		delete(c.notes, id)
	} else {
		c.notes[id] = string(value)
	}
	return nil
}

func (c *cluster) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *cluster) made() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.classes))
}

// run runs a controller until it is told to stop.
func (c *cluster) run(t *testing.T) (stop func()) {
	t.Helper()
	logger, ctx := ktesting.NewTestContext(t)
	ctx, cancel := context.WithCancel(ctx)
	controller := &virtualmachineclass.Controller{Given: &c.given, Classes: c, Namespaces: c, Notes: c, Logger: logger}
	done := make(chan error, 1)
	go func() { done <- controller.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (c *cluster) until(t *testing.T, what string, want ...string) {
	t.Helper()
	waittest.Eventually(t, what, func() bool { return slices.Equal(c.made(), want) })
}

// settled waits until the controller has noted what it did.
func (c *cluster) settled(t *testing.T, want string) {
	t.Helper()
	waittest.Eventually(t, "noted: "+want, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.notes["uid-team-a"] == want
	})
}

func given(classes ...string) *vspherev1.Namespace {
	return &vspherev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: "team-a", UID: types.UID("uid-team-a")},
		Spec:       vspherev1.NamespaceSpec{VirtualMachineClasses: classes},
	}
}

// A class is made when it is given, once: what somebody makes of it afterwards stays, over restarts too.
func TestClassesAreMadeOnce(t *testing.T) {
	const small, large = "team-a/best-effort-small", "team-a/guaranteed-large"
	c := newCluster()
	stop := c.run(t)
	c.show(given("best-effort-small", "their-own"))
	c.until(t, "the class is made, and the other is nobody's here", small)
	c.settled(t, `["best-effort-small"]`)

	c.set(func() { c.classes[small] = 64 })
	c.change(given("best-effort-small", "guaranteed-large"))
	c.until(t, "another is made", small, large)
	c.settled(t, `["best-effort-small","guaranteed-large"]`)
	c.set(func() {
		if c.classes[small] != 64 {
			t.Errorf("what an administrator changed has become %d", c.classes[small])
		}
		delete(c.classes, large)
	})
	stop()

	stop = c.run(t)
	c.change(given("best-effort-small", "guaranteed-large", "best-effort-xsmall"))
	c.until(t, "what was deleted stays away", small, "team-a/best-effort-xsmall")

	c.change(given("best-effort-small"))
	c.settled(t, `["best-effort-small"]`)
	c.change(given("best-effort-small", "guaranteed-large"))
	c.until(t, "given anew, it is made anew", small, "team-a/best-effort-xsmall", large)

	ending := given("best-effort-small")
	ending.DeletionTimestamp = &metav1.Time{}
	c.change(ending)
	c.settled(t, "")
	stop()
	c.set(func() {
		if diff := cmp.Diff(map[string]string{}, c.notes); diff != "" {
			t.Errorf("kept of a namespace that ends (-want +got):\n%s", diff)
		}
	})
}

// A class that somebody made before is theirs.
func TestAClassThatIsThereStays(t *testing.T) {
	c := newCluster()
	c.classes["team-a/best-effort-small"] = 64
	c.run(t)
	c.show(given("best-effort-small"))
	c.settled(t, `["best-effort-small"]`)
	c.set(func() {
		if c.classes["team-a/best-effort-small"] != 64 {
			t.Error("it was overwritten")
		}
	})
}

// Nothing is made in a Namespace that is not there, or ends; when it is there, or etcd is, it is.
func TestClassesAreMadeLater(t *testing.T) {
	c := newCluster()
	c.gone["team-a"], c.failing = true, errAway
	c.run(t)
	c.show(given("best-effort-small"))
	c.set(func() { c.gone["team-a"] = false })
	waittest.Eventually(t, "it is tried", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.failed > 0 })
	if made := c.made(); len(made) > 0 {
		t.Errorf("made %v", made)
	}
	c.set(func() { c.failing = nil })
	c.until(t, "the class is made", "team-a/best-effort-small")
}

// What a vSphere Namespace uses changes all the time, and says nothing of classes: nobody asks etcd for that.
func TestUsageIsNoNews(t *testing.T) {
	c := newCluster()
	c.run(t)
	c.show(given("best-effort-small"))
	c.settled(t, `["best-effort-small"]`)
	c.set(func() { c.reads = 0 })
	for machines := range int32(100) {
		used := given("best-effort-small")
		used.Status.Usage.VirtualMachines = machines
		c.change(used)
	}
	// Each before this one would have been looked at by now, or with it.
	c.change(given("best-effort-small", "guaranteed-large"))
	c.settled(t, `["best-effort-small","guaranteed-large"]`)
	c.set(func() {
		if c.reads != 1 {
			t.Errorf("what was made before was read %d times", c.reads)
		}
	})
}
