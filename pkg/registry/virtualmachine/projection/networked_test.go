// SPDX-License-Identifier: Apache-2.0

package projection_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	vmopv1common "github.com/vmware-tanzu/vm-operator/api/v1alpha5/common"
	"github.com/vmware/govmomi/find"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/projection"
	"github.com/openpacific/pacific/pkg/vcenter/vcentertest"
)

func (p *planned) Cards(vm *vmopv1.VirtualMachine, before *facts.Cards) (*facts.Cards, error) {
	cards := facts.Cards{}
	for _, wanted := range vm.Spec.Network.Interfaces {
		link := facts.Link{Name: wanted.Name, Network: wanted.Network.Name, ID: p.networks[wanted.Network.Name]}
		if before != nil {
			for _, was := range *before {
				if was.Name == link.Name {
					link.MAC = was.MAC
				}
			}
		}
		cards = append(cards, link)
	}
	return &cards, nil
}

// TestNetworkIsDeclared: the networks that are meant are written down when somebody declares interfaces, of whatever
// machine, with the cards that are theirs then; and it shows in what the machine is otherwise.
func TestNetworkIsDeclared(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	s, a := serve(t, v), newAdmin(t, v)
	network, err := find.NewFinder(a.b.Client.Client).Network(t.Context(), "/DC0/network/VM Network")
	if err != nil {
		t.Fatal(err)
	}
	here, other := facts.ID{Type: "Network", Value: network.Reference().Value}, facts.ID{Type: "Network", Value: "network-0"}
	s.backend.Planner = &planned{networks: map[string]facts.ID{"VM Network": here, "other": other}}
	with := func(names ...string) *vmopv1.VirtualMachineNetworkSpec {
		spec := &vmopv1.VirtualMachineNetworkSpec{}
		for i := 0; i < len(names); i += 2 {
			spec.Interfaces = append(spec.Interfaces, vmopv1.VirtualMachineNetworkInterfaceSpec{Name: names[i],
				Network: &vmopv1common.PartialObjectRef{Name: names[i+1]}})
		}
		return spec
	}
	state, _ := s.projector.Find("team-a", "web-1")
	mac := state.Live.Hardware.Cards[0].MAC
	const differs = "its network cards are not those of spec.network.interfaces: "
	for _, step := range []struct {
		name         string
		change       func(*vmopv1.VirtualMachine)
		want         *facts.Cards
		reason, says string
		interfaces   []string
	}{
		{"something else", func(vm *vmopv1.VirtualMachine) { vm.Labels = map[string]string{"a": "b"} }, nil, "", "", []string{""}},
		{"declared as it is", func(vm *vmopv1.VirtualMachine) { vm.Spec.Network = with("eth0", "VM Network") },
			&facts.Cards{{Name: "eth0", Network: "VM Network", ID: here}}, "True", "", []string{"eth0"}},
		{"something else", func(vm *vmopv1.VirtualMachine) { vm.Labels = nil },
			&facts.Cards{{Name: "eth0", Network: "VM Network", ID: here}}, "True", "", []string{"eth0"}},
		{"one more", func(vm *vmopv1.VirtualMachine) { vm.Spec.Network = with("eth0", "VM Network", "eth1", "VM Network") },
			&facts.Cards{{Name: "eth0", Network: "VM Network", ID: here, MAC: mac}, {Name: "eth1", Network: "VM Network", ID: here}},
			"NotSynced", differs + "it has none for eth1", []string{"eth0"}},
		{"elsewhere", func(vm *vmopv1.VirtualMachine) { vm.Spec.Network = with("eth0", "other") },
			&facts.Cards{{Name: "eth0", Network: "other", ID: other, MAC: mac}},
			"NotSynced", differs + `that of eth0 is not at the network "other"`, []string{"eth0"}},
		{"none", func(vm *vmopv1.VirtualMachine) { vm.Spec.Network = &vmopv1.VirtualMachineNetworkSpec{Disabled: true} },
			&facts.Cards{}, "NotSynced", differs + "it has 1 more", []string{""}},
		{"declared no longer", func(vm *vmopv1.VirtualMachine) { vm.Spec.Network = nil }, nil, "", "", []string{""}},
	} {
		vm, err := s.update("team-a/web-1", step.change)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		state, _ := s.projector.Find("team-a", "web-1")
		if diff := cmp.Diff(step.want, state.Metadata.Cards); diff != "" {
			t.Errorf("%s: the cards (-want +got):\n%s", step.name, diff)
		}
		reason, says := "", ""
		if told := meta.FindStatusCondition(vm.Status.Conditions, vmopv1.VirtualMachineConditionNetworkReady); told != nil {
			reason, says = told.Reason, told.Message
		}
		if reason != step.reason || says != step.says {
			t.Errorf("%s: the condition says %q, %q, want %q, %q", step.name, reason, says, step.reason, step.says)
		}
		var names []string
		for _, one := range vm.Status.Network.Interfaces {
			names = append(names, one.Name)
		}
		if diff := cmp.Diff(step.interfaces, names, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: the interfaces that are shown (-want +got):\n%s", step.name, diff)
		}
		if state.Metadata.Untold {
			t.Errorf("%s: somebody is to be told who never is", step.name)
		}
	}
}

// TestGuestIsToldAnew: a change of the network is written down as one that the guest is to be told of, where it is told
// again and again.
func TestGuestIsToldAnew(t *testing.T) {
	v := vcentertest.Run(t, vcentertest.Options{})
	s := serve(t, v)
	s.backend.Planner = &planned{networks: map[string]facts.ID{}}
	nic := func(addresses ...string) *vmopv1.VirtualMachineNetworkSpec {
		return &vmopv1.VirtualMachineNetworkSpec{Interfaces: []vmopv1.VirtualMachineNetworkInterfaceSpec{{Name: "eth0",
			Network: &vmopv1common.PartialObjectRef{Name: "VM Network"}, Addresses: addresses}}}
	}
	for _, step := range []struct {
		name   string
		change func(*vmopv1.VirtualMachine)
		want   bool
	}{
		{"cloud-init", func(vm *vmopv1.VirtualMachine) {
			vm.Spec.Bootstrap = &vmopv1.VirtualMachineBootstrapSpec{CloudInit: &vmopv1.VirtualMachineBootstrapCloudInitSpec{}}
		}, false},
		{"another address", func(vm *vmopv1.VirtualMachine) { vm.Spec.Network = nic("192.0.2.7/24") }, true},
		{"something else meanwhile", func(vm *vmopv1.VirtualMachine) { vm.Labels = map[string]string{"a": "b"} }, true},
	} {
		vm, err := s.update("team-a/web-1", step.change)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		state, _ := s.projector.Find("team-a", "web-1")
		told := meta.FindStatusCondition(vm.Status.Conditions, vmopv1.VirtualMachineGuestNetworkConfigSynced)
		if says := told != nil && told.Reason == projection.NotToldReason; state.Metadata.Untold != step.want || says != step.want {
			t.Errorf("%s: it is to be told: %t, condition %v", step.name, state.Metadata.Untold, told)
		}
	}
	// Once it was told, it shows whether the guest has what it was told.
	state, _ := s.projector.Find("team-a", "web-1")
	options := map[string]string{"guestinfo.metadata": "x"}
	err := s.verbs.TellNetwork(t.Context(), state.ID, options, func(facts.Machine) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	vm, err := s.update("team-a/web-1", func(vm *vmopv1.VirtualMachine) { vm.Labels = nil })
	if err != nil {
		t.Fatal(err)
	}
	told := meta.FindStatusCondition(vm.Status.Conditions, vmopv1.VirtualMachineGuestNetworkConfigSynced)
	if told == nil || told.Reason != "NotSynced" {
		t.Errorf("its guest has another address: %v", told)
	}
	vm, err = s.update("team-a/web-1", func(vm *vmopv1.VirtualMachine) { vm.Spec.Network = nic("10.20.0.11/24") })
	if err == nil {
		state, _ = s.projector.Find("team-a", "web-1")
		err = s.verbs.TellNetwork(t.Context(), state.ID, options, func(facts.Machine) error { return nil })
	}
	if err == nil {
		vm, err = s.update("team-a/web-1", func(vm *vmopv1.VirtualMachine) { vm.Labels = map[string]string{"c": "d"} })
	}
	told = meta.FindStatusCondition(vm.Status.Conditions, vmopv1.VirtualMachineGuestNetworkConfigSynced)
	if err != nil || told == nil || told.Reason != "True" {
		t.Errorf("its guest has that address: %v, %v", err, told)
	}
}
