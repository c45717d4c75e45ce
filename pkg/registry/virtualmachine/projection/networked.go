// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap"
)

// networked tells whether the machine has the network cards of the declared interfaces, and whether its guest has what
// it was told of them.
func (v *view) networked() []metav1.Condition {
	wanted := v.cards()
	if wanted == nil || v.live.Hardware == nil || v.meta.Spec.Network == nil {
		return nil
	}
	list := []metav1.Condition{v.wired(*wanted)}
	if told, known := v.setUp(*wanted); known {
		list = append(list, told)
	}
	return list
}

// wired tells whether the machine has the network cards that are declared.
func (v *view) wired(wanted facts.Cards) metav1.Condition {
	const conditionType = vmopv1.VirtualMachineConditionNetworkReady
	changes := wanted.Changes(v.live.Hardware.Cards)
	switch {
	case len(changes) == 0:
		return is(conditionType)
	case !facts.Pluggable(v.live.PowerState):
		return isNot(conditionType, NeedsPowerOffReason, cardsText(changes)+", and one that is suspended cannot be changed: "+
			"set spec.powerState to PoweredOn, or to PoweredOff")
	}
	return isNot(conditionType, notSyncedReason, cardsText(changes))
}

// cardsText says in what a machine's network cards are not as they are declared.
func cardsText(changes []facts.CardChange) string {
	var texts []string
	more := 0
	for _, change := range changes {
		switch {
		case change.To == nil:
			more++
		case change.Key == 0:
			texts = append(texts, fmt.Sprintf("it has none for %s", change.To.Name))
		default:
			texts = append(texts, fmt.Sprintf("that of %s is not at the network %q", change.To.Name, change.To.Network))
		}
	}
	if more > 0 {
		texts = append(texts, fmt.Sprintf("it has %d more", more))
	}
	return "its network cards are not those of spec.network.interfaces: " + strings.Join(texts, ", ")
}

// setUp tells whether the guest has the addresses that are declared, as far as it is told of them again and again and
// tells of them itself.
func (v *view) setUp(wanted facts.Cards) (metav1.Condition, bool) {
	const conditionType = vmopv1.VirtualMachineGuestNetworkConfigSynced
	if !bootstrap.Retells(&v.meta.Spec) || v.building() {
		return metav1.Condition{}, false
	}
	if v.meta.Untold {
		return isNot(conditionType, NotToldReason, "its guest is yet to be told of its network as that is declared now"), true
	}
	if v.live.PowerState != facts.PoweredOn || v.live.Guest.Tools != facts.ToolsRunning {
		return metav1.Condition{}, false
	}
	var missing []string
	for i, key := range wanted.Match(v.live.Hardware.Cards) {
		for _, address := range v.addresses(wanted[i].Name) {
			if !v.has(key, address) {
				missing = append(missing, fmt.Sprintf("%s at %s", address, wanted[i].Name))
			}
		}
	}
	if len(missing) == 0 {
		return is(conditionType), true
	}
	return isNot(conditionType, notSyncedReason, "its guest does not have "+strings.Join(missing, ", ")+": cloud-init reads "+
		"what it is told when the guest starts, and sets up the network at the first start, or at each where its user data "+
		"says so (updates.network.when); restart the guest, or set up the network in it"), true
}

// addresses are those that are declared for an interface.
func (v *view) addresses(name string) []string {
	at := slices.IndexFunc(v.meta.Spec.Network.Interfaces,
		func(i vmopv1.VirtualMachineNetworkInterfaceSpec) bool { return i.Name == name })
	if at < 0 {
		return nil
	}
	return v.meta.Spec.Network.Interfaces[at].Addresses
}

// has says whether the guest has an address, with its prefix, at a card.
func (v *view) has(card int32, address string) bool {
	wanted, err := netip.ParsePrefix(address)
	return err != nil || slices.ContainsFunc(v.live.Guest.Interfaces, func(i facts.Interface) bool {
		return i.Card == card && slices.ContainsFunc(i.Addresses, func(a facts.Address) bool {
			text, _, _ := strings.Cut(a.IP, "/")
			is, err := netip.ParseAddr(text)
			return err == nil && is == wanted.Addr()
		})
	})
}
