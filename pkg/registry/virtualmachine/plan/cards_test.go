// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	vmopv1common "github.com/vmware-tanzu/vm-operator/api/v1alpha5/common"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/plan"
)

func at(name, network string) vmopv1.VirtualMachineNetworkInterfaceSpec {
	return vmopv1.VirtualMachineNetworkInterfaceSpec{Name: name, Network: &vmopv1common.PartialObjectRef{Name: network}}
}

// TestCards: what is declared of interfaces is written down with the networks that are meant.
func TestCards(t *testing.T) {
	link := func(name, network, mac string) facts.Link {
		return facts.Link{Name: name, Network: network, ID: id("Network", network), MAC: mac}
	}
	old := facts.Link{Name: "eth0", Network: "workload", ID: id("Network", "before"), MAC: "m0"}
	with := func(nics ...vmopv1.VirtualMachineNetworkInterfaceSpec) *vmopv1.VirtualMachineNetworkSpec {
		return &vmopv1.VirtualMachineNetworkSpec{Interfaces: nics}
	}
	for name, test := range map[string]struct {
		network *vmopv1.VirtualMachineNetworkSpec
		before  *facts.Cards
		want    *facts.Cards
		says    string
	}{
		"nobody says":               {},
		"nobody says of interfaces": {network: &vmopv1.VirtualMachineNetworkSpec{HostName: "db"}},
		"none":                      {network: &vmopv1.VirtualMachineNetworkSpec{Disabled: true}, want: &facts.Cards{}},
		"the default network":       {network: with(at("eth0", "")), want: &facts.Cards{link("eth0", "workload", "")}},
		"the one that was meant then": {network: with(at("eth0", "workload")), before: &facts.Cards{old},
			want: &facts.Cards{old}},
		"another network": {network: with(at("eth0", "storage")), before: &facts.Cards{old},
			want: &facts.Cards{link("eth0", "storage", "m0")}},
		"another interface": {network: with(at("eth1", "workload")), before: &facts.Cards{old},
			want: &facts.Cards{link("eth1", "workload", "")}},
		"no interface any more": {network: with(), before: &facts.Cards{link("eth1", "storage", "m1")},
			want: &facts.Cards{link("eth0", "workload", "")}},
		"one that there is not": {network: with(at("eth0", "unknown")),
			says: "spec.network.interfaces[0].network.name: there is no network"},
	} {
		t.Run(name, func(t *testing.T) {
			w, vm := newWorld(), wanted()
			vm.Spec.Network = test.network
			got, err := (&plan.Planner{Site: w}).Cards(vm, test.before)
			if (err != nil) != (test.says != "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Fatalf("%v", err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestPermitsNetwork: what lies in a record is held against what the namespace has now.
func TestPermitsNetwork(t *testing.T) {
	w, vm := newWorld(), wanted()
	sources := &plan.Sources{Site: w}
	for name, test := range map[string]struct {
		link facts.Link
		want failure.Kind
	}{
		"given":             {facts.Link{Network: "storage", ID: id("Network", "storage")}, ""},
		"renamed":           {facts.Link{Network: "old-name", ID: id("Network", "storage")}, ""},
		"not given":         {facts.Link{Network: "dmz", ID: id("Network", "dmz")}, failure.Forbidden},
		"another, so named": {facts.Link{Network: "storage", ID: id("Network", "other")}, failure.Forbidden},
	} {
		if err := sources.PermitsNetwork(vm, test.link); failure.KindOf(err) != test.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	vm.Namespace = "unknown"
	if err := sources.PermitsNetwork(vm, facts.Link{}); !errors.Is(err, failure.Unavailable) {
		t.Errorf("of a namespace that is not known: %v", err)
	}
}
