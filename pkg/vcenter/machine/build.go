// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"
	"time"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
)

const (
	// lookAge is how long what was read before one disk was copied counts for the others, so that a machine of many disks
	// that are copied in an instant is not read for each. Nothing is taken away by a copy, and the machine is read anew
	// before copies become its disks.
	lookAge = 5 * time.Second
)

// errAttached says that a file is not only copied for a machine.
var errAttached = fmt.Errorf("is one of its disks already, as after a revert to a snapshot of a time at which it had "+
	"none: delete the virtual machine, and make it anew: %w", failure.Conflict)

// errSnapshots says that a file may be one of a machine's disks of another time.
var errSnapshots = fmt.Errorf("lies where a disk is to be copied to, and the virtual machine has snapshots: it may be a disk "+
	"that the virtual machine had before it was reverted to one; remove the snapshots or the file in vCenter, or delete "+
	"the virtual machine: %w", failure.Conflict)

// Home is the folder that a machine's own file, such as "[nfs] web/web.vmx", lies in.
func Home(file string) string { return file[:strings.LastIndex(file, "/")+1] }

// CopyDisk copies a file to be a disk of a machine that is being made, and has it grow where it is to be larger than that:
// from, which is the same disk elsewhere, or the one that the machine says where from is empty. What was left there by an attempt before goes first. progress is told how far it is, in per cent. When ctx ends, the copying
// is canceled.
func (v *Verbs) CopyDisk(ctx context.Context, id facts.ID, number int, from string, progress func(percent int32),
	still Still) error {
	what := fmt.Sprintf("copy disk %d of", number)
	disk, file, err := v.left(ctx, id, what, number, still)
	if err != nil {
		return err
	}
	from = cmp.Or(from, disk.From)
	start := func(ctx context.Context, client *vim25.Client) (reference, error) {
		datacenter, err := v.datacenter(ctx, client)
		if err != nil {
			return reference{}, err
		}
		response, err := methods.CopyVirtualDisk_Task(ctx, client, &types.CopyVirtualDisk_Task{
			This: *client.ServiceContent.VirtualDiskManager, SourceName: from, SourceDatacenter: &datacenter,
			DestName: file, DestDatacenter: &datacenter,
		})
		if err != nil {
			return reference{}, err
		}
		return response.Returnval, nil
	}
	err = v.watch(ctx, operation(what, id), start, progress)
	if errors.Is(err, failure.AlreadyExists) {
		// An attempt before got that far, and nobody knows whether to its end.
		if err := v.deleteDisk(ctx, id, file, false, still); err != nil {
			return err
		}
		err = v.watch(ctx, operation(what, id), start, progress)
	}
	if err != nil || !disk.Grow {
		return err
	}
	return v.extend(ctx, id, file, disk.Capacity)
}

// left reads a machine that is being made and returns one of the disks that it is yet to have, and where its file is to
// lie.
func (v *Verbs) left(ctx context.Context, id facts.ID, verb string, number int,
	still Still) (facts.BuildDisk, string, error) {
	now, lately := v.seenLately(id)
	err := v.Writer.Do(ctx, operation(verb, id), func(ctx context.Context, client *vim25.Client) (err error) {
		if !lately || number == 0 {
			if now, err = v.read(ctx, client, id); err != nil {
				return err
			}
			v.sawNow(id, now)
		}
		return still(now.Machine)
	})
	switch {
	case err != nil:
		return facts.BuildDisk{}, "", err
	case now.Build == nil || number >= len(now.Build.Disks) || now.Home == "":
		return facts.BuildDisk{}, "", fmt.Errorf("%s: it is not to have that disk any more: %w", operation(verb, id),
			failure.Conflict)
	}
	return now.Build.Disks[number], now.DiskFile(number), nil
}

// look is what was read of a machine, and when.
type look struct {
	reading
	at time.Time
}

func (v *Verbs) clock() clock.PassiveClock {
	if v.Clock == nil {
		return clock.RealClock{}
	}
	return v.Clock
}

// seenLately is what was read of a machine before a disk of its was copied, if that was a moment ago.
func (v *Verbs) seenLately(id facts.ID) (reading, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	last, found := v.looks[id]
	return last.reading, found && v.clock().Since(last.at) < lookAge
}

// sawNow notes what was read of a machine, and forgets what was read of others longer ago.
func (v *Verbs) sawNow(id facts.ID, now reading) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.looks == nil {
		v.looks = map[facts.ID]look{}
	}
	maps.DeleteFunc(v.looks, func(_ facts.ID, l look) bool { return v.clock().Since(l.at) >= lookAge })
	v.looks[id] = look{reading: now, at: v.clock().Now()}
}

// watch runs a task, and cancels it when ctx ends.
func (v *Verbs) watch(ctx context.Context, operation string,
	start func(context.Context, *vim25.Client) (reference, error),
	progress func(int32)) error {
	info, err := v.Writer.WatchTask(ctx, operation, start, progress)
	if err == nil || ctx.Err() == nil || info == nil {
		return err
	}
	vcenter.Abandon(ctx, v.Writer, info.Task)
	return err
}

func (v *Verbs) extend(ctx context.Context, id facts.ID, file string, capacity int64) error {
	_, err := v.Writer.RunTask(ctx, operation("extend a disk of", id),
		func(ctx context.Context, client *vim25.Client) (reference, error) {
			datacenter, err := v.datacenter(ctx, client)
			if err != nil {
				return reference{}, err
			}
			response, err := methods.ExtendVirtualDisk_Task(ctx, client, &types.ExtendVirtualDisk_Task{
				This: *client.ServiceContent.VirtualDiskManager, Name: file, Datacenter: &datacenter,
				NewCapacityKb: capacity >> 10, EagerZero: types.NewBool(false),
			})
			if err != nil {
				return reference{}, err
			}
			return response.Returnval, nil
		})
	return err
}

// deleteDisk deletes a file that was copied for a machine and is not its disk yet. One that is not there is no failure.
// What the machine says is left to be made of it may be of another time, as after a revert to a snapshot, or written by
// somebody: so it is looked whether vCenter counts the file among the machine's. vCenter need not count those that it
// had at another time: so where it has snapshots nothing is deleted, unless the machine ends with that.
func (v *Verbs) deleteDisk(ctx context.Context, id facts.ID, file string, ends bool, still Still) error {
	_, err := v.Writer.RunTask(ctx, operation("delete a disk of", id),
		func(ctx context.Context, client *vim25.Client) (reference, error) {
			if err := v.decide(ctx, client, id, still); err != nil {
				return reference{}, err
			}
			switch has, snapshots, err := has(ctx, client, id, file); {
			case err != nil:
				return reference{}, err
			case snapshots && !ends:
				return reference{}, fmt.Errorf("%s %w", file, errSnapshots)
			case has:
				return reference{}, fmt.Errorf("%s %w", file, errAttached)
			}
			datacenter, err := v.datacenter(ctx, client)
			if err != nil {
				return reference{}, err
			}
			response, err := methods.DeleteVirtualDisk_Task(ctx, client, &types.DeleteVirtualDisk_Task{
				This: *client.ServiceContent.VirtualDiskManager, Name: file, Datacenter: &datacenter,
			})
			if err != nil {
				return reference{}, err
			}
			return response.Returnval, nil
		})
	if errors.Is(err, failure.NotFound) {
		return nil
	}
	return err
}

// has says whether a file is a machine's, as one of its disks, of what those stand on, or of its snapshots, and whether
// it has any of those.
func has(ctx context.Context, client *vim25.Client, id facts.ID, file string) (has, snapshots bool, err error) {
	var vm mo.VirtualMachine
	err = property.DefaultCollector(client).RetrieveOne(ctx, refer(id),
		[]string{"config.hardware.device", "layoutEx.file", PathCurrentSnapshot}, &vm)
	if err != nil {
		return false, false, err
	}
	snapshots = vm.Snapshot != nil
	if vm.LayoutEx != nil {
		for _, known := range vm.LayoutEx.File {
			if known.Name == file {
				return true, snapshots, nil
			}
		}
	}
	if vm.Config == nil {
		return false, snapshots, nil
	}
	for _, device := range vm.Config.Hardware.Device {
		backing, _ := device.GetVirtualDevice().Backing.(types.BaseVirtualDeviceFileBackingInfo)
		if backing != nil && backing.GetVirtualDeviceFileBackingInfo().FileName == file {
			return true, snapshots, nil
		}
	}
	return false, snapshots, nil
}

// discard deletes what was copied for a machine that is not to be made to its end.
func (v *Verbs) discard(ctx context.Context, id facts.ID, still Still) error {
	var now reading
	err := v.Writer.Do(ctx, operation("see what is left of", id),
		func(ctx context.Context, client *vim25.Client) (err error) {
			if now, err = v.read(ctx, client, id); err != nil {
				return err
			}
			return still(now.Machine)
		})
	if err != nil || now.Build == nil || now.Home == "" {
		return err
	}
	for number := range now.Build.Disks {
		err := v.deleteDisk(ctx, id, now.DiskFile(number), true, still)
		if err != nil && !errors.Is(err, errAttached) { // a disk of the machine goes with it
			return err
		}
	}
	return nil
}

// Finish gives a machine that is being made its disks and what its guest is told of options and properties, in one
// change. With that nothing is left to be made of it, unless its guest is to be customised.
func (v *Verbs) Finish(ctx context.Context, id facts.ID, disks []facts.Attachment, told facts.Told, still Still) error {
	err := v.finish(ctx, id, disks, told, still)
	if !errors.Is(err, failure.AlreadyExists) {
		return err
	}
	// A change that failed before has left the file of a disk that begins empty.
	for _, disk := range disks {
		if !disk.Create {
			continue
		}
		if err := v.deleteDisk(ctx, id, disk.File, false, still); err != nil {
			return err
		}
	}
	return v.finish(ctx, id, disks, told, still)
}

func (v *Verbs) finish(ctx context.Context, id facts.ID, disks []facts.Attachment, told facts.Told, still Still) error {
	v.mu.Lock()
	delete(v.looks, id) // nothing that was seen before counts after that
	v.mu.Unlock()
	return v.reconfigure(ctx, "finish", id, func(ctx context.Context, client *vim25.Client,
		now reading) (spec types.VirtualMachineConfigSpec, err error) {
		if err := still(now.Machine); err != nil {
			return spec, err
		}
		if now.Build == nil || now.Build.Assembled {
			return spec, fmt.Errorf("no disk is left to be made of it: %w", failure.Conflict)
		}
		// The record says so in the same change: nobody ever finds the one without the other.
		record, err := v.Keys.Encode(*now.Left(now.Build.Assemble()).Head, now.body)
		if err != nil {
			return spec, err
		}
		spec.ExtraConfig = append(options(told.Options), &types.OptionValue{Key: facts.RecordKey, Value: record})
		if keep := parents(disks); keep != "" {
			spec.ExtraConfig = append(spec.ExtraConfig, &types.OptionValue{Key: keepDisksKey, Value: keep})
		}
		if len(told.Properties) > 0 {
			if spec.VAppConfig, err = withValues(ctx, client, id, told.Properties); err != nil {
				return spec, err
			}
		}
		for number, disk := range disks {
			spec.DeviceChange = append(spec.DeviceChange, attach(disk, int32(-100-number), now.Build.Policy))
		}
		return spec, nil
	})
}

func attach(disk facts.Attachment, key int32, policy string) *types.VirtualDeviceConfigSpec {
	unit := disk.Unit
	change := &types.VirtualDeviceConfigSpec{
		Operation: types.VirtualDeviceConfigSpecOperationAdd, Profile: profile(policy),
		Device: &types.VirtualDisk{
			CapacityInBytes: disk.Capacity, CapacityInKB: disk.Capacity >> 10,
			VirtualDevice: types.VirtualDevice{Key: key, ControllerKey: disk.Controller, UnitNumber: &unit,
				Backing: &types.VirtualDiskFlatVer2BackingInfo{
					VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: disk.File},
					DiskMode:                     string(types.VirtualDiskModePersistent), ThinProvisioned: types.NewBool(true),
				}},
		},
	}
	if disk.Create {
		change.FileOperation = types.VirtualDeviceConfigSpecFileOperationCreate
	}
	if disk.Parent != "" {
		change.Device.(*types.VirtualDisk).Backing.(*types.VirtualDiskFlatVer2BackingInfo).Parent =
			&types.VirtualDiskFlatVer2BackingInfo{
				VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: disk.Parent},
				DiskMode:                     string(types.VirtualDiskModePersistent), ThinProvisioned: types.NewBool(true),
			}
	}
	return change
}

// parents are the names of what disks stand on, with commas between them.
func parents(disks []facts.Attachment) string {
	var names []string
	for _, disk := range disks {
		if disk.Parent != "" {
			names = append(names, path.Base(disk.Parent))
		}
	}
	return strings.Join(names, ",")
}

// datacenter is the one that the namespaces folder lies in: paths of files are told by it.
func (v *Verbs) datacenter(ctx context.Context, client *vim25.Client) (reference, error) {
	root := v.Root()
	v.mu.Lock()
	known, found := v.datacenters[root]
	v.mu.Unlock()
	if found {
		return known, nil
	}
	here, err := vcenter.DatacenterOf(ctx, client, refer(root))
	if err != nil {
		return reference{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.datacenters == nil {
		v.datacenters = map[facts.ID]reference{}
	}
	v.datacenters[root] = here
	return here, nil
}
