// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	genericregistrytest "k8s.io/apiserver/pkg/registry/generic/testing"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/vmoperator/install"
	"github.com/openpacific/pacific/pkg/livestore"
	"github.com/openpacific/pacific/pkg/registry"
	"github.com/openpacific/pacific/pkg/registry/kindtest"
)

// The library's own checks of a registry.
func TestGenericRegistry(t *testing.T) {
	for name, check := range map[string]func(*genericregistrytest.Tester){
		"get":  func(tester *genericregistrytest.Tester) { tester.TestGet(fresh("web-1")) },
		"list": func(tester *genericregistrytest.Tester) { tester.TestList(fresh("web-1")) },
		"watch": func(tester *genericregistrytest.Tester) {
			tester.TestWatch(fresh("web-1"),
				[]labels.Set{{"app": "web"}},
				[]labels.Set{{"app": "db"}},
				[]fields.Set{
					{"metadata.name": "web-1"},
					{"status.nodeName": "esx-1.example.com"},
					{"status.powerState": "PoweredOn", "metadata.namespace": "test"},
				},
				[]fields.Set{
					{"metadata.name": "web-2"},
					{"status.nodeName": "esx-2.example.com"},
					{"status.powerState": "PoweredOff"},
				})
		},
	} {
		t.Run(name, func(t *testing.T) {
			// They create what they read, which is more than a machine can be made with, and they
			// watch from resourceVersion 1.
			frame, outside := kindtest.NewFrame(install.Install, clock.RealClock{}), &kindtest.World[v1alpha5.VirtualMachine]{}
			frame.Sequence = livestore.NewCounter(0)
			kind := Kind(Surroundings{Origins: origins{}, Grants: &grants{}, Namespaces: &namespaces{},
				Clock: clock.RealClock{}})
			kind.Rules.PrepareCreate, kind.Rules.Validate = nil, nil
			machines, err := registry.ServeLive(frame, kind, outside)
			if err != nil {
				t.Fatal(err)
			}
			machines.Project(outside.Shown())
			outside.ShowAll()
			kindtest.Open(t, machines)
			check(genericregistrytest.New(t, machines.Bare()))
		})
	}
}

// fresh is a machine that no storage has seen, and that goes when it is deleted.
func fresh(name string) *v1alpha5.VirtualMachine {
	vm := machine(name)
	vm.Namespace, vm.ResourceVersion = "test", ""
	vm.Labels, vm.Finalizers = map[string]string{"app": "web"}, nil
	return vm
}

// A watcher of one host sees machines come and go with vMotion.
func TestWatchByHost(t *testing.T) {
	vm := machine("web-1")
	server := newServer(t, vm)
	events, err := server.machines.Endpoints()["virtualmachines"].(rest.Watcher).Watch(contextOf("team-a"),
		&metainternalversion.ListOptions{
			FieldSelector:   fields.OneTermEqualSelector("status.nodeName", "esx-2.example.com"),
			ResourceVersion: server.stored("web-1").ResourceVersion,
		})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	var got []string
	for _, host := range []string{"esx-2.example.com", "esx-1.example.com", "esx-2.example.com"} {
		moved := machine("web-1")
		moved.ResourceVersion, moved.Status.NodeName = "", host
		server.world.Show(moved)
		var event watch.Event
		select {
		case event = <-events.ResultChan():
		case <-time.After(10 * time.Second):
			t.Fatalf("no event within 10 s after the move to %s", host)
		}
		got = append(got, fmt.Sprintf("%s %s", event.Type, object(event).(*v1alpha5.VirtualMachine).Status.NodeName))
	}
	want := []string{"ADDED esx-2.example.com", "DELETED esx-2.example.com", "ADDED esx-2.example.com"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// object returns the object of an event. The cache wraps those of many watchers.
func object(event watch.Event) runtime.Object {
	if wrapped, ok := event.Object.(runtime.CacheableObject); ok {
		return wrapped.GetObject()
	}
	return event.Object
}

func TestFieldSelectors(t *testing.T) {
	frame := kindtest.NewFrame(install.Install, clock.RealClock{})
	machines, err := registry.ServeLive(frame,
		Kind(Surroundings{Origins: origins{}, Grants: &grants{}, Namespaces: &namespaces{}, Clock: clock.RealClock{}}),
		&kindtest.World[v1alpha5.VirtualMachine]{})
	if err != nil {
		t.Fatal(err)
	}
	defer registry.Destroy(machines)
	type result struct{ Label, Value, Err string }
	for _, test := range []struct {
		version, label, value string
		want                  result
	}{
		{"v1alpha5", "metadata.name", "a", result{"metadata.name", "a", ""}},
		{"v1alpha5", "metadata.namespace", "a", result{"metadata.namespace", "a", ""}},
		{"v1alpha5", "status.nodeName", "a", result{"status.nodeName", "a", ""}},
		{"v1alpha4", "status.powerState", "PoweredOn", result{"status.powerState", "PoweredOn", ""}},
		{"v1alpha1", "status.powerState", "poweredOn", result{"status.powerState", "PoweredOn", ""}},
		{"v1alpha1", "status.powerState", "suspended", result{"status.powerState", "Suspended", ""}},
		{"v1alpha3", "status.host", "a", result{"status.nodeName", "a", ""}},
		{"v1alpha5", "spec.className", "a", result{"", "",
			`field selector "spec.className" is not supported for virtual machines: ` +
				`use one of metadata.name, metadata.namespace, status.nodeName, status.powerState`}},
	} {
		kind := v1alpha5.GroupVersion.WithKind("VirtualMachine")
		kind.Version = test.version
		var got result
		var err error
		if got.Label, got.Value, err = frame.Scheme.ConvertFieldLabel(kind, test.label, test.value); err != nil {
			got.Err = err.Error()
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s %s=%s (-want +got):\n%s", test.version, test.label, test.value, diff)
		}
	}
}
