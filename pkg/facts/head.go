// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"reflect"
	"time"
)

// The keys of a virtual machine's ExtraConfig that mean something here.
const (
	// RecordKey holds the record.
	RecordKey = "pacific.metadata"
	// PauseKey is how a VI admin asks that the machine be left alone, with the value true.
	PauseKey = "vmservice.virtualmachine.pause"
)

// Head is the part of a virtual machine's record, which lies in the machine itself, that decides what may be done to
// it. What else the record holds is of no concern to those who act in vCenter. It is shared: nobody changes what it
// points to.
type Head struct {
	// Installation is the installation of Pacific that wrote the record. Another one's counts as if it were not there.
	Installation string `json:"installation"`
	// UID is the instanceUuid of the machine that the record was written for. A clone carries a copy of the record with
	// the original's, by which it is known not to count.
	UID string `json:"uid"`
	// Sequence rises with each write: a writer sees by it that its own has come back, and everybody that the record has
	// gone back, as with a snapshot.
	Sequence uint64 `json:"sequence"`
	// Created says that the installation made this machine and so may destroy it.
	Created bool `json:"created,omitempty"`

	// Namespace and Name are what the machine was served as when the record was written, Folder is the folder that stood
	// for the namespace.
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Folder    ID     `json:"folder,omitzero"`
	// Origin is the folder that stood for the namespace in which the machine was asked for here, wherever it lies now and
	// whoever has written the record since. Zero for one that was not.
	Origin ID `json:"origin,omitzero"`

	// Deletion is when somebody asked for the machine's deletion, in whole seconds; zero when nobody did. It counts in
	// Folder alone.
	Deletion time.Time `json:"deletion,omitzero"`
	// Paused says that a user asked for the machine to be left alone.
	Paused bool `json:"paused,omitempty"`
	// ReclaimPolicy is what a user wants to become of a machine that Pacific did not make when it is deleted; empty where
	// nobody said so.
	ReclaimPolicy string `json:"reclaimPolicy,omitempty"`
	// Restart is the one that was begun last.
	Restart Restart `json:"restart,omitzero"`
	// Build is what is left to be made of the machine, nil for nothing.
	Build *Build `json:"build,omitempty"`
	// Untold says that its guest has not been told of its network yet as that is to be now.
	Untold bool `json:"untold,omitempty"`
}

// Restart is how far the restart of a virtual machine is that somebody asked for.
type Restart struct {
	// Wanted is what tells it from others: the time that was asked for, as it was.
	Wanted string `json:"wanted"`
	// Since is when it was begun by vCenter's clock, and Event the key of vCenter's last event then, 0 where it told none:
	// a restart that is told after that is the one that was asked for. Clocks go wrong, and those of hosts are others.
	Since time.Time `json:"since"`
	Event int32     `json:"event,omitempty"`
	// Done says that it is over.
	Done bool `json:"done,omitempty"`
}

// Equal says whether both are the same, whatever the time zones.
func (h Head) Equal(other Head) bool {
	if !h.Deletion.Equal(other.Deletion) || !h.Restart.Since.Equal(other.Restart.Since) {
		return false
	}
	if !reflect.DeepEqual(h.Build, other.Build) {
		return false
	}
	h.Build, other.Build = nil, nil
	h.Deletion, other.Deletion = time.Time{}, time.Time{}
	h.Restart.Since, other.Restart.Since = time.Time{}, time.Time{}
	return h == other
}
