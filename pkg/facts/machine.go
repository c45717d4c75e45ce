// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"slices"
	"strconv"
	"strings"
)

// The power states of a virtual machine, as vCenter names them.
const (
	PoweredOn  = "poweredOn"
	PoweredOff = "poweredOff"
	Suspended  = "suspended"
)

// Machine is one virtual machine, as vCenter had it at one moment: what decides about acts on it.
type Machine struct {
	ID   ID
	Name string
	// InstanceUUID is empty as long as vCenter cannot read the machine's configuration.
	InstanceUUID string
	Template     bool
	// Folders are where it lies: the folder that it lies in, the one above, and so on, with the namespaces folder as the
	// last. Empty: outside of that.
	Folders []ID
	// PauseOption is the value of ExtraConfig by which a VI admin asks that the machine be left alone.
	PauseOption string
	// Head is that of the record in it, nil without one. It is as it was read: whether it counts is for others to say.
	Head *Head
	// HeadError says why there is a record that cannot be read. It must be left alone.
	HeadError error
	// Unproven says why nobody knows that the installation wrote the record which its head names, empty where it has
	// proved that.
	Unproven string

	PowerState string
	// Connected says that vCenter reaches the machine.
	Connected bool
	// ToolsRunning says that there is a guest that can be asked for something.
	ToolsRunning bool
	// Question is what the machine waits with for somebody's answer in vCenter: until then its power cannot be changed.
	Question string
	// ChangeVersion is the version of the configuration.
	ChangeVersion string

	// Home is the folder of its files, such as "[nfs] web/".
	Home string
	// Build is what its own record says is left to be made of it, nil for nothing and where that is not proven.
	Build *Build
	// Customized says that vCenter has a customisation of its guest waiting for the next start, or has run one. It is told
	// only of a machine that was read for an act.
	Customized bool
}

// DiskFile is where the file of a disk of that number lies that is being made for it. Its name tells the machine's own
// id too: whatever else lies in that folder, such as another machine whose files somebody put there, it is not this.
func (m Machine) DiskFile(number int) string {
	name := m.Home[strings.LastIndex(strings.TrimSuffix(m.Home, "/"), "/")+1:]
	name = strings.TrimSuffix(name[strings.LastIndex(name, " ")+1:], "/")
	name += "-" + strings.ToLower(m.InstanceUUID)
	if number > 0 {
		name += "_" + strconv.Itoa(number)
	}
	return m.Home + name + ".vmdk"
}

// Namespace is the folder directly below the namespaces folder that the machine lies in at any depth, zero when it lies
// in none.
func (m Machine) Namespace() ID {
	if len(m.Folders) < 2 {
		return ID{}
	}
	return m.Folders[len(m.Folders)-2]
}

// Paused says whether somebody asked that the machine be left alone: a user in its own record, or a VI admin in its
// ExtraConfig.
func (m Machine) Paused() bool {
	byUser, byAdmin := m.PausedBy()
	return byUser || byAdmin
}

// PausedBy says who asked so.
func (m Machine) PausedBy() (user, admin bool) {
	return m.own() && m.Head.Paused, strings.EqualFold(m.PauseOption, "true")
}

// Carry takes in the record that lies in the machine, nil for none. Its instanceUuid is set before.
func (m *Machine) Carry(record *Record) {
	m.Head, m.HeadError, m.Unproven, m.Build = nil, nil, "", nil
	if record == nil {
		return
	}
	if m.HeadError = record.Err; m.HeadError != nil {
		return
	}
	m.Head, m.Unproven = &record.Head, record.Unproven
	if m.own() && m.Unproven == "" {
		m.Build = m.Head.Build
	}
}

// Counts says whether the machine's record was written for this very machine, and by that installation, which has
// proved it.
func (m Machine) Counts(installation string) bool {
	return m.own() && m.Head.Installation == installation && m.Unproven == ""
}

// Doubted says why a record which says that the installation wrote it for this very machine is not proven to be that;
// empty where it is proven, or says nothing of the sort.
func (m Machine) Doubted(installation string) string {
	if !m.own() || m.Head.Installation != installation {
		return ""
	}
	return m.Unproven
}

// Another returns the other installation that wrote the machine's own record, if it was another one.
func (m Machine) Another(installation string) (other string, another bool) {
	if !m.own() || m.Head.Installation == installation {
		return "", false
	}
	return m.Head.Installation, true
}

// own says whether the record was written for this very machine. A clone carries the original's.
func (m Machine) own() bool {
	return m.Head != nil && m.InstanceUUID != "" && strings.EqualFold(m.Head.UID, m.InstanceUUID)
}

// Differs says in what a machine is no longer the one that something was decided on: who it is, where it lies, whether
// it is to be left alone, and what its record says. Empty: in nothing of that.
func (m Machine) Differs(now Machine) string {
	switch {
	case now.ID == m.ID && now.InstanceUUID == "":
		return "vCenter does not tell its configuration now"
	case now.ID != m.ID || !strings.EqualFold(now.InstanceUUID, m.InstanceUUID):
		return "it is another virtual machine now"
	case now.Template != m.Template:
		return "it was made a template, or is none any more"
	case !slices.Equal(now.Folders, m.Folders):
		return "it was moved in vCenter"
	case now.Paused() != m.Paused():
		return "it was paused, or is so no longer"
	case (now.HeadError != nil) != (m.HeadError != nil), (now.Head != nil) != (m.Head != nil), now.Unproven != m.Unproven,
		now.Head != nil && !now.Head.Equal(*m.Head):
		return "its record was changed"
	}
	return ""
}

// Left is the machine once something else is left to be made of it, nil for nothing, and its record says so.
func (m Machine) Left(build *Build) Machine {
	head := *m.Head
	head.Build = build
	head.Sequence++
	m.Head, m.Build = &head, build
	return m
}
