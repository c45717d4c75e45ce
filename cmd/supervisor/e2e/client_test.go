// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	vmopv1alpha2 "github.com/vmware-tanzu/vm-operator/api/v1alpha2"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/waittest"
)

const reclaimPolicy = "vsphere.openpacific.io/reclaim-policy"

// requests counts what a client asks for the collection of machines.
type requests struct {
	mu   sync.Mutex
	seen []string
}

func (r *requests) wrap(next http.RoundTripper) http.RoundTripper {
	return supervisortest.RoundTripper(func(request *http.Request) (*http.Response, error) {
		if strings.HasSuffix(request.URL.Path, "/virtualmachines") {
			kind := "LIST"
			if query := request.URL.Query(); query.Get("watch") != "" {
				kind = "WATCH"
				if query.Get("sendInitialEvents") == "true" {
					kind = "WATCHLIST"
				}
			}
			r.mu.Lock()
			r.seen = append(r.seen, kind)
			r.mu.Unlock()
		}
		return next.RoundTrip(request)
	})
}

func (r *requests) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

func TestInformerNeverRelists(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := a.Namespace("informer")
	vm := a.Create(namespace, "web", supervisortest.PoweredOff)
	waittest.Within(t, 20*time.Second, "the machine", func(ctx context.Context) error {
		_, err := s.Dynamic(t).Resource(supervisortest.Machines).Namespace(namespace).Get(ctx, "web", metav1.GetOptions{})
		return err
	})

	var asked requests
	config := s.Config(t)
	config.Wrap(asked.wrap)
	informer := dynamicinformer.NewFilteredDynamicInformer(dynamic.NewForConfigOrDie(config), supervisortest.Machines,
		namespace, 0, nil, nil).Informer()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	began := time.Now()
	running.Go(func() { informer.RunWithContext(ctx) })
	waittest.Within(t, 5*time.Second, "the informer's sync", func(context.Context) error {
		if !informer.HasSynced() {
			return errors.New("not synced")
		}
		return nil
	})
	fmt.Printf("an informer with WatchList is in sync after %s\n", time.Since(began).Round(time.Millisecond))

	cached := func(key, power string) func(context.Context) error {
		return func(context.Context) error {
			object, found, _ := informer.GetStore().GetByKey(namespace + "/" + key)
			if !found {
				return fmt.Errorf("the informer does not know %s", key)
			}
			if got, _, _ := unstructured.NestedString(object.(*unstructured.Unstructured).Object, "status",
				"powerState"); got != power {
				return fmt.Errorf("%s is %s", key, got)
			}
			return nil
		}
	}
	for range 5 {
		a.Power(vm, supervisortest.PoweredOn)
		waittest.Within(t, 10*time.Second, "on", cached("web", "PoweredOn"))
		a.Power(vm, supervisortest.PoweredOff)
		waittest.Within(t, 10*time.Second, "off", cached("web", "PoweredOff"))
	}
	a.Rename(vm, "front")
	waittest.Within(t, 10*time.Second, "renamed", cached("front", "PoweredOff"))
	if diff := cmp.Diff([]string{"WATCHLIST"}, asked.list()); diff != "" {
		t.Errorf("requests of the informer (-want +got):\n%s", diff)
	}
	if keys := informer.GetStore().ListKeys(); !slices.Equal(keys, []string{namespace + "/front"}) {
		t.Errorf("the informer knows %v", keys)
	}
}

// TestTypedClient does a whole round with controller-runtime's client and vm-operator's own types.
func TestTypedClient(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := a.Namespace("typed")
	a.Create(namespace, "web", supervisortest.PoweredOn)
	ctx := t.Context()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{vmopv1.AddToScheme, vmopv1alpha2.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.NewWithWatch(s.Config(t), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	key := client.ObjectKey{Namespace: namespace, Name: "web"}
	vm := &vmopv1.VirtualMachine{}
	waittest.Within(t, 20*time.Second, "get", func(ctx context.Context) error { return c.Get(ctx, key, vm) })
	if vm.Status.PowerState != vmopv1.VirtualMachinePowerStateOn || vm.Status.Network.PrimaryIP4 != "10.30.0.11" ||
		vm.Status.Zone != "cluster-a" {
		t.Errorf("get: %+v", vm.Status)
	}
	events, err := c.Watch(ctx, &vmopv1.VirtualMachineList{}, client.InNamespace(namespace))
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()

	// A label by merge patch, and the list that selects it.
	labelled := vm.DeepCopy()
	labelled.Labels["round"] = "one"
	if err := c.Patch(ctx, labelled, client.MergeFrom(vm)); err != nil {
		t.Fatal(err)
	}
	var list vmopv1.VirtualMachineList
	if err := c.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabels{"round": "one"}); err != nil ||
		len(list.Items) != 1 {
		t.Errorf("list by label: %d, %v", len(list.Items), err)
	}
	if err := c.List(ctx, &list, client.InNamespace(namespace),
		client.MatchingFields{"status.powerState": "PoweredOff"}); err != nil || len(list.Items) != 0 {
		t.Errorf("list by field: %d, %v", len(list.Items), err)
	}

	// The state from before the patch may not be written.
	vm.Annotations = map[string]string{"stale": "yes"}
	if err := c.Update(ctx, vm); !apierrors.IsConflict(err) {
		t.Errorf("update of a stale object: %v", err)
	}
	if err := c.Get(ctx, key, vm); err != nil {
		t.Fatal(err)
	}
	vm.Annotations = map[string]string{reclaimPolicy: "Delete"}
	before := supervisortest.Version(t, vm)
	if err := c.Update(ctx, vm); err != nil {
		t.Fatal(err)
	}
	if supervisortest.Version(t, vm) <= before {
		t.Errorf("update: resourceVersion %d after %d", supervisortest.Version(t, vm), before)
	}
	// The answer of a write is what a read gives.
	read := &vmopv1.VirtualMachine{}
	if err := c.Get(ctx, key, read); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(vm, read); diff != "" {
		t.Errorf("answer to the update and read (-answer +read):\n%s", diff)
	}
	// An update that changes nothing moves nothing.
	before = supervisortest.Version(t, read)
	if err := c.Update(ctx, read); err != nil || supervisortest.Version(t, read) != before {
		t.Errorf("update of nothing: version %d after %d, %v", supervisortest.Version(t, read), before, err)
	}

	// Server-side apply, at an older version.
	applied := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "vmoperator.vmware.com/v1alpha2", "kind": "VirtualMachine",
		"metadata": map[string]any{"namespace": namespace, "name": "web", "labels": map[string]any{"round": "two"}},
		"spec":     map[string]any{"powerState": "PoweredOff", "powerOffMode": "Hard"},
	}}
	if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(applied.DeepCopy()),
		client.FieldOwner("round")); !apierrors.IsConflict(err) {
		t.Errorf("apply against the owner of a label: %v", err)
	}
	if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner("round"),
		client.ForceOwnership); err != nil {
		t.Fatal(err)
	}
	old := &vmopv1alpha2.VirtualMachine{}
	waittest.Within(t, 20*time.Second, "power off", func(ctx context.Context) error {
		if err := c.Get(ctx, key, old); err != nil {
			return err
		}
		if old.Status.PowerState != vmopv1alpha2.VirtualMachinePowerStateOff {
			return fmt.Errorf("it is %s", old.Status.PowerState)
		}
		return nil
	})
	if old.Labels["round"] != "two" {
		t.Errorf("labels after the apply: %v", old.Labels)
	}
	old.Status.PowerState = vmopv1alpha2.VirtualMachinePowerStateOn
	if err := c.Status().Update(ctx, old); !apierrors.IsMethodNotSupported(err) {
		t.Errorf("update of the status: %v", err)
	}

	if err := c.Delete(ctx, vm, client.Preconditions{UID: ptr(types.UID("another"))}); !apierrors.IsConflict(err) {
		t.Errorf("delete of another machine: %v", err)
	}
	if err := c.Delete(ctx, vm); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(20 * time.Second)
	for {
		select {
		case event, open := <-events.ResultChan():
			if !open || event.Type == watch.Error {
				t.Fatalf("the watch ended: %v", event)
			}
			if event.Type != watch.Deleted {
				continue
			}
		case <-deadline:
			t.Fatal("no DELETED")
		}
		break
	}
	if err := c.Get(ctx, key, vm); !apierrors.IsNotFound(err) {
		t.Errorf("get after DELETED: %v", err)
	}
}

func ptr[T any](value T) *T { return &value }

func TestDynamicClient(t *testing.T) {
	t.Parallel()
	s := running(t)
	a := s.Admin(t)
	namespace := a.Namespace("dynamic")
	made := a.Create(namespace, "web", supervisortest.PoweredOff)
	ctx := t.Context()
	c := s.Dynamic(t).Resource(supervisortest.Machines).Namespace(namespace)
	var vm *unstructured.Unstructured
	waittest.Within(t, 20*time.Second, "get", func(ctx context.Context) (err error) {
		vm, err = c.Get(ctx, "web", metav1.GetOptions{})
		return err
	})
	events, err := c.Watch(ctx, metav1.ListOptions{ResourceVersion: vm.GetResourceVersion()})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()

	// Page by page, at one version.
	a.Create(namespace, "web-2", supervisortest.PoweredOff)
	a.Create(namespace, "web-3", supervisortest.PoweredOff)
	waittest.Within(t, 20*time.Second, "list", func(ctx context.Context) error {
		list, err := c.List(ctx, metav1.ListOptions{})
		if err == nil && len(list.Items) != 3 {
			err = fmt.Errorf("%d machines", len(list.Items))
		}
		return err
	})
	var names []string
	for options := (metav1.ListOptions{Limit: 2}); ; {
		page, err := c.List(ctx, options)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			names = append(names, item.GetName())
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			break
		}
	}
	if !slices.Equal(names, []string{"web", "web-2", "web-3"}) {
		t.Errorf("page by page: %v", names)
	}

	for _, patch := range []struct {
		kind types.PatchType
		data string
	}{
		{types.MergePatchType, `{"metadata":{"labels":{"merge":"1"}}}`},
		{types.JSONPatchType, `[{"op":"add","path":"/metadata/labels/json","value":"1"}]`},
		{types.StrategicMergePatchType, `{"metadata":{"labels":{"strategic":"1"}}}`},
	} {
		if vm, err = c.Patch(ctx, "web", patch.kind, []byte(patch.data),
			metav1.PatchOptions{FieldValidation: "Strict"}); err != nil {
			t.Errorf("%s: %v", patch.kind, err)
		}
	}
	want := map[string]string{"merge": "1", "json": "1", "strategic": "1", "topology.kubernetes.io/zone": "cluster-a"}
	if diff := cmp.Diff(want, vm.GetLabels()); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if a.Extra(made, "pacific.metadata") == "" || a.Extra(made, "vmservice.namespacedName") != namespace+"/web" {
		t.Error("the labels do not lie in the virtual machine")
	}
	if _, err := c.Apply(ctx, "web", &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "vmoperator.vmware.com/v1alpha5", "kind": "VirtualMachine",
		"metadata": map[string]any{"name": "web", "annotations": map[string]any{reclaimPolicy: "Delete"}},
	}}, metav1.ApplyOptions{FieldManager: "dynamic"}); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	waittest.Within(t, 20*time.Second, "the deletion of what may be deleted", func(ctx context.Context) error {
		list, err := c.List(ctx, metav1.ListOptions{})
		if err == nil && len(list.Items) != 2 {
			err = fmt.Errorf("%d machines", len(list.Items))
		}
		return err
	})
	if a.Properties(made) != nil {
		t.Error("the machine is still in vCenter")
	}
}
