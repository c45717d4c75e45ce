// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/openpacific/pacific/pkg/facts"
)

// cost is which calls it takes to make a machine of copies, with a card at the port group "workload", and to power it
// on, with its guest customised or not. between comes after each copy.
func (l *lab) cost(name string, disks int, customize bool, between func()) map[string]int {
	l.t.Helper()
	ctx := l.t.Context()
	shell, head := l.shell(name)
	network, err := l.finder.Network(ctx, "/DC0/network/workload")
	if err != nil {
		l.t.Fatal(err)
	}
	shell.Cards = facts.Cards{{Name: "eth0", ID: l.id(network.Reference()), Network: "workload"}}
	first := shell.Build.Disks[0]
	shell.Build.Disks, shell.Build.Customize = nil, customize
	for range disks {
		shell.Build.Disks = append(shell.Build.Disks, first)
	}
	now := facts.Machine{Home: "[datastore-1] " + name + "/", InstanceUUID: shell.InstanceUUID}

	recording := l.vcenter.Record()
	id, err := l.verbs.Create(ctx, shell, head, []byte(`{}`))
	if err != nil {
		l.t.Fatal(err)
	}
	recording.Stop()
	controller := object.VirtualDeviceList(l.config(id).Hardware.Device).SelectByType(
		(*types.ParaVirtualSCSIController)(nil))[0].GetVirtualDevice().Key
	rest := l.vcenter.Record()
	var attachments []facts.Attachment
	for number := range disks {
		if err := l.verbs.CopyDisk(ctx, id, number, "", func(int32) {}, whatever); err != nil {
			l.t.Fatal(err)
		}
		attachments = append(attachments, facts.Attachment{File: now.DiskFile(number), Controller: controller,
			Unit: int32(number), Capacity: first.Capacity})
		between()
	}
	if err := l.verbs.Finish(ctx, id, attachments, facts.Told{}, whatever); err != nil {
		l.t.Fatal(err)
	}
	if customize {
		told := facts.Customization{Linux: &facts.LinuxPrep{HostName: "made"}, Adapters: []facts.Adapter{{DHCP4: true}}}
		if err := l.verbs.Customize(ctx, id, told, whatever); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := l.verbs.PowerOn(ctx, id, whatever); err != nil {
		l.t.Fatal(err)
	}
	rest.Stop()
	counts := rest.Counts()
	for method, count := range recording.Counts() {
		counts[method] += count
	}
	delete(counts, "WaitForUpdatesEx")
	delete(counts, "ModifyListView")
	return counts
}

// distribute makes a distributed switch with a port group, of which all hosts are members.
func (l *lab) distribute(name, portgroup string) {
	l.t.Helper()
	ctx := l.t.Context()
	b, err := l.vcenter.Builder(ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	defer b.Close(ctx)
	if err := b.In(ctx, "DC0"); err != nil {
		l.t.Fatal(err)
	}
	if err := b.Switch(ctx, name, portgroup); err != nil {
		l.t.Fatal(err)
	}
	made, err := l.finder.Network(ctx, "/DC0/network/"+name)
	if err != nil {
		l.t.Fatal(err)
	}
	hosts, err := l.finder.HostSystemList(ctx, "/DC0/host/*/*")
	if err != nil {
		l.t.Fatal(err)
	}
	spec := new(types.DVSConfigSpec)
	for _, host := range hosts {
		spec.Host = append(spec.Host, types.DistributedVirtualSwitchHostMemberConfigSpec{
			Operation: string(types.ConfigSpecOperationAdd), Host: host.Reference(),
		})
	}
	l.do(made.(*object.DistributedVirtualSwitch).Reconfigure(ctx, spec))
}

// TestCallsOfACreate: a machine of n disks costs at most half as many calls again as the 3 + n acts that it takes,
// rounded up, and the reading before it is powered on.
func TestCallsOfACreate(t *testing.T) {
	l := newLab(t)
	clock := clocktesting.NewFakePassiveClock(time.Now())
	l.verbs.Clock = clock
	l.distribute("switch", "workload")
	nothing := func() {}
	l.cost("made-0", 1, false, nothing) // What is read once is read with the first.
	for _, disks := range []int{1, 2, 3, 5} {
		counts := l.cost(fmt.Sprintf("made-%d", disks), disks, false, nothing)
		want := map[string]int{"CreateVM_Task": 1, "CopyVirtualDisk_Task": disks, "ReconfigVM_Task": 1, "PowerOnVM_Task": 1,
			"RetrievePropertiesEx": 3}
		if diff := cmp.Diff(want, counts); diff != "" {
			t.Errorf("calls for %d disks (-want +got):\n%s", disks, diff)
		}
		all := 0
		for _, count := range counts {
			all += count
		}
		if most := (3*(3+disks)+1)/2 + 1; all > most {
			t.Errorf("a machine of %d disks costs %d calls, more than %d", disks, all, most)
		}
	}
	// Copying takes its time: then it is looked before each disk whether the machine is still to have it.
	counts := l.cost("made-slowly", 3, false, func() { clock.SetTime(clock.Now().Add(time.Minute)) })
	if got := counts["RetrievePropertiesEx"]; got != 5 {
		t.Errorf("it was read %d times, want 5", got)
	}
	// A customisation costs its call, a change that notes it, and the reading before each.
	want := map[string]int{"CreateVM_Task": 1, "CopyVirtualDisk_Task": 1, "ReconfigVM_Task": 2, "CustomizeVM_Task": 1,
		"PowerOnVM_Task": 1, "RetrievePropertiesEx": 5}
	if diff := cmp.Diff(want, l.cost("made-customised", 1, true, nothing)); diff != "" {
		t.Errorf("calls with a customisation (-want +got):\n%s", diff)
	}
}
