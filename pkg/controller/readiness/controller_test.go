// SPDX-License-Identifier: Apache-2.0

package readiness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	cachetesting "k8s.io/client-go/tools/cache/testing"
	"k8s.io/klog/v2/ktesting"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/waittest"
)

// world is the outside of a Controller.
type world struct {
	source *cachetesting.FakeControllerSource
	clock  *clocktesting.FakeClock

	mu         sync.Mutex
	conditions map[string]metav1.Condition
	signs      map[string]facts.Signs
	readings   int
	away       bool // vCenter does not answer
	dialled    []string
	dialling   error
	hangs      bool
}

func (w *world) Find(_, name string, _ types.UID) (facts.ID, bool) {
	return facts.ID{Type: facts.TypeMachine, Value: name}, true
}

func (w *world) SetCondition(_, name string, _ types.UID, condition metav1.Condition) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conditions[name] = condition
}

func (w *world) ClearCondition(_, name string, _ types.UID, _ string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conditions, name)
}

func (w *world) Read(_ context.Context, machines []facts.ID, _ []string) (map[facts.ID]facts.Signs, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.readings++
	if w.away {
		return nil, errors.New("vCenter is away")
	}
	found := map[facts.ID]facts.Signs{}
	for _, id := range machines {
		if signs, there := w.signs[id.Value]; there {
			found[id] = signs
		}
	}
	return found, nil
}

func (w *world) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	w.mu.Lock()
	w.dialled = append(w.dialled, address)
	hangs, err := w.hangs, w.dialling
	w.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	_ = far.Close()
	return near, nil
}

func (w *world) says(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, found := w.conditions[name]
	if !found {
		return ""
	}
	return string(c.Status) + " " + c.Message
}

func start(t *testing.T, w *world) {
	t.Helper()
	w.source, w.conditions = cachetesting.NewFakeControllerSource(), map[string]metav1.Condition{}
	w.clock = clocktesting.NewFakeClock(time.Unix(1_800_000_000, 0))
	logger, ctx := ktesting.NewTestContext(t)
	ctx, stop := context.WithCancel(ctx)
	c := &Controller{Served: w.source, Machines: w, Signs: w, Dialer: w, Clock: w.clock, Logger: logger}
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// until lets the time go on until a machine is said to be something.
func (w *world) until(t *testing.T, name, want string) {
	t.Helper()
	waittest.Within(t, 20*time.Second, name+": "+want, func(context.Context) error {
		if got := w.says(name); got != want {
			w.clock.Step(time.Second)
			return errors.New("it is said to be: " + got)
		}
		return nil
	})
}

func machine(name string, probe *vmopv1.VirtualMachineReadinessProbeSpec) *vmopv1.VirtualMachine {
	vm := &vmopv1.VirtualMachine{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: name, UID: types.UID("uid-" + name)}}
	vm.Spec.ReadinessProbe = probe
	vm.Status.PowerState = vmopv1.VirtualMachinePowerStateOn
	vm.Status.Network = &vmopv1.VirtualMachineNetworkStatus{PrimaryIP4: "10.66.0.7"}
	return vm
}

func heartbeat() *vmopv1.VirtualMachineReadinessProbeSpec {
	return &vmopv1.VirtualMachineReadinessProbeSpec{GuestHeartbeat: &vmopv1.GuestHeartbeatAction{}}
}

func socket(port int) *vmopv1.VirtualMachineReadinessProbeSpec {
	return &vmopv1.VirtualMachineReadinessProbeSpec{TCPSocket: &vmopv1.TCPSocketAction{Port: intstr.FromInt(port)}}
}

func TestSigns(t *testing.T) {
	w := &world{signs: map[string]facts.Signs{"a": {Heartbeat: "green"}, "b": {Heartbeat: "gray"}}}
	start(t, w)
	w.source.Add(machine("a", heartbeat()))
	w.source.Add(machine("b", heartbeat()))
	w.source.Add(machine("none", nil))
	w.until(t, "a", "True ")
	w.until(t, "b", "False the heartbeat of its guest is gray, where green is needed")

	// vCenter is away for a while: what was said stays.
	w.mu.Lock()
	before := w.readings
	w.away = true
	w.mu.Unlock()
	waittest.Eventually(t, "it is asked again", func() bool {
		w.clock.Step(time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.readings > before+1
	})
	if got := w.says("a"); got != "True " {
		t.Errorf("a is said to be %q while vCenter is away", got)
	}
	w.mu.Lock()
	w.away, w.signs["a"] = false, facts.Signs{Heartbeat: "red"}
	w.mu.Unlock()
	w.until(t, "a", "False the heartbeat of its guest is red, where green is needed")

	// Who switches it off, or probes it no longer, is not told of a probe.
	off := machine("a", heartbeat())
	off.Status.PowerState = vmopv1.VirtualMachinePowerStateOff
	w.source.Modify(off)
	w.source.Modify(machine("b", nil))
	w.until(t, "a", "")
	w.until(t, "b", "")
	if got := w.says("none"); got != "" {
		t.Errorf("a machine without a probe is said to be %q", got)
	}
}

func TestSockets(t *testing.T) {
	w := &world{}
	start(t, w)
	w.source.Add(machine("a", socket(22)))
	w.until(t, "a", "True ")
	w.mu.Lock()
	w.dialling = &net.OpError{Err: syscall.ECONNREFUSED}
	w.mu.Unlock()
	w.until(t, "a", "False no connection to port 22 of 10.66.0.7: it is refused")
	w.mu.Lock()
	w.dialling, w.dialled = nil, nil
	w.mu.Unlock()
	// Another port is tried at once.
	w.source.Modify(machine("a", socket(443)))
	w.until(t, "a", "True ")
	for _, address := range []string{"127.0.0.1", "169.254.169.254", "::1", "fe80::1", "224.0.0.1", "0.0.0.0",
		"::ffff:127.0.0.1", "not an address"} {
		vm := machine("evil", socket(22))
		vm.Status.Network.PrimaryIP4 = address
		w.mu.Lock()
		w.dialled = nil
		delete(w.conditions, "evil")
		w.mu.Unlock()
		w.source.Delete(vm.DeepCopy())
		w.source.Add(vm)
		w.until(t, "evil", `False its guest reports the address "`+address+`", to which no connection is made`)
	}
	quiet := machine("quiet", socket(22))
	quiet.Status.Network = nil
	w.source.Add(quiet)
	w.until(t, "quiet", "False its guest reports no address yet")
}

// TestNobodyWaitsForOthers: a machine that does not answer is not tried twice at once, and holds no other up.
func TestNobodyWaitsForOthers(t *testing.T) {
	w := &world{hangs: true, signs: map[string]facts.Signs{"b": {Heartbeat: "green"}}}
	start(t, w)
	slow := socket(22)
	slow.PeriodSeconds, slow.TimeoutSeconds = 1, 1
	w.source.Add(machine("a", slow))
	w.source.Add(machine("b", heartbeat()))
	w.until(t, "b", "True ")
	waittest.Eventually(t, "it is tried", func() bool {
		w.clock.Step(time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.dialled) > 0
	})
	w.until(t, "a", "False no connection to port 22 of 10.66.0.7: no answer in time")
}

// Machines of one namespace that do not answer, however many, keep those of others waiting no longer.
func TestNoNamespaceTakesAll(t *testing.T) {
	w := &world{hangs: true}
	start(t, w)
	for i := range 3 * atOnce {
		silent := socket(22)
		silent.TimeoutSeconds = 60
		w.source.Add(machine(fmt.Sprint("silent-", i), silent))
	}
	dialled := func(address string) (count int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, one := range w.dialled {
			if one == address {
				count++
			}
		}
		return count
	}
	waittest.Eventually(t, "the silent ones are tried", func() bool {
		w.clock.Step(time.Second)
		return dialled("10.66.0.7:22") >= share
	})
	other := machine("other", socket(22))
	other.Namespace, other.Status.Network.PrimaryIP4 = "team-b", "10.66.0.8"
	w.source.Add(other)
	waittest.Eventually(t, "another namespace's is tried", func() bool {
		w.clock.Step(time.Second)
		return dialled("10.66.0.8:22") > 0
	})
}

func TestJudge(t *testing.T) {
	info := func(actions ...vmopv1.GuestInfoAction) vmopv1.VirtualMachineReadinessProbeSpec {
		return vmopv1.VirtualMachineReadinessProbeSpec{GuestInfo: actions}
	}
	yellow := vmopv1.VirtualMachineReadinessProbeSpec{GuestHeartbeat: &vmopv1.GuestHeartbeatAction{
		ThresholdStatus: vmopv1.YellowHeartbeatStatus}}
	set := facts.Signs{Heartbeat: "yellow", GuestInfo: map[string]string{"ready": "true", "empty": ""}}
	for name, test := range map[string]struct {
		probe vmopv1.VirtualMachineReadinessProbeSpec
		signs facts.Signs
		want  string
	}{
		"at the threshold":    {yellow, set, ""},
		"below the threshold": {*heartbeat(), set, "the heartbeat of its guest is yellow, where green is needed"},
		"a value":             {info(vmopv1.GuestInfoAction{Key: "ready", Value: "^true$"}), set, ""},
		"any value":           {info(vmopv1.GuestInfoAction{Key: "ready"}), set, ""},
		"not set":             {info(vmopv1.GuestInfoAction{Key: "other"}), set, "its guest has not set guestinfo.other"},
		"one of two": {info(vmopv1.GuestInfoAction{Key: "ready"}, vmopv1.GuestInfoAction{Key: "ready", Value: "no"}), set,
			`guestinfo.ready is not what is needed: it does not match "no"`},
		"no expression": {info(vmopv1.GuestInfoAction{Key: "ready", Value: "("}), set,
			"the value for guestinfo.ready is not a regular expression"},
	} {
		if got := judge(test.probe, test.signs); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
