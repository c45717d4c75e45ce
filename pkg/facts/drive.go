// SPDX-License-Identifier: Apache-2.0

package facts

import "slices"

// Drives are the CD-ROM drives that a machine is to have with ISO images in them.
type Drives []Drive

// Drive is a CD-ROM drive that a machine is to have.
type Drive struct {
	// Image is the name of the image in it, and File where that lies, such as "[nfs] folder/disc.iso".
	Image string `json:"image"`
	File  string `json:"file"`
	// Connected says that it is connected while the machine is on.
	Connected bool `json:"connected,omitempty"`
	// GuestControl says that the guest may connect and disconnect it.
	GuestControl bool `json:"guestControl,omitempty"`
}

// Cdrom is a CD-ROM drive that a machine has, with the file of an ISO image in it.
type Cdrom struct {
	Key  int32
	File string
	// Connected is how it is now, and StartConnected how it will be when the machine is powered on.
	Connected, StartConnected, GuestControl bool
}

// DriveChange is what is to be done to one drive.
type DriveChange struct {
	// Key is that of a drive that the machine has, 0 for one that it is to get.
	Key int32
	// To is what the drive is to be, nil for one that is to go.
	To *Drive
	// Inserts says that another file comes into the drive than there was.
	Inserts bool
}

// Hot says whether it can be made while the machine is on.
func (c DriveChange) Hot() bool { return c.To != nil && !c.Inserts }

// Changes are what is to be done to the drives with ISO images that a machine has, in its power state. A drive is known
// by its file. One that its guest may control is as it is to be however the guest has it now.
func (d Drives) Changes(has []Cdrom, state string) []DriveChange {
	var changes []DriveChange
	var missing []*Drive
	left := slices.Clone(has)
	for i := range d {
		wanted := &d[i]
		at := slices.IndexFunc(left, func(c Cdrom) bool { return c.File == wanted.File })
		if at < 0 {
			missing = append(missing, wanted)
			continue
		}
		if is := left[at]; is.StartConnected != wanted.Connected || is.GuestControl != wanted.GuestControl ||
			state == PoweredOn && !wanted.GuestControl && is.Connected != wanted.Connected {
			changes = append(changes, DriveChange{Key: is.Key, To: wanted})
		}
		left = slices.Delete(left, at, at+1)
	}
	// A drive in which there is something else is used before one is added, so that it keeps its place.
	for _, wanted := range missing {
		change := DriveChange{To: wanted, Inserts: true}
		if len(left) > 0 {
			change.Key, left = left[0].Key, left[1:]
		}
		changes = append(changes, change)
	}
	for _, other := range left {
		changes = append(changes, DriveChange{Key: other.Key})
	}
	return changes
}

// Possible are those of the changes that can be made to a machine in a power state.
func Possible(changes []DriveChange, state string) []DriveChange {
	switch state {
	case PoweredOff:
		return changes
	case PoweredOn:
		return slices.DeleteFunc(slices.Clone(changes), func(c DriveChange) bool { return !c.Hot() })
	}
	return nil
}
