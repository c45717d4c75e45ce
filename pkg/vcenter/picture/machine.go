// SPDX-License-Identifier: Apache-2.0

package picture

import (
	"fmt"
	"strings"
	"time"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
)

// machineKind is what has to be followed for the facts about machines: leaves
// wherever vCenter has one, so that a change costs its own size. Left out on
// purpose are summary.quickStats and guest.ipStack, which change all the time, and
// layoutEx, which is long. guest.net changes whenever an address does, and on guests
// with many addresses often; nothing smaller tells the addresses of an interface.
//
// Of each value the part is kept that the facts tell, so that the inventory and they
// share their memory.
func machineKind(keys *machine.Keys) inventory.Kind {
	return inventory.Kind{
		Type: facts.TypeMachine, Root: inventory.RootNamespaces,
		Paths: []string{
			pathName, pathParent, machine.PathPool,
			machine.PathPowerState, machine.PathHost, machine.PathConnectionState, machine.PathQuestion,
			machine.PathInstanceUUID, machine.PathBIOSUUID, machine.PathCreateDate, machine.PathChangeVersion,
			machine.PathGuestID, machine.PathGuestFullName, machine.PathVersion, machine.PathTemplate,
			machine.PathCPUs, machine.PathMemoryMB, machine.PathDevices, machine.PathChangeTracking,
			pathCPULimit, pathCPUReservation, machine.PathCPUHotAdd,
			pathMemoryLimit, pathMemoryReservation, machine.PathMemoryHotAdd,
			machine.PathRecord, machine.PathPause, machine.PathFile,
			machine.PathToolsRunning, machine.PathGuestHostName, machine.PathGuestIP, machine.PathGuestNet,
			machine.PathGuestGuestID, machine.PathGuestGuestFullName, machine.PathCustomization,
			machine.PathCommitted, machine.PathUncommitted, machine.PathCurrentSnapshot,
		},
		Reduce: newCommon(keys).reduce,
	}
}

// common are values that many machines share: one of each is enough. They are used
// by one goroutine at a time.
type common struct {
	keys        *machine.Keys
	words       map[string]any
	controllers map[string][]facts.Controller
}

// commonLimit is how many different values of a sort are remembered, so that they do
// not pile up over the years.
const commonLimit = 1000

func newCommon(keys *machine.Keys) *common {
	return &common{keys: keys, words: map[string]any{}, controllers: map[string][]facts.Controller{}}
}

// reduce gives what is kept of a property of a machine.
func (c *common) reduce(path string, value any) any {
	switch kept := reduce(c.keys, path, value).(type) {
	case string:
		switch path {
		case machine.PathPowerState, machine.PathConnectionState, machine.PathGuestID, machine.PathGuestFullName,
			machine.PathVersion, machine.PathToolsRunning, machine.PathGuestGuestID,
			machine.PathGuestGuestFullName:
			return share(c.words, kept, any(kept))
		}
		return kept
	case *facts.Hardware:
		kept.Controllers = share(c.controllers, fmt.Sprint(kept.Controllers), kept.Controllers)
		for i := range kept.Cards {
			network := kept.Cards[i].Network
			kept.Cards[i].Network = share(c.words, network, any(network)).(string)
		}
		return kept
	default:
		return kept
	}
}

// share returns the value that is known under a key, which is made this one if there
// is none.
func share[T any](known map[string]T, key string, value T) T {
	if other, ok := known[key]; ok {
		return other
	}
	if len(known) >= commonLimit {
		clear(known)
	}
	known[key] = value
	return value
}

// reduce gives the part of a value that the facts tell. Of that it gives the same.
func reduce(keys *machine.Keys, path string, value any) any {
	switch v := value.(type) {
	case types.VirtualMachinePowerState:
		return string(v)
	case types.VirtualMachineConnectionState:
		return string(v)
	case types.ArrayOfVirtualDevice:
		return hardware(v.VirtualDevice)
	case types.ArrayOfGuestNicInfo:
		return interfaces(v.GuestNicInfo)
	case types.OptionValue:
		text, _ := v.Value.(string)
		if path == machine.PathRecord {
			return record(keys, text)
		}
		return text
	case types.GuestInfoCustomizationInfo:
		return customization(v)
	case string:
		if path == machine.PathFile {
			return machine.Home(v)
		}
	}
	return value
}

// customization is how far the customisation of a guest is, nil where there was none: which is so of most machines.
func customization(info types.GuestInfoCustomizationInfo) any {
	if info.CustomizationStatus == "" || info.CustomizationStatus == facts.CustomizationIdle {
		return nil
	}
	return &facts.CustomizationStatus{State: info.CustomizationStatus, Error: strings.TrimSpace(info.ErrorMsg)}
}

// record reads what a machine has in its ExtraConfig; nil for nothing.
func record(keys *machine.Keys, value string) any {
	if value == "" {
		return nil
	}
	read := keys.Decode(value)
	return &read
}

// live makes the facts of a machine, but for what they say of others: where it lies
// and where it runs.
func (t *take) live(object inventory.Object, props properties) *facts.Live {
	get := func(path string) any { return reduce(t.Keys, path, props[path]) }
	text := func(path string) string {
		s, _ := get(path).(string)
		return s
	}
	m := &facts.Live{
		ID: t.id(object.Ref), Name: props.text(pathName), Hidden: object.Hidden, Pool: t.id(props.ref(machine.PathPool)),
		Configuration: facts.Configuration{
			InstanceUUID: props.text(machine.PathInstanceUUID), BIOSUUID: props.text(machine.PathBIOSUUID),
			Created:       props.created(),
			Template:      props.yes(machine.PathTemplate),
			ChangeVersion: props.text(machine.PathChangeVersion),
			GuestID:       props.text(machine.PathGuestID), GuestName: props.text(machine.PathGuestFullName),
			HardwareVersion: props.text(machine.PathVersion),
			Size: facts.Size{
				CPUs: props.int32(machine.PathCPUs), MemoryMB: int64(props.int32(machine.PathMemoryMB)),
				CPU:    props.allocation(pathCPULimit, pathCPUReservation),
				Memory: props.allocation(pathMemoryLimit, pathMemoryReservation),
			},
			CPUHotAdd: props.yes(machine.PathCPUHotAdd), MemoryHotAdd: props.yes(machine.PathMemoryHotAdd),
			ChangeTracking: props.bool(machine.PathChangeTracking),
			PauseOption:    text(machine.PathPause),
			Home:           text(machine.PathFile),
		},
		PowerState: text(machine.PathPowerState), Connection: text(machine.PathConnectionState),
		Question: props.text(machine.PathQuestion),
		Snapshot: props.ref(machine.PathCurrentSnapshot) != (types.ManagedObjectReference{}),
		Guest: facts.Guest{
			Tools: props.text(machine.PathToolsRunning), ID: props.text(machine.PathGuestGuestID),
			Name:     props.text(machine.PathGuestGuestFullName),
			HostName: props.text(machine.PathGuestHostName), Address: props.text(machine.PathGuestIP),
		},
	}
	m.Hardware, _ = get(machine.PathDevices).(*facts.Hardware)
	m.Record, _ = get(machine.PathRecord).(*facts.Record)
	m.Guest.Customization, _ = get(machine.PathCustomization).(*facts.CustomizationStatus)
	if nics, ok := get(machine.PathGuestNet).(*[]facts.Interface); ok {
		m.Guest.Interfaces = *nics
	}
	if committed := props.int64(machine.PathCommitted, -1); committed >= 0 {
		m.Space = &facts.Space{Committed: committed, Uncommitted: props.int64(machine.PathUncommitted, 0)}
	}
	return m
}

func (p properties) int32(path string) int32 {
	v, _ := p[path].(int32)
	return v
}

// bool is nil where vCenter does not tell.
func (p properties) bool(path string) *bool {
	switch v := p[path].(type) {
	case bool:
		return &v
	case *bool:
		return v
	}
	return nil
}

// created is when the machine was made, in whole seconds, zero where vCenter does not
// know: it began to keep that in version 6.7, and reports the start of its calendar
// for older machines.
func (p properties) created() time.Time {
	var created time.Time
	switch v := p[machine.PathCreateDate].(type) {
	case time.Time:
		created = v
	case *time.Time:
		if v != nil {
			created = *v
		}
	}
	created = created.UTC().Truncate(time.Second)
	if created.Unix() <= 0 {
		return time.Time{}
	}
	return created
}
