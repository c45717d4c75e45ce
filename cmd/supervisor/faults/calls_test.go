// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/find"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/openpacific/pacific/cmd/supervisor/supervisortest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/fault"
	"github.com/openpacific/pacific/pkg/waittest"
)

const (
	// brokenCalls is how many calls TestEachCall has go wrong; CALLS says otherwise, 0 all of them.
	brokenCalls = 8
	// recovery is how long whatever was accepted may take after the server is back.
	recovery = 60 * time.Second
)

// TestEachCall makes, changes and deletes two machines with a resource policy and a service. It notes what calls that
// takes, and does it again for each: with the server killed before the call and after it, with the answer lost, and with
// the session ended. Each time all that was accepted comes about, and nothing is left. CALLS says how many of these turns
// there are, and CALLS_SEED which; else they are the same for a day.
func TestEachCall(t *testing.T) {
	t.Parallel()
	count, seed := number(t, "CALLS", brokenCalls), number(t, "CALLS_SEED", seedOfToday())
	f := newFaultyOn(t, "each-call", vcentertest.Options{Password: "Correct-Horse-7", Inventory: vcentertest.Sample,
		GuestsStart: 100 * time.Millisecond})
	f.up(t, "--load-balancer-addresses=10.66.251.0/24")
	t.Cleanup(func() { f.down(t) })
	f.ready(t)
	m := &maker{faulty: f, t: t, namespace: f.Shop(t, "each-call")}
	f.Kubectl(t, "patch", "vns", m.namespace, "--type=merge", "-p",
		`{"spec":{"virtualMachineClasses":["best-effort-small","best-effort-medium"]}}`)
	l := &lives{maker: m, admin: f.Admin(t), client: f.Dynamic(t)}
	l.live(nil) // What is read once is read now.
	l.recording = f.vcenter.Record()
	l.live(nil)
	turns := turnsOf(l.recording.Counts())
	all := len(turns)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	random.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
	if count > 0 {
		turns = turns[:min(count, len(turns))]
	}
	fmt.Printf("calls: %d of %d turns, CALLS_SEED=%d\n", len(turns), all, seed)
	came, changes := 0, l.recording.Changes()
	for _, turn := range turns {
		t.Logf("%s", turn)
		switch {
		case l.live(&turn):
			came++
		case slices.Contains(changes, turn.method):
			// How often something is read is a matter of chance; what changes something is not.
			t.Error("there was no such call")
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	fmt.Printf("calls: %d of %d turns came to pass\n", came, len(turns))
}

// turn is one call that goes wrong.
type turn struct {
	method string
	nth    int
	shape  fault.Shape
	kills  bool // the server too
}

func (t turn) String() string {
	what := map[fault.Shape]string{fault.NoAnswer: "not carried out", fault.AnswerLost: "carried out, its answer lost",
		fault.SessionEnds: "carried out, its session ended"}[t.shape]
	if t.kills {
		what += ", the server killed"
	}
	return fmt.Sprintf("%s no. %d %s", t.method, t.nth, what)
}

// turnsOf are all ways in which calls are made to go wrong, in an order that does not change.
func turnsOf(counts map[string]int) (turns []turn) {
	for _, method := range slices.Sorted(maps.Keys(counts)) {
		if !strings.Contains(method, "cluster/modules") && polled(method) ||
			slices.Contains([]string{"WaitForUpdatesEx", "ModifyListView", "CancelWaitForUpdates"}, method) {
			continue
		}
		for nth := 1; nth <= counts[method]; nth++ {
			turns = append(turns, turn{method, nth, fault.NoAnswer, true}, turn{method, nth, fault.AnswerLost, true},
				turn{method, nth, fault.SessionEnds, false})
			if strings.HasSuffix(method, "_Task") {
				turns = append(turns, turn{method, nth, fault.AnswerLost, false})
			}
		}
	}
	return turns
}

// lives has machines made, changed and deleted, again and again.
type lives struct {
	*maker
	admin  *supervisortest.Admin // who asks vCenter too, and so only when no call is to go wrong
	client dynamic.Interface
	// recording ends with a life.
	recording *fault.Recording
}

// part is an object of the scenario.
type part struct {
	resource, name string
	annotations    map[string]string
	spec           map[string]any
}

// scenario is what is asked for, in that order.
var scenario = []part{
	{resource: "virtualmachinesetresourcepolicies", name: "cluster", spec: map[string]any{
		"folder": "cluster", "resourcePool": map[string]any{"name": "cluster"}, "clusterModuleGroups": []any{"workers"},
	}},
	{resource: "virtualmachineservices", name: "web", spec: map[string]any{
		"type": "LoadBalancer", "selector": map[string]any{"app": "web"},
		"ports": []any{map[string]any{"name": "http", "protocol": "TCP", "port": int64(80), "targetPort": int64(80)}},
	}},
	{resource: "virtualmachines", name: "one", annotations: map[string]string{"vsphere-cluster-module-group": "workers"},
		spec: machineSpec(map[string]any{"reserved": map[string]any{"resourcePolicyName": "cluster"}})},
	{resource: "virtualmachines", name: "two",
		spec: machineSpec(map[string]any{"advanced": map[string]any{"bootDiskCapacity": "30Gi"}})},
}

func machineSpec(more map[string]any) map[string]any {
	spec := map[string]any{
		"className": "best-effort-small", "imageName": "ubuntu-24.04", "storageClass": "gold-storage",
		"powerState": "PoweredOn", "powerOffMode": "Hard",
		"bootstrap": map[string]any{"cloudInit": map[string]any{
			"rawCloudConfig": map[string]any{"name": "web", "key": "user-data"},
		}},
	}
	maps.Copy(spec, more)
	return spec
}

func (l *lives) of(resource string) dynamic.ResourceInterface {
	return l.client.Resource(vmopv1.GroupVersion.WithResource(resource)).Namespace(l.namespace)
}

// live lets the machines live once, with a call that goes wrong, nil for none. It returns whether that call came.
func (l *lives) live(wrong *turn) (came bool) {
	l.t.Helper()
	var fired chan struct{}
	if wrong != nil {
		fired = make(chan struct{})
		l.vcenter.AddFault(fault.Rule{Method: wrong.method, Nth: wrong.nth, Shape: wrong.shape, Then: func() {
			if wrong.kills {
				l.dies()
			}
			close(fired)
		}})
	}
	for _, part := range scenario {
		l.accepted("the "+part.name, func(ctx context.Context) error {
			object := objectOf(part.resource, part.name, part.spec)
			object.SetLabels(map[string]string{"app": "web"})
			object.SetAnnotations(part.annotations)
			_, err := l.of(part.resource).Create(ctx, object, metav1.CreateOptions{})
			if apierrors.IsAlreadyExists(err) {
				return nil // it was accepted, and the answer lost
			}
			return err
		})
	}
	l.become("are made and on", map[string]string{"one": "PoweredOn 4Gi 1", "two": "PoweredOn 4Gi 1"})
	l.accepted("another class and power state", func(ctx context.Context) error {
		patch := []byte(`{"spec":{"className":"best-effort-medium","powerState":"PoweredOff"}}`)
		_, err := l.of("virtualmachines").Patch(ctx, "one", types.MergePatchType, patch, metav1.PatchOptions{})
		return err
	})
	l.accepted("another interface", func(ctx context.Context) error {
		patch := []byte(`{"spec":{"network":{"interfaces":[{"name":"eth0"},{"name":"eth1"}]}}}`)
		_, err := l.of("virtualmachines").Patch(ctx, "two", types.MergePatchType, patch, metav1.PatchOptions{})
		return err
	})
	l.become("are resized and wired", map[string]string{"one": "PoweredOff 8Gi 1", "two": "PoweredOn 4Gi 2"})
	for _, part := range slices.Backward(scenario) {
		l.accepted("the deletion of "+part.name, func(ctx context.Context) error {
			return client.IgnoreNotFound(l.of(part.resource).Delete(ctx, part.name, metav1.DeleteOptions{}))
		})
	}
	waittest.Within(l.t, recovery, "everything to go", func(ctx context.Context) error {
		for _, part := range scenario {
			if there, err := l.of(part.resource).Get(ctx, part.name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				return fmt.Errorf("%s is there: %v, %v", part.name, there, err)
			}
		}
		return nil
	})
	l.vcenter.ClearFaults()
	if l.recording != nil {
		l.recording.Stop()
	}
	l.nothingIsLeft("one", "two")
	select {
	case <-fired:
		return true
	default:
		return false
	}
}

// objectOf is an object of one of vm-operator's kinds.
func objectOf(resource, name string, spec map[string]any) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	object.SetAPIVersion(vmopv1.GroupVersion.String())
	object.SetKind(map[string]string{"virtualmachines": "VirtualMachine", "virtualmachineservices": "VirtualMachineService",
		"virtualmachinesetresourcepolicies": "VirtualMachineSetResourcePolicy"}[resource])
	object.SetName(name)
	return object
}

// dies kills the server. It is called where a call is answered, and so cannot end the test.
func (l *lives) dies() {
	status, err := l.Dir.ReadStatus()
	if err != nil {
		l.t.Errorf("kill the server: %v", err)
		return
	}
	for _, component := range status.Components {
		if component.Name == "vsphere-apiserver" {
			if err := syscall.Kill(component.PID, syscall.SIGKILL); err != nil {
				l.t.Errorf("kill the server: %v", err)
			}
		}
	}
}

// accepted asks until it is accepted, as people do.
func (l *lives) accepted(what string, ask func(context.Context) error) {
	l.t.Helper()
	waittest.Within(l.t, recovery, what+" to be accepted", ask)
}

// become waits until the machines are so: their power state, the memory that vCenter tells of and how many network cards,
// of which their guests have been told.
func (l *lives) become(what string, want map[string]string) {
	l.t.Helper()
	waittest.Within(l.t, recovery, "the machines "+what, func(ctx context.Context) error {
		got := map[string]string{}
		for name := range want {
			vm, err := l.of("virtualmachines").Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if created := condition(vm, vmopv1.VirtualMachineConditionCreated); created["status"] != "True" {
				return fmt.Errorf("%s is not made: %v", name, created)
			}
			power, _, _ := unstructured.NestedString(vm.Object, "status", "powerState")
			memory, _, _ := unstructured.NestedString(vm.Object, "status", "hardware", "memory", "total")
			if told := condition(vm, vmopv1.VirtualMachineGuestNetworkConfigSynced); told["reason"] == "NotTold" {
				return fmt.Errorf("the guest of %s is not told of its network", name)
			}
			cards, _, _ := unstructured.NestedSlice(vm.Object, "status", "network", "interfaces")
			got[name] = fmt.Sprintf("%s %s %d", power, memory, len(cards))
		}
		if !maps.Equal(got, want) {
			return fmt.Errorf("they are %v, want %v", got, want)
		}
		return nil
	})
}

// nothingIsLeft looks in vCenter for machines, folders, pools and modules, and for files in folders that begin so.
func (l *lives) nothingIsLeft(prefixes ...string) {
	l.t.Helper()
	for _, below := range []string{"/DC0/vm/Namespaces/" + l.namespace + "/*",
		"/DC0/host/*/Resources/" + l.namespace + "/*"} {
		found, err := l.admin.Finder.ManagedObjectList(l.t.Context(), below)
		var none *find.NotFoundError
		if err != nil && !errors.As(err, &none) {
			l.t.Fatal(err)
		}
		for _, one := range found {
			l.t.Errorf("%s is left in vCenter", one.Path)
		}
	}
	if modules := l.vcenter.ClusterModules().All(); len(modules) > 0 {
		l.t.Errorf("modules are left in vCenter: %v", modules)
	}
	if files := l.left(l.admin, prefixes...); len(files) > 0 {
		l.t.Errorf("files are left in vCenter: %v", files)
	}
}
