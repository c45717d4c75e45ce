// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
)

func permitted(facts.Drive) error { return nil }

// cdroms are the drives of a machine in vCenter with a disc in them.
func (l *lab) cdroms(id facts.ID) []facts.Cdrom {
	l.t.Helper()
	return machine.Cdroms(l.config(id).Hardware.Device)
}

func TestSetDrives(t *testing.T) {
	l := newLab(t)
	vm := l.vm("/DC0/vm/Namespaces/team-a/db-1") // off
	id := l.id(vm.Reference())
	before := len(l.config(id).Hardware.Device)
	set := func(drives ...facts.Drive) {
		t.Helper()
		if err := l.verbs.SetDrives(t.Context(), id, drives, wanted, permitted); err != nil {
			t.Fatal(err)
		}
	}
	has := func(want ...facts.Cdrom) []facts.Cdrom {
		t.Helper()
		got := l.cdroms(id)
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(facts.Cdrom{}, "Key")); diff != "" {
			t.Errorf("drives in vCenter (-want +got):\n%s", diff)
		}
		return got
	}
	a := facts.Drive{File: "[datastore-1] a.iso", Connected: true, GuestControl: true}
	b := facts.Drive{File: "[datastore-1] b.iso"}
	set(a)
	first := has(facts.Cdrom{File: a.File, StartConnected: true, GuestControl: true})
	set(a) // which is no change
	set(b, a)
	has(facts.Cdrom{File: a.File, StartConnected: true, GuestControl: true}, facts.Cdrom{File: b.File})

	l.do(vm.PowerOn(t.Context()))
	has(facts.Cdrom{File: a.File, Connected: true, StartConnected: true, GuestControl: true}, facts.Cdrom{File: b.File})
	b.Connected, a.Connected = true, false
	c := facts.Drive{File: "[datastore-1] c.iso", Connected: true}
	set(a, b, c) // the last has to wait
	has(facts.Cdrom{File: a.File, GuestControl: true}, facts.Cdrom{File: b.File, Connected: true, StartConnected: true})

	l.do(vm.PowerOff(t.Context()))
	set(c, b) // in place of the other
	got := has(facts.Cdrom{File: c.File, StartConnected: true}, facts.Cdrom{File: b.File, StartConnected: true})
	if got[0].Key != first[0].Key {
		t.Errorf("the disc came into the drive %d, and not into %d", got[0].Key, first[0].Key)
	}
	set()
	has()
	if after := len(l.config(id).Hardware.Device); after != before {
		t.Errorf("it has %d devices, and had %d", after, before)
	}
}

// TestManyDrives: two are at each controller for IDE, and a controller for SATA is added for the rest.
func TestManyDrives(t *testing.T) {
	l := newLab(t)
	vm := l.vm("/DC0/vm/Namespaces/team-a/db-1")
	id := l.id(vm.Reference())
	var drives facts.Drives
	for i := range 6 {
		drives = append(drives, facts.Drive{File: fmt.Sprintf("[datastore-1] %d.iso", i)})
	}
	if err := l.verbs.SetDrives(t.Context(), id, drives, wanted, permitted); err != nil {
		t.Fatal(err)
	}
	devices := object.VirtualDeviceList(l.config(id).Hardware.Device)
	var at []string
	for _, device := range devices.SelectByType((*types.VirtualCdrom)(nil)) {
		d := device.GetVirtualDevice()
		at = append(at, fmt.Sprintf("%s %d", devices.Type(devices.FindByKey(d.ControllerKey)), *d.UnitNumber))
	}
	slices.Sort(at)
	if diff := cmp.Diff([]string{"ahci 0", "ahci 1", "ide 0", "ide 0", "ide 1", "ide 1"}, at); diff != "" {
		t.Errorf("where the drives are (-want +got):\n%s", diff)
	}
}

func TestDrivesThatAreNotSet(t *testing.T) {
	l := newLab(t)
	vm := l.vm("/DC0/vm/Namespaces/team-a/db-1")
	id := l.id(vm.Reference())
	drives := facts.Drives{{File: "[datastore-1] a.iso"}}
	err := l.verbs.SetDrives(t.Context(), id, drives, func(facts.Machine) error { return failure.Conflict }, permitted)
	if !errors.Is(err, failure.Conflict) || len(l.cdroms(id)) > 0 {
		t.Errorf("not wanted any more: %v, %v", err, l.cdroms(id))
	}
	err = l.verbs.SetDrives(t.Context(), id, drives, wanted, func(facts.Drive) error { return failure.Forbidden })
	if !errors.Is(err, failure.Forbidden) || len(l.cdroms(id)) > 0 {
		t.Errorf("not permitted: %v, %v", err, l.cdroms(id))
	}
	err = l.verbs.SetDrives(t.Context(), id, drives, func(facts.Machine) error {
		l.set(vm, "guestinfo.other", "x") // somebody is faster
		return nil
	}, permitted)
	if !errors.Is(err, failure.Conflict) || len(l.cdroms(id)) > 0 {
		t.Errorf("over somebody else's change: %v, %v", err, l.cdroms(id))
	}
}
