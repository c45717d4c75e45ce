// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	vmopv1common "github.com/vmware-tanzu/vm-operator/api/v1alpha5/common"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// noFolder says that nothing can lie in a namespace yet.
func noFolder(namespace string) error {
	return fmt.Errorf("the namespace %q has no folder in vCenter yet; see its condition with `kubectl get vns %s -o yaml`: "+
		"%w", namespace, namespace, failure.Unavailable)
}

// Cards are the network cards that a machine that is there declares, nil where it declares nothing of them, as one that
// Pacific did not make and of whose interfaces nobody has said anything. before are those that it declared before: an
// interface of the same name keeps its card, and its network where the name of that still is the same, whatever has
// become of it. What the spec leaves open of networks is filled in.
func (p *Planner) Cards(vm *vmopv1.VirtualMachine, before *facts.Cards) (*facts.Cards, error) {
	network := vm.Spec.Network
	if network == nil || before == nil && !network.Disabled && len(network.Interfaces) == 0 {
		return nil, nil
	}
	home, found := p.Site.Home(vm.Namespace)
	if !found {
		return nil, noFolder(vm.Namespace)
	}
	cards, err := p.cards(vm, home, before)
	if err != nil {
		return nil, err
	}
	return &cards, nil
}

// cards decides which networks the machine is at, and gives it the one network card that it has where nobody says
// otherwise.
func (p *Planner) cards(vm *vmopv1.VirtualMachine, home Home, before *facts.Cards) (facts.Cards, error) {
	network, cards := vm.Spec.Network, facts.Cards{}
	if network != nil && network.Disabled {
		return cards, nil
	}
	if network == nil {
		network = &vmopv1.VirtualMachineNetworkSpec{}
		vm.Spec.Network = network
	}
	if len(network.Interfaces) == 0 {
		network.Interfaces = []vmopv1.VirtualMachineNetworkInterfaceSpec{{Name: "eth0"}}
	}
	for i := range network.Interfaces {
		path := field.NewPath("spec", "network", "interfaces").Index(i).Child("network", "name")
		wanted := &network.Interfaces[i]
		if wanted.Network == nil {
			wanted.Network = &vmopv1common.PartialObjectRef{}
		}
		if wanted.Network.Name == "" {
			if len(home.Networks) == 0 {
				return nil, invalid(path, "the namespace was given no network: an administrator changes that in spec.networks of "+
					"the vSphere Namespace; for a machine without any, set spec.network.disabled to true")
			}
			wanted.Network.Name = home.Networks[0]
		}
		link := facts.Link{Name: wanted.Name, Network: wanted.Network.Name}
		if was := linkOf(before, wanted.Name); was != nil {
			link.MAC = was.MAC
			if was.Network == link.Network {
				link.ID = was.ID
			}
		}
		if link.ID.IsZero() {
			known, found := p.Site.Network(link.Network)
			if !found {
				return nil, invalid(path, "there is no network %q in vCenter, or several are called so", link.Network)
			}
			link.ID = known.ID
		}
		cards = append(cards, link)
	}
	return cards, nil
}

// linkOf is the card of an interface, nil for none.
func linkOf(cards *facts.Cards, name string) *facts.Link {
	if cards == nil {
		return nil
	}
	at := slices.IndexFunc(*cards, func(l facts.Link) bool { return l.Name == name })
	if at < 0 {
		return nil
	}
	return &(*cards)[at]
}

// PermitsNetwork says why a network card of a machine may not come to a network, nil where it may: where that is one
// that the machine's namespace has been given, which it may not be any more since somebody declared it.
func (s *Sources) PermitsNetwork(vm *vmopv1.VirtualMachine, link facts.Link) error {
	home, found := s.Site.Home(vm.Namespace)
	if !found {
		return fmt.Errorf("it is not known what the namespace %q was given: %w", vm.Namespace, failure.Unavailable)
	}
	for _, name := range home.Networks {
		if known, found := s.Site.Network(name); found && known.ID == link.ID {
			return nil
		}
	}
	return fmt.Errorf("spec.network.interfaces: the network %q of %s is not given to the namespace %q any more, or another "+
		"one is called so now: name another one: %w", link.Network, link.Name, vm.Namespace, failure.Forbidden)
}
