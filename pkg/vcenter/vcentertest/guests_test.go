// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/vcenter/vcentertest/guest"
	"github.com/openpacific/pacific/pkg/waittest"
)

// withGuests is a vCenter whose guests take ten seconds to start, of a clock that a test has in its hands.
type withGuests struct {
	*inventory
	vcenter *VCenter
	clock   *clocktesting.FakeClock
}

func startGuests(t *testing.T) *withGuests {
	t.Helper()
	clock := clocktesting.NewFakeClock(time.Now())
	v := Run(t, Options{Clock: clock, GuestsStart: 10 * time.Second})
	return &withGuests{inventory: inventoryOf(t, v), vcenter: v, clock: clock}
}

// machine is one with a disk, an adapter and guestinfo, which is off.
func (g *withGuests) machine(name string, extra map[string]string) *object.VirtualMachine {
	g.t.Helper()
	devices := append(controllerOf(diskAt("[datastore-1] "+name+"/"+name+".vmdk")),
		adapterOn(&types.VirtualEthernetCardNetworkBackingInfo{VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: "VM Network"}}))
	spec := with(devices...)
	spec.Name = name
	spec.DeviceChange[1].GetVirtualDeviceConfigSpec().FileOperation = types.VirtualDeviceConfigSpecFileOperationCreate
	for key, value := range extra {
		spec.ExtraConfig = append(spec.ExtraConfig, &types.OptionValue{Key: key, Value: value})
	}
	return g.made(g.do(g.folder(namespaces+"/team-a").CreateVM(g.t.Context(), spec, g.pool(), nil)))
}

// told is what there is to see of a guest.
func (g *withGuests) told(vm *object.VirtualMachine) string {
	g.t.Helper()
	p := g.read(vm)
	line := []string{strings.TrimPrefix(p.Guest.ToolsRunningStatus, "guestTools"), string(p.GuestHeartbeatStatus),
		p.Guest.HostName, p.Guest.IpAddress}
	if len(p.Guest.Net) == 1 {
		line = append(line, strings.Join(p.Guest.Net[0].IpAddress, ","))
	}
	if info := p.Guest.CustomizationInfo; info != nil {
		line = append(line, strings.TrimPrefix(info.CustomizationStatus, "TOOLSDEPLOYPKG_")+info.ErrorMsg)
	}
	return strings.Join(line, " ")
}

// after lets the guests start, and waits until one has told what is wanted.
func (g *withGuests) after(vm *object.VirtualMachine, want string) {
	g.t.Helper()
	g.clock.Step(10 * time.Second)
	waittest.Eventually(g.t, "the guest has started", func() bool { return g.told(vm) == want || g.vcenter.guests.Idle() })
	if diff := cmp.Diff(want, g.told(vm)); diff != "" {
		g.t.Errorf("what the guest tells (-want +got):\n%s", diff)
	}
}

// TestGuest: a machine that is powered on reports after a moment, stops with it, and reads anew what it is to be.
func TestGuest(t *testing.T) {
	g := startGuests(t)
	ctx := t.Context()
	vm, other := g.machine("new", map[string]string{"guestinfo.metadata": "local-hostname: first"}), g.machine("other",
		nil)
	g.do(vm.PowerOn(ctx))
	if got := g.told(vm); got != "NotRunning    " {
		t.Errorf("at once it tells %q", got)
	}
	g.after(vm, "Running green first 10.66.0.11 10.66.0.11")
	g.do(other.PowerOn(ctx))
	g.after(other, "Running green localhost 10.66.0.12 10.66.0.12")
	if p := g.read(vm); p.Summary.Guest.IpAddress != "10.66.0.11" || p.Guest.Net[0].Network != "VM Network" ||
		p.Guest.Net[0].MacAddress != g.addresses(vm)[0] {
		t.Errorf("it tells of %+v and %+v", p.Summary.Guest, p.Guest.Net)
	}
	if err := vm.ShutdownGuest(ctx); err != nil {
		t.Fatal(err)
	}
	g.state(vm, types.VirtualMachinePowerStatePoweredOff)
	if got := g.told(vm); got != "NotRunning gray first  " {
		t.Errorf("off it tells %q", got)
	}
	g.do(vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
		&types.OptionValue{Key: "guestinfo.metadata", Value: "local-hostname: second"},
	}}))
	g.do(vm.PowerOn(ctx))
	g.after(vm, "Running green second 10.66.0.11 10.66.0.11")

	g.do(vm.Suspend(ctx))
	if got := g.told(vm); got != "NotRunning gray second  " && got != "NotRunning green second  " {
		t.Errorf("suspended it tells %q", got)
	}
	g.do(vm.PowerOn(ctx))
	waittest.Eventually(t, "it goes on as it was", func() bool { return strings.HasPrefix(g.told(vm), "Running ") })

	g.do(other.PowerOff(ctx))
	g.do(other.PowerOn(ctx))
	g.do(other.PowerOff(ctx)) // before it has started
	g.after(other, "NotRunning gray localhost  ")
}

// TestGuestFails: a guest fails as it was asked to.
func TestGuestFails(t *testing.T) {
	g := startGuests(t)
	ctx := t.Context()
	for name, test := range map[string]struct {
		will guest.Behaviour
		want string
	}{
		"no-tools":   {guest.Behaviour{NoTools: true}, "NotRunning    "},
		"no-address": {guest.Behaviour{NoAddress: true}, "Running green localhost  "},
		"sick":       {guest.Behaviour{Heartbeat: types.ManagedEntityStatusRed, NoAddress: true}, "Running red localhost  "},
	} {
		g.vcenter.Guests().Will(name, test.will)
		vm := g.machine(name, nil)
		g.do(vm.PowerOn(ctx))
		g.after(vm, test.want)
	}
	broken := g.machine("broken", map[string]string{"guestinfo.userdata": "%", "guestinfo.userdata.encoding": "base64"})
	g.vcenter.Guests().Will("broken", guest.Behaviour{NoAddress: true})
	g.do(broken.PowerOn(ctx))
	g.after(broken, "Running green localhost  ")
	if notes := g.vcenter.Guests().Notes(broken.Reference()); len(notes) != 1 || !strings.HasPrefix(notes[0],
		"guestinfo.userdata: ") {
		t.Errorf("notes %q", notes)
	}
	bare := g.made(g.do(g.folder(namespaces+"/team-a").CreateVM(ctx, with(), g.pool(), nil)))
	g.do(bare.PowerOn(ctx))
	g.after(bare, "NotRunning   ")
	web := g.vm("web-1") // whose guest was made with it
	g.do(web.PowerOff(ctx))
	g.do(web.PowerOn(ctx))
	g.after(web, "Running  web-1 10.20.0.11 10.20.0.11")
}

// TestCustomizedGuest: a customisation shows in its states, stays over restarts, and can fail.
func TestCustomizedGuest(t *testing.T) {
	g := startGuests(t)
	ctx := t.Context()
	customize := func(vm *object.VirtualMachine) {
		t.Helper()
		g.do(vm.Customize(ctx, types.CustomizationSpec{
			Identity: &types.CustomizationLinuxPrep{HostName: &types.CustomizationFixedName{Name: "chosen"},
				Domain: "example.test"},
			NicSettingMap: []types.CustomizationAdapterMapping{{Adapter: types.CustomizationIPSettings{
				Ip: &types.CustomizationFixedIp{IpAddress: "192.0.2.8"}, SubnetMask: "255.255.255.0"}}},
		}))
	}
	vm := g.machine("new", nil)
	customize(vm)
	if got := g.told(vm); got != "NotRunning     PENDING" {
		t.Errorf("before it is on: %q", got)
	}
	g.do(vm.PowerOn(ctx))
	if got := g.told(vm); got != "NotRunning     RUNNING" {
		t.Errorf("before it has started: %q", got)
	}
	g.after(vm, "Running green chosen 192.0.2.8 192.0.2.8 SUCCEEDED")
	g.do(vm.PowerOff(ctx))
	g.do(vm.PowerOn(ctx))
	g.after(vm, "Running green chosen 192.0.2.8 192.0.2.8 SUCCEEDED")

	g.vcenter.Guests().Will("wrong", guest.Behaviour{CustomizationFails: " no perl", NoAddress: true})
	wrong := g.machine("wrong", nil)
	customize(wrong)
	g.do(wrong.PowerOn(ctx))
	g.after(wrong, "Running green localhost   FAILED no perl")
}
