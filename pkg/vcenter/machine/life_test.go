// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
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
		since, event, err := history.Now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		boot := l.bootTime(test.vm)
		if err := test.act(t.Context(), id, wanted); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := history.Restarted(t.Context(), id, since, event)
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

// TestRestartedByKeys: what came after is told by the keys of events, whatever clocks say, and HA's restarts too.
func TestRestartedByKeys(t *testing.T) {
	l := newLab(t)
	vm := l.vm("/DC0/vm/Namespaces/team-a/web-1")
	id := l.id(vm.Reference())
	history := &machine.History{Session: l.verbs.Writer.(*vcenter.Writer).Session, Clock: clock.RealClock{}}
	if err := l.verbs.Reset(t.Context(), id, wanted); err != nil {
		t.Fatal(err)
	}
	post := func(event types.BaseEvent) {
		t.Helper()
		event.GetEvent().Vm = &types.VmEventArgument{Vm: vm.Reference()}
		_, err := methods.PostEvent(t.Context(), vm.Client(), &types.PostEvent{This: *vm.Client().ServiceContent.EventManager,
			EventToPost: event})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, event := range map[string]types.BaseEvent{
		"nothing": nil, "another event": &types.VmReconfiguredEvent{},
		"restarted elsewhere": &types.VmRestartedOnAlternateHostEvent{},
		"restarted by HA": &types.EventEx{EventTypeId: "com.vmware.vc.ha.VmRestartedByHAEvent",
			ObjectType: "VirtualMachine", ObjectId: id.Value},
		"reset by HA":           &types.VmDasBeingResetEvent{},
		"reset, with a picture": &types.VmDasBeingResetWithScreenshotEvent{},
	} {
		now, last, err := history.Now(t.Context())
		if err != nil || last == 0 {
			t.Fatalf("the last event is %d, %v", last, err)
		}
		if event != nil {
			post(event)
		}
		want := event != nil && name != "another event"
		// A clock that went back would have what was before count, and one that went forth what came after not.
		for clock, since := range map[string]time.Time{"right": now, "late": now.Add(-time.Minute), "early": now.Add(time.Minute)} {
			if got, err := history.Restarted(t.Context(), id, since, last); err != nil || got != want {
				t.Errorf("%s, the clock %s: restarted %t, %v", name, clock, got, err)
			}
		}
		// After a restore of vCenter keys begin anew, and there is the time alone.
		if got, err := history.Restarted(t.Context(), id, now.Add(time.Hour), last+1000); err != nil || got {
			t.Errorf("%s, keys that began anew: restarted %t, %v", name, got, err)
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
