// SPDX-License-Identifier: Apache-2.0

package machine_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
)

func permittedLink(facts.Link) error { return nil }

// cards are the network cards of a machine in vCenter.
func (l *lab) cards(id facts.ID) []facts.Card {
	l.t.Helper()
	return machine.Cards(l.config(id).Hardware.Device)
}

// link is an interface at a network.
func (l *lab) link(name, network string) facts.Link {
	l.t.Helper()
	found, err := l.finder.Network(l.t.Context(), "/DC0/network/"+network)
	if err != nil {
		l.t.Fatal(err)
	}
	return facts.Link{Name: name, Network: network, ID: l.id(found.Reference())}
}

// TestSetCards adds network cards to a machine that is on and to one that is off, moves them and takes them away, each in
// one change. A card that is moved stays the one that it is.
func TestSetCards(t *testing.T) {
	l := newLab(t)
	l.distribute("switch", "workload")
	standard, workload := l.link("eth0", "VM Network"), l.link("eth1", "workload")
	for _, path := range []string{"web-1", "db-1"} { // one that is on, and one that is off
		vm := l.vm("/DC0/vm/Namespaces/team-a/" + path)
		id := l.id(vm.Reference())
		first := l.cards(id)[0]
		var permitted []string
		set := func(want []string, changed int, links ...facts.Link) (is []facts.Card) {
			t.Helper()
			permitted = nil
			recording := l.vcenter.Record()
			err := l.verbs.SetCards(t.Context(), id, facts.Cards(links), false, wanted, func(link facts.Link) error {
				permitted = append(permitted, link.Name)
				return nil
			})
			recording.Stop()
			if err != nil {
				t.Fatal(err)
			}
			if counts := recording.Counts(); counts["ReconfigVM_Task"] != changed {
				t.Errorf("%s: %d changes, want %d", path, counts["ReconfigVM_Task"], changed)
			}
			is = l.cards(id)
			var got []string
			for _, card := range is {
				got = append(got, fmt.Sprintf("%d %s", card.Key, card.Network))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: cards in vCenter (-want +got):\n%s", path, diff)
			}
			return is
		}
		a, b := " "+standard.ID.Value, " "+workload.ID.Value
		set([]string{"4000" + a}, 0, standard)
		set([]string{"4000" + a, "4001" + b, "4002" + a}, 1, standard, workload, l.link("eth2", "VM Network"))
		if diff := cmp.Diff([]string{"eth1", "eth2"}, permitted); diff != "" {
			t.Errorf("asked for (-want +got):\n%s", diff)
		}
		moved := l.link("eth0", "workload")
		moved.MAC = first.MAC
		is := set([]string{"4000" + b, "4001" + b}, 1, moved, workload)
		if is[0].MAC != first.MAC || !l.connected(id, 4000, path == "web-1") {
			t.Errorf("%s: the card that was moved is %+v, and was %+v", path, is[0], first)
		}
		only := workload
		only.MAC = is[1].MAC
		set([]string{"4001" + b}, 1, only)
		set(nil, 1)
	}
}

// connected says whether a card is connected, or will be with its machine.
func (l *lab) connected(id facts.ID, key int32, on bool) bool {
	device := object.VirtualDeviceList(l.config(id).Hardware.Device).FindByKey(key).GetVirtualDevice()
	return device.Connectable.StartConnected && device.Connectable.Connected == on
}

// TestCardStaysWhatItIs: one of another type than Pacific makes, with an address that was set by hand, keeps both.
func TestCardStaysWhatItIs(t *testing.T) {
	l := newLab(t)
	l.distribute("switch", "workload")
	vm := l.vm("/DC0/vm/Namespaces/team-a/db-1")
	id := l.id(vm.Reference())
	devices := object.VirtualDeviceList(l.config(id).Hardware.Device)
	old := devices.SelectByType((*types.VirtualEthernetCard)(nil))[0]
	card := &types.VirtualE1000{VirtualEthernetCard: types.VirtualEthernetCard{
		AddressType: string(types.VirtualEthernetCardMacTypeManual), MacAddress: "00:50:56:01:02:03"}}
	card.Backing = old.GetVirtualDevice().Backing
	l.do(vm.Reconfigure(t.Context(), types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{
		&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationRemove, Device: old},
		&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: card},
	}}))
	wants := facts.Cards{l.link("eth0", "workload")}
	if err := l.verbs.SetCards(t.Context(), id, wants, false, wanted, permittedLink); err != nil {
		t.Fatal(err)
	}
	devices = l.config(id).Hardware.Device
	is, ok := devices.SelectByType((*types.VirtualEthernetCard)(nil))[0].(*types.VirtualE1000)
	if !ok || is.MacAddress != "00:50:56:01:02:03" || is.AddressType != string(types.VirtualEthernetCardMacTypeManual) ||
		!slices.ContainsFunc(l.cards(id), wants[0].At) {
		t.Errorf("it is %T at %+v: %+v", devices, l.cards(id), is)
	}
}

func TestCardsThatAreNotSet(t *testing.T) {
	l := newLab(t)
	vm := l.vm("/DC0/vm/Namespaces/team-a/db-1")
	id := l.id(vm.Reference())
	before := l.cards(id)
	more := facts.Cards{l.link("eth0", "VM Network"), l.link("eth1", "VM Network")}
	gone := facts.Cards{l.link("eth0", "VM Network"), {Name: "eth1", Network: "gone",
		ID: facts.ID{VCenter: l.about, Type: facts.TypePortgroup, Value: "dvportgroup-0"}}}
	for name, test := range map[string]struct {
		cards   facts.Cards
		still   machine.Still
		permits func(facts.Link) error
		want    failure.Kind
	}{
		"not wanted any more": {more, func(facts.Machine) error { return failure.Conflict }, permittedLink, failure.Conflict},
		"not permitted":       {more, wanted, func(facts.Link) error { return failure.Forbidden }, failure.Forbidden},
		"over somebody else's change": {more, func(facts.Machine) error {
			l.set(vm, "guestinfo.other", "x")
			return nil
		}, permittedLink, failure.Conflict},
		"at a network that is gone": {gone, wanted, permittedLink, failure.NotFound},
	} {
		if err := l.verbs.SetCards(t.Context(), id, test.cards, false, test.still, test.permits); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(before, l.cards(id)); diff != "" {
			t.Errorf("%s: it was changed (-before +after):\n%s", name, diff)
		}
	}
	l.set(vm, "devices.hotplug", "FALSE")
	l.do(vm.PowerOn(t.Context()))
	err := l.verbs.SetCards(t.Context(), id, more, false, wanted, permittedLink)
	if !errors.Is(err, failure.NeedsPowerOff) || len(l.cards(id)) != 1 {
		t.Errorf("of one that cannot be changed so while it is on: %v, %v", err, l.cards(id))
	}
	l.do(vm.Suspend(t.Context()))
	if err := l.verbs.SetCards(t.Context(), id, more, false, wanted, permittedLink); err != nil || len(l.cards(id)) != 1 {
		t.Errorf("while it is suspended: %v, %v", err, l.cards(id))
	}
}

// TestTellNetwork: that a guest has not been told of a new card is in its machine's record from the same change on, until
// it was told.
func TestTellNetwork(t *testing.T) {
	l := newLab(t)
	vm := l.vm("/DC0/vm/Namespaces/team-a/db-1")
	id := l.id(vm.Reference())
	if err := l.verbs.TellNetwork(t.Context(), id, nil, wanted); !errors.Is(err, failure.Conflict) {
		t.Errorf("without a record: %v", err)
	}
	head := facts.Head{UID: l.now(id).InstanceUUID, Sequence: 1, Namespace: "team-a", Name: "db-1"}
	if err := l.verbs.WriteRecord(t.Context(), id, head, []byte(`{"labels":{}}`), wanted); err != nil {
		t.Fatal(err)
	}
	is := func(what string, sequence uint64, untold bool) {
		t.Helper()
		now := l.now(id)
		if now.Head == nil || now.Head.Sequence != sequence || now.Head.Untold != untold {
			t.Errorf("%s: the record is %+v, %v", what, now.Head, now.HeadError)
		}
	}
	set := func(tells bool, links ...facts.Link) {
		t.Helper()
		if err := l.verbs.SetCards(t.Context(), id, facts.Cards(links), tells, wanted, permittedLink); err != nil {
			t.Fatal(err)
		}
	}
	one, two, three := l.link("eth0", "VM Network"), l.link("eth1", "VM Network"), l.link("eth2", "VM Network")
	set(false, one, two)
	is("nobody is told", 1, false)
	set(true, one)
	is("one less", 1, false)
	set(true, one, two)
	is("one more", 2, true)
	set(true, one, two, three)
	is("and one more", 2, true)
	before := l.option(vm, facts.RecordKey)
	if err := l.verbs.TellNetwork(t.Context(), id, map[string]string{"guestinfo.metadata": "x"}, wanted); err != nil {
		t.Fatal(err)
	}
	is("told", 3, false)
	if got := l.option(vm, "guestinfo.metadata"); got != "x" || l.option(vm, facts.RecordKey) == before {
		t.Errorf("its guest is told %q", got)
	}
	err := l.verbs.TellNetwork(t.Context(), id, nil, func(facts.Machine) error { return failure.Conflict })
	if !errors.Is(err, failure.Conflict) {
		t.Errorf("not wanted any more: %v", err)
	}
}
