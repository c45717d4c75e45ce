// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// Writer carries out calls that act; vcenter.Writer does. Errors come with their failure kind.
type Writer interface {
	Do(ctx context.Context, operation string, f func(context.Context, *vim25.Client) error) error
	RunTask(ctx context.Context, operation string,
		start func(context.Context, *vim25.Client) (task reference, err error)) (*types.TaskInfo, error)
	// WatchTask is RunTask, and says how far the task is.
	WatchTask(ctx context.Context, operation string,
		start func(context.Context, *vim25.Client) (task reference, err error),
		progress func(percent int32)) (*types.TaskInfo, error)
}

type reference = types.ManagedObjectReference

// starting begins a task for a machine and returns it, acting does something at once.
type (
	starting = func(ctx context.Context, client *vim25.Client, this reference) (task reference, err error)
	acting   = func(ctx context.Context, client *vim25.Client, this reference) error
)

// Still is asked directly before an act whether it is still wanted, of the machine as vCenter has it in that moment.
// Its error ends the act, and is what comes of it; it should have a failure kind.
type Still = func(now facts.Machine) error

// errUnfinished says that files were copied for a machine that are not its disks yet.
var errUnfinished = fmt.Errorf("it was not made to its end: %w", failure.Conflict)

// Verbs act on one virtual machine each. Its fields are set before use. Errors have a failure kind: NotFound when the
// machine is not in vCenter any more, that of still's error when it refused, Unavailable when nothing may be changed
// now.
//
// None but those of the record wait for a machine that waits for somebody's answer in vCenter: that is a Conflict, and
// a task that was started goes on when somebody has answered.
type Verbs struct {
	Writer Writer
	// Keys prove what is written into machines, and what is read there.
	Keys *Keys
	// Root is the namespaces folder, up to which the place of a machine is told.
	Root func() facts.ID
	// Asks returns what a machine asks as soon as it waits for somebody's answer in vCenter, and "" when ctx ends first.
	// Nil: nobody knows.
	Asks func(ctx context.Context, id facts.ID) string
	// Clock says how old something is that was read. Nil: the real one.
	Clock clock.PassiveClock

	mu          sync.Mutex
	datacenters map[facts.ID]reference // guarded by mu; by the namespaces folder
	backings    backings               // guarded by mu
	looks       map[facts.ID]look      // guarded by mu
}

// PowerOn powers a machine on. One that is on by then is no failure.
func (v *Verbs) PowerOn(ctx context.Context, id facts.ID, still Still) error {
	start := func(ctx context.Context, client *vim25.Client, this reference) (reference, error) {
		response, err := methods.PowerOnVM_Task(ctx, client, &types.PowerOnVM_Task{This: this})
		if err != nil {
			return reference{}, err
		}
		return response.Returnval, nil
	}
	return v.power(ctx, "power on", id, facts.PoweredOn, still, start)
}

// PowerOff switches a machine off, without asking its guest. One that is off by then is no failure.
func (v *Verbs) PowerOff(ctx context.Context, id facts.ID, still Still) error {
	start := func(ctx context.Context, client *vim25.Client, this reference) (reference, error) {
		response, err := methods.PowerOffVM_Task(ctx, client, &types.PowerOffVM_Task{This: this})
		if err != nil {
			return reference{}, err
		}
		return response.Returnval, nil
	}
	return v.power(ctx, "power off", id, facts.PoweredOff, still, start)
}

// Suspend suspends a machine, without asking its guest. One that is suspended by then is no failure.
func (v *Verbs) Suspend(ctx context.Context, id facts.ID, still Still) error {
	start := func(ctx context.Context, client *vim25.Client, this reference) (reference, error) {
		response, err := methods.SuspendVM_Task(ctx, client, &types.SuspendVM_Task{This: this})
		if err != nil {
			return reference{}, err
		}
		return response.Returnval, nil
	}
	return v.power(ctx, "suspend", id, facts.Suspended, still, start)
}

// ShutdownGuest asks a machine's guest to shut down, and does not wait until it has.
func (v *Verbs) ShutdownGuest(ctx context.Context, id facts.ID, still Still) error {
	return v.do(ctx, "shut down the guest of", id, still, func(ctx context.Context, client *vim25.Client,
		this reference) error {
		_, err := methods.ShutdownGuest(ctx, client, &types.ShutdownGuest{This: this})
		return err
	})
}

// StandbyGuest asks a machine's guest to suspend, and does not wait until it has.
func (v *Verbs) StandbyGuest(ctx context.Context, id facts.ID, still Still) error {
	return v.do(ctx, "suspend the guest of", id, still, func(ctx context.Context, client *vim25.Client,
		this reference) error {
		_, err := methods.StandbyGuest(ctx, client, &types.StandbyGuest{This: this})
		return err
	})
}

// Reset has a machine that is on begin anew, without asking its guest.
func (v *Verbs) Reset(ctx context.Context, id facts.ID, still Still) error {
	return v.task(ctx, "reset", id, still, func(ctx context.Context, client *vim25.Client,
		this reference) (reference, error) {
		response, err := methods.ResetVM_Task(ctx, client, &types.ResetVM_Task{This: this})
		if err != nil {
			return reference{}, err
		}
		return response.Returnval, nil
	})
}

// RebootGuest asks a machine's guest to begin anew, and does not wait until it has.
func (v *Verbs) RebootGuest(ctx context.Context, id facts.ID, still Still) error {
	return v.do(ctx, "reboot the guest of", id, still, func(ctx context.Context, client *vim25.Client,
		this reference) error {
		_, err := methods.RebootGuest(ctx, client, &types.RebootGuest{This: this})
		return err
	})
}

// Resize makes a machine as large as a size says, under the version of the configuration that still was shown.
func (v *Verbs) Resize(ctx context.Context, id facts.ID, size facts.Size, still Still) error {
	return v.configure(ctx, "resize", id, func(_ context.Context, _ *vim25.Client,
		now reading) (types.VirtualMachineConfigSpec, error) {
		return types.VirtualMachineConfigSpec{
			NumCPUs: size.CPUs, MemoryMB: size.MemoryMB,
			CpuAllocation: allocation(size.CPU), MemoryAllocation: allocation(size.Memory),
		}, still(now.Machine)
	})
}

// reconfigure changes the configuration of a machine in the way that made says of the machine as it is directly before,
// under that version of its configuration. Where made says errAsWanted there is nothing to do.
func (v *Verbs) reconfigure(ctx context.Context, verb string, id facts.ID,
	made func(ctx context.Context, client *vim25.Client, now reading) (types.VirtualMachineConfigSpec, error)) error {
	_, err := v.Writer.RunTask(ctx, operation(verb, id), func(ctx context.Context,
		client *vim25.Client) (reference, error) {
		now, err := v.read(ctx, client, id)
		if err != nil {
			return reference{}, err
		}
		spec, err := made(ctx, client, now)
		if err != nil {
			return reference{}, err
		}
		spec.ChangeVersion = now.ChangeVersion
		response, err := methods.ReconfigVM_Task(ctx, client, &types.ReconfigVM_Task{This: refer(id), Spec: spec})
		if err != nil {
			return reference{}, err
		}
		return response.Returnval, nil
	})
	if errors.Is(err, errAsWanted) {
		return nil
	}
	return err
}

// configure is reconfigure of a machine that does not come to wait for somebody's answer, as it does for whether a drive is
// taken away that its guest has locked.
func (v *Verbs) configure(ctx context.Context, verb string, id facts.ID,
	made func(ctx context.Context, client *vim25.Client, now reading) (types.VirtualMachineConfigSpec, error)) error {
	return v.untilAsked(ctx, verb, id, func(ctx context.Context) error { return v.reconfigure(ctx, verb, id, made) })
}

// errAsWanted says that there is nothing to change.
var errAsWanted = errors.New("it is as it is to be")

// WriteRecord writes a machine's record, under the version of the configuration that still was shown: a change that
// comes in between is a failure.Conflict.
func (v *Verbs) WriteRecord(ctx context.Context, id facts.ID, head facts.Head, body []byte, still Still) error {
	value, err := v.Keys.Encode(head, body)
	if err != nil {
		return err
	}
	return v.record(ctx, "write the record of", id, func(now reading) (string, string, error) {
		if err := still(now.Machine); err != nil {
			return "", "", err
		}
		return value, head.Namespace + "/" + head.Name, nil
	})
}

// Amend changes the head of a machine's record and leaves its body as it is, under the version of the configuration
// that amend was shown. amend gives the new head, of which the sequence is set here, or why there is to be none. A
// record that is not proven is a failure.Conflict: its body would be taken for one that somebody here wrote.
func (v *Verbs) Amend(ctx context.Context, id facts.ID, amend func(now facts.Machine) (facts.Head, error)) error {
	return v.record(ctx, "change the record of", id, func(now reading) (string, string, error) {
		return v.amended(now, amend)
	})
}

// amended is a machine's record with another head, and the name for other tools.
func (v *Verbs) amended(now reading, amend func(now facts.Machine) (facts.Head, error)) (record, name string, err error) {
	head, err := amend(now.Machine)
	if err != nil {
		return "", "", err
	}
	if now.Head == nil {
		return "", "", fmt.Errorf("there is no record: %w", failure.Conflict)
	}
	if now.Unproven != "" {
		return "", "", fmt.Errorf("nobody knows who wrote the record: %s: %w", now.Unproven, failure.Conflict)
	}
	head.Sequence = now.Head.Sequence + 1
	record, err = v.Keys.Encode(head, now.body)
	return record, head.Namespace + "/" + head.Name, err
}

// record writes the record, and the name for other tools, that made gives. With the first one comes the notice, if
// vCenter takes it.
func (v *Verbs) record(ctx context.Context, verb string, id facts.ID,
	made func(now reading) (record, name string, err error)) error {
	noticed := false
	write := func(notice bool) error {
		return v.reconfigure(ctx, verb, id, func(_ context.Context, _ *vim25.Client,
			now reading) (types.VirtualMachineConfigSpec, error) {
			record, name, err := made(now)
			if err != nil {
				return types.VirtualMachineConfigSpec{}, err
			}
			spec := types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
				&types.OptionValue{Key: facts.RecordKey, Value: record},
				&types.OptionValue{Key: NamespacedNameKey, Value: name},
			}}
			if notice && now.Head == nil && now.HeadError == nil {
				spec.Annotation = now.notesWithNotice()
				noticed = spec.Annotation != ""
			}
			return spec, nil
		})
	}
	err := write(true)
	if noticed && (errors.Is(err, failure.Forbidden) || errors.Is(err, failure.Invalid)) {
		err = write(false)
	}
	return err
}

// Destroy destroys a machine with its files, also with those that were copied for it and are not its disks yet. It has
// to be off.
func (v *Verbs) Destroy(ctx context.Context, id facts.ID, still Still) error {
	discarded := false
	undone := func(now facts.Machine) error {
		if err := still(now); err != nil || now.Build == nil || discarded {
			return err
		}
		return errUnfinished
	}
	start := func(ctx context.Context, client *vim25.Client, this reference) (reference, error) {
		if err := keeps(ctx, client, id); err != nil {
			return reference{}, err
		}
		response, err := methods.Destroy_Task(ctx, client, &types.Destroy_Task{This: this})
		if err != nil {
			return reference{}, err
		}
		return response.Returnval, nil
	}
	destroy := func() error { return v.task(ctx, "destroy", id, undone, start) }
	err := v.kept(ctx, id, undone, destroy)
	if !errors.Is(err, errUnfinished) {
		return err
	}
	if err := v.discard(ctx, id, still); err != nil {
		return err
	}
	discarded = true
	return v.kept(ctx, id, undone, destroy)
}

// power runs a power operation. That somebody else was faster is no failure.
func (v *Verbs) power(ctx context.Context, verb string, id facts.ID, target string, still Still, start starting) error {
	err := v.task(ctx, verb, id, still, start)
	if !errors.Is(err, failure.Conflict) {
		return err
	}
	var now reading
	readErr := v.Writer.Do(ctx, operation(verb, id), func(ctx context.Context, client *vim25.Client) (err error) {
		now, err = v.read(ctx, client, id)
		return err
	})
	if readErr == nil && now.PowerState == target {
		return nil
	}
	return err
}

func (v *Verbs) task(ctx context.Context, verb string, id facts.ID, still Still, start starting) error {
	return v.untilAsked(ctx, verb, id, func(ctx context.Context) error {
		_, err := v.Writer.RunTask(ctx, operation(verb, id), func(ctx context.Context,
			client *vim25.Client) (reference, error) {
			if err := v.decide(ctx, client, id, still); err != nil {
				return reference{}, err
			}
			return start(ctx, client, refer(id))
		})
		return err
	})
}

// askedError says that a machine waits for somebody's answer. A task that was started goes on after that.
type askedError struct{ question string }

func (e *askedError) Error() string {
	return fmt.Sprintf("the virtual machine waits in vCenter for an answer to: %q", e.question)
}

func (e *askedError) Unwrap() error { return failure.Conflict }

// untilAsked acts, and ends that also when the machine comes to wait for somebody's answer: nobody knows how long a task takes
// then.
func (v *Verbs) untilAsked(ctx context.Context, verb string, id facts.ID, act func(context.Context) error) error {
	if v.Asks == nil {
		return act(ctx)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		if question := v.Asks(ctx, id); question != "" {
			stop(&askedError{question})
		}
	}()
	err := act(ctx)
	var asked *askedError
	if err != nil && errors.As(context.Cause(ctx), &asked) {
		return fmt.Errorf("%s: %w", operation(verb, id), asked)
	}
	return err
}

func (v *Verbs) do(ctx context.Context, verb string, id facts.ID, still Still, act acting) error {
	return v.Writer.Do(ctx, operation(verb, id), func(ctx context.Context, client *vim25.Client) error {
		if err := v.decide(ctx, client, id, still); err != nil {
			return err
		}
		return act(ctx, client, refer(id))
	})
}

// decide reads the machine and asks still.
func (v *Verbs) decide(ctx context.Context, client *vim25.Client, id facts.ID, still Still) error {
	now, err := v.read(ctx, client, id)
	if err != nil {
		return err
	}
	if err := still(now.Machine); err != nil {
		return err
	}
	if now.Question != "" {
		return &askedError{now.Question}
	}
	return nil
}

func refer(id facts.ID) reference {
	return reference{Type: id.Type, Value: id.Value}
}

func operation(verb string, id facts.ID) string { return verb + " virtual machine " + id.Value }
