// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

const pathDevices = "config.hardware.device"

// Cdroms are those of a machine's drives in which there is an ISO image, in the order of their keys.
func Cdroms(devices []types.BaseVirtualDevice) []facts.Cdrom {
	var list []facts.Cdrom
	for _, device := range devices {
		drive, ok := device.(*types.VirtualCdrom)
		if !ok {
			continue
		}
		backing, ok := drive.Backing.(*types.VirtualCdromIsoBackingInfo)
		if !ok {
			continue
		}
		one := facts.Cdrom{Key: drive.Key, File: backing.FileName}
		if c := drive.Connectable; c != nil {
			one.Connected, one.StartConnected, one.GuestControl = c.Connected, c.StartConnected, c.AllowGuestControl
		}
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b facts.Cdrom) int { return cmp.Compare(a.Key, b.Key) })
	return list
}

// SetDrives gives a machine the CD-ROM drives that it is to have with ISO images in them, as far as that can be done in
// its power state, under the version of the configuration that still was shown. permits is asked of each disc that
// comes into a drive, and its error ends the act. Drives with anything else in them stay.
func (v *Verbs) SetDrives(ctx context.Context, id facts.ID, drives facts.Drives, still Still,
	permits func(facts.Drive) error) error {
	return v.configure(ctx, "change the CD-ROM drives of", id, func(ctx context.Context, client *vim25.Client,
		now reading) (spec types.VirtualMachineConfigSpec, err error) {
		if err := still(now.Machine); err != nil {
			return spec, err
		}
		devices, err := devicesOf(ctx, client, id)
		if err != nil {
			return spec, err
		}
		changes := facts.Possible(drives.Changes(Cdroms(devices), now.PowerState), now.PowerState)
		if len(changes) == 0 {
			return spec, errAsWanted
		}
		for _, change := range changes {
			if change.Inserts {
				if err := permits(*change.To); err != nil {
					return spec, err
				}
			}
		}
		spec.DeviceChange, err = driveChanges(devices, changes, now.PowerState == facts.PoweredOn)
		return spec, err
	})
}

func devicesOf(ctx context.Context, client *vim25.Client, id facts.ID) (object.VirtualDeviceList, error) {
	var vm mo.VirtualMachine
	err := property.DefaultCollector(client).RetrieveOne(ctx, refer(id), []string{pathDevices}, &vm)
	switch {
	case err != nil:
		return nil, err
	case vm.Config == nil:
		return nil, fmt.Errorf("vCenter does not tell its devices: %w", failure.Unavailable)
	}
	return vm.Config.Hardware.Device, nil
}

// driveChanges are changes of drives in vCenter's words. What is taken away makes room for what is added.
func driveChanges(devices object.VirtualDeviceList, changes []facts.DriveChange,
	on bool) ([]types.BaseVirtualDeviceConfigSpec, error) {
	var list []types.BaseVirtualDeviceConfigSpec
	say := func(operation types.VirtualDeviceConfigSpecOperation, device types.BaseVirtualDevice) {
		list = append(list, &types.VirtualDeviceConfigSpec{Operation: operation, Device: device})
	}
	for _, change := range changes {
		if change.To == nil {
			gone := devices.FindByKey(change.Key)
			say(types.VirtualDeviceConfigSpecOperationRemove, gone)
			devices = devices.Select(func(d types.BaseVirtualDevice) bool { return d != gone })
		}
	}
	for _, change := range changes {
		switch {
		case change.To == nil:
		case change.Key != 0:
			drive := *devices.FindByKey(change.Key).(*types.VirtualCdrom)
			fillDrive(&drive, *change.To, on)
			say(types.VirtualDeviceConfigSpecOperationEdit, &drive)
		default:
			controller := driveController(devices)
			if controller == nil {
				added, err := devices.CreateSATAController()
				if err != nil {
					return nil, fmt.Errorf("no controller has room for one more CD-ROM drive: %w: %w", err, failure.Invalid)
				}
				devices = append(devices, added)
				say(types.VirtualDeviceConfigSpecOperationAdd, added)
				controller = added.(types.BaseVirtualController)
			}
			drive := &types.VirtualCdrom{}
			fillDrive(drive, *change.To, on)
			devices.AssignController(drive, controller)
			devices = append(devices, drive)
			say(types.VirtualDeviceConfigSpecOperationAdd, drive)
		}
	}
	return list, nil
}

// driveController is one that has room for a drive, nil for none: of IDE, which every guest can start from, before
// SATA.
func driveController(devices object.VirtualDeviceList) types.BaseVirtualController {
	if ide := devices.PickController((*types.VirtualIDEController)(nil)); ide != nil {
		return ide
	}
	return devices.PickController((*types.VirtualAHCIController)(nil))
}

// fillDrive puts an image into a drive. None is connected while the machine is off.
func fillDrive(drive *types.VirtualCdrom, to facts.Drive, on bool) {
	drive.Backing = &types.VirtualCdromIsoBackingInfo{
		VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: to.File},
	}
	drive.Connectable = &types.VirtualDeviceConnectInfo{
		StartConnected: to.Connected, Connected: to.Connected && on, AllowGuestControl: to.GuestControl,
	}
}
