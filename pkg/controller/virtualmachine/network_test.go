// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// wired are the network cards that a machine is to have, and has.
type wired struct {
	wanted *facts.Cards
	has    []facts.Card
	keeps  bool // whatever they are made
	// retells says that its guest is told again, untold that it is yet to be, and told what it was told last.
	retells, untold bool
	told            string
}

func (w *world) PermitsNetwork(_ *vmopv1.VirtualMachine, link facts.Link) error {
	_, err := w.Origin(nil, link.Network)
	return err
}

func (w *world) SetCards(_ context.Context, id facts.ID, cards facts.Cards, tells bool, still func(facts.Machine) error,
	permits func(facts.Link) error) error {
	w.lock.Lock()
	now := w.wires[id.Value]
	w.lock.Unlock()
	changes := cards.Changes(now.has)
	for _, change := range changes {
		if change.To == nil {
			continue
		}
		if err := permits(*change.To); err != nil {
			return err
		}
		now.untold = now.untold || tells && change.Key == 0
	}
	w.tries++
	if err := w.do("change the cards", id, still, ""); err != nil || now.keeps {
		return err
	}
	of := cards.Of(now.has)
	now.has = nil
	for i, link := range cards {
		card := of[i]
		if card.Key == 0 {
			card.Key, card.MAC = int32(4000+i), fmt.Sprintf("m%d", i)
		}
		card.Network = link.ID.Value
		now.has = append(now.has, card)
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	w.wires[id.Value] = now
	return nil
}

func (w *world) Network(_ *vmopv1.VirtualMachine, cards []facts.Card) (map[string]string, error) {
	text := ""
	for _, card := range cards {
		text += card.MAC + " "
	}
	return map[string]string{"metadata": text}, nil
}

func (w *world) TellNetwork(_ context.Context, id facts.ID, options map[string]string, still func(facts.Machine) error) error {
	if err := w.do("tell the guest", id, still, ""); err != nil {
		return err
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	now := w.wires[id.Value]
	now.untold, now.told = false, options["metadata"]
	w.wires[id.Value] = now
	return nil
}

func TestNetwork(t *testing.T) {
	at := func(name, network, mac string) facts.Link {
		return facts.Link{Name: name, Network: network, ID: facts.ID{Type: facts.TypePortgroup, Value: network}, MAC: mac}
	}
	one := []facts.Card{{Key: 4000, MAC: "m0", Network: "a"}}
	two := &facts.Cards{at("eth0", "a", ""), at("eth1", "b", "")}
	moved := &facts.Cards{at("eth0", "b", "m0")}
	for name, test := range map[string]struct {
		spec, status vmopv1.VirtualMachinePowerState
		wires        wired
		forbidden    string
		fail         error
		paused       bool
		passes       int
		want         []string
		told         string
		condition    string
		err          bool
	}{
		"as declared":     {spec: on, status: on, wires: wired{wanted: &facts.Cards{at("eth0", "a", "")}, has: one}},
		"nobody declared": {spec: on, status: on, wires: wired{has: one}},
		"one more, on":    {spec: on, status: on, wires: wired{wanted: two, has: one}, want: []string{"change the cards"}},
		"one more, off":   {spec: off, status: off, wires: wired{wanted: two, has: one}, want: []string{"change the cards"}},
		"before it is powered on": {spec: on, status: off, wires: wired{wanted: moved, has: one},
			want: []string{"change the cards", "power on"}},
		"suspended": {spec: suspended, status: suspended, wires: wired{wanted: two, has: one}},
		"paused":    {spec: on, status: on, wires: wired{wanted: two, has: one}, paused: true},
		"a network that is not given": {spec: on, status: on, wires: wired{wanted: moved, has: one}, forbidden: "b",
			condition: "NetworkCardsFailed", err: true},
		"one that is not given any more may stay": {spec: on, status: on, wires: wired{wanted: two, has: one}, forbidden: "a",
			want: []string{"change the cards"}},
		"refused, and powered on all the same": {spec: on, status: off, wires: wired{wanted: moved, has: one},
			fail: failure.Invalid, want: []string{"power on"}, condition: "NetworkCardsFailed", err: true},
		"somebody else is at it": {spec: on, status: on, wires: wired{wanted: moved, has: one}, fail: failure.Conflict, err: true},
		"and still": {spec: on, status: on, wires: wired{wanted: moved, has: one}, fail: failure.Conflict, passes: 2,
			condition: "NetworkCardsFailed", err: true},
		"not while it is on": {spec: on, status: on, wires: wired{wanted: moved, has: one}, fail: failure.NeedsPowerOff,
			passes: 3, condition: "NeedsPowerOff"},
		"undone each time": {spec: on, status: on, wires: wired{wanted: moved, has: one, keeps: true}, passes: 3,
			want: []string{"change the cards"}, condition: reasonKept},
		"the guest is told, before it starts": {spec: on, status: off, passes: 3,
			wires: wired{wanted: two, has: one, retells: true},
			want:  []string{"change the cards", "tell the guest", "power on"}, told: "m0 m1 "},
		"the guest is told in the order of its interfaces": {spec: on, status: on,
			wires: wired{wanted: &facts.Cards{at("eth1", "b", "m1"), at("eth0", "a", "m0")}, retells: true, untold: true,
				has: []facts.Card{{Key: 4000, MAC: "m0", Network: "a"}, {Key: 4001, MAC: "m1", Network: "b"}}},
			want: []string{"tell the guest"}, told: "m1 m0 "},
		"one that is moved is told to nobody": {spec: on, status: on, wires: wired{wanted: moved, has: one, retells: true},
			passes: 2, want: []string{"change the cards"}},
		"not told of what it has not": {spec: on, status: on, forbidden: "b",
			wires:     wired{wanted: moved, has: one, retells: true, untold: true},
			condition: "NetworkCardsFailed", err: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{wires: map[string]wired{"vm": test.wires}, failVerb: map[string]error{"change the cards": test.fail},
				paused: map[string]bool{"vm": test.paused}}
			w.forbidden = test.forbidden
			c := alone(w, machine("vm", test.spec, test.status, nil))
			for range max(1, test.passes) {
				m, _ := w.Find("team-a", "vm")
				if _, err := c.sync(t.Context(), m); (err != nil) != test.err {
					t.Errorf("%v", err)
				}
			}
			acts, _, _ := w.read()
			if diff := cmp.Diff(test.want, verbs(acts)); diff != "" {
				t.Errorf("done (-want +got):\n%s", diff)
			}
			if test.fail == failure.NeedsPowerOff && w.tries != 1 {
				t.Errorf("vCenter was asked %d times", w.tries)
			}
			if got := w.wires["vm"].told; got != test.told {
				t.Errorf("the guest was told of %q, want %q", got, test.told)
			}
			if got := w.conditions["vm"].Reason; got != test.condition {
				t.Errorf("condition %q, want %q", got, test.condition)
			}
		})
	}
}

// TestNetworkOfAMachineThatIsMade: it gets its cards before its disks, since its guest is told of them with those.
func TestNetworkOfAMachineThatIsMade(t *testing.T) {
	wanted := &facts.Cards{{Name: "eth0", Network: "a", ID: facts.ID{Value: "a"}}}
	w := &world{wires: map[string]wired{"vm": {wanted: wanted, retells: true}}, sizes: map[string]sized{
		"vm": {wanted: &facts.Size{CPUs: 2}, is: facts.Size{CPUs: 1}}}}
	c := alone(w, machine("vm", on, off, nil))
	m, _ := w.Find("team-a", "vm")
	m.Made, m.Facts.Build = true, &facts.Build{}
	if _, err := c.sync(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	acts, _, _ := w.read()
	if diff := cmp.Diff([]string{"change the cards"}, verbs(acts)); diff != "" {
		t.Errorf("done (-want +got):\n%s", diff)
	}
}

// TestParts: what a part says of itself is told by a condition that wakes the controller.
func TestParts(t *testing.T) {
	var types []string
	for _, p := range (&Controller{}).parts() {
		types = append(types, p.condition)
	}
	if diff := cmp.Diff(partConditions, types); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
