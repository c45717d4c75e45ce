// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"time"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/vcenter/machine"
)

const (
	pathName               = "name"
	pathParent             = "parent"
	pathPowerState         = "runtime.powerState"
	pathHost               = "runtime.host"
	pathConnectionState    = "runtime.connectionState"
	pathInstanceUUID       = "config.instanceUuid"
	pathBiosUUID           = "config.uuid"
	pathCreateDate         = "config.createDate"
	pathChangeVersion      = "config.changeVersion"
	pathGuestID            = "config.guestId"
	pathGuestFullName      = "config.guestFullName"
	pathVersion            = "config.version"
	pathTemplate           = "config.template"
	pathCPUs               = "config.hardware.numCPU"
	pathMemoryMB           = "config.hardware.memoryMB"
	pathDevices            = "config.hardware.device"
	pathCPUReservation     = "config.cpuAllocation.reservation"
	pathMemoryReservation  = "config.memoryAllocation.reservation"
	pathChangeTracking     = "config.changeTrackingEnabled"
	pathMetadata           = `config.extraConfig["` + machine.RecordKey + `"]`
	pathPause              = `config.extraConfig["` + vmopv1.PauseVMExtraConfigKey + `"]`
	pathToolsRunning       = "guest.toolsRunningStatus"
	pathGuestHostName      = "guest.hostName"
	pathGuestIP            = "guest.ipAddress"
	pathGuestNet           = "guest.net"
	pathGuestGuestID       = "guest.guestId"
	pathGuestGuestFullName = "guest.guestFullName"
	pathCommitted          = "summary.storage.committed"
	pathUncommitted        = "summary.storage.uncommitted"
	pathCurrentSnapshot    = "snapshot.currentSnapshot"
)

// The types of managed object that the projection is made of.
const (
	TypeVirtualMachine = "VirtualMachine"
	TypeFolder         = "Folder"
	TypeHost           = "HostSystem"
	TypeCluster        = "ClusterComputeResource"
)

// Paths are the properties of a VirtualMachine that the projection reads, leaves wherever vCenter has one, so that a change costs
// its own size. Left out on purpose are summary.quickStats and guest.ipStack, which change all the time, and layoutEx, which is long.
// guest.net changes whenever an address does, and on guests with many addresses often; nothing smaller tells the addresses of
// an interface.
func Paths() []string {
	return []string{
		pathName, pathParent,
		pathPowerState, pathHost, pathConnectionState,
		pathInstanceUUID, pathBiosUUID, pathCreateDate, pathChangeVersion, pathGuestID, pathGuestFullName, pathVersion, pathTemplate,
		pathCPUs, pathMemoryMB, pathDevices, pathCPUReservation, pathMemoryReservation, pathChangeTracking,
		pathMetadata, pathPause,
		pathToolsRunning, pathGuestHostName, pathGuestIP, pathGuestNet, pathGuestGuestID, pathGuestGuestFullName,
		pathCommitted, pathUncommitted, pathCurrentSnapshot,
	}
}

// FolderPaths are the properties of a Folder that the projection reads.
func FolderPaths() []string { return []string{pathName, pathParent} }

// HostPaths are the properties of a HostSystem that the projection reads.
func HostPaths() []string { return []string{pathName, pathParent} }

// ClusterPaths are the properties of a ClusterComputeResource that the projection reads.
func ClusterPaths() []string { return []string{pathName} }

// properties are a managed object's properties by path, as the inventory gives them. They are never changed.
type properties map[string]any

func (p properties) text(path string) string {
	s, _ := p[path].(string)
	return s
}

func (p properties) ref(path string) string {
	switch v := p[path].(type) {
	case types.ManagedObjectReference:
		return v.Value
	case *types.ManagedObjectReference:
		if v != nil {
			return v.Value
		}
	}
	return ""
}

func (p properties) int32(path string) int32 {
	v, _ := p[path].(int32)
	return v
}

func (p properties) int64(path string) (int64, bool) {
	switch v := p[path].(type) {
	case int64:
		return v, true
	case *int64:
		if v != nil {
			return *v, true
		}
	}
	return 0, false
}

func (p properties) bool(path string) (value, known bool) {
	switch v := p[path].(type) {
	case bool:
		return v, true
	case *bool:
		if v != nil {
			return *v, true
		}
	}
	return false, false
}

// time gives a time in whole seconds, which is all that the API shows.
func (p properties) time(path string) time.Time {
	switch v := p[path].(type) {
	case time.Time:
		return v.UTC().Truncate(time.Second)
	case *time.Time:
		if v != nil {
			return v.UTC().Truncate(time.Second)
		}
	}
	return time.Time{}
}

// option gives the value of one key of ExtraConfig.
func (p properties) option(path string) string {
	switch v := p[path].(type) {
	case types.OptionValue:
		s, _ := v.Value.(string)
		return s
	case *types.OptionValue:
		if v != nil {
			s, _ := v.Value.(string)
			return s
		}
	case string:
		return v
	}
	return ""
}

func (p properties) devices() *hardwareSurvey {
	switch v := p[pathDevices].(type) {
	case *hardwareSurvey:
		return v
	case types.ArrayOfVirtualDevice:
		return survey(v.VirtualDevice)
	case []types.BaseVirtualDevice:
		return survey(v)
	}
	return &hardwareSurvey{}
}

func (p properties) nics() []types.GuestNicInfo {
	switch v := p[pathGuestNet].(type) {
	case types.ArrayOfGuestNicInfo:
		return v.GuestNicInfo
	case []types.GuestNicInfo:
		return v
	}
	return nil
}

func (p properties) powerState() vmopv1.VirtualMachinePowerState {
	return apiPowerState(p.livePowerState())
}

func (p properties) livePowerState() types.VirtualMachinePowerState {
	switch v := p[pathPowerState].(type) {
	case types.VirtualMachinePowerState:
		return v
	case string:
		return types.VirtualMachinePowerState(v)
	}
	return ""
}

func apiPowerState(state types.VirtualMachinePowerState) vmopv1.VirtualMachinePowerState {
	switch state {
	case types.VirtualMachinePowerStatePoweredOn:
		return vmopv1.VirtualMachinePowerStateOn
	case types.VirtualMachinePowerStatePoweredOff:
		return vmopv1.VirtualMachinePowerStateOff
	case types.VirtualMachinePowerStateSuspended:
		return vmopv1.VirtualMachinePowerStateSuspended
	}
	return ""
}

func (p properties) connectionState() types.VirtualMachineConnectionState {
	switch v := p[pathConnectionState].(type) {
	case types.VirtualMachineConnectionState:
		return v
	case string:
		return types.VirtualMachineConnectionState(v)
	}
	return ""
}

// created is when the machine was made, zero where vCenter does not know: it began to keep that in version 6.7, and reports the
// start of its calendar for older machines.
func (p properties) created() time.Time {
	created := p.time(pathCreateDate)
	if created.Unix() <= 0 {
		return time.Time{}
	}
	return created
}
