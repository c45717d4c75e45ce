// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/apis/vsphere"
	"github.com/openpacific/pacific/pkg/controller"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

const (
	// syncTimeout bounds one pass over one machine.
	syncTimeout = 2 * time.Minute
	// terminatingInterval is how often a machine is looked at whose Namespace is being deleted.
	terminatingInterval = 5 * time.Second
)

// Releaser lets go of machines whose deletion was asked for.
type Releaser interface {
	// Release removes the finalizer from the machine of that uid. It is
	// no error when the machine or the finalizer is gone.
	Release(ctx context.Context, namespace, name string, uid types.UID) error
}

// Machine is a machine as it is served, and the facts that it was made of.
type Machine struct {
	Object *vmopv1.VirtualMachine
	Facts  facts.Machine
	// Made says that Pacific made it.
	Made bool
	// Controllers and Cards are devices that it has.
	Controllers []facts.Controller
	Cards       []facts.Card
	// Wanted is how large it is to be, nil where nobody said so, and Size how large it is.
	Wanted *facts.Size
	Size   facts.Size
	// Drives are the CD-ROM drives that it is to have, nil where nobody said so or vCenter tells no device, and Cdroms those
	// that it has.
	Drives *facts.Drives
	Cdroms []facts.Cdrom
	// Links are the network cards that it is to have, nil where nobody said so or vCenter tells no device.
	Links *facts.Cards
	// Retells says that its guest is told of its network whenever that changes, and Untold that it is yet to be.
	Retells, Untold bool
	// CPUHotAdd and MemoryHotAdd say that it can get more of it while it is on.
	CPUHotAdd, MemoryHotAdd bool
	// Linked says that disks of it stand on others that are no snapshot's.
	Linked bool
	// Restart is the one that was begun last.
	Restart facts.Restart
	// WentBack says that its record went back, and nobody has decided yet what is to count.
	WentBack bool
}

// Machines knows the machines that are served, and shows on one what this controller could not do.
type Machines interface {
	// Find returns the one that is served under a name now.
	Find(namespace, name string) (Machine, bool)
	SetCondition(namespace, name string, uid types.UID, condition metav1.Condition)
	ClearCondition(namespace, name string, uid types.UID, conditionType string)

	// Withdraw ends a deletion that is not to be carried out.
	Withdraw(namespace, name string, uid types.UID)
	// Withdrawn lists the machines in whose records there is a deletion that is over, with the heads of those records,
	// until the records say so or Forget is called. Withdrawals yields when there are more.
	Withdrawn() map[facts.ID]facts.Head
	Withdrawals() <-chan struct{}
	Forget(id facts.ID)
}

// Namespaces knows Kubernetes' Namespaces.
type Namespaces interface {
	// Terminating says whether a Namespace is being deleted, or is not there. It is the truth of this moment.
	Terminating(ctx context.Context, name string) (bool, error)
}

// errMoved says that a machine is not any more what was decided on. It is decided on anew, when that shows: soon as a
// rule, but it may last that vCenter tells of it to nobody.
var errMoved = fmt.Errorf("it is not what was decided on any more: %w", failure.Conflict)

// errTemplate says that a machine is a template, which cannot be changed.
var errTemplate = fmt.Errorf("a template cannot be changed: %w", failure.Conflict)

// Controller keeps machines at what was declared. Its fields are set before
// Run and not changed afterwards.
type Controller struct {
	Served     cache.ListerWatcher // the machines as the API serves them
	Releaser   Releaser
	Machines   Machines
	Verbs      Verbs
	Builder    Builder
	Sources    Sources
	Cache      Cache
	Promoter   Promoter
	Guests     Guests
	Restarts   Restarts
	Namespaces Namespaces
	Clock      clock.PassiveClock
	Logger     klog.Logger

	lock  sync.Mutex
	asked map[types.UID]asking             // guarded by lock
	tried map[types.UID]map[string]attempt // guarded by lock; by the type of the part's condition
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context, workers int) error {
	c.asked, c.tried = map[types.UID]asking{}, map[types.UID]map[string]attempt{}
	queue := controller.NewQueue("virtualmachine", 200*time.Millisecond, 5*time.Minute)
	making, promoting := newBuilds(c), newPromotions(c)
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: c.Served,
		ObjectType:    &vmopv1.VirtualMachine{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc: func(object any) {
				enqueue(queue, hasWork(object), object)
				making.see(object)
				promoting.see(object)
			},
			// What was work may be done now: then a condition is to be cleared.
			UpdateFunc: func(old, object any) {
				enqueue(queue, hasWork(old) || hasWork(object), object)
				making.see(object)
				promoting.see(object)
			},
			DeleteFunc: func(object any) {
				if uid, ok := uidOf(object); ok {
					c.forget(uid)
					c.lock.Lock()
					delete(c.tried, uid)
					c.lock.Unlock()
				}
				making.gone(object)
				promoting.gone(object)
			},
		},
	})

	var running sync.WaitGroup
	running.Go(func() { informer.RunWithContext(ctx) })
	running.Go(func() { withdrawals{c}.run(ctx, workers) })
	running.Go(func() { making.run(ctx) })
	running.Go(func() { promoting.run(ctx) })
	c.worker().Work(ctx, queue, workers)
	running.Wait()
	return nil
}

func (c *Controller) worker() controller.Worker {
	return controller.Worker{
		Timeout: syncTimeout,
		Failed: func(key string, err error) {
			if errors.Is(err, errMoved) {
				c.Logger.V(2).Info("A virtual machine has changed in vCenter, so it is decided on anew",
					"virtualMachine", key, "reason", err.Error())
				return
			}
			c.Logger.Error(err, "Cannot bring the virtual machine to what was declared, trying again", "virtualMachine", key)
		},
		Sync: func(ctx context.Context, key string) (time.Duration, error) {
			namespace, name, err := cache.SplitMetaNamespaceKey(key)
			if err != nil {
				return 0, err
			}
			// What the informer has is only what there was to notice: what to do is decided by the machine and the facts that
			// belong together.
			m, found := c.Machines.Find(namespace, name)
			if !found {
				return 0, nil
			}
			return c.sync(ctx, m)
		},
	}
}

func hasWork(object any) bool {
	vm, ok := object.(*vmopv1.VirtualMachine)
	return ok && (vm.DeletionTimestamp != nil || !powerIsAsDeclared(vm) || restartPends(vm) || differs(vm))
}

func enqueue(queue controller.Queue, work bool, object any) {
	if !work {
		return
	}
	key, err := cache.MetaNamespaceKeyFunc(object)
	if err != nil {
		utilruntime.HandleError(err)
		return
	}
	queue.Add(key)
}

func powerIsAsDeclared(vm *vmopv1.VirtualMachine) bool {
	return vm.Spec.PowerState == "" || vm.Spec.PowerState == vm.Status.PowerState
}

// sync makes one step and returns after how long to come again.
func (c *Controller) sync(ctx context.Context, m Machine) (time.Duration, error) {
	vm := m.Object
	c.clear(m)
	if vm.DeletionTimestamp == nil && powerIsAsDeclared(vm) && !restartPends(vm) && !c.changes(m) {
		return 0, nil
	}
	if m.Facts.Paused() {
		c.forget(vm.UID)
		return 0, nil
	}
	if m.Facts.Question != "" || m.WentBack {
		// It comes again when that is over.
		return 0, nil
	}
	if vm.DeletionTimestamp != nil {
		return c.end(ctx, m)
	}
	if m.Facts.Build != nil && m.Made {
		// It has no disks yet, and comes again when it has. What another's machine says of that counts for nothing here. But
		// its guest is told of its network cards with its disks.
		_, err := c.bring(ctx, c.cards(), m)
		return 0, err
	}
	// What can be given to a machine only while it is off comes before it is powered on, and a restart is begun before,
	// so that to be powered on is one.
	holds, keepErr := c.keep(ctx, m)
	if holds {
		return softPoll, keepErr
	}
	again, err := c.run(ctx, m)
	return again, errors.Join(keepErr, err)
}

// run brings a machine to its power state, and restarts it where somebody asked for that.
func (c *Controller) run(ctx context.Context, m Machine) (again time.Duration, err error) {
	vm := m.Object
	begins := restartPends(vm) && m.Restart.Wanted != vm.Spec.NextRestartTime
	if begins {
		if m, err = c.beginRestart(ctx, m); err != nil {
			return 0, err
		}
	}
	switch {
	case !powerIsAsDeclared(vm):
		return c.setPower(ctx, m, vm.Spec.PowerState, stopMode(vm))
	case restartPends(vm):
		return c.restart(ctx, m, begins)
	}
	return 0, nil
}

// stopMode is how a machine is to be brought to a power state in which it does not run.
func stopMode(vm *vmopv1.VirtualMachine) vmopv1.VirtualMachinePowerOpMode {
	if vm.Spec.PowerState == vmopv1.VirtualMachinePowerStateSuspended {
		return vm.Spec.SuspendMode
	}
	return vm.Spec.PowerOffMode
}

// clear takes back what was said of failures that are over: also on a machine that is paused, since it does not come
// here again.
func (c *Controller) clear(m Machine) {
	vm := m.Object
	if vm.DeletionTimestamp != nil {
		return
	}
	over := func(conditionType string) {
		c.Machines.ClearCondition(vm.Namespace, vm.Name, vm.UID, conditionType)
	}
	if powerIsAsDeclared(vm) {
		c.forget(vm.UID)
		over(vmopv1.VirtualMachinePowerStateSynced)
	}
	for _, p := range c.parts() {
		if p.kept(m) {
			c.settled(p, vm)
		}
	}
	if !restartPends(vm) {
		over(vmoperator.RestartedCondition)
	}
}

// end powers a machine off and then lets go of it. Whether that is allowed is looked at again, as long as it takes.
func (c *Controller) end(ctx context.Context, m Machine) (time.Duration, error) {
	vm := m.Object
	if !slices.Contains(vm.Finalizers, vmoperator.MachineFinalizer) {
		return 0, nil
	}
	if again, ends, err := c.ends(ctx, m); !ends {
		return again, err
	}
	if vm.Status.PowerState == vmopv1.VirtualMachinePowerStateOn {
		again, err := c.setPower(ctx, m, vmopv1.VirtualMachinePowerStateOff, vm.Spec.PowerOffMode)
		if err != nil || again > 0 {
			return again, err
		}
		// That took its time.
		if again, ends, err := c.ends(ctx, m); !ends {
			return again, err
		}
	}
	if err := c.Releaser.Release(ctx, vm.Namespace, vm.Name, vm.UID); err != nil {
		return 0, fmt.Errorf("let go of virtual machine %s: %w", klog.KObj(vm), err)
	}
	c.forget(vm.UID)
	return 0, nil
}

// ends says whether a machine whose deletion was asked for is to be destroyed now, and if not, after how long to look
// again.
func (c *Controller) ends(ctx context.Context, m Machine) (again time.Duration, ends bool, err error) {
	vm := m.Object
	if m.Made {
		return 0, true, nil
	}
	if vm.Annotations[vsphere.ReclaimPolicyAnnotation] != vsphere.ReclaimDelete {
		c.Logger.Info("Keeping a virtual machine after all: its reclaim policy was changed after its deletion was asked for",
			"virtualMachine", klog.KObj(vm))
		c.Machines.Withdraw(vm.Namespace, vm.Name, vm.UID)
		return 0, false, nil
	}
	// With its Namespace goes only what Pacific made. The folder is about to be detached, and the deletion ends with that.
	terminating, err := c.Namespaces.Terminating(ctx, vm.Namespace)
	if err != nil {
		return 0, false, fmt.Errorf("see whether the Namespace of virtual machine %s is being deleted: %w", klog.KObj(vm), err)
	}
	if terminating {
		return terminatingInterval, false, nil
	}
	return 0, true, nil
}

// powerFailed is why a machine has not the declared power state where vCenter gives no reason.
const powerFailed = "PowerChangeFailed"

func (c *Controller) setPower(ctx context.Context, m Machine, target vmopv1.VirtualMachinePowerState,
	mode vmopv1.VirtualMachinePowerOpMode) (time.Duration, error) {
	vm := m.Object
	again, err := c.change(ctx, m.Facts, target, mode, c.askedOf(vm.UID, target))
	var unanswered *unansweredError
	if errors.As(err, &unanswered) && !errors.Is(err, errMoved) {
		c.remember(vm.UID, target, true)
	}
	if errors.Is(err, errMoved) {
		return 0, err
	}
	// That something is not found may be said of one of its files, and lasts then. A machine that is gone goes from here too.
	if err != nil {
		c.Machines.SetCondition(vm.Namespace, vm.Name, vm.UID, metav1.Condition{
			Type: vmopv1.VirtualMachinePowerStateSynced, Status: metav1.ConditionFalse,
			Reason: failure.ReasonOf(err, powerFailed), Message: err.Error(), LastTransitionTime: metav1.NewTime(c.Clock.Now()),
		})
		return 0, fmt.Errorf("bring virtual machine %s to %s: %w", klog.KObj(vm), target, err)
	}
	if again > 0 {
		c.remember(vm.UID, target, false)
		return again, nil
	}
	c.appear(ctx, m, func(now Machine) bool {
		return now.Facts.PowerState == live[target] || now.Facts.PowerState != m.Facts.PowerState
	})
	return 0, nil
}

// uidOf is that of a machine that an informer says is gone.
func uidOf(object any) (types.UID, bool) {
	if final, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = final.Obj
	}
	vm, ok := object.(*vmopv1.VirtualMachine)
	if !ok {
		return "", false
	}
	return vm.UID, true
}

// askedOf is how the guest was asked to get to a power state.
func (c *Controller) askedOf(uid types.UID, target vmopv1.VirtualMachinePowerState) asking {
	c.lock.Lock()
	defer c.lock.Unlock()
	if asked := c.asked[uid]; asked.target == target {
		return asked
	}
	return asking{}
}

// remember keeps until forget when a guest was asked for sure, or was tried to be asked last.
func (c *Controller) remember(uid types.UID, target vmopv1.VirtualMachinePowerState, unsure bool) {
	c.lock.Lock()
	defer c.lock.Unlock()
	asked := c.asked[uid]
	if asked.target != target || asked.unsure {
		asked.since = c.Clock.Now()
	}
	asked.target, asked.unsure = target, unsure
	c.asked[uid] = asked
}

func (c *Controller) forget(uid types.UID) {
	c.lock.Lock()
	defer c.lock.Unlock()
	delete(c.asked, uid)
}
