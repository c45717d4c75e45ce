// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
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
	"github.com/openpacific/pacific/pkg/controller"
)

// syncTimeout bounds one pass over one machine.
const syncTimeout = 2 * time.Minute

// Releaser lets go of machines whose deletion was asked for.
type Releaser interface {
	// RemoveFinalizer removes one finalizer from the machine of that uid. It is
	// no error when the machine or the finalizer is gone.
	RemoveFinalizer(ctx context.Context, namespace, name string, uid types.UID, finalizer string) error
}

// Power is the vCenter side.
type Power interface {
	// SetPower makes one step towards target and does not wait for a guest: it
	// returns after how long to come again, 0 when there is nothing left to do.
	// asked is when the guest was asked to stop, which is when SetPower first
	// answered that it wants to come again, zero before that. SetPower does
	// nothing for a machine that is gone.
	SetPower(ctx context.Context, uid types.UID, target vmopv1.VirtualMachinePowerState, mode vmopv1.VirtualMachinePowerOpMode, asked time.Time) (time.Duration, error)
	// Paused says whether a VI admin asked that the machine be left alone.
	Paused(uid types.UID) bool
}

// Conditions shows on a machine what this controller could not do.
type Conditions interface {
	SetCondition(uid types.UID, condition metav1.Condition)
	ClearCondition(uid types.UID, conditionType string)
}

// Controller keeps machines at what was declared. Its fields are set before
// Run and not changed afterwards.
type Controller struct {
	Machines   cache.ListerWatcher // as the API serves them
	Releaser   Releaser
	Power      Power
	Conditions Conditions
	Clock      clock.PassiveClock
	Logger     klog.Logger

	lock  sync.Mutex
	asked map[types.UID]time.Time // guarded by lock; when a machine's guest was asked to stop
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context, workers int) error {
	c.asked = map[types.UID]time.Time{}
	queue := controller.NewQueue("virtualmachine", 200*time.Millisecond, 5*time.Minute)
	store, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: c.Machines,
		ObjectType:    &vmopv1.VirtualMachine{},
		Transform:     keepWhatMatters,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc: func(object any) { enqueue(queue, hasWork(object), object) },
			// What was work may be done now: then a condition is to be cleared.
			UpdateFunc: func(old, object any) { enqueue(queue, hasWork(old) || hasWork(object), object) },
			DeleteFunc: c.deleted,
		},
	})

	var running sync.WaitGroup
	running.Go(func() { informer.RunWithContext(ctx) })
	c.worker(store).Work(ctx, queue, workers)
	running.Wait()
	return nil
}

func (c *Controller) worker(machines cache.Store) controller.Worker {
	return controller.Worker{
		Timeout: syncTimeout,
		Failed: func(key string, err error) {
			c.Logger.Error(err, "Cannot bring the virtual machine to what was declared, trying again", "virtualMachine", key)
		},
		Sync: func(ctx context.Context, key string) (time.Duration, error) {
			object, found, err := machines.GetByKey(key)
			if err != nil || !found {
				return 0, err
			}
			return c.sync(ctx, object.(*vmopv1.VirtualMachine))
		},
	}
}

// keepWhatMatters keeps of a machine what this controller looks at, since the
// informer would otherwise hold everything about every machine once more.
func keepWhatMatters(object any) (any, error) {
	vm, ok := object.(*vmopv1.VirtualMachine)
	if !ok {
		return object, nil
	}
	kept := &vmopv1.VirtualMachine{ObjectMeta: metav1.ObjectMeta{
		Name: vm.Name, Namespace: vm.Namespace, UID: vm.UID, ResourceVersion: vm.ResourceVersion,
		DeletionTimestamp: vm.DeletionTimestamp, Finalizers: vm.Finalizers,
	}}
	if paused, found := vm.Annotations[vmopv1.PauseAnnotation]; found {
		kept.Annotations = map[string]string{vmopv1.PauseAnnotation: paused}
	}
	kept.Spec.PowerState = vm.Spec.PowerState
	kept.Spec.PowerOffMode = vm.Spec.PowerOffMode
	kept.Spec.SuspendMode = vm.Spec.SuspendMode
	kept.Status.PowerState = vm.Status.PowerState
	return kept, nil
}

func hasWork(object any) bool {
	vm, ok := object.(*vmopv1.VirtualMachine)
	return ok && (vm.DeletionTimestamp != nil || !powerIsAsDeclared(vm))
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
func (c *Controller) sync(ctx context.Context, vm *vmopv1.VirtualMachine) (time.Duration, error) {
	if vmoperator.Paused(vm.Annotations, "") || c.Power.Paused(vm.UID) {
		return 0, nil
	}
	if vm.DeletionTimestamp != nil {
		return c.end(ctx, vm)
	}
	if powerIsAsDeclared(vm) {
		c.forget(vm.UID)
		c.Conditions.ClearCondition(vm.UID, vmopv1.VirtualMachinePowerStateSynced)
		return 0, nil
	}
	mode := vm.Spec.PowerOffMode
	if vm.Spec.PowerState == vmopv1.VirtualMachinePowerStateSuspended {
		mode = vm.Spec.SuspendMode
	}
	return c.setPower(ctx, vm, vm.Spec.PowerState, mode)
}

// end powers a machine off and then lets go of it.
func (c *Controller) end(ctx context.Context, vm *vmopv1.VirtualMachine) (time.Duration, error) {
	if !slices.Contains(vm.Finalizers, vmoperator.MachineFinalizer) {
		return 0, nil
	}
	if vm.Status.PowerState == vmopv1.VirtualMachinePowerStateOn {
		again, err := c.setPower(ctx, vm, vmopv1.VirtualMachinePowerStateOff, vm.Spec.PowerOffMode)
		if err != nil || again > 0 {
			return again, err
		}
	}
	if err := c.Releaser.RemoveFinalizer(ctx, vm.Namespace, vm.Name, vm.UID, vmoperator.MachineFinalizer); err != nil {
		return 0, fmt.Errorf("let go of virtual machine %s: %w", klog.KObj(vm), err)
	}
	c.forget(vm.UID)
	return 0, nil
}

func (c *Controller) setPower(ctx context.Context, vm *vmopv1.VirtualMachine, target vmopv1.VirtualMachinePowerState, mode vmopv1.VirtualMachinePowerOpMode) (time.Duration, error) {
	if mode == "" {
		mode = vmopv1.VirtualMachinePowerOpModeTrySoft
	}
	again, err := c.Power.SetPower(ctx, vm.UID, target, mode, c.askedAt(vm.UID))
	if err != nil {
		c.Conditions.SetCondition(vm.UID, metav1.Condition{
			Type: vmopv1.VirtualMachinePowerStateSynced, Status: metav1.ConditionFalse,
			Reason: "PowerChangeFailed", Message: err.Error(), LastTransitionTime: metav1.NewTime(c.Clock.Now()),
		})
		return 0, fmt.Errorf("bring virtual machine %s to %s: %w", klog.KObj(vm), target, err)
	}
	if again > 0 {
		c.remember(vm.UID)
	}
	return again, nil
}

func (c *Controller) deleted(object any) {
	if final, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = final.Obj
	}
	if vm, ok := object.(*vmopv1.VirtualMachine); ok {
		c.forget(vm.UID)
	}
}

func (c *Controller) askedAt(uid types.UID) time.Time {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.asked[uid]
}

// remember keeps the time of the first call until forget.
func (c *Controller) remember(uid types.UID) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if _, found := c.asked[uid]; !found {
		c.asked[uid] = c.Clock.Now()
	}
}

func (c *Controller) forget(uid types.UID) {
	c.lock.Lock()
	defer c.lock.Unlock()
	delete(c.asked, uid)
}
