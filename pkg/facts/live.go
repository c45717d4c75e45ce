// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"slices"
	"time"
)

// vCenter's words for whether VMware Tools run, for how far the customisation of a guest is, and for a machine that it
// reaches.
const (
	ToolsRunning    = "guestToolsRunning"
	ToolsScripting  = "guestToolsExecutingScripts"
	ToolsNotRunning = "guestToolsNotRunning"

	CustomizationIdle      = "TOOLSDEPLOYPKG_IDLE"
	CustomizationPending   = "TOOLSDEPLOYPKG_PENDING"
	CustomizationRunning   = "TOOLSDEPLOYPKG_RUNNING"
	CustomizationSucceeded = "TOOLSDEPLOYPKG_SUCCEEDED"
	CustomizationFailed    = "TOOLSDEPLOYPKG_FAILED"

	Connected = "connected"
)

// Live is a virtual machine as the inventory shows it. It is shared: nobody changes
// it. What is different later is another Live.
type Live struct {
	ID ID
	// Name is its name as vCenter keeps it.
	Name string
	// Hidden says that vCenter keeps it from the account now: all else is as it was
	// read last.
	Hidden bool

	// Place is where it lies. What lies in one folder shares it.
	*Place
	// Pool is the resource pool that it takes from.
	Pool ID
	// Host is where it runs, and Cluster what that is in; nil where nothing is known
	// of that.
	Host    *Host
	Cluster *Cluster

	// Configuration is absent as long as vCenter never told it; when it does not tell
	// it any more, it is as it was.
	Configuration
	PowerState string
	// Connection is vCenter's word for whether it reaches the machine; empty where
	// it does not tell.
	Connection string
	// Question is what it waits with for somebody's answer in vCenter.
	Question string
	// Snapshot says that it has one.
	Snapshot bool
	// Space is what its files take, nil where vCenter does not tell.
	Space *Space
	Guest Guest
}

// Configuration is how a machine is configured.
type Configuration struct {
	InstanceUUID, BIOSUUID string
	// Created is when it was made, in whole seconds; zero where vCenter does not
	// know.
	Created  time.Time
	Template bool
	// ChangeVersion is the version of the configuration.
	ChangeVersion string
	// GuestID and GuestName are the operating system that it is configured for.
	GuestID, GuestName string
	// HardwareVersion is such as vmx-21.
	HardwareVersion string
	Size
	// CPUHotAdd and MemoryHotAdd say that it can get more of it while it is on.
	CPUHotAdd, MemoryHotAdd bool
	// ChangeTracking is nil where vCenter does not tell.
	ChangeTracking *bool
	// Hardware is nil where vCenter tells no device.
	Hardware *Hardware
	// PauseOption is the value of ExtraConfig by which a VI admin asks that the
	// machine be left alone.
	PauseOption string
	// Record is nil where there is none.
	Record *Record
	// Home is the folder of its files, such as "[nfs] web/".
	Home string
}

// Space is in bytes.
type Space struct {
	// Committed is what files take, and Uncommitted what they may still grow by.
	Committed, Uncommitted int64
}

// Record is the record in a machine, or why it cannot be read.
type Record struct {
	Head Head
	// Body is for the kind, and nil where the record is not proven.
	Body []byte
	// Unproven says why nobody knows that the installation wrote the record which the head names; empty where it has
	// proved that, with a key that is known here.
	Unproven string
	// Err: what is there must be left alone.
	Err error
}

// Place is where something lies.
type Place struct {
	// Folders are the folder that it lies in, the one above it and so on, with the
	// namespaces folder as the last; none where it does not lie in that.
	Folders []ID
	// Namespace is its name, empty for what lies in none.
	Namespace string
	// Folder is the folder that stands for it.
	Folder ID
	// Direct says that it lies in that folder itself and not in one below.
	Direct bool
	// Detached says that the folder is served no longer.
	Detached bool
}

// Hardware is what virtual devices a machine has.
type Hardware struct {
	// Controllers are in the order of kind, bus and key.
	Controllers []Controller
	// Disks are in the order in which vCenter lists them, Cards in that of their
	// keys.
	Disks []Disk
	Cards []Card
	// Cdroms are the drives with ISO images in them, in the order of their keys.
	Cdroms []Cdrom
}

// Linked says whether a disk stands on another one.
func (h *Hardware) Linked() bool {
	return h != nil && slices.ContainsFunc(h.Disks, func(disk Disk) bool { return disk.Parent != "" })
}

// The kinds of Controller.
const (
	ControllerIDE  = "IDE"
	ControllerNVME = "NVME"
	ControllerSATA = "SATA"
	ControllerSCSI = "SCSI"
)

// Controller is what disks and drives are at.
type Controller struct {
	Kind     string
	Bus, Key int32
	// Slots are in the order of their units.
	Slots []Slot
}

// Slot is one place at a controller.
type Slot struct {
	// Disk says that a disk is in it, else it is an optical drive.
	Disk bool
	Unit int32
}

// Disk is a virtual disk.
type Disk struct {
	Key int32
	// Label is what the vSphere Client calls it.
	Label string
	// Capacity is in bytes.
	Capacity int64
	// Controller is the key of the controller that it is at, and Unit its place
	// there, nil where vCenter does not tell.
	Controller int32
	Unit       *int32
	// Mode and Sharing are in vCenter's words.
	Mode, Sharing, UUID string
	// Parent is the file of the disk that it stands on, empty where it stands by itself.
	Parent string
}

// Guest is what VMware Tools reports of the operating system that runs.
type Guest struct {
	// Tools is vCenter's word for whether they run; empty where it does not tell.
	Tools string
	// ID and Name are the operating system.
	ID, Name string
	// HostName and Address are the guest's own, and its primary one.
	HostName, Address string
	Interfaces        []Interface
	// Customization is nil where vCenter tells of none.
	Customization *CustomizationStatus
}

// CustomizationStatus is how far the customisation of a guest is.
type CustomizationStatus struct {
	// State is vCenter's word.
	State string
	// Error is what vCenter says of a failure.
	Error string
}

// Interface is a network interface as the guest has it.
type Interface struct {
	// Card is the key of the Card that it is, negative for one that only the guest
	// knows.
	Card      int32
	MAC       string
	Addresses []Address
	// Automatic says whether addresses are configured automatically, nil where the
	// guest does not tell.
	Automatic *bool
	// DHCP is nil where the guest does not tell, and so is DNS.
	DHCP *DHCP
	DNS  *DNS
}

// DHCP says of which family the addresses come by DHCP.
type DHCP struct{ V4, V6 bool }

// Address is an address of an interface.
type Address struct {
	// IP has its prefix with it where the guest tells one.
	IP, Origin, State string
}

// DNS is how an interface resolves names.
type DNS struct {
	DHCP                   bool
	HostName, DomainName   string
	Servers, SearchDomains []string
}

// Signs are what a guest tells of itself by which somebody may see that it is ready.
type Signs struct {
	// Heartbeat is vCenter's word for its heartbeat: gray, red, yellow or green.
	Heartbeat string
	// GuestInfo are the values of guestinfo that were asked for and are set, by their keys.
	GuestInfo map[string]string
}

// Machine is what of it decides about acts.
func (l *Live) Machine() Machine {
	m := Machine{
		ID: l.ID, Name: l.Name, InstanceUUID: l.InstanceUUID, Template: l.Template, Folders: l.Folders, PauseOption: l.PauseOption,
		PowerState: l.PowerState, Connected: l.Connection == "" || l.Connection == Connected,
		ToolsRunning: l.Guest.Tools == ToolsRunning, Question: l.Question, ChangeVersion: l.ChangeVersion,
		Home: l.Home,
	}
	m.Carry(l.Record)
	return m
}

// Build is what its own record says is left to be made of it, nil for nothing and where that is not proven.
func (l *Live) Build() *Build {
	m := Machine{InstanceUUID: l.InstanceUUID}
	m.Carry(l.Record)
	return m.Build
}
