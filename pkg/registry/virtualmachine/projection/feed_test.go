// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/namespace"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/picture"
)

// The types of managed object, and the properties, that the tests make an inventory of.
const (
	TypeVirtualMachine = facts.TypeMachine
	TypeFolder         = facts.TypeFolder
	TypeHost           = facts.TypeHost
	TypeCluster        = facts.TypeCluster

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
	pathMetadata           = `config.extraConfig["` + facts.RecordKey + `"]`
	pathPause              = `config.extraConfig["` + facts.PauseKey + `"]`
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

// fed is a Projector with the picture that it follows.
type fed struct {
	*Projector
	picture *picture.Picture
}

func newFed(config Config) *fed {
	p := NewProjector(config)
	return &fed{p, &picture.Picture{Followers: []facts.Follower{p}}}
}

func (f *fed) Apply(update inventory.Update) { f.picture.Apply(update) }

func (f *fed) SetDetached(folders map[string]bool) { f.picture.SetDetached(folders) }

func (f *fed) SetNames(names namespace.Names) { f.picture.SetNames(names) }
