// SPDX-License-Identifier: Apache-2.0

package facts

// Shell is a virtual machine without disks, as it is to be made.
type Shell struct {
	// Name is what it is called in vCenter.
	Name string
	// Home is the folder that stands for its namespace, and Folder the one that it is to lie in: that, or one below.
	Home, Folder, Pool ID
	// Host is zero where vCenter chooses.
	Host ID
	// Datastore is the name of the one that its files are to lie on.
	Datastore string
	// Policy is the id of the storage policy of its files, empty for none.
	Policy string

	InstanceUUID, BIOSUUID string
	// GuestID, Firmware and HardwareVersion, such as vmx-21, are vCenter's to choose where they are empty.
	GuestID, Firmware, HardwareVersion string
	Size
	// Cards are the network cards that it is to have.
	Cards Cards
	// Drives are the CD-ROM drives that it is to have with ISO images in them, nil where nobody says.
	Drives *Drives
	// Properties are its vApp properties, with the image's values.
	Properties []Property
	// Build is what is left to be made of it then.
	Build Build
}

// Size is how large a virtual machine is.
type Size struct {
	CPUs     int32 `json:"cpus"`
	MemoryMB int64 `json:"memoryMB"`
	// CPU, in MHz, and Memory, in MiB, are what it may take and what is kept for it. Of one that is to be, each part may
	// be Unsaid.
	CPU    Allocation `json:"cpu"`
	Memory Allocation `json:"memory"`
}

// Over is how large a machine of another size is to be by this one: what is unsaid is as it is.
func (s Size) Over(has Size) Size {
	s.CPU, s.Memory = s.CPU.over(has.CPU), s.Memory.over(has.Memory)
	return s
}

// After is this size for a machine that was to be of another one before: what that said, and this does not, is taken
// away.
func (s Size) After(before Size) Size {
	s.CPU, s.Memory = s.CPU.after(before.CPU), s.Memory.after(before.Memory)
	return s
}

// Changes says whether a machine of this size can be made as large as another in a power state: while it is on, by
// whether CPUs and memory can be added to it then, and not at all while it is suspended, with its memory on disk.
func (s Size) Changes(wanted Size, power string, addCPU, addMemory bool) bool {
	return power == PoweredOff || power == PoweredOn && (wanted.CPUs == s.CPUs || wanted.CPUs > s.CPUs && addCPU) &&
		(wanted.MemoryMB == s.MemoryMB || wanted.MemoryMB > s.MemoryMB && addMemory)
}

// Build is what is left to be made of a virtual machine after its shell. It lies in the machine, in the head of its record,
// until that is done, so that whoever comes next can go on.
type Build struct {
	// Policy is the id of the storage policy of its disks, empty for none.
	Policy string `json:"policy,omitempty"`
	// Disks are those that it is to have, in their order.
	Disks []BuildDisk `json:"disks,omitempty"`
	// Customize says that vCenter is to customise its guest before it is powered on first.
	Customize bool `json:"customize,omitempty"`
	// Assembled says that it has its disks and what its guest is told, so that its customisation alone is left.
	Assembled bool `json:"assembled,omitempty"`
	// Linked says that its disks are to stand on those of the image, in place of being copies of them.
	Linked bool `json:"linked,omitempty"`
}

// Assemble returns what is left to be made once the machine has its disks, nil for nothing.
func (b Build) Assemble() *Build {
	if !b.Customize {
		return nil
	}
	return &Build{Customize: true, Assembled: true}
}

// BuildDisk is a disk that a machine is to have.
type BuildDisk struct {
	// From is the file that it is a copy of, such as "[nfs] folder/disk.vmdk"; empty for one that begins empty.
	From string `json:"from,omitempty"`
	// Capacity is how many bytes it is to have.
	Capacity int64 `json:"capacity"`
	// Grow says that those are more than the file has.
	Grow bool `json:"grow,omitempty"`
}

// Attachment is a disk whose file is there, as it is to become part of a machine.
type Attachment struct {
	// File is such as "[nfs] web/web.vmdk".
	File string
	// Capacity is in bytes.
	Capacity int64
	// Create says that it is yet to be made: empty, or on Parent.
	Create bool
	// Parent is the file of the disk that it is to stand on, empty for none.
	Parent string
	// Controller is the key of the controller that it comes to, and Unit its place there.
	Controller, Unit int32
}
