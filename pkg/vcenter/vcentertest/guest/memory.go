// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// kept is what is remembered of the guest of one machine.
type kept struct {
	Reporting bool `json:"reporting,omitempty"`
	// Pending waits for the next start, Disk is what a customisation has left.
	Pending *types.CustomizationSpec `json:"pending,omitempty"`
	Disk    *types.CustomizationSpec `json:"disk,omitempty"`
	// Instance is what cloud-init has set up.
	Instance *Instance `json:"instance,omitempty"`
	// Leases are by the addresses of the adapters.
	Leases map[string]string `json:"leases,omitempty"`
}

// RememberOf is what RecallOf needs of the guest of a machine, nil for nothing.
func (g *Guests) RememberOf(object mo.Reference) (json.RawMessage, error) {
	vm, ok := object.(*simulator.VirtualMachine)
	if !ok {
		return nil, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	k := kept{Reporting: g.reporting[vm.Self], Instance: g.instances[vm.Self], Leases: map[string]string{}}
	if pending := g.pending[vm.Self]; pending != nil {
		k.Pending = pending.spec
	}
	if disk := g.disks[vm.Self]; disk != nil {
		k.Disk = disk.spec
	}
	for _, device := range vm.Config.Hardware.Device {
		if card, ok := device.(types.BaseVirtualEthernetCard); ok {
			mac := card.GetVirtualEthernetCard().MacAddress
			if lease, ok := g.leases[mac]; ok {
				k.Leases[mac] = lease.String()
			}
		}
	}
	if !k.Reporting && k.Pending == nil && k.Disk == nil && k.Instance == nil && len(k.Leases) == 0 {
		return nil, nil
	}
	var text bytes.Buffer
	err := types.NewJSONEncoder(&text).Encode(k)
	return text.Bytes(), err
}

// RecallOf takes up what a machine's guest was. Resume has it go on.
func (g *Guests) RecallOf(object mo.Reference, text json.RawMessage) error {
	var k kept
	if err := types.NewJSONDecoder(bytes.NewReader(text)).Decode(&k); err != nil {
		return fmt.Errorf("read what a guest was: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	ref := object.Reference()
	if k.Reporting {
		g.reporting[ref] = true
	}
	if k.Pending != nil {
		g.pending[ref] = customized(k.Pending)
	}
	if k.Disk != nil {
		g.disks[ref] = customized(k.Disk)
	}
	if k.Instance != nil {
		g.instances[ref] = k.Instance
	}
	for mac, text := range k.Leases {
		lease, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("read the lease of a guest: %w", err)
		}
		g.leases[mac] = lease
		g.taken[lease.Addr()] = true
	}
	return nil
}

// Resume has the guest of a machine go on after a start of vCenter: one that had started runs as it did, since machines
// run without a vCenter, and one that was about to starts now.
func (g *Guests) Resume(registry *simulator.Registry, vm *simulator.VirtualMachine) {
	const running = string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)
	if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn || !hasDisk(&vm.VirtualMachine) ||
		vm.Guest == nil || vm.Guest.ToolsRunningStatus == running {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	b := &boot{began: g.clock.Now()}
	if info := vm.Guest.CustomizationInfo; info != nil && info.CustomizationStatus == string(
		types.GuestInfoCustomizationStatusTOOLSDEPLOYPKG_RUNNING) {
		b.customising = true
		if info.StartTime != nil {
			b.began = *info.StartTime
		}
	}
	g.boot(&simulator.Context{Context: context.Background(), Map: registry}, vm.Self, b, g.after)
}
