// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCardChanges(t *testing.T) {
	at := func(name, network, mac string) Link {
		return Link{Name: name, Network: network, ID: ID{Type: TypePortgroup, Value: network}, MAC: mac}
	}
	opaque := Link{Name: "eth0", Network: "segment", ID: ID{Type: TypeOpaqueNetwork, Value: "network-o7"}}
	card := func(key int32, mac, network string) Card { return Card{key, mac, network} }
	change := func(key int32, to Link) CardChange { return CardChange{key, &to} }
	for name, test := range map[string]struct {
		wanted Cards
		has    []Card
		want   []CardChange
		match  []int32
	}{
		"none": {wanted: Cards{}, match: []int32{}},
		"as they are to be": {wanted: Cards{at("eth0", "a", ""), at("eth1", "b", "")},
			has: []Card{card(4000, "m0", "a"), card(4001, "m1", "b")}, match: []int32{4000, 4001}},
		"in another order": {wanted: Cards{at("eth1", "b", "m1"), at("eth0", "a", "m0")},
			has: []Card{card(4000, "m0", "a"), card(4001, "m1", "b")}, match: []int32{4001, 4000}},
		"new, in vCenter's own order": {wanted: Cards{at("eth0", "a", ""), at("eth1", "b", "")},
			has: []Card{card(4000, "m0", "b"), card(4001, "m1", "a")}, match: []int32{4001, 4000}},
		"one more": {wanted: Cards{at("eth0", "a", "m0"), at("eth1", "a", "")}, has: []Card{card(4000, "m0", "a")},
			want: []CardChange{change(0, at("eth1", "a", ""))}, match: []int32{4000, 0}},
		"the first of two at one network goes": {wanted: Cards{at("eth1", "a", "m1")},
			has: []Card{card(4000, "m0", "a"), card(4001, "m1", "a")}, want: []CardChange{{Key: 4000}}, match: []int32{4001}},
		"another network": {wanted: Cards{at("eth0", "b", "m0")}, has: []Card{card(4000, "m0", "a")},
			want: []CardChange{change(4000, at("eth0", "b", "m0"))}, match: []int32{4000}},
		"they change places": {wanted: Cards{at("eth0", "b", "m0"), at("eth1", "a", "m1")},
			has:   []Card{card(4000, "m0", "a"), card(4001, "m1", "b")},
			want:  []CardChange{change(4000, at("eth0", "b", "m0")), change(4001, at("eth1", "a", "m1"))},
			match: []int32{4000, 4001}},
		"somebody put a new one elsewhere": {wanted: Cards{at("eth0", "a", ""), at("eth1", "b", "")},
			has:  []Card{card(4000, "m0", "x"), card(4001, "m1", "b")},
			want: []CardChange{change(4000, at("eth0", "a", ""))}, match: []int32{4000, 4001}},
		"somebody added one": {wanted: Cards{at("eth0", "a", "m0")},
			has: []Card{card(4000, "m0", "a"), card(4001, "m1", "a")}, want: []CardChange{{Key: 4001}}, match: []int32{4000}},
		"somebody took one away, and its key is another's": {wanted: Cards{at("eth0", "a", "m0"), at("eth1", "b", "m1")},
			has:  []Card{card(4000, "m1", "b")},
			want: []CardChange{change(0, at("eth0", "a", "m0"))}, match: []int32{0, 4000}},
		"somebody gave it another address": {wanted: Cards{at("eth0", "a", "m0")}, has: []Card{card(4000, "m9", "a")},
			match: []int32{4000}},
		"vCenter does not tell": {wanted: Cards{opaque}, has: []Card{card(4000, "m0", "")}, match: []int32{4000}},
		"no network at all": {wanted: Cards{at("eth0", "a", "")}, has: []Card{card(4000, "m0", "")},
			want: []CardChange{change(4000, at("eth0", "a", ""))}, match: []int32{4000}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.wanted.Changes(test.has)); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.match, test.wanted.Match(test.has)); diff != "" {
				t.Errorf("cards (-want +got):\n%s", diff)
			}
		})
	}
}

func TestKnownCards(t *testing.T) {
	wanted := Cards{{Name: "eth0", ID: ID{Value: "a"}}, {Name: "eth1", ID: ID{Value: "b"}, MAC: "m1"}, {Name: "eth2"}}
	has := []Card{{4000, "m0", "a"}, {4001, "m7", "b"}}
	want := Cards{{Name: "eth0", ID: ID{Value: "a"}, MAC: "m0"}, {Name: "eth1", ID: ID{Value: "b"}, MAC: "m7"},
		{Name: "eth2"}}
	if diff := cmp.Diff(want, wanted.Known(has)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
