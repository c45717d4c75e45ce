// SPDX-License-Identifier: Apache-2.0

package readiness

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/facts"
)

const (
	// defaultTime is how often a machine is probed of which nobody says how often, and how long one probe may take.
	defaultTime = 10 * time.Second
	// interval is how often it is looked which machines are due.
	interval = time.Second
	// atOnce is how many connections are tried at once, and share how many of them for one namespace: machines that do
	// not answer are not to keep those of others waiting.
	atOnce, share = 64, 16
	// reading bounds the call by which the signs of guests are read.
	reading = 30 * time.Second
)

// Machines knows the machines that are served, and shows conditions on them.
type Machines interface {
	// Find returns the id in vCenter of the machine that is served under a name, if it is the one of that uid.
	Find(namespace, name string, uid types.UID) (facts.ID, bool)
	SetCondition(namespace, name string, uid types.UID, condition metav1.Condition)
	ClearCondition(namespace, name string, uid types.UID, conditionType string)
}

// Signs reads what guests tell of themselves in vCenter.
type Signs interface {
	// Read returns the signs of machines in one call, with the values of those keys of guestinfo. What is not there is
	// not among them.
	Read(ctx context.Context, machines []facts.ID, keys []string) (map[facts.ID]facts.Signs, error)
}

// Dialer makes connections; net.Dialer does.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Controller probes. Its fields are set before Run and not changed afterwards.
type Controller struct {
	Served   cache.ListerWatcher // the machines as the API serves them
	Machines Machines
	Signs    Signs
	Dialer   Dialer
	Reach    Reach
	Clock    clock.WithTicker
	Logger   klog.Logger

	mu     sync.Mutex
	probed map[types.UID]*probed // guarded by mu
}

// probed is a machine that is to be probed.
type probed struct {
	namespace, name string
	uid             types.UID
	probe           vmopv1.VirtualMachineReadinessProbeSpec
	addresses       []string
	due             time.Time
	busy            bool
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	c.mu.Lock()
	c.probed = map[types.UID]*probed{}
	c.mu.Unlock()
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: c.Served, ObjectType: &vmopv1.VirtualMachine{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc: c.see, UpdateFunc: func(_, object any) { c.see(object) }, DeleteFunc: c.gone,
		},
	})
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { informer.RunWithContext(ctx) })
	slots := make(chan struct{}, atOnce)
	ticker := c.Clock.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C():
			c.probe(ctx, &running, slots)
		case <-ctx.Done():
			return nil
		}
	}
}

// see notes a machine that is to be probed, and takes back what was said of one that is not, or not any more.
func (c *Controller) see(object any) {
	vm, ok := object.(*vmopv1.VirtualMachine)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.probed[vm.UID]
	if vm.Spec.ReadinessProbe == nil || vm.DeletionTimestamp != nil ||
		vm.Status.PowerState != vmopv1.VirtualMachinePowerStateOn {
		if known != nil {
			delete(c.probed, vm.UID)
			c.Machines.ClearCondition(vm.Namespace, vm.Name, vm.UID, vmopv1.ReadyConditionType)
		}
		return
	}
	if known == nil {
		known = &probed{uid: vm.UID}
		c.probed[vm.UID] = known
	}
	if !equality.Semantic.DeepEqual(known.probe, *vm.Spec.ReadinessProbe) {
		known.due = c.Clock.Now()
	}
	known.namespace, known.name, known.probe = vm.Namespace, vm.Name, *vm.Spec.ReadinessProbe
	known.addresses = nil
	if network := vm.Status.Network; network != nil {
		known.addresses = slices.DeleteFunc([]string{network.PrimaryIP4, network.PrimaryIP6},
			func(address string) bool { return address == "" })
	}
}

func (c *Controller) gone(object any) {
	if final, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = final.Obj
	}
	if vm, ok := object.(*vmopv1.VirtualMachine); ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.probed, vm.UID)
	}
}

// take returns the machines that are due, those whose signs are to be read and those to connect to, and counts them as
// busy.
func (c *Controller) take() (signs, sockets []probed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, tried := c.Clock.Now(), map[string]int{}
	for _, machine := range c.probed {
		if machine.busy && machine.probe.TCPSocket != nil {
			tried[machine.namespace]++
		}
	}
	for _, machine := range c.probed {
		if machine.busy || now.Before(machine.due) {
			continue
		}
		if machine.probe.TCPSocket != nil {
			if tried[machine.namespace] >= share {
				continue // with the next
			}
			tried[machine.namespace]++
		}
		machine.busy, machine.due = true, now.Add(seconds(machine.probe.PeriodSeconds))
		if machine.probe.TCPSocket != nil {
			sockets = append(sockets, *machine)
		} else {
			signs = append(signs, *machine)
		}
	}
	return signs, sockets
}

// probe begins to probe what is due. What was begun before goes on.
func (c *Controller) probe(ctx context.Context, running *sync.WaitGroup, slots chan struct{}) {
	signs, sockets := c.take()
	if len(signs) > 0 {
		running.Go(func() { c.read(ctx, signs) })
	}
	for _, machine := range sockets {
		running.Go(func() {
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
				c.say(ctx, machine, connect(ctx, c.Dialer, c.Reach, machine))
			case <-ctx.Done():
			}
		})
	}
}

// read reads the signs of machines in one call, and says what they mean.
func (c *Controller) read(ctx context.Context, machines []probed) {
	ids, keys := map[types.UID]facts.ID{}, map[string]bool{}
	for _, machine := range machines {
		if id, found := c.Machines.Find(machine.namespace, machine.name, machine.uid); found {
			ids[machine.uid] = id
			for _, action := range machine.probe.GuestInfo {
				keys[action.Key] = true
			}
		}
	}
	limited, cancel := context.WithTimeout(ctx, reading)
	defer cancel()
	signs, err := c.Signs.Read(limited, slices.Collect(maps.Values(ids)), slices.Sorted(maps.Keys(keys)))
	if err != nil && ctx.Err() == nil {
		// What was said stays: nobody knows better.
		c.Logger.Error(err, "Cannot read what guests tell of themselves, trying again", "machines", len(machines))
	}
	for _, machine := range machines {
		told, found := signs[ids[machine.uid]]
		if err != nil || !found {
			c.rest(machine.uid)
			continue
		}
		c.say(ctx, machine, judge(machine.probe, told))
	}
}

// rest has a machine be probed again, and says whether it still is to be.
func (c *Controller) rest(uid types.UID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	machine := c.probed[uid]
	if machine == nil {
		return false
	}
	machine.busy = false
	return true
}

// say shows what came of a probe: nothing when the machine is ready.
func (c *Controller) say(ctx context.Context, machine probed, notReady string) {
	if ctx.Err() != nil {
		return
	}
	condition := metav1.Condition{Type: vmopv1.ReadyConditionType, Status: metav1.ConditionTrue, Reason: "True"}
	if notReady != "" {
		condition.Status, condition.Reason, condition.Message = metav1.ConditionFalse, NotReadyReason, notReady
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.probed[machine.uid]
	if known == nil {
		return // it was switched off, say, meanwhile
	}
	known.busy = false
	c.Machines.SetCondition(machine.namespace, machine.name, machine.uid, condition)
}

// seconds is a time as the API has it, with 10 s where it says nothing.
func seconds(n int32) time.Duration {
	if n <= 0 {
		return defaultTime
	}
	return time.Duration(n) * time.Second
}
