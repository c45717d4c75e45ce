// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// Create is why vCenter would not make a machine in a folder, nil when it would. It chooses a host where the request
// names none, and a directory, and completes the request by them.
func Create(ctx *simulator.Context, folder types.ManagedObjectReference,
	req *types.CreateVM_Task) types.BaseMethodFault {
	datacenter, ok := above[*simulator.Datacenter](ctx, folder)
	if !ok {
		return new(types.NotSupported)
	}
	if ctx.Map.Get(req.Pool) == nil {
		return &types.ManagedObjectNotFound{Obj: req.Pool}
	}
	if req.Config.Files == nil || req.Config.Files.VmPathName == "" {
		return &types.InvalidVmConfig{Property: "configSpec.files.vmPathName"}
	}
	p := &place{ctx: ctx, datacenter: datacenter, home: datastoreOf(req.Config.Files.VmPathName)}
	if p.home == "" {
		return &types.InvalidDatastorePath{DatastorePath: req.Config.Files.VmPathName}
	}
	if fault := p.files(req.Config.Files); fault != nil {
		return fault
	}
	if fault := hardware(&req.Config, nil); fault != nil {
		return fault
	}
	if fault := extraConfig(&req.Config, nil); fault != nil {
		return fault
	}
	if fault := p.choose(req.Pool, req.Host, &req.Config); fault != nil {
		return fault
	}
	if fault := p.devices(req.Config.DeviceChange, nil, false); fault != nil {
		return fault
	}
	req.Host = &p.host.Self
	Home(ctx, &req.Config)
	return nil
}

// Register is why vCenter would not take a machine into the inventory, nil when it would.
func Register(ctx *simulator.Context, folder types.ManagedObjectReference,
	req *types.RegisterVM_Task) types.BaseMethodFault {
	datacenter, ok := above[*simulator.Datacenter](ctx, folder)
	if !ok {
		return new(types.NotSupported)
	}
	if req.Path == "" {
		return &types.InvalidArgument{InvalidProperty: "path"}
	}
	p := &place{ctx: ctx, datacenter: datacenter, home: datastoreOf(req.Path)}
	if fault := p.path(req.Path); fault != nil || req.Pool == nil {
		return fault
	}
	fault := p.choose(*req.Pool, req.Host, &types.VirtualMachineConfigSpec{Files: &types.VirtualMachineFileInfo{
		VmPathName: req.Path}})
	if fault == nil {
		req.Host = &p.host.Self
	}
	return fault
}

// Reconfigure is why vCenter would not change a machine, nil when it would. It completes devices that a request removes
// by what they are, of which only the key needs to be right.
func Reconfigure(ctx *simulator.Context, vm *simulator.VirtualMachine,
	spec *types.VirtualMachineConfigSpec) types.BaseMethodFault {
	p, fault := of(ctx, vm)
	if fault != nil {
		return fault
	}
	if spec.Files != nil {
		if fault := p.files(spec.Files); fault != nil {
			return fault
		}
	}
	if fault := hardware(spec, vm.Config); fault != nil {
		return fault
	}
	if fault := running(spec, vm); fault != nil {
		return fault
	}
	if fault := p.devices(spec.DeviceChange, vm.Config.Hardware.Device, vm.Snapshot != nil); fault != nil {
		return fault
	}
	return extraConfig(spec, vm.Config.ExtraConfig)
}

// Clone is why vCenter would not clone a machine, nil when it would.
func Clone(ctx *simulator.Context, vm *simulator.VirtualMachine, req *types.CloneVM_Task) types.BaseMethodFault {
	p, fault := of(ctx, vm)
	if fault != nil {
		return fault
	}
	if host := req.Spec.Location.Host; host != nil {
		p.host, _ = ctx.Map.Get(*host).(*simulator.HostSystem)
	}
	if ref := req.Spec.Location.Datastore; ref != nil {
		datastore, _ := ctx.Map.Get(*ref).(*simulator.Datastore)
		if fault := p.path("[" + datastore.Name + "]"); fault != nil {
			return fault
		}
		p.home = datastore.Name
	}
	for _, device := range vm.Config.Hardware.Device {
		disk, ok := device.(*types.VirtualDisk)
		if _, flat := device.GetVirtualDevice().Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok && !flat {
			return &types.DeviceNotSupported{Device: labelOf(disk)}
		}
	}
	changes := req.Spec.Location.DeviceChange
	if req.Spec.Config != nil {
		changes = append(changes[:len(changes):len(changes)], req.Spec.Config.DeviceChange...)
	}
	return p.devices(changes, vm.Config.Hardware.Device, false)
}

// Relocate is why vCenter would not move a machine to another place, nil when it would.
func Relocate(ctx *simulator.Context, vm *simulator.VirtualMachine, req *types.RelocateVM_Task) types.BaseMethodFault {
	p, fault := of(ctx, vm)
	if fault != nil {
		return fault
	}
	if pool := req.Spec.Pool; pool != nil && pool.Type != "ResourcePool" {
		return &types.NotSupported{}
	}
	return p.devices(req.Spec.DeviceChange, vm.Config.Hardware.Device, vm.Snapshot != nil)
}

// of is the place where a machine is.
func of(ctx *simulator.Context, vm *simulator.VirtualMachine) (*place, types.BaseMethodFault) {
	datacenter, ok := above[*simulator.Datacenter](ctx, vm.Self)
	if !ok || vm.Runtime.Host == nil {
		return nil, &types.ManagedObjectNotFound{Obj: vm.Self} // it is being destroyed
	}
	host, _ := ctx.Map.Get(*vm.Runtime.Host).(*simulator.HostSystem)
	return &place{ctx: ctx, datacenter: datacenter, host: host, home: datastoreOf(vm.Config.Files.VmPathName)}, nil
}

func (p *place) files(files *types.VirtualMachineFileInfo) types.BaseMethodFault {
	for _, name := range []string{files.VmPathName, files.SnapshotDirectory, files.SuspendDirectory, files.LogDirectory} {
		if fault := p.path(name); fault != nil {
			return fault
		}
	}
	return nil
}

// choose finds the host that a new machine is on, which mounts all that the machine names.
func (p *place) choose(pool types.ManagedObjectReference, asked *types.ManagedObjectReference,
	spec *types.VirtualMachineConfigSpec) (fault types.BaseMethodFault) {
	var datastores []types.ManagedObjectReference
	names := []string{spec.Files.VmPathName, spec.Files.SnapshotDirectory, spec.Files.SuspendDirectory,
		spec.Files.LogDirectory}
	for _, change := range spec.DeviceChange {
		if disk, ok := change.GetVirtualDeviceConfigSpec().Device.(*types.VirtualDisk); ok && disk.Backing != nil {
			names = append(names, fileOf(disk))
		}
	}
	for _, name := range names {
		if found := p.datastore(datastoreOf(name)); found != nil {
			datastores = append(datastores, found.Self)
		}
	}
	if asked == nil {
		p.host, fault = Host(p.ctx, pool, datastores)
		return fault
	}
	for _, ref := range hosts(p.ctx, pool) {
		if ref == *asked {
			p.host = p.ctx.Map.Get(ref).(*simulator.HostSystem)
		}
	}
	if p.host == nil {
		return &types.InvalidArgument{InvalidProperty: "host"}
	}
	for _, name := range names {
		if fault := p.path(name); fault != nil {
			return fault
		}
	}
	return nil
}

// datastoreOf is the datastore in a path, "" where there is none.
func datastoreOf(name string) string {
	var at object.DatastorePath
	at.FromString(name)
	return at.Datastore
}
