// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/utils/clock"
)

// Behaviour is what a guest does other than to start and report.
type Behaviour struct {
	// NoTools is a guest that never reports, NoAddress one that gets no address.
	NoTools, NoAddress bool
	// CustomizationFails is why a customisation does; the guest starts as if there had been none.
	CustomizationFails string
	// Heartbeat is green by default.
	Heartbeat types.ManagedEntityStatus
	// After is how long it takes to start; 0 is as long as all others.
	After time.Duration
}

// Guests are those of one vCenter.
type Guests struct {
	clock clock.WithDelayedExecution
	after time.Duration
	// enter has something done while nothing else changes the inventory.
	enter func(func())

	mu         sync.Mutex
	behaviours map[string]Behaviour // by the name of the machine
	booting    map[types.ManagedObjectReference]*boot
	reporting  map[types.ManagedObjectReference]bool
	pending    map[types.ManagedObjectReference]*Customized // what waits for the next start
	disks      map[types.ManagedObjectReference]*Customized // what a customisation has left on the disk
	notes      map[types.ManagedObjectReference][]string
	instances  map[types.ManagedObjectReference]*Instance // what cloud-init has left on the disk
	leases     map[string]netip.Prefix
	taken      map[netip.Addr]bool // which leases have
	closed     bool
	started    sync.WaitGroup
}

// boot is one start of a guest.
type boot struct {
	timer       clock.Timer
	customising bool
	began       time.Time
}

// New returns guests that take their time to start.
func New(clock clock.WithDelayedExecution, after time.Duration, enter func(func())) *Guests {
	return &Guests{
		clock: clock, after: after, enter: enter, behaviours: map[string]Behaviour{},
		booting:   map[types.ManagedObjectReference]*boot{},
		reporting: map[types.ManagedObjectReference]bool{}, disks: map[types.ManagedObjectReference]*Customized{},
		pending:   map[types.ManagedObjectReference]*Customized{},
		instances: map[types.ManagedObjectReference]*Instance{}, notes: map[types.ManagedObjectReference][]string{}, leases: map[string]netip.Prefix{},
		taken: map[netip.Addr]bool{},
	}
}

// Will says what the guest of the machine of a name does from its next start on.
func (g *Guests) Will(machine string, b Behaviour) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.behaviours[machine] = b
}

// Notes are what the guest of a machine could not read when it started last.
func (g *Guests) Notes(machine types.ManagedObjectReference) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.notes[machine]...)
}

// Close stops all guests that are about to start.
func (g *Guests) Close() {
	g.mu.Lock()
	g.closed = true
	for _, b := range g.booting {
		b.timer.Stop()
	}
	g.mu.Unlock()
	g.started.Wait()
}

// PowerOn has the guest of a machine start, if it has a disk to start from. It returns what is not to be seen until
// then: the simulator customises a machine in the moment in which it is powered on. The caller holds the machine's
// lock.
func (g *Guests) PowerOn(ctx *simulator.Context, vm *mo.VirtualMachine) (hidden []types.PropertyChange) {
	if !hasDisk(vm) {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	b := &boot{began: g.clock.Now()}
	if waits := g.pending[vm.Self]; waits != nil {
		delete(g.pending, vm.Self)
		g.disks[vm.Self] = waits
		b.customising = true
		hidden = g.hide(vm, b.began)
	}
	after := g.after
	if own := g.behaviours[vm.Name].After; own > 0 {
		after = own
	}
	g.boot(&simulator.Context{Context: context.Background(), Map: ctx.Map}, vm.Self, b, after)
	return hidden
}

// boot has a guest start after a while. The caller holds mu.
func (g *Guests) boot(ctx *simulator.Context, vm types.ManagedObjectReference, b *boot, after time.Duration) {
	g.booting[vm] = b
	// Apart from whoever has the clock in their hands, and may hold its lock.
	b.timer = g.clock.AfterFunc(after, func() { go g.starts(func() { g.start(ctx, vm, b) }) })
}

// Customize has a customisation wait for the next start of a machine.
func (g *Guests) Customize(vm types.ManagedObjectReference, spec *types.CustomizationSpec) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pending[vm] = customized(spec)
}

// hide takes back what the simulator has told already of a customisation.
func (g *Guests) hide(vm *mo.VirtualMachine, began time.Time) []types.PropertyChange {
	adapters := append([]types.GuestNicInfo(nil), vm.Guest.Net...)
	for i := range adapters {
		adapters[i].IpAddress, adapters[i].IpConfig = nil, nil
	}
	return []types.PropertyChange{
		{Name: "guest.customizationInfo", Val: &types.GuestInfoCustomizationInfo{
			CustomizationStatus: string(types.GuestInfoCustomizationStatusTOOLSDEPLOYPKG_RUNNING), StartTime: &began,
		}},
		{Name: "guest.hostName", Val: ""}, {Name: "summary.guest.hostName", Val: ""},
		{Name: "guest.ipAddress", Val: ""}, {Name: "summary.guest.ipAddress", Val: ""}, {Name: "guest.net", Val: adapters},
	}
}

// starts runs f unless the guests are closed.
func (g *Guests) starts(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.started.Go(f)
	}
}

// start has a guest report, if nothing has come between.
func (g *Guests) start(ctx *simulator.Context, ref types.ManagedObjectReference, b *boot) {
	g.enter(func() {
		vm, ok := ctx.Map.Get(ref).(*simulator.VirtualMachine)
		if !ok {
			return
		}
		ctx.WithLock(vm, func() {
			g.mu.Lock()
			current := g.booting[ref] == b
			if current {
				delete(g.booting, ref)
			}
			g.mu.Unlock()
			const running = string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)
			on := vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
			if current && on && vm.Guest.ToolsRunningStatus != running {
				ctx.Update(vm, g.report(ctx, vm, b))
			}
		})
	})
}

// report is what a guest tells when it has started.
func (g *Guests) report(ctx *simulator.Context, vm *simulator.VirtualMachine,
	b *boot) (changes []types.PropertyChange) {
	g.mu.Lock()
	defer g.mu.Unlock()
	will := g.behaviours[vm.Name]
	if will.NoTools {
		return nil
	}
	if b.customising {
		now := g.clock.Now()
		info := &types.GuestInfoCustomizationInfo{
			CustomizationStatus: string(types.GuestInfoCustomizationStatusTOOLSDEPLOYPKG_SUCCEEDED), StartTime: &b.began,
			EndTime: &now,
		}
		if will.CustomizationFails != "" {
			info.CustomizationStatus, info.ErrorMsg = string(types.GuestInfoCustomizationStatusTOOLSDEPLOYPKG_FAILED),
				will.CustomizationFails
			delete(g.disks, vm.Self)
		}
		changes = append(changes, types.PropertyChange{Name: "guest.customizationInfo", Val: info})
	}
	m := seenBy(ctx, vm)
	m.Customized, m.Instance = g.disks[vm.Self], g.instances[vm.Self]
	r := start(m, g.lease)
	if r.instance != nil {
		g.instances[vm.Self] = r.instance
	}
	if will.NoAddress {
		r.first = ""
		for i := range r.adapters {
			r.adapters[i].IpAddress, r.adapters[i].IpConfig = nil, nil
		}
	}
	heartbeat := will.Heartbeat
	if heartbeat == "" {
		heartbeat = types.ManagedEntityStatusGreen
	}
	g.notes[vm.Self], g.reporting[vm.Self] = r.notes, true
	return append(changes, r.changes(m, heartbeat)...)
}

// PowerOff stops the guest of a machine. It says whether the guest has reported, so that what it has told is over.
func (g *Guests) PowerOff(vm types.ManagedObjectReference) (reported bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stop(vm)
	reported = g.reporting[vm]
	delete(g.reporting, vm)
	return reported
}

// Suspend stops the guest of a machine, which goes on later as it was, if it had started.
func (g *Guests) Suspend(vm types.ManagedObjectReference) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stop(vm)
}

// Forget lets a machine go.
func (g *Guests) Forget(vm types.ManagedObjectReference) {
	g.PowerOff(vm)
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.pending, vm)
	delete(g.disks, vm)
	delete(g.notes, vm)
	delete(g.instances, vm)
}

// stop keeps a guest from starting. The caller holds mu.
func (g *Guests) stop(vm types.ManagedObjectReference) {
	if b := g.booting[vm]; b != nil {
		b.timer.Stop()
		delete(g.booting, vm)
	}
}

// Silent is what is not told any more of a guest that has stopped, besides its tools and addresses.
func Silent() []types.PropertyChange {
	const not = string(types.VirtualMachineToolsRunningStatusGuestToolsNotRunning)
	return []types.PropertyChange{
		{Name: "guest.guestOperationsReady", Val: false},
		{Name: "summary.guest.toolsRunningStatus", Val: not}, {Name: "summary.guest.toolsStatus",
			Val: types.VirtualMachineToolsStatusToolsNotRunning},
		{Name: "guestHeartbeatStatus", Val: types.ManagedEntityStatusGray}, {Name: "summary.quickStats.guestHeartbeatStatus",
			Val: types.ManagedEntityStatusGray},
	}
}

// lease is the address that an adapter gets by DHCP. The caller holds mu.
func (g *Guests) lease(mac string) netip.Prefix {
	if known, ok := g.leases[mac]; ok {
		return known
	}
	n := len(g.leases) + 10 // the first ones are the network's own
	for g.taken[address(n)] && n < mostLeases {
		n++
	}
	leased := netip.PrefixFrom(address(n), 16)
	g.leases[mac], g.taken[leased.Addr()] = leased, true
	return leased
}

// mostLeases is how many addresses there are; after that they are given twice.
const mostLeases = 60_000

// address is the n-th of the network.
func address(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 66, byte(n / 250), byte(n%250 + 1)})
}

func hasDisk(vm *mo.VirtualMachine) bool {
	for _, device := range vm.Config.Hardware.Device {
		if _, ok := device.(*types.VirtualDisk); ok {
			return true
		}
	}
	return false
}

// seenBy is what a guest sees of its machine. The caller holds the machine's lock.
func seenBy(ctx *simulator.Context, vm *simulator.VirtualMachine) *Machine {
	m := &Machine{Name: vm.Name, GuestID: vm.Config.GuestId, ExtraConfig: map[string]string{},
		Properties: map[string]string{}}
	for _, option := range vm.Config.ExtraConfig {
		if o := option.GetOptionValue(); o != nil {
			m.ExtraConfig[o.Key], _ = o.Value.(string)
		}
	}
	if vm.Config.VAppConfig != nil {
		for _, property := range vm.Config.VAppConfig.GetVmConfigInfo().Property {
			m.Properties[property.Id] = property.Value
			if property.Value == "" {
				m.Properties[property.Id] = property.DefaultValue
			}
		}
	}
	for _, device := range vm.Config.Hardware.Device {
		if card, ok := device.(types.BaseVirtualEthernetCard); ok {
			m.Adapters = append(m.Adapters, adapter(ctx, card.GetVirtualEthernetCard()))
		}
	}
	return m
}

func adapter(ctx *simulator.Context, card *types.VirtualEthernetCard) Adapter {
	a := Adapter{Key: card.Key, MAC: card.MacAddress, Connected: card.Connectable == nil || card.Connectable.Connected}
	switch backing := card.Backing.(type) {
	case *types.VirtualEthernetCardNetworkBackingInfo:
		a.Network = backing.DeviceName
	case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
		ref := types.ManagedObjectReference{Type: "DistributedVirtualPortgroup", Value: backing.Port.PortgroupKey}
		if group, ok := ctx.Map.Get(ref).(*simulator.DistributedVirtualPortgroup); ok {
			a.Network = group.Name
		}
	}
	return a
}

// Idle says whether no guest is about to start.
func (g *Guests) Idle() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.booting) == 0
}
