// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/controller"
	"github.com/openpacific/pacific/pkg/facts"
)

const (
	// promotionTimeout bounds one promotion, which copies what lies on slow storage.
	promotionTimeout = 6 * time.Hour
	// promotionWorkers are how many machines have their disks promoted at once: it takes from all that lie there.
	promotionWorkers = 8
)

// Promoter has the disks of a machine stand by themselves that stand on others.
type Promoter interface {
	PromoteDisks(ctx context.Context, id facts.ID, progress func(percent int32), still func(facts.Machine) error) error
}

// promotions have the disks of linked machines stand by themselves, in the power state that is declared for that. What
// dies on the way begins again: whether a disk is linked the machine tells.
type promotions struct {
	*Controller
	queue controller.Queue

	lock sync.Mutex
	stop map[types.UID]context.CancelCauseFunc // guarded by lock; those that are under way
}

func newPromotions(c *Controller) *promotions {
	return &promotions{
		Controller: c, queue: controller.NewQueue("virtualmachine-promotions", 5*time.Second, 10*time.Minute),
		stop: map[types.UID]context.CancelCauseFunc{},
	}
}

// see is told of each machine that comes or changes.
func (p *promotions) see(object any) {
	vm, ok := object.(*vmopv1.VirtualMachine)
	switch {
	case !ok:
	case vm.DeletionTimestamp != nil:
		p.end(vm.UID)
	default:
		told := meta.FindStatusCondition(vm.Status.Conditions, vmopv1.VirtualMachineDiskPromotionSynced)
		// What is said of a failure is a change too, and no reason to try at once again.
		enqueue(p.queue, told != nil && told.Status == metav1.ConditionFalse && told.Reason == vmoperator.PromotionPendingReason, vm)
	}
}

// gone is told of each machine that is served no more.
func (p *promotions) gone(object any) {
	if uid, ok := uidOf(object); ok {
		p.end(uid)
	}
}

// end ends the promotion of a machine that is to go.
func (p *promotions) end(uid types.UID) {
	p.lock.Lock()
	defer p.lock.Unlock()
	if stop := p.stop[uid]; stop != nil {
		stop(errEnded)
	}
}

// promotes says whether the disks of a machine are to be promoted now.
func (m Machine) promotes() bool {
	vm := m.Object
	mode := vm.Spec.PromoteDisksMode
	asked := vmoperator.Linked(vm.Annotations) || mode != ""
	state := facts.PoweredOn
	if mode == vmopv1.VirtualMachinePromoteDisksModeOffline {
		state = facts.PoweredOff
	}
	return asked && mode != vmopv1.VirtualMachinePromoteDisksModeDisabled && m.Made && m.Linked && m.Facts.Build == nil &&
		vm.DeletionTimestamp == nil && !m.Facts.Paused() && !m.WentBack && m.Facts.PowerState == state && !m.customizing()
}

// customizing says that vCenter customises the guest, which must not be disturbed.
func (m Machine) customizing() bool {
	told := meta.FindStatusCondition(m.Object.Status.Conditions, vmopv1.GuestCustomizationCondition)
	return told != nil && (told.Reason == vmopv1.GuestCustomizationPendingReason ||
		told.Reason == vmopv1.GuestCustomizationRunningReason)
}

func (p *promotions) run(ctx context.Context) {
	controller.Worker{
		Timeout: promotionTimeout,
		Failed: func(key string, err error) {
			if errors.Is(err, errMoved) {
				p.Logger.V(2).Info("A virtual machine has changed while its disks were to be promoted, so it is decided on anew",
					"virtualMachine", key, "reason", err.Error())
				return
			}
			p.Logger.Error(err, "Cannot have the disks of the virtual machine stand by themselves, trying again",
				"virtualMachine", key)
		},
		Sync: p.sync,
	}.Work(ctx, p.queue, promotionWorkers)
}

func (p *promotions) sync(ctx context.Context, key string) (time.Duration, error) {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return 0, err
	}
	m, found := p.Machines.Find(namespace, name)
	if !found {
		return 0, nil
	}
	vm := m.Object
	if !m.promotes() {
		// It comes again when that is over, and what was said of a failure is over with it.
		p.Machines.ClearCondition(vm.Namespace, vm.Name, vm.UID, vmopv1.VirtualMachineDiskPromotionSynced)
		return 0, nil
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p.lock.Lock()
	p.stop[vm.UID] = stop
	p.lock.Unlock()
	defer func() {
		p.lock.Lock()
		defer p.lock.Unlock()
		delete(p.stop, vm.UID)
	}()
	reached := int32(-progressStep)
	err = p.Promoter.PromoteDisks(ctx, m.Facts.ID, func(percent int32) {
		if percent >= reached+progressStep {
			reached = percent
			p.say(vm, vmoperator.PromotionRunningReason, fmt.Sprintf("its disks are being made to stand by themselves: %d %%", percent))
		}
	}, unmoved(m.Facts))
	switch {
	case err == nil:
		p.appear(ctx, m, func(now Machine) bool { return !now.Linked })
		p.Machines.ClearCondition(vm.Namespace, vm.Name, vm.UID, vmopv1.VirtualMachineDiskPromotionSynced)
		return 0, nil
	case errors.Is(context.Cause(ctx), errEnded):
		return 0, nil
	case !errors.Is(err, errMoved):
		p.say(vm, vmoperator.PromotionFailedReason, err.Error())
	}
	return 0, fmt.Errorf("promote the disks of virtual machine %s: %w", klog.KObj(vm), err)
}

// say shows how far it is.
func (p *promotions) say(vm *vmopv1.VirtualMachine, reason, message string) {
	p.Machines.SetCondition(vm.Namespace, vm.Name, vm.UID, metav1.Condition{
		Type: vmopv1.VirtualMachineDiskPromotionSynced, Status: metav1.ConditionFalse, Reason: reason, Message: message,
		LastTransitionTime: metav1.NewTime(p.Clock.Now()),
	})
}
