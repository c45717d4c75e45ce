// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/admission"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/collector"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/guest"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/policy"
)

// virtualMachine refuses what vCenter refuses. Its methods run under the
// machine's lock, which a task that they start takes over: nothing comes between
// a check and what was checked.
type virtualMachine struct {
	*simulator.VirtualMachine
	tracker   *collector.Tracker
	policies  *policy.ProfileManager
	questions *questions
	gate      *gate
	guests    *guests
	macs      *macAddresses
	files     *openFiles
}

func (vm *virtualMachine) duplicate(name string) types.BaseMethodFault {
	parent := vm.tracker.Parent(vm.Self)
	if other, ok := vm.tracker.ChildNamed(parent, name, vm.Self); ok {
		return &types.DuplicateName{Name: name, Object: other}
	}
	return nil
}

// ReconfigVMTask checks the changeVersion, the name, the instanceUuid and the
// storage policies. Of a template only the name and the annotation can be changed.
func (vm *virtualMachine) ReconfigVMTask(ctx *simulator.Context, req *types.ReconfigVM_Task) soap.HasFault {
	fail := func(fault types.BaseMethodFault) soap.HasFault {
		return &methods.ReconfigVM_TaskBody{Res: &types.ReconfigVM_TaskResponse{
			Returnval: failed(ctx, vm.VirtualMachine, "reconfigVm", fault),
		}}
	}
	if version := req.Spec.ChangeVersion; version != "" && version != vm.Config.ChangeVersion {
		return fail(new(types.ConcurrentAccess))
	}
	if vm.Config.Template && len(req.Spec.ExtraConfig)+len(req.Spec.DeviceChange) > 0 {
		return fail(new(types.NotSupported))
	}
	if fault := admission.Reconfigure(ctx, vm.VirtualMachine, &req.Spec); fault != nil {
		return fail(fault)
	}
	if fault := vm.policies.Knows(policy.ProfilesOf(&req.Spec)...); fault != nil {
		return fail(fault)
	}
	if name := req.Spec.Name; name != "" && name != vm.Name {
		if fault := vm.duplicate(name); fault != nil {
			return fail(fault)
		}
		vm.setName(ctx, name)
	}
	if id := req.Spec.InstanceUuid; id != "" && vm.tracker.InstanceUUIDTaken(id, vm.Self) {
		req.Spec.InstanceUuid = uuid.NewString()
	}
	placeAdapters(vm.Config.Hardware.Device, req.Spec.DeviceChange)
	vm.macs.assign(vm.Config.InstanceUuid, vm.Config.Hardware.Device, req.Spec.DeviceChange)
	if touchesAdapters(req.Spec.DeviceChange) {
		vm.guests.plug(vm.Self, vm.Guest.Net)
	}
	keepAllocation(req.Spec.CpuAllocation, vm.Config.CpuAllocation)
	keepAllocation(req.Spec.MemoryAllocation, vm.Config.MemoryAllocation)
	self := vm.Self
	defer vm.policies.Expect(policy.Asks(&req.Spec), &self)()
	return vm.VirtualMachine.ReconfigVMTask(ctx, req)
}

// keepAllocation gives an allocation what it leaves out, of the one that there is: what is left out stays as it is.
func keepAllocation(spec, has *types.ResourceAllocationInfo) {
	if spec == nil || has == nil {
		return
	}
	if spec.Limit == nil {
		spec.Limit = has.Limit
	}
	if spec.Reservation == nil {
		spec.Reservation = has.Reservation
	}
	if spec.Shares == nil {
		spec.Shares = has.Shares
	}
}

func (vm *virtualMachine) setName(ctx *simulator.Context, name string) {
	ctx.Update(vm.VirtualMachine, []types.PropertyChange{
		{Name: "name", Val: name},
		{Name: "config.name", Val: name},
		{Name: "summary.config.name", Val: name},
		{Name: "config.changeVersion", Val: strconv.FormatInt(time.Now().UnixNano(), 10)},
		{Name: "config.modified", Val: time.Now()},
	})
}

// RenameTask changes the names in all places, and refuses one that is taken.
func (vm *virtualMachine) RenameTask(ctx *simulator.Context, req *types.Rename_Task) soap.HasFault {
	task := simulator.CreateTask(vm.VirtualMachine, "rename", func(*simulator.Task) (types.AnyType,
		types.BaseMethodFault) {
		if req.NewName == "" {
			return nil, &types.InvalidName{Name: req.NewName}
		}
		if fault := admission.Name(req.NewName); fault != nil {
			return nil, fault
		}
		if fault := vm.duplicate(req.NewName); fault != nil {
			return nil, fault
		}
		vm.setName(ctx, req.NewName)
		return nil, nil
	})
	return &methods.Rename_TaskBody{Res: &types.Rename_TaskResponse{Returnval: task.Run(ctx)}}
}

// CloneVMTask gives the clone identifiers of its own and the source's
// extraConfig, over which the request's goes; storage policies are the request's
// alone.
func (vm *virtualMachine) CloneVMTask(ctx *simulator.Context, req *types.CloneVM_Task) soap.HasFault {
	fail := func(fault types.BaseMethodFault) soap.HasFault {
		return &methods.CloneVM_TaskBody{Res: &types.CloneVM_TaskResponse{
			Returnval: failed(ctx, vm.VirtualMachine, "cloneVm", fault),
		}}
	}
	if other, ok := vm.tracker.ChildNamed(req.Folder, req.Name, types.ManagedObjectReference{}); ok {
		return fail(&types.DuplicateName{Name: req.Name, Object: other})
	}
	if fault := admission.Clone(ctx, vm.VirtualMachine, req); fault != nil {
		return fail(fault)
	}
	var config types.VirtualMachineConfigSpec
	if req.Spec.Config != nil {
		config = *req.Spec.Config
	}
	profiles := slices.Concat(policy.ProfilesOf(&config), req.Spec.Location.Profile)
	if fault := vm.policies.Knows(profiles...); fault != nil {
		return fail(fault)
	}
	if config.InstanceUuid == "" || vm.tracker.InstanceUUIDTaken(config.InstanceUuid, types.ManagedObjectReference{}) {
		config.InstanceUuid = uuid.NewString()
	}
	if config.Uuid == "" {
		config.Uuid = uuid.NewString()
	}
	asked := make(map[string]bool)
	for _, option := range config.ExtraConfig {
		asked[option.GetOptionValue().Key] = true
	}
	var inherited []types.BaseOptionValue
	for _, option := range vm.Config.ExtraConfig {
		if o := option.GetOptionValue(); !asked[o.Key] {
			inherited = append(inherited, &types.OptionValue{Key: o.Key, Value: o.Value})
		}
	}
	config.ExtraConfig = append(inherited, config.ExtraConfig...)
	req.Spec.Config = &config
	vm.tracker.BeginClone()
	defer vm.policies.Expect(policy.Asks(&types.VirtualMachineConfigSpec{VmProfile: slices.Concat(
		req.Spec.Location.Profile, config.VmProfile), DeviceChange: config.DeviceChange}), nil)()
	// The simulator notes the task that creates the clone in the folder.
	unlock := ctx.Map.AcquireLock(ctx, req.Folder)
	body := vm.VirtualMachine.CloneVMTask(ctx, req)
	if body.Fault() != nil {
		unlock()
		return body
	}
	task := body.(*methods.CloneVM_TaskBody).Res.Returnval
	go func() {
		defer unlock()
		_ = result(ctx, task)
	}()
	return body
}

// RelocateVMTask keeps the lists of hosts and pools true, moves between folders
// as MoveIntoFolder_Task does, and leaves the rest to the simulator.
func (vm *virtualMachine) RelocateVMTask(ctx *simulator.Context, req *types.RelocateVM_Task) soap.HasFault {
	task := simulator.CreateTask(vm.VirtualMachine, "relocateVm", func(*simulator.Task) (types.AnyType,
		types.BaseMethodFault) {
		if fault := admission.Relocate(ctx, vm.VirtualMachine, req); fault != nil {
			return nil, fault
		}
		if target := req.Spec.Folder; target != nil {
			if fault := moveInto(ctx, vm.tracker, vm.VirtualMachine, *target); fault != nil {
				return nil, fault
			}
			req.Spec.Folder = nil
		}
		host, pool := vm.Runtime.Host, vm.ResourcePool
		inner := vm.VirtualMachine.RelocateVMTask(ctx, req).(*methods.RelocateVM_TaskBody)
		if fault := result(ctx, inner.Res.Returnval); fault != nil {
			return nil, fault
		}
		relist(ctx, vm.Self, host, vm.Runtime.Host)
		relist(ctx, vm.Self, pool, vm.ResourcePool)
		return nil, nil
	})
	return &methods.RelocateVM_TaskBody{Res: &types.RelocateVM_TaskResponse{Returnval: task.Run(ctx)}}
}

// relist moves a machine from one host's or pool's list to another's.
func relist(ctx *simulator.Context, vm types.ManagedObjectReference, from, to *types.ManagedObjectReference) {
	list := func(ref types.ManagedObjectReference) *[]types.ManagedObjectReference {
		switch e := ctx.Map.Get(ref).(type) {
		case *simulator.HostSystem:
			return &e.Vm
		case *simulator.ResourcePool:
			return &e.Vm
		}
		return new([]types.ManagedObjectReference)
	}
	if from == nil || to == nil || *from == *to {
		return
	}
	ctx.Map.RemoveReference(ctx, *from, list(*from), vm)
	ctx.Map.AddReference(ctx, *to, list(*to), vm)
}

// guestReady is why vCenter would refuse to ask the guest for something.
func (vm *virtualMachine) guestReady() types.BaseMethodFault {
	if vm.questions.of(vm.Self) != nil {
		return new(types.InvalidState)
	}
	if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		return &types.InvalidPowerState{RequestedState: types.VirtualMachinePowerStatePoweredOn,
			ExistingState: vm.Runtime.PowerState}
	}
	if vm.Guest == nil || vm.Guest.ToolsRunningStatus != string(types.VirtualMachineToolsRunningStatusGuestToolsRunning) {
		return new(types.ToolsUnavailable)
	}
	return nil
}

// ShutdownGuest needs running tools.
func (vm *virtualMachine) ShutdownGuest(ctx *simulator.Context, req *types.ShutdownGuest) soap.HasFault {
	if fault := vm.guestReady(); fault != nil {
		return &methods.ShutdownGuestBody{Fault_: simulator.Fault("", fault)}
	}
	return vm.VirtualMachine.ShutdownGuest(ctx, req)
}

// StandbyGuest needs running tools.
func (vm *virtualMachine) StandbyGuest(ctx *simulator.Context, req *types.StandbyGuest) soap.HasFault {
	if fault := vm.guestReady(); fault != nil {
		return &methods.StandbyGuestBody{Fault_: simulator.Fault("", fault)}
	}
	return vm.VirtualMachine.StandbyGuest(ctx, req)
}

// MarkAsTemplate says so to who follows the machine.
func (vm *virtualMachine) MarkAsTemplate(ctx *simulator.Context, req *types.MarkAsTemplate) soap.HasFault {
	body := vm.VirtualMachine.MarkAsTemplate(req)
	if body.Fault() == nil {
		vm.setTemplate(ctx)
	}
	return body
}

// MarkAsVirtualMachine says so to who follows the machine.
func (vm *virtualMachine) MarkAsVirtualMachine(ctx *simulator.Context, req *types.MarkAsVirtualMachine) soap.HasFault {
	body := vm.VirtualMachine.MarkAsVirtualMachine(req)
	if body.Fault() == nil {
		vm.setTemplate(ctx)
	}
	return body
}

func (vm *virtualMachine) setTemplate(ctx *simulator.Context) {
	ctx.Update(vm.VirtualMachine, []types.PropertyChange{
		{Name: "config.template", Val: vm.Config.Template},
		{Name: "summary.config.template", Val: vm.Summary.Config.Template},
		{Name: "config.changeVersion", Val: strconv.FormatInt(time.Now().UnixNano(), 10)},
	})
}

// ResetVMTask needs a machine that is on.
func (vm *virtualMachine) ResetVMTask(ctx *simulator.Context, req *types.ResetVM_Task) soap.HasFault {
	if state := vm.Runtime.PowerState; state != types.VirtualMachinePowerStatePoweredOn {
		return &methods.ResetVM_TaskBody{Res: &types.ResetVM_TaskResponse{
			Returnval: failed(ctx, vm.VirtualMachine, "reset", &types.InvalidPowerState{
				RequestedState: types.VirtualMachinePowerStatePoweredOn, ExistingState: state,
			}),
		}}
	}
	task := simulator.CreateTask(vm.VirtualMachine, "reset", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		vm.tell(ctx, &types.VmResettingEvent{VmEvent: vm.event()})
		vm.guests.restarted(ctx, &vm.VirtualMachine.VirtualMachine)
		return nil, nil
	})
	return &methods.ResetVM_TaskBody{Res: &types.ResetVM_TaskResponse{Returnval: task.Run(ctx)}}
}

// RebootGuest needs running tools. The simulator's own leaves no trace.
func (vm *virtualMachine) RebootGuest(ctx *simulator.Context, req *types.RebootGuest) soap.HasFault {
	body := vm.VirtualMachine.RebootGuest(ctx, req)
	if body.Fault() == nil {
		vm.tell(ctx, &types.VmGuestRebootEvent{VmEvent: vm.event()})
		vm.guests.restarted(ctx, &vm.VirtualMachine.VirtualMachine)
	}
	return body
}

func (vm *virtualMachine) event() types.VmEvent {
	return types.VmEvent{Event: types.Event{Vm: &types.VmEventArgument{
		EntityEventArgument: types.EntityEventArgument{Name: vm.Name}, Vm: vm.Self,
	}}}
}

// tell posts an event.
func (vm *virtualMachine) tell(ctx *simulator.Context, event types.BaseEvent) {
	manager := ctx.Map.EventManager()
	ctx.WithLock(manager, func() { manager.PostEvent(ctx, &types.PostEvent{EventToPost: event}) })
}

// AcquireTicket hands out a ticket for the console of a machine that is on.
func (vm *virtualMachine) AcquireTicket(ctx *simulator.Context, req *types.AcquireTicket) soap.HasFault {
	body := new(methods.AcquireTicketBody)
	switch types.VirtualMachineTicketType(req.TicketType) {
	case types.VirtualMachineTicketTypeWebmks, types.VirtualMachineTicketTypeMks:
	default:
		body.Fault_ = simulator.Fault("", &types.InvalidArgument{InvalidProperty: "ticketType"})
		return body
	}
	if state := vm.Runtime.PowerState; state != types.VirtualMachinePowerStatePoweredOn {
		body.Fault_ = simulator.Fault("", &types.InvalidPowerState{
			RequestedState: types.VirtualMachinePowerStatePoweredOn, ExistingState: state,
		})
		return body
	}
	ticket := uuid.NewString()
	host := ctx.Map.SessionManager().ServiceHostName
	body.Res = &types.AcquireTicketResponse{Returnval: types.VirtualMachineTicket{
		Ticket: ticket, CfgFile: vm.Config.Files.VmPathName, Host: host, Url: "wss://" + host + "/ticket/" + ticket,
	}}
	return body
}

// guests plays the guests: what their tools report goes away when a machine
// stops and comes back when it starts.
type guests struct {
	types.ManagedObjectReference
	asleep *guestMemory
	// own are guests that start by themselves, nil for none.
	own *guest.Guests
}

func newGuests(own *guest.Guests) *guests {
	return &guests{
		own:                    own,
		ManagedObjectReference: types.ManagedObjectReference{Type: "VcentertestGuests", Value: "guests"},
		asleep:                 newGuestMemory(),
	}
}

// PutObject implements simulator.RegisterObject.
func (*guests) PutObject(*simulator.Context, mo.Reference) {}

// RemoveObject implements simulator.RegisterObject.
func (g *guests) RemoveObject(_ *simulator.Context, ref types.ManagedObjectReference) {
	g.asleep.take(ref)
	if g.own != nil {
		g.own.Forget(ref)
	}
}

// UpdateObject implements simulator.RegisterObject. It runs under the machine's
// lock, within the simulator's own notice of the change of power.
func (g *guests) UpdateObject(ctx *simulator.Context, o mo.Reference, changes []types.PropertyChange) {
	vm, ok := o.(*mo.VirtualMachine)
	if !ok {
		return
	}
	for _, change := range changes {
		switch change.Name {
		case "runtime.powerState":
			g.powered(ctx, vm)
		case "config.hardware.device":
			g.plugged(ctx, vm)
		}
	}
}

// restarted has the guest of a machine that stays on begin anew. The caller holds the machine's lock.
func (g *guests) restarted(ctx *simulator.Context, vm *mo.VirtualMachine) {
	if g.own == nil || !g.own.PowerOff(vm.Self) {
		return
	}
	changes := append(guest.Silent(), asleep(vm.Guest)...)
	ctx.Map.Update(ctx, vm, append(changes, g.own.PowerOn(ctx, vm)...))
}

func (g *guests) powered(ctx *simulator.Context, vm *mo.VirtualMachine) {
	// The simulator leaves the version of a configuration that power changes: its devices are connected, or are not.
	changes := []types.PropertyChange{
		{Name: "config.changeVersion", Val: strconv.FormatInt(time.Now().UnixNano(), 10)}, {Name: "config.modified",
			Val: time.Now()},
	}
	if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
		changes = append(changes, types.PropertyChange{Name: "runtime.bootTime", Val: time.Now()})
		if facts, ok := g.asleep.take(vm.Self); ok {
			changes = append(changes, facts...)
		} else if g.own != nil {
			changes = append(changes, g.own.PowerOn(ctx, vm)...)
		}
		ctx.Map.Update(ctx, vm, changes)
		return
	}
	if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOff {
		changes = append(changes, types.PropertyChange{Name: "runtime.bootTime"})
	}
	over := false
	switch {
	case g.own == nil:
	case vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOff:
		over = g.own.PowerOff(vm.Self)
	default:
		g.own.Suspend(vm.Self)
	}
	if over {
		changes = append(changes, guest.Silent()...)
	}
	if guest := vm.Guest; guest != nil && guest.ToolsRunningStatus == string(
		types.VirtualMachineToolsRunningStatusGuestToolsRunning) {
		if !over { // else it starts anew
			g.asleep.keep(vm.Self, *guest)
		}
		changes = append(changes, asleep(guest)...)
	}
	ctx.Map.Update(ctx, vm, changes)
}
