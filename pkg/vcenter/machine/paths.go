// SPDX-License-Identifier: Apache-2.0

package machine

import "github.com/openpacific/pacific/pkg/facts"

// The properties of a virtual machine that are followed or read.
const (
	PathName               = "name"
	PathParent             = "parent"
	PathPowerState         = "runtime.powerState"
	PathHost               = "runtime.host"
	PathPool               = "resourcePool"
	PathConnectionState    = "runtime.connectionState"
	PathQuestion           = "runtime.question.text"
	PathInstanceUUID       = "config.instanceUuid"
	PathBIOSUUID           = "config.uuid"
	PathCreateDate         = "config.createDate"
	PathChangeVersion      = "config.changeVersion"
	PathGuestID            = "config.guestId"
	PathGuestFullName      = "config.guestFullName"
	PathVersion            = "config.version"
	PathTemplate           = "config.template"
	PathCPUs               = "config.hardware.numCPU"
	PathMemoryMB           = "config.hardware.memoryMB"
	PathDevices            = "config.hardware.device"
	PathChangeTracking     = "config.changeTrackingEnabled"
	PathRecord             = `config.extraConfig["` + facts.RecordKey + `"]`
	PathPause              = `config.extraConfig["` + facts.PauseKey + `"]`
	PathFile               = "config.files.vmPathName"
	PathToolsRunning       = "guest.toolsRunningStatus"
	PathGuestHostName      = "guest.hostName"
	PathGuestIP            = "guest.ipAddress"
	PathGuestNet           = "guest.net"
	PathCustomization      = "guest.customizationInfo"
	PathPending            = "config.tools.pendingCustomization"
	PathProperties         = "config.vAppConfig"
	PathGuestGuestID       = "guest.guestId"
	PathGuestGuestFullName = "guest.guestFullName"
	PathCommitted          = "summary.storage.committed"
	PathUncommitted        = "summary.storage.uncommitted"
	PathCurrentSnapshot    = "snapshot.currentSnapshot"
	PathCPUReservation     = "config.cpuAllocation.reservation"
	PathCPULimit           = "config.cpuAllocation.limit"
	PathCPUHotAdd          = "config.cpuHotAddEnabled"
	PathMemoryReservation  = "config.memoryAllocation.reservation"
	PathMemoryLimit        = "config.memoryAllocation.limit"
	PathMemoryHotAdd       = "config.memoryHotAddEnabled"
	PathNotes              = "config.annotation"
)
