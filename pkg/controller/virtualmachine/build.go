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
	"github.com/openpacific/pacific/pkg/failure"
)

const (
	// buildTimeout bounds one attempt to make a machine to its end: copying a large disk takes hours on slow storage.
	buildTimeout = 6 * time.Hour
	// buildWorkers are how many machines are made at once. Most of the time they wait for vCenter.
	buildWorkers = 64
	// progressStep is after how many per cent more it is said how far a copy is.
	progressStep = 5
	// scsiUnits are the places at a SCSI controller, one of which is its own.
	scsiUnits, scsiOwn = 16, 7
)

// Builder makes what is left of one machine of vCenter, if still says directly before that it is still to.
type Builder interface {
	CopyDisk(ctx context.Context, id facts.ID, number int, progress func(percent int32), still func(facts.Machine) error) error
	Finish(ctx context.Context, id facts.ID, disks []facts.Attachment, guest map[string]string, still func(facts.Machine) error) error
}

// Guests say what a machine's guest is told when it starts, as options of ExtraConfig.
type Guests interface {
	Options(ctx context.Context, vm *vmopv1.VirtualMachine, cards []facts.Card) (map[string]string, error)
}

// builds makes machines to their end whose shell is there.
type builds struct {
	*Controller
	queue controller.Queue

	lock sync.Mutex
	// copied are the disks that this process has copied to their end, by machine. Of what another one copied nobody knows how
	// far it got.
	copied map[types.UID]map[int]bool
	// running ends the making of a machine, by machine.
	running map[types.UID]context.CancelCauseFunc
}

// errEnded says that a machine is not to be made any more.
var errEnded = fmt.Errorf("its deletion was asked for: %w", failure.Conflict)

func newBuilds(c *Controller) *builds {
	return &builds{
		Controller: c, queue: controller.NewQueue("virtualmachine-builds", time.Second, 5*time.Minute),
		copied: map[types.UID]map[int]bool{}, running: map[types.UID]context.CancelCauseFunc{},
	}
}

// unfinished says whether a machine is still to be made to its end.
func unfinished(vm *vmopv1.VirtualMachine) bool {
	return meta.IsStatusConditionFalse(vm.Status.Conditions, vmopv1.VirtualMachineConditionCreated)
}

// see is told of each machine that comes or changes.
func (b *builds) see(object any) {
	vm, ok := object.(*vmopv1.VirtualMachine)
	switch {
	case !ok:
	case vm.DeletionTimestamp != nil:
		b.stop(vm.UID)
	default:
		enqueue(b.queue, unfinished(vm), vm)
	}
}

func (b *builds) stop(uid types.UID) {
	b.lock.Lock()
	defer b.lock.Unlock()
	if stop := b.running[uid]; stop != nil {
		stop(errEnded)
	}
	delete(b.copied, uid)
}

func (b *builds) run(ctx context.Context) {
	controller.Worker{
		Timeout: buildTimeout,
		Failed: func(key string, err error) {
			if errors.Is(err, errMoved) || errors.Is(err, errEnded) {
				b.Logger.V(2).Info("A virtual machine has changed while it was made, so it is decided on anew",
					"virtualMachine", key, "reason", err.Error())
				return
			}
			b.Logger.Error(err, "Cannot make the virtual machine to its end, trying again", "virtualMachine", key)
		},
		Sync: b.sync,
	}.Work(ctx, b.queue, buildWorkers)
}

func (b *builds) sync(ctx context.Context, key string) (time.Duration, error) {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return 0, err
	}
	m, found := b.Machines.Find(namespace, name)
	if !found || !m.buildable() {
		return 0, nil
	}
	vm := m.Object
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	b.lock.Lock()
	b.running[vm.UID] = stop
	b.lock.Unlock()
	defer func() {
		b.lock.Lock()
		delete(b.running, vm.UID)
		b.lock.Unlock()
	}()
	// Whoever asked for its deletion before may have found nothing to end.
	if m, found = b.Machines.Find(namespace, name); !found || m.Object.UID != vm.UID || !m.buildable() {
		return 0, nil
	}
	err = b.build(ctx, m)
	switch {
	case err == nil:
		// The condition is over as soon as the inventory shows that nothing is left to be made.
		b.lock.Lock()
		delete(b.copied, vm.UID)
		b.lock.Unlock()
		return 0, nil
	case errors.Is(context.Cause(ctx), errEnded):
		return 0, nil
	case errors.Is(err, errMoved):
		return 0, err
	}
	b.say(vm, vmoperator.BuildFailedReason, err.Error())
	return 0, fmt.Errorf("make virtual machine %s: %w", klog.KObj(vm), err)
}

// buildable says whether a machine is to be made to its end now.
func (m Machine) buildable() bool {
	return m.Facts.Build != nil && m.Made && m.Object.DeletionTimestamp == nil && !m.Facts.Paused() && !m.WentBack
}

func (b *builds) build(ctx context.Context, m Machine) error {
	vm := m.Object
	controllerKey, found := m.controllerKey()
	if !found {
		return fmt.Errorf("it has no SCSI controller that disks could be at: add one in vCenter, or delete the virtual machine: %w", failure.Invalid)
	}
	disks := make([]facts.Attachment, len(m.Facts.Build.Disks))
	for number, disk := range m.Facts.Build.Disks {
		unit := int32(number)
		if unit >= scsiOwn {
			unit++
		}
		if unit >= scsiUnits {
			return fmt.Errorf("its image has %d disks, and %d is the most: %w", len(disks), scsiUnits-1, failure.Invalid)
		}
		disks[number] = facts.Attachment{
			File: m.Facts.DiskFile(number), Capacity: disk.Capacity, Create: disk.From == "", Controller: controllerKey, Unit: unit,
		}
		if disk.From == "" {
			continue
		}
		if err := b.copy(ctx, m, number); err != nil {
			return err
		}
	}
	guest, err := b.Guests.Options(ctx, vm, m.Cards)
	if err != nil {
		return err
	}
	return b.Builder.Finish(ctx, m.Facts.ID, disks, guest, unmoved(m.Facts))
}

// copy copies a disk, unless this process has.
func (b *builds) copy(ctx context.Context, m Machine, number int) error {
	vm := m.Object
	b.lock.Lock()
	copied := b.copied[vm.UID][number]
	b.lock.Unlock()
	if copied {
		return nil
	}
	// That nothing is copied yet is no news, and after a failure that one stands until there is some.
	said := int32(0)
	progress := func(percent int32) {
		if percent >= said+progressStep {
			said = percent
			b.say(vm, vmoperator.CopyingDisksReason,
				fmt.Sprintf("disk %d of %d is being copied: %d %%", number+1, len(m.Facts.Build.Disks), percent))
		}
	}
	if err := b.Builder.CopyDisk(ctx, m.Facts.ID, number, progress, unmoved(m.Facts)); err != nil {
		return err
	}
	b.lock.Lock()
	defer b.lock.Unlock()
	if b.copied[vm.UID] == nil {
		b.copied[vm.UID] = map[int]bool{}
	}
	b.copied[vm.UID][number] = true
	return nil
}

func (m Machine) controllerKey() (int32, bool) {
	for _, c := range m.Controllers {
		if c.Kind == facts.ControllerSCSI && c.Bus == 0 {
			return c.Key, true
		}
	}
	return 0, false
}

// say shows how far the making of a machine is.
func (b *builds) say(vm *vmopv1.VirtualMachine, reason, message string) {
	b.Machines.SetCondition(vm.Namespace, vm.Name, vm.UID, metav1.Condition{
		Type: vmopv1.VirtualMachineConditionCreated, Status: metav1.ConditionFalse, Reason: reason, Message: message,
		LastTransitionTime: metav1.NewTime(b.Clock.Now()),
	})
}
