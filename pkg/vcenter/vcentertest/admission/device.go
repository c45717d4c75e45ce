// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"os"
	"reflect"
	"slices"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// devices is what a machine has while changes of it are looked at, one after the other.
type devices struct {
	*place
	present object.VirtualDeviceList
	// controllers are the keys of those that disks can have, units those that are taken.
	controllers map[int32]bool
	units       map[unit]bool
	// chained is that disks cannot grow, since a snapshot needs them as they are.
	chained bool
	// named are the keys of those that a request has changed or removed, and adapters how many there are then.
	named    map[int32]bool
	adapters int
	// wants is how much room each datastore has to have.
	wants map[*simulator.Datastore]int64
}

type unit struct{ controller, number int32 }

// mostAdapters are as many as a machine can have.
const mostAdapters = 10

// devices is why changes of a machine's devices are refused, nil when they are not. The fault says which of them it is.
func (p *place) devices(changes []types.BaseVirtualDeviceConfigSpec, present object.VirtualDeviceList,
	chained bool) types.BaseMethodFault {
	d := &devices{
		place: p, present: present, chained: chained, units: map[unit]bool{}, wants: map[*simulator.Datastore]int64{},
		named:       map[int32]bool{},
		controllers: map[int32]bool{200: true, 201: true}, // the two for IDE, which every machine has
	}
	for _, device := range present {
		d.note(device)
	}
	for i, change := range changes {
		if fault := d.change(change.GetVirtualDeviceConfigSpec(), int32(i)); fault != nil {
			return fault
		}
	}
	if d.adapters > mostAdapters {
		return &types.TooManyDevices{InvalidVmConfig: types.InvalidVmConfig{Property: "configSpec.deviceChange"}}
	}
	for datastore, room := range d.wants {
		if room > datastore.Summary.FreeSpace {
			return noSpace(datastore)
		}
	}
	return nil
}

func noSpace(datastore *simulator.Datastore) types.BaseMethodFault {
	return &types.NoDiskSpace{FileFault: types.FileFault{File: "[" + datastore.Name + "]"}, Datastore: datastore.Name}
}

// note counts a device that is there.
func (d *devices) note(device types.BaseVirtualDevice) {
	of := device.GetVirtualDevice()
	if _, ok := device.(types.BaseVirtualController); ok {
		d.controllers[of.Key] = true
	}
	if _, ok := device.(*types.VirtualDisk); ok && of.UnitNumber != nil {
		d.units[unit{of.ControllerKey, *of.UnitNumber}] = true
	}
	if _, ok := device.(types.BaseVirtualEthernetCard); ok {
		d.adapters++
	}
}

// invalid is a fault about a device of a request.
func invalid(index int32, property string) *types.InvalidDeviceSpec {
	fault := &types.InvalidDeviceSpec{DeviceIndex: index}
	fault.Property = "virtualDeviceSpec.device" + property
	return fault
}

func (d *devices) change(spec *types.VirtualDeviceConfigSpec, index int32) types.BaseMethodFault {
	if spec.Device == nil {
		return invalid(index, "")
	}
	key := spec.Device.GetVirtualDevice().Key
	found := d.present.FindByKey(key)
	if spec.Operation != types.VirtualDeviceConfigSpecOperationAdd {
		if found == nil || d.named[key] {
			return invalid(index, ".key")
		}
		d.named[key] = true
	}
	if spec.Operation == types.VirtualDeviceConfigSpecOperationEdit && reflect.TypeOf(found) != reflect.TypeOf(spec.Device) {
		return invalid(index, ".key") // a device stays what it is
	}
	if spec.Operation == types.VirtualDeviceConfigSpecOperationRemove {
		// The simulator takes what the request says of the device for what it is.
		spec.Device = found
		if _, ok := found.(types.BaseVirtualEthernetCard); ok {
			d.adapters--
		}
		if of := found.GetVirtualDevice(); of.UnitNumber != nil {
			delete(d.units, unit{of.ControllerKey, *of.UnitNumber})
		}
		return nil
	}
	switch device := spec.Device.(type) {
	case types.BaseVirtualEthernetCard:
		if spec.Operation == types.VirtualDeviceConfigSpecOperationAdd {
			d.adapters++
		}
		return d.adapter(device.GetVirtualEthernetCard(), index)
	case *types.VirtualDisk:
		if spec.Operation == types.VirtualDeviceConfigSpecOperationEdit {
			return d.grows(device, found, index)
		}
		return d.disk(device, spec.FileOperation, index)
	}
	if spec.Operation == types.VirtualDeviceConfigSpecOperationAdd {
		d.note(spec.Device)
	}
	return nil
}

// adapter is why an adapter cannot be connected to what it names.
func (p *place) adapter(card *types.VirtualEthernetCard, index int32) types.BaseMethodFault {
	switch backing := card.Backing.(type) {
	case *types.VirtualEthernetCardNetworkBackingInfo:
		network := p.ctx.Map.FindByName(backing.DeviceName, p.datacenter.Network)
		if network == nil || network.Reference().Type != "Network" {
			return invalid(index, ".backing")
		}
	case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
		ref := types.ManagedObjectReference{Type: "DistributedVirtualPortgroup", Value: backing.Port.PortgroupKey}
		group, ok := p.ctx.Map.Get(ref).(*simulator.DistributedVirtualPortgroup)
		if !ok || group.Config.DistributedVirtualSwitch == nil {
			return invalid(index, ".backing.port.portgroupKey")
		}
		dvs, ok := p.ctx.Map.Get(*group.Config.DistributedVirtualSwitch).(*simulator.DistributedVirtualSwitch)
		if !ok || dvs.Uuid != backing.Port.SwitchUuid {
			return new(types.NotFound)
		}
		if p.host != nil && !slices.Contains(dvs.Summary.HostMember, p.host.Self) {
			return &types.InvalidArgument{InvalidProperty: "spec.deviceChange.device.port.switchUuid"}
		}
	}
	return nil
}

// disk is why a disk cannot be added.
func (d *devices) disk(disk *types.VirtualDisk, operation types.VirtualDeviceConfigSpecFileOperation,
	index int32) types.BaseMethodFault {
	if disk.Backing == nil {
		return invalid(index, ".backing")
	}
	if fault := d.path(fileOf(disk)); fault != nil {
		return fault
	}
	if disk.UnitNumber == nil {
		return invalid(index, ".unitNumber")
	}
	at := unit{disk.ControllerKey, *disk.UnitNumber}
	if !d.controllers[at.controller] || d.units[at] {
		return invalid(index, ".controllerKey")
	}
	d.units[at] = true
	file, named := LocalPath(d.ctx, fileOf(disk))
	_, err := os.Stat(file)
	named = named && isDisk(file)
	switch {
	case operation == types.VirtualDeviceConfigSpecFileOperationCreate && named && err == nil:
		return &types.FileAlreadyExists{FileFault: types.FileFault{File: fileOf(disk)}}
	case operation == "" && (!named || err != nil) && len(d.present) > 0:
		// A new machine fails later than one that is there, and leaves its directory.
		return &types.FileNotFound{FileFault: types.FileFault{File: fileOf(disk)}}
	}
	if bytes, ok := CapacityOf(file); ok && operation == "" {
		disk.CapacityInBytes, disk.CapacityInKB = bytes, bytes>>10 // whatever the request says
	}
	if backing, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok && operation != "" &&
		!isTrue(backing.ThinProvisioned) && backing.Parent == nil {
		d.reserve(fileOf(disk), size(disk))
	}
	return nil
}

// grows is why a disk cannot be changed: it cannot shrink, and not grow while others need it as it is.
func (d *devices) grows(disk *types.VirtualDisk, found types.BaseVirtualDevice, index int32) types.BaseMethodFault {
	before, ok := found.(*types.VirtualDisk)
	if !ok || disk.Backing == nil {
		return invalid(index, ".backing")
	}
	if fault := d.path(fileOf(disk)); fault != nil {
		return fault
	}
	more := disk.CapacityInBytes - size(before)
	if disk.CapacityInBytes == 0 || more == 0 {
		more = disk.CapacityInKB<<10 - size(before)
	}
	if disk.CapacityInBytes == 0 && disk.CapacityInKB == 0 || more == 0 {
		disk.CapacityInBytes, disk.CapacityInKB = size(before), size(before)>>10
		return nil
	}
	linked := false
	switch backing := before.Backing.(type) {
	case *types.VirtualDiskFlatVer2BackingInfo:
		linked = backing.Parent != nil
		if !isTrue(backing.ThinProvisioned) {
			d.reserve(fileOf(before), more)
		}
	case *types.VirtualDiskSeSparseBackingInfo:
		linked = backing.Parent != nil
	}
	if more < 0 || linked || d.chained {
		return &types.InvalidDeviceOperation{InvalidDeviceSpec: *invalid(index, ".capacityInKB")}
	}
	// The simulator needs both, and takes what is not given for 0.
	disk.CapacityInBytes = size(before) + more
	disk.CapacityInKB = disk.CapacityInBytes >> 10
	return nil
}

// reserve notes that a disk needs its room at once.
func (d *devices) reserve(file string, bytes int64) {
	name := datastoreOf(file)
	if name == "" {
		name = d.home
	}
	if found := d.datastore(name); found != nil {
		d.wants[found] += bytes
	}
}

// size is how large a disk is, in bytes.
func size(disk *types.VirtualDisk) int64 {
	if disk.CapacityInBytes != 0 {
		return disk.CapacityInBytes
	}
	return disk.CapacityInKB << 10
}

// fileOf is the file of a disk, "" where it has none yet.
func fileOf(disk *types.VirtualDisk) string {
	if backing, ok := disk.Backing.(types.BaseVirtualDeviceFileBackingInfo); ok {
		return backing.GetVirtualDeviceFileBackingInfo().FileName
	}
	return ""
}

func labelOf(device types.BaseVirtualDevice) string {
	if info := device.GetVirtualDevice().DeviceInfo; info != nil {
		return info.GetDescription().Label
	}
	return ""
}
