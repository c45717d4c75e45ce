// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"k8s.io/utils/clock"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
)

// size is how large a machine is in vCenter.
func (l *lab) size(vm *object.VirtualMachine) facts.Size {
	l.t.Helper()
	var props mo.VirtualMachine
	if err := vm.Properties(l.t.Context(), vm.Reference(), []string{"config"}, &props); err != nil {
		l.t.Fatal(err)
	}
	c := props.Config
	return facts.Size{CPUs: c.Hardware.NumCPU, MemoryMB: int64(c.Hardware.MemoryMB),
		CPU:    facts.Allocation{Limit: *c.CpuAllocation.Limit, Reservation: *c.CpuAllocation.Reservation},
		Memory: facts.Allocation{Limit: *c.MemoryAllocation.Limit, Reservation: *c.MemoryAllocation.Reservation}}
}

func TestResize(t *testing.T) {
	l := newLab(t)
	vm := l.vm("/DC0/vm/Namespaces/team-a/db-1") // off
	id := l.id(vm.Reference())
	want := facts.Size{CPUs: 8, MemoryMB: 16384, CPU: facts.Allocation{Limit: 4000, Reservation: 1000},
		Memory: facts.Allocation{Limit: -1, Reservation: 16384}}
	if err := l.verbs.Resize(t.Context(), id, want, wanted); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, l.size(vm)); diff != "" {
		t.Errorf("resized (-want +got):\n%s", diff)
	}
	// What nobody says anything of stays as it is.
	unsaid := facts.Size{CPUs: 8, MemoryMB: 16384, CPU: facts.Allocation{Limit: facts.Unsaid, Reservation: facts.Unsaid},
		Memory: facts.Allocation{Limit: 20000, Reservation: facts.Unsaid}}
	want = unsaid.Over(want)
	if err := l.verbs.Resize(t.Context(), id, unsaid, wanted); err != nil || l.size(vm) != want {
		t.Errorf("with what nobody says: %v, %+v, want %+v", err, l.size(vm), want)
	}
	want.Memory.Limit = -1
	if err := l.verbs.Resize(t.Context(), id, want, wanted); err != nil {
		t.Fatal(err)
	}
	small := facts.Size{CPUs: 1, MemoryMB: 1024, CPU: facts.Allocation{Limit: -1}, Memory: facts.Allocation{Limit: -1}}
	err := l.verbs.Resize(t.Context(), id, small, func(facts.Machine) error {
		l.set(vm, "guestinfo.other", "x") // somebody is faster
		return nil
	})
	if !errors.Is(err, failure.Conflict) || l.size(vm) != want {
		t.Errorf("over somebody else's change: %v, %+v", err, l.size(vm))
	}
	l.do(vm.PowerOn(t.Context()))
	if err := l.verbs.Resize(t.Context(), id, small, wanted); err == nil || l.size(vm) != want {
		t.Errorf("while it is on: %v, %+v", err, l.size(vm))
	}
	// What it may take can be changed then.
	want.CPU.Limit, want.Memory.Reservation = -1, 0
	if err := l.verbs.Resize(t.Context(), id, want, wanted); err != nil || l.size(vm) != want {
		t.Errorf("reservations while it is on: %v, %+v", err, l.size(vm))
	}
}

// TestRestarted tells by vCenter's events, and by its clock, whether a machine began anew.
func TestRestarted(t *testing.T) {
	l := newLab(t)
	web, db := l.vm("/DC0/vm/Namespaces/team-a/web-1"), l.vm("/DC0/vm/Namespaces/team-a/db-1")
	history := &machine.History{Session: l.verbs.Writer.(*vcenter.Writer).Session, Clock: clock.RealClock{}}
	for name, test := range map[string]struct {
		vm  *object.VirtualMachine
		act func(context.Context, facts.ID, machine.Still) error
		// stays says that the machine never was off.
		want, stays bool
	}{
		"nothing":   {web, func(context.Context, facts.ID, machine.Still) error { return nil }, false, true},
		"reset":     {web, l.verbs.Reset, true, true},
		"reboot":    {web, l.verbs.RebootGuest, true, true},
		"power on":  {db, l.verbs.PowerOn, true, false},
		"power off": {db, l.verbs.PowerOff, false, false},
	} {
		if name == "power off" {
			l.do(db.PowerOn(t.Context()))
		}
		id := l.id(test.vm.Reference())
		since, err := history.Now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		boot := l.bootTime(test.vm)
		if err := test.act(t.Context(), id, wanted); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := history.Restarted(t.Context(), id, since)
		if err != nil || got != test.want {
			t.Errorf("%s: restarted %t, %v", name, got, err)
		}
		if same := boot == l.bootTime(test.vm); same != test.stays {
			t.Errorf("%s: it stayed on: %t", name, same)
		}
		if name == "power on" {
			l.do(db.PowerOff(t.Context()))
		}
	}
	if err := l.verbs.Reset(t.Context(), l.id(l.vm("/DC0/vm/Namespaces/team-b/cache-1").Reference()), wanted); err != nil {
		t.Fatal(err)
	}
	if err := l.verbs.PowerOff(t.Context(), l.id(web.Reference()), wanted); err != nil {
		t.Fatal(err)
	}
	for name, act := range map[string]func(context.Context, facts.ID, machine.Still) error{
		"reset": l.verbs.Reset, "reboot": l.verbs.RebootGuest} {
		if err := act(t.Context(), l.id(web.Reference()), wanted); !errors.Is(err, failure.Conflict) {
			t.Errorf("%s of what is off: %v", name, err)
		}
	}
}

// bootTime is when a machine was powered on.
func (l *lab) bootTime(vm *object.VirtualMachine) string {
	l.t.Helper()
	var props mo.VirtualMachine
	if err := vm.Properties(l.t.Context(), vm.Reference(), []string{"runtime"}, &props); err != nil {
		l.t.Fatal(err)
	}
	if props.Runtime.BootTime == nil {
		return ""
	}
	return props.Runtime.BootTime.String()
}

// TestSigns reads what guests tell of several machines in one call, and nothing of what is not there.
func TestSigns(t *testing.T) {
	l := newLab(t)
	web, db := l.vm("/DC0/vm/Namespaces/team-a/web-1"), l.vm("/DC0/vm/Namespaces/team-a/db-1")
	l.set(web, "guestinfo.ready", "true")
	signs := &machine.Signs{Session: l.verbs.Writer.(*vcenter.Writer).Session}
	gone, stranger := l.id(web.Reference()), l.id(web.Reference())
	gone.Value, stranger.VCenter = "vm-none", "another"
	before := l.vcenter.Calls()["RetrievePropertiesEx"]
	got, err := signs.Read(t.Context(), []facts.ID{l.id(web.Reference()), l.id(db.Reference()), gone, stranger},
		[]string{"ready", "other"})
	if err != nil {
		t.Fatal(err)
	}
	for id, one := range got {
		if one.Heartbeat == "" {
			t.Errorf("%s has no heartbeat", id.Value)
		}
		one.Heartbeat = ""
		got[id] = one
	}
	want := map[facts.ID]facts.Signs{
		l.id(web.Reference()): {GuestInfo: map[string]string{"ready": "true"}},
		l.id(db.Reference()):  {GuestInfo: map[string]string{}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("signs (-want +got):\n%s", diff)
	}
	if calls := l.vcenter.Calls()["RetrievePropertiesEx"] - before; calls != 1 {
		t.Errorf("vCenter was asked %d times", calls)
	}
}
