// SPDX-License-Identifier: Apache-2.0

package virtualmachineservice_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/fake"
	cachetesting "k8s.io/client-go/tools/cache/testing"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"

	"github.com/openpacific/pacific/pkg/controller/virtualmachineservice"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/waittest"
)

const team = "team-a"

type service = vmopv1.VirtualMachineService

// services are those that are declared. They outlive the servers of a test.
type services struct {
	*cachetesting.FakeControllerSource
	mu  sync.Mutex
	all map[string]*service
}

func (s *services) Get(_ context.Context, _, name string) (*service, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.all[name]; found != nil {
		return found.DeepCopy(), nil
	}
	return nil, failure.NotFound
}

func (s *services) List(context.Context, string) ([]*service, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*service
	for _, one := range s.all {
		all = append(all, one.DeepCopy())
	}
	return all, nil
}

func (s *services) Report(_ context.Context, _, name string, _ types.UID, change func(*service)) error {
	s.change(name, change)
	return nil
}

func (s *services) change(name string, change func(*service)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.all[name]; now != nil {
		now = now.DeepCopy()
		change(now)
		s.all[name] = now
		s.Modify(now.DeepCopy())
	}
}

func (s *services) Release(_ context.Context, _, name string, _ types.UID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.all[name]; now != nil {
		delete(s.all, name)
		s.Delete(now.DeepCopy())
	}
	return nil
}

// world is a cluster, and what is declared in it.
type world struct {
	t        *testing.T
	client   *fake.Clientset
	services *services
	machines *cachetesting.FakeControllerSource
	pool     virtualmachineservice.Pool

	mu     sync.Mutex
	events []string
}

func newWorld(t *testing.T, addresses ...string) *world {
	t.Helper()
	pool, err := virtualmachineservice.ParsePool(addresses)
	if err != nil {
		t.Fatal(err)
	}
	return &world{
		t: t, client: fake.NewClientset(), pool: pool,
		services: &services{FakeControllerSource: cachetesting.NewFakeControllerSource(), all: map[string]*service{}},
		machines: cachetesting.NewFakeControllerSource(),
	}
}

// Event implements virtualmachineservice.Recorder.
func (w *world) Event(_ runtime.Object, eventtype, reason, message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, eventtype+" "+reason+": "+message)
}

func (w *world) told(what string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.events, func(event string) bool { return strings.Contains(event, what) })
}

func (w *world) start() (stop func()) {
	w.t.Helper()
	c := &virtualmachineservice.Controller{
		Served: w.services.FakeControllerSource, Machines: w.machines, Services: w.services, Client: w.client, Pool: w.pool,
		Recorder: w, Logger: klog.Background(),
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.Run(ctx); err != nil {
			w.t.Error(err)
		}
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	w.t.Cleanup(stop)
	return stop
}

func (w *world) declare(name string, change ...func(*service)) {
	made := &service{ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: name, UID: types.UID("uid-of-" + name), Generation: 1,
		Labels: map[string]string{"tier": "front"}, Annotations: map[string]string{"note": "hers", corev1.LastAppliedConfigAnnotation: "{}"}}}
	made.Spec.Type = vmopv1.VirtualMachineServiceTypeClusterIP
	made.Spec.Selector = map[string]string{"app": "web"}
	made.Spec.Ports = []vmopv1.VirtualMachineServicePort{{Name: "http", Protocol: "TCP", Port: 80, TargetPort: 8080}}
	for _, one := range change {
		one(made)
	}
	w.services.mu.Lock()
	w.services.all[name] = made
	w.services.mu.Unlock()
	w.services.Add(made.DeepCopy())
}

func balanced(s *service) { s.Spec.Type = vmopv1.VirtualMachineServiceTypeLoadBalancer }

func machine(name, address string, ready metav1.ConditionStatus) *vmopv1.VirtualMachine {
	vm := &vmopv1.VirtualMachine{ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: name, UID: types.UID("uid-of-" + name),
		Labels: map[string]string{"app": "web"}}}
	vm.Status.PowerState, vm.Status.Zone = vmopv1.VirtualMachinePowerStateOn, "cluster-a"
	vm.Status.Network = &vmopv1.VirtualMachineNetworkStatus{PrimaryIP4: address}
	if ready != "" {
		vm.Status.Conditions = []metav1.Condition{{Type: vmopv1.ReadyConditionType, Status: ready}}
	}
	return vm
}

// endpoints are those of a service's slices, as address and whether it is ready.
func (w *world) endpoints(name string) map[string]bool {
	found, err := w.client.DiscoveryV1().EndpointSlices(team).List(context.Background(), metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=" + name})
	if err != nil {
		w.t.Fatal(err)
	}
	all := map[string]bool{}
	for _, slice := range found.Items {
		for _, endpoint := range slice.Endpoints {
			all[endpoint.TargetRef.Name+" "+endpoint.Addresses[0]] = *endpoint.Conditions.Ready
		}
	}
	return all
}

func (w *world) eventually(what string, condition func() bool) {
	w.t.Helper()
	waittest.Eventually(w.t, what, condition)
}

func (w *world) leadsTo(what string, want map[string]bool) {
	w.t.Helper()
	w.eventually(what, func() bool { return maps.Equal(w.endpoints("web"), want) })
}

func (w *world) core(name string) *corev1.Service {
	found, err := w.client.CoreV1().Services(team).Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return found
}

func owner(name string) []metav1.OwnerReference {
	return []metav1.OwnerReference{{APIVersion: vmopv1.GroupVersion.String(), Kind: "VirtualMachineService", Name: name,
		UID: types.UID("uid-of-" + name), Controller: ptr.To(true), BlockOwnerDeletion: ptr.To(true)}}
}

// A service leads to the machines that it selects, as far as they have an address, and follows them.
func TestFollowsMachines(t *testing.T) {
	w := newWorld(t)
	w.start()
	one, two := machine("web-1", "10.66.0.11", metav1.ConditionTrue), machine("web-2", "10.66.0.12", metav1.ConditionTrue)
	probed := machine("web-4", "10.66.0.14", "")
	probed.Spec.ReadinessProbe = &vmopv1.VirtualMachineReadinessProbeSpec{TCPSocket: &vmopv1.TCPSocketAction{Port: intstr.FromInt32(80)}}
	for _, vm := range []*vmopv1.VirtualMachine{one, two, probed, machine("web-3", "", metav1.ConditionTrue),
		machine("web-5", "127.66.0.15", metav1.ConditionTrue), machine("web-6", "10.66.0.16", "")} {
		w.machines.Add(vm)
	}
	w.declare("web")
	want := map[string]bool{"web-1 10.66.0.11": true, "web-2 10.66.0.12": true, "web-4 10.66.0.14": false, "web-6 10.66.0.16": true}
	w.leadsTo("it leads to those that are ready", want)
	core := w.core("web")
	wantCore := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: "web", OwnerReferences: owner("web"), ResourceVersion: core.ResourceVersion,
			Labels:      map[string]string{"tier": "front", "app.kubernetes.io/managed-by": "pacific"},
			Annotations: map[string]string{"note": "hers"}},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP,
			Ports: []corev1.ServicePort{{Name: "http", Protocol: "TCP", Port: 80, TargetPort: intstr.FromInt32(8080)}}},
	}
	core.ManagedFields, core.TypeMeta = nil, metav1.TypeMeta{}
	if diff := cmp.Diff(wantCore, core); diff != "" {
		t.Errorf("the core Service (-want +got):\n%s", diff)
	}

	notReady := machine("web-1", "10.66.0.11", metav1.ConditionFalse)
	w.machines.Modify(notReady)
	want["web-1 10.66.0.11"] = false
	w.leadsTo("one is not ready any more", want)
	relabelled := two.DeepCopy()
	relabelled.Labels = map[string]string{"app": "other"}
	w.machines.Modify(relabelled)
	delete(want, "web-2 10.66.0.12")
	w.leadsTo("one is selected no more", want)
	moved := machine("web-6", "10.66.0.26", "")
	w.machines.Modify(moved)
	delete(want, "web-6 10.66.0.16")
	want["web-6 10.66.0.26"] = true
	w.leadsTo("one has another address", want)
	w.machines.Delete(notReady)
	delete(want, "web-1 10.66.0.11")
	w.leadsTo("one is gone", want)
	ending := moved.DeepCopy()
	ending.DeletionTimestamp = &metav1.Time{Time: time.Unix(2e9, 0)}
	w.machines.Modify(ending)
	delete(want, "web-6 10.66.0.26")
	w.leadsTo("one is being deleted", want)
	w.machines.Modify(two.DeepCopy())
	want["web-2 10.66.0.12"] = true
	w.leadsTo("one is selected again", want)

	w.services.change("web", func(s *service) { s.Spec.Ports[0].TargetPort = 8081 })
	w.eventually("the port is another", func() bool {
		slice, err := w.client.DiscoveryV1().EndpointSlices(team).Get(t.Context(), "web-ipv4-0", metav1.GetOptions{})
		return err == nil && *slice.Ports[0].Port == 8081 && w.core("web").Spec.Ports[0].TargetPort.IntVal == 8081
	})
	if err := w.client.CoreV1().Services(team).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually("what somebody deleted is made anew", func() bool { return w.core("web") != nil })
	w.services.change("web", func(s *service) { s.DeletionTimestamp = &metav1.Time{Time: time.Unix(2e9, 0)} })
	w.eventually("it is gone", func() bool {
		_, err := w.services.Get(t.Context(), team, "web")
		return err != nil
	})
	if w.core("web") != nil || len(w.endpoints("web")) > 0 {
		t.Errorf("left over: %v, %v", w.core("web"), w.endpoints("web"))
	}
}

// A core Service of somebody else's stays as it is, and that is said.
func TestSomebodyElses(t *testing.T) {
	w := newWorld(t)
	theirs := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: "web"},
		Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "theirs"}}}
	if _, err := w.client.CoreV1().Services(team).Create(t.Context(), theirs, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.declare("web")
	w.eventually("it is said", func() bool { return w.told(`Warning NotMade: there is a core Service "web" already`) })
	w.services.change("web", func(s *service) { s.DeletionTimestamp = &metav1.Time{Time: time.Unix(2e9, 0)} })
	w.eventually("it is gone", func() bool {
		_, err := w.services.Get(t.Context(), team, "web")
		return err != nil
	})
	if core := w.core("web"); core == nil || core.Spec.Selector["app"] != "theirs" || core.OwnerReferences != nil {
		t.Errorf("theirs has become %+v", core)
	}
}

func (w *world) address(name string) string {
	found, err := w.services.Get(context.Background(), team, name)
	if err != nil || len(found.Status.LoadBalancer.Ingress) == 0 {
		return ""
	}
	return found.Status.LoadBalancer.Ingress[0].IP
}

// Each has an address of its own, for as long as it is there.
func TestAddresses(t *testing.T) {
	w := newWorld(t, "192.0.2.1-192.0.2.3")
	stop := w.start()
	asks := func(address string) func(*service) { return func(s *service) { s.Spec.LoadBalancerIP = address } }
	w.declare("asks", balanced, asks("192.0.2.2"))
	w.eventually("one has what it asks for", func() bool { return w.address("asks") == "192.0.2.2" })
	for i := range 2 {
		w.declare(fmt.Sprintf("any-%d", i), balanced)
	}
	w.eventually("the others have the others", func() bool { return w.address("any-0") != "" && w.address("any-1") != "" })
	if a, b := w.address("any-0"), w.address("any-1"); a == b || a == "192.0.2.2" || b == "192.0.2.2" {
		t.Errorf("addresses %s and %s", a, b)
	}
	w.eventually("the core Service says it", func() bool {
		ingress := w.core("any-0").Status.LoadBalancer.Ingress
		return len(ingress) == 1 && ingress[0].IP == w.address("any-0")
	})
	if spec := w.core("any-0").Spec; *spec.LoadBalancerClass != virtualmachineservice.LoadBalancerClass || *spec.AllocateLoadBalancerNodePorts {
		t.Errorf("the core Service is %+v", spec)
	}
	w.declare("late", balanced)
	w.declare("greedy", balanced, asks("192.0.2.2"))
	w.declare("far", balanced, asks("198.51.100.1"))
	w.eventually("there is none left", func() bool { return w.told("all addresses are given that are set aside") })
	w.eventually("one is another's", func() bool { return w.told("is given to the service team-a/asks") })
	w.eventually("one is none of those", func() bool { return w.told("is none of those that are set aside") })
	before := w.address("any-0")
	stop()
	w.start()
	w.services.change("any-1", func(s *service) { s.DeletionTimestamp = &metav1.Time{Time: time.Unix(2e9, 0)} })
	w.eventually("what comes free is given anew", func() bool { return w.address("late") != "" })
	if now := w.address("any-0"); now != before {
		t.Errorf("after a restart the address %s has become %s", before, now)
	}
}

// Where nothing is set aside, it is said what to do, and what the cluster's own load balancer says is passed on.
func TestTheClustersOwn(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.declare("web", balanced)
	w.eventually("it is said", func() bool { return w.told("--load-balancer-addresses") })
	core := w.core("web")
	if core.Spec.LoadBalancerClass != nil {
		t.Errorf("the cluster's own leave %q alone", *core.Spec.LoadBalancerClass)
	}
	core.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.9"}}
	if _, err := w.client.CoreV1().Services(team).UpdateStatus(t.Context(), core, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is passed on", func() bool { return w.address("web") == "203.0.113.9" })
}

// One that stands for another host leads to no machine.
func TestExternalName(t *testing.T) {
	w := newWorld(t)
	w.machines.Add(machine("web-1", "10.66.0.11", metav1.ConditionTrue))
	w.start()
	w.declare("web", func(s *service) {
		s.Spec = vmopv1.VirtualMachineServiceSpec{Type: vmopv1.VirtualMachineServiceTypeExternalName, ExternalName: "www.example.com",
			Selector: map[string]string{"app": "web"}}
	})
	w.eventually("it is made", func() bool { return w.core("web") != nil && w.core("web").Spec.ExternalName == "www.example.com" })
	w.declare("other")
	w.eventually("another leads to it", func() bool { return len(w.endpoints("other")) == 1 })
	if got := w.endpoints("web"); len(got) > 0 {
		t.Errorf("it leads to %v", got)
	}
}
