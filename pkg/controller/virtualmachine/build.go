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
	// handover is after how long it is looked again whether something that was ended has.
	handover = 100 * time.Millisecond
	// scsiUnits are the places at a SCSI controller, one of which is its own.
	scsiUnits, scsiOwn = 16, 7
)

// Builder makes what is left of one machine of vCenter, if still says directly before that it is still to.
type Builder interface {
	// CopyDisk copies from, or where that is empty the file that the machine says.
	CopyDisk(ctx context.Context, id facts.ID, number int, from string, progress func(percent int32),
		still func(facts.Machine) error) error
	Finish(ctx context.Context, id facts.ID, disks []facts.Attachment, told facts.Told,
		still func(facts.Machine) error) error
	// Customize has the guest customised at the machine's first start, once.
	Customize(ctx context.Context, id facts.ID, customization facts.Customization,
		still func(facts.Machine) error) error
}

// Guests say what a machine's guest is told when it starts.
type Guests interface {
	// Tell gives all of it. cards are those of the machine's interfaces, in their order, and then all others.
	Tell(ctx context.Context, vm *vmopv1.VirtualMachine, cards []facts.Card) (facts.Told, error)
	// Private says whether that has anything of a Secret in it.
	Private(vm *vmopv1.VirtualMachine) bool
	// Network gives the options that tell one of its network that has started before.
	Network(vm *vmopv1.VirtualMachine, cards []facts.Card) (map[string]string, error)
}

// Sources know what disks may be copies of, what drives may have in them, and which networks cards may be at.
type Sources interface {
	// Origin says which disk of an image a file is. It is an error where a disk of the machine may not be a copy of it.
	Origin(vm *vmopv1.VirtualMachine, file string) (facts.Origin, error)
	// PermitsDisc says why a file may not come into a drive of a machine as that of an image, nil where it may.
	PermitsDisc(vm *vmopv1.VirtualMachine, image, file string) error
	// PermitsNetwork says why a network card of a machine may not come to a network, nil where it may.
	PermitsNetwork(vm *vmopv1.VirtualMachine, link facts.Link) error
}

// builds makes machines to their end whose shell is there.
type builds struct {
	*Controller
	queue controller.Queue

	lock    sync.Mutex
	efforts map[types.UID]*effort // guarded by lock, as is what they hold
}

// effort is what this process has done to make a machine.
type effort struct {
	// key is the one that it is being made under now, and stop ends that; zero while it is not.
	key  string
	stop context.CancelCauseFunc
	// copied are the files of disks that were copied to their end. Of what another process copied nobody knows how far
	// it got.
	copied map[string]bool
	// reached is how far a copy was said to be, in per cent of one stage of a disk, with those before it.
	reached int32
	// failed says that the last attempt of that generation failed, so that the next one has its time. passes says that it
	// met somebody else, or something that is away: that passes as a rule.
	failed, passes bool
	generation     int64
}

// errEnded says that a machine is not to be made any more, or not under that name.
var errEnded = fmt.Errorf("it is not to be made any more, or by another name: %w", failure.Conflict)

func newBuilds(c *Controller) *builds {
	return &builds{
		Controller: c, queue: controller.NewQueue("virtualmachine-builds", time.Second, 5*time.Minute),
		efforts: map[types.UID]*effort{},
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
		b.drop(vm.UID, "")
	default:
		// What is said of a failure is a change too, and no reason to try at once again.
		b.lock.Lock()
		e := b.efforts[vm.UID]
		waits := e != nil && e.failed && e.generation == vm.Generation
		b.lock.Unlock()
		enqueue(b.queue, unfinished(vm) && !waits, vm)
	}
}

// gone is told of each machine that is served no more, or not by that name.
func (b *builds) gone(object any) {
	uid, ok := uidOf(object)
	key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object)
	if ok && err == nil {
		b.drop(uid, key)
	}
}

// drop ends the making of a machine, by whatever name or only by one, and forgets what was done.
func (b *builds) drop(uid types.UID, key string) {
	b.lock.Lock()
	defer b.lock.Unlock()
	e := b.efforts[uid]
	switch {
	case e == nil || e.stop != nil && key != "" && e.key != key:
	case e.stop != nil:
		e.stop(errEnded)
	default:
		delete(b.efforts, uid)
	}
}

// begin says whether a machine can be made by a name now. It is made by one at a time: one that was moved has another,
// and what is done by the old one is ended first.
func (b *builds) begin(vm *vmopv1.VirtualMachine, key string, stop context.CancelCauseFunc) bool {
	b.lock.Lock()
	defer b.lock.Unlock()
	e := b.efforts[vm.UID]
	if e == nil {
		e = &effort{copied: map[string]bool{}}
		b.efforts[vm.UID] = e
	}
	if e.stop != nil {
		e.stop(errEnded)
		return false
	}
	e.key, e.stop, e.generation = key, stop, vm.Generation
	return true
}

// rest notes that a machine is left alone for now.
func (b *builds) rest(uid types.UID) {
	b.lock.Lock()
	defer b.lock.Unlock()
	if e := b.efforts[uid]; e != nil {
		e.failed = false
	}
}

// end notes what came of an attempt, and says whether that is news for people.
func (b *builds) end(uid types.UID, err error) (news bool) {
	b.lock.Lock()
	defer b.lock.Unlock()
	e := b.efforts[uid]
	e.key, e.stop, e.failed = "", nil, false
	switch {
	case err == nil, errors.Is(err, errEnded):
		delete(b.efforts, uid)
		return false
	case errors.Is(err, errMoved):
		return false
	}
	again := e.passes
	e.failed, e.passes = true, errors.Is(err, failure.Conflict) || errors.Is(err, failure.Unavailable)
	return again || !e.passes
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
	if !found {
		return 0, nil
	}
	if !m.buildable() {
		// It comes again when that is over, and at once.
		b.rest(m.Object.UID)
		return 0, nil
	}
	vm := m.Object
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if !b.begin(vm, key, stop) {
		return handover, nil
	}
	// Whoever asked for its deletion before may have found nothing to end.
	if m, found = b.Machines.Find(namespace, name); found && m.Object.UID == vm.UID && m.buildable() {
		if err = b.build(ctx, m); err == nil {
			b.absolve(vm, "")
			b.appear(ctx, m, func(now Machine) bool { return now.Facts.Build == nil })
		}
	} else {
		err = errEnded
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		err = errEnded // or this process ends
	}
	news := b.end(vm.UID, err)
	switch {
	case err == nil, errors.Is(err, errEnded):
		// The condition is over as soon as the inventory shows that nothing is left to be made.
		return 0, nil
	case news:
		b.blame(vm, err)
	}
	return 0, fmt.Errorf("make virtual machine %s: %w", klog.KObj(vm), err)
}

// buildable says whether a machine is to be made to its end now.
func (m Machine) buildable() bool {
	return m.Facts.Build != nil && m.Made && m.Object.DeletionTimestamp == nil && !m.Facts.Paused() && !m.WentBack
}

// build makes what is left of a machine: its disks, with which it is told what its guest needs, and then the
// customisation of that.
func (b *builds) build(ctx context.Context, m Machine) error {
	// What cannot be told need not wait for copies that take hours. What is told is read anew then.
	told, err := b.tell(ctx, m)
	if err != nil {
		return err
	}
	if !m.Facts.Build.Assembled {
		if told, err = b.assemble(ctx, m); err != nil {
			return err
		}
		if m.Facts = m.Facts.Left(m.Facts.Build.Assemble()); m.Facts.Build == nil {
			return nil
		}
	}
	return b.customize(ctx, m, told)
}

// assemble gives a machine its disks, and returns what its guest was told with them.
func (b *builds) assemble(ctx context.Context, m Machine) (facts.Told, error) {
	disks, err := m.attachments()
	if err != nil {
		return facts.Told{}, err
	}
	release, err := b.supply(ctx, m, disks)
	if err != nil {
		return facts.Told{}, err
	}
	defer release()
	told, err := b.tell(ctx, m)
	if err != nil {
		return facts.Told{}, err
	}
	err = b.Builder.Finish(ctx, m.Facts.ID, disks, told, unbuilt(m.Facts))
	if errors.Is(err, failure.NotFound) {
		// Perhaps a file that was copied.
		b.lock.Lock()
		clear(b.efforts[m.Object.UID].copied)
		b.lock.Unlock()
	}
	for _, disk := range disks {
		if err != nil && disk.Parent != "" {
			b.Cache.Doubt(disk.Parent) // it may be what is not there
		}
	}
	return told, err
}

// tell is what a machine's guest is to be told.
func (b *builds) tell(ctx context.Context, m Machine) (facts.Told, error) {
	var told facts.Told
	err := m.private(b.Guests)
	if err == nil {
		told, err = b.Guests.Tell(ctx, m.Object, m.interfaces())
	}
	if err != nil {
		return told, &blamed{vmopv1.VirtualMachineConditionBootstrapReady, err}
	}
	return told, nil
}

// private says why a machine's guest may not be told Secrets: who named them was asked for their right to those of another
// namespace, and there may be others of the same names in the one that the machine was moved to.
func (m Machine) private(guests Guests) error {
	if m.Facts.Head == nil || !guests.Private(m.Object) {
		return nil
	}
	origin := m.Facts.Head.Origin
	if origin.IsZero() {
		origin = m.Facts.Head.Folder
	}
	if origin == m.Facts.Namespace() {
		return nil
	}
	return fmt.Errorf("spec.bootstrap names Secrets of the namespace in which the virtual machine was asked for, and it was moved "+
		"out of that before its guest was told of them: move it back in vCenter, or delete it: %w", failure.Forbidden)
}

// attachments are the disks that a machine is to have, each at its place.
func (m Machine) attachments() ([]facts.Attachment, error) {
	controllerKey, found := m.controllerKey()
	if !found {
		return nil, fmt.Errorf("it has no SCSI controller that disks could be at: add one in vCenter, or delete the virtual "+
			"machine: %w", failure.Invalid)
	}
	if count := len(m.Facts.Build.Disks); count >= scsiUnits {
		return nil, fmt.Errorf("its image has %d disks, and %d is the most: delete the virtual machine, and make it of "+
			"another image: %w", count, scsiUnits-1, failure.Invalid)
	}
	disks := make([]facts.Attachment, len(m.Facts.Build.Disks))
	for number, disk := range m.Facts.Build.Disks {
		unit := int32(number)
		if unit >= scsiOwn {
			unit++
		}
		disks[number] = facts.Attachment{
			File: m.Facts.DiskFile(number), Capacity: disk.Capacity, Create: disk.From == "",
			Controller: controllerKey, Unit: unit,
		}
	}
	return disks, nil
}

// customize has vCenter customise a machine's guest at its first start.
func (b *builds) customize(ctx context.Context, m Machine, told facts.Told) error {
	vm := m.Object
	if told.Customization == nil {
		return fmt.Errorf("spec.bootstrap does not say how its guest is to be customised any more: delete the virtual "+
			"machine: %w", failure.Invalid)
	}
	err := b.Builder.Customize(ctx, m.Facts.ID, *told.Customization, unbuilt(m.Facts))
	switch {
	case err == nil:
		b.Machines.ClearCondition(vm.Namespace, vm.Name, vm.UID, vmopv1.GuestCustomizationCondition)
		return nil
	case ctx.Err() == nil && !errors.Is(err, errMoved):
		b.Machines.SetCondition(vm.Namespace, vm.Name, vm.UID, metav1.Condition{
			Type: vmopv1.GuestCustomizationCondition, Status: metav1.ConditionFalse,
			Reason: vmopv1.GuestCustomizationFailedReason, Message: err.Error(),
			LastTransitionTime: metav1.NewTime(b.Clock.Now()),
		})
	}
	return err
}

// unbuilt is unmoved, and refuses also where what is left of the machine is to be made elsewhere: its files may be moved
// to another datastore.
func unbuilt(seen facts.Machine) func(facts.Machine) error {
	still := unmoved(seen)
	return func(now facts.Machine) error {
		if err := still(now); err != nil {
			return err
		}
		if now.Home != seen.Home {
			return fmt.Errorf("its files were moved to %s: %w", now.Home, errMoved)
		}
		return nil
	}
}

// copy copies a disk, unless this process has: from a file that is the same disk, or where that is empty from the image's.
func (b *builds) copy(ctx context.Context, m Machine, number int, from string) error {
	if b.has(m, number) {
		return nil
	}
	progress := b.progress(m.Object, number*stages+1,
		fmt.Sprintf("disk %d of %d is being copied", number+1, len(m.Facts.Build.Disks)))
	if err := b.Builder.CopyDisk(ctx, m.Facts.ID, number, from, progress, unbuilt(m.Facts)); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err // its file may be deleted by now
	}
	b.lock.Lock()
	defer b.lock.Unlock()
	b.efforts[m.Object.UID].copied[m.Facts.DiskFile(number)] = true
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
