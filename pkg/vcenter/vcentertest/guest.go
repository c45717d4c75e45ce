// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// guestMemory keeps what a guest reports while its machine is not running.
type guestMemory struct {
	mu    sync.Mutex
	facts map[types.ManagedObjectReference]types.GuestInfo
	// adapters are what guests told of theirs before their machines' are changed.
	adapters map[types.ManagedObjectReference][]types.GuestNicInfo
}

func newGuestMemory() *guestMemory {
	return &guestMemory{facts: make(map[types.ManagedObjectReference]types.GuestInfo),
		adapters: make(map[types.ManagedObjectReference][]types.GuestNicInfo)}
}

func (m *guestMemory) keep(ref types.ManagedObjectReference, facts types.GuestInfo) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.facts[ref] = facts
}

func (m *guestMemory) take(ref types.ManagedObjectReference) ([]types.PropertyChange, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	facts, ok := m.facts[ref]
	delete(m.facts, ref)
	return awake(&facts), ok
}

// RememberOf is what RecallOf needs of a machine, nil for nothing.
func (m *guestMemory) RememberOf(object mo.Reference) (json.RawMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	facts, ok := m.facts[object.Reference()]
	if !ok {
		return nil, nil
	}
	var text bytes.Buffer
	err := types.NewJSONEncoder(&text).Encode(facts)
	return text.Bytes(), err
}

// RecallOf keeps what was kept.
func (m *guestMemory) RecallOf(object mo.Reference, kept json.RawMessage) error {
	var facts types.GuestInfo
	if err := types.NewJSONDecoder(bytes.NewReader(kept)).Decode(&facts); err != nil {
		return fmt.Errorf("read what a guest reported: %w", err)
	}
	m.keep(object.Reference(), facts)
	return nil
}

// awake is what brings a guest back to what it reports now.
func awake(guest *types.GuestInfo) []types.PropertyChange {
	facts := []types.PropertyChange{
		{Name: "guest.toolsRunningStatus", Val: guest.ToolsRunningStatus},
		{Name: "guest.toolsStatus", Val: guest.ToolsStatus},
		{Name: "guest.guestState", Val: guest.GuestState},
		{Name: "guest.net", Val: guest.Net},
		{Name: "guest.ipStack", Val: guest.IpStack},
	}
	if guest.IpAddress != "" {
		facts = append(facts,
			types.PropertyChange{Name: "guest.ipAddress", Val: guest.IpAddress},
			types.PropertyChange{Name: "summary.guest.ipAddress", Val: guest.IpAddress})
	}
	return facts
}

// asleep is what vCenter shows of a guest that reported and no longer runs: its
// host name stays, its addresses go.
func asleep(guest *types.GuestInfo) []types.PropertyChange {
	var adapters []types.GuestNicInfo
	for _, adapter := range guest.Net {
		adapter.IpAddress, adapter.IpConfig, adapter.Connected = nil, nil, false
		adapters = append(adapters, adapter)
	}
	return []types.PropertyChange{
		{Name: "guest.toolsRunningStatus", Val: string(types.VirtualMachineToolsRunningStatusGuestToolsNotRunning)},
		{Name: "guest.toolsStatus", Val: types.VirtualMachineToolsStatusToolsNotRunning},
		{Name: "guest.guestState", Val: string(types.VirtualMachineGuestStateNotRunning)},
		{Name: "guest.net", Val: adapters},
		{Name: "guest.ipStack", Val: []types.GuestStackInfo(nil)},
		{Name: "guest.ipAddress", Val: ""},
		{Name: "summary.guest.ipAddress", Val: ""},
	}
}

// SetGuestIP makes the guest of a running machine report an address on its first
// adapter, as if DHCP had given it one, and running tools.
func SetGuestIP(ctx context.Context, vm *object.VirtualMachine, ip string) error {
	var props mo.VirtualMachine
	if err := vm.Properties(ctx, vm.Reference(), []string{"name", "guest", "config.guestId", "config.instanceUuid",
		"runtime.powerState"}, &props); err != nil {
		return fmt.Errorf("read a virtual machine: %w", err)
	}
	if state := props.Runtime.PowerState; state != types.VirtualMachinePowerStatePoweredOn {
		return fmt.Errorf("virtual machine %q is %s: its guest has no address", props.Name, state)
	}
	facts := guestFacts(VM{
		Name: props.Name, HostName: props.Guest.HostName, GuestID: props.Config.GuestId,
		InstanceUUID: props.Config.InstanceUuid, IPs: []string{ip},
	})
	if adapters := props.Guest.Net; len(adapters) > 0 {
		addressed := guestAdapters(VM{InstanceUUID: props.Config.InstanceUuid, Networks: []string{adapters[0].Network},
			IPs: []string{ip}})
		adapters[0].IpAddress, adapters[0].IpConfig, adapters[0].Connected = addressed.GuestNicInfo[0].IpAddress,
			addressed.GuestNicInfo[0].IpConfig, true
		facts = append(facts, &types.OptionValue{Key: "SET.guest.net",
			Value: types.ArrayOfGuestNicInfo{GuestNicInfo: adapters}})
	}
	task, err := vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{ExtraConfig: facts})
	if err == nil {
		err = task.WaitEx(ctx)
	}
	if err != nil {
		return fmt.Errorf("set the address of virtual machine %q: %w", props.Name, err)
	}
	return nil
}

// guestFullName is what guests of these identifiers call themselves.
func guestFullName(id string) string {
	switch id {
	case "ubuntu64Guest":
		return "Ubuntu Linux (64-bit)"
	case "rhel9_64Guest":
		return "Red Hat Enterprise Linux 9 (64-bit)"
	case "windows2019srv_64Guest":
		return "Microsoft Windows Server 2019 (64-bit)"
	case "centos64Guest":
		return "CentOS 4/5 or later (64-bit)"
	case "debian12_64Guest":
		return "Debian GNU/Linux 12 (64-bit)"
	case "vmwarePhoton64Guest":
		return "VMware Photon OS (64-bit)"
	}
	return id
}

// guestFacts is what running tools report. The simulator sets the property that
// a key names after "SET.".
func guestFacts(vm VM) []types.BaseOptionValue {
	hostName := vm.HostName
	if hostName == "" {
		hostName = strings.ReplaceAll(strings.ToLower(vm.Name), " ", "-")
	}
	set := func(path string, value any) types.BaseOptionValue {
		return &types.OptionValue{Key: "SET." + path, Value: value}
	}
	facts := []types.BaseOptionValue{
		set("guest.hostName", hostName),
		set("guest.toolsRunningStatus", string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)),
		set("guest.toolsStatus", string(types.VirtualMachineToolsStatusToolsOk)),
		set("guest.toolsVersion", "12389"),
		set("guest.toolsVersionStatus2", string(types.VirtualMachineToolsVersionStatusGuestToolsCurrent)),
		set("guest.guestState", string(types.VirtualMachineGuestStateRunning)),
	}
	if vm.GuestID != "" {
		facts = append(facts, set("guest.guestId", vm.GuestID), set("guest.guestFullName", guestFullName(vm.GuestID)))
	}
	if len(vm.IPs) > 0 {
		facts = append(facts, set("guest.ipAddress", vm.IPs[0]), set("guest.ipStack", guestStack(vm, hostName)))
	}
	if len(vm.Networks) > 0 {
		facts = append(facts, set("guest.net", guestAdapters(vm)))
	}
	return facts
}

// guestAdapters is the guest's view of its adapters: the first has the addresses.
func guestAdapters(vm VM) types.ArrayOfGuestNicInfo {
	var adapters types.ArrayOfGuestNicInfo
	for i, network := range vm.Networks {
		adapter := types.GuestNicInfo{
			Network: network, MacAddress: mac(vm.InstanceUUID, i), Connected: true, DeviceConfigId: int32(4000 + i),
		}
		if i == 0 && len(vm.IPs) > 0 {
			adapter.IpAddress = vm.IPs
			adapter.IpConfig = &types.NetIpConfigInfo{}
			for _, ip := range vm.IPs {
				prefix := int32(24)
				if strings.Contains(ip, ":") {
					prefix = 64
				}
				adapter.IpConfig.IpAddress = append(adapter.IpConfig.IpAddress, types.NetIpConfigInfoIpAddress{
					IpAddress: ip, PrefixLength: prefix, State: string(types.NetIpConfigInfoIpAddressStatusPreferred),
				})
			}
		}
		adapters.GuestNicInfo = append(adapters.GuestNicInfo, adapter)
	}
	return adapters
}

// guestStack is the guest's resolver and default route.
func guestStack(vm VM, hostName string) types.ArrayOfGuestStackInfo {
	gateway := vm.IPs[0]
	if i := strings.LastIndexByte(gateway, '.'); i > 0 {
		gateway = gateway[:i] + ".1"
	}
	return types.ArrayOfGuestStackInfo{GuestStackInfo: []types.GuestStackInfo{{
		DnsConfig: &types.NetDnsConfigInfo{
			HostName: hostName, DomainName: "lab.pacific.test", IpAddress: []string{"10.20.0.2"},
			SearchDomain: []string{"lab.pacific.test"},
		},
		IpRouteConfig: &types.NetIpRouteConfigInfo{IpRoute: []types.NetIpRouteConfigInfoIpRoute{{
			Network: "0.0.0.0", PrefixLength: 0, Gateway: types.NetIpRouteConfigInfoGateway{IpAddress: gateway, Device: "0"},
		}}},
	}}}
}
