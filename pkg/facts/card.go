// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"slices"
	"strings"
)

// Card is a network card that a machine has.
type Card struct {
	Key int32
	// MAC is in lower case.
	MAC string
	// Network is the id, within its vCenter, of the network that it is at; empty where vCenter does not tell, as of an
	// opaque one.
	Network string
}

// Cards are the network cards that a machine is to have, one for each interface that is declared.
type Cards []Link

// Link is a network card that a machine is to have.
type Link struct {
	// Name is the interface's.
	Name string `json:"name"`
	// Network is what the network is called that it is to be at, and ID which one that was when it was declared.
	Network string `json:"network"`
	ID      ID     `json:"id"`
	// MAC is that of the card that was the interface's when the network of its machine was declared last, in lower
	// case; empty where it had none then.
	MAC string `json:"mac,omitempty"`
}

// At says whether a card is at the network that it is to be at. Of what vCenter does not tell nobody says that it is
// not.
func (l Link) At(card Card) bool {
	return card.Network == l.ID.Value || card.Network == "" && l.ID.Type == TypeOpaqueNetwork
}

// CardChange is what is to be done to one card.
type CardChange struct {
	// Key is that of a card that the machine has, 0 for one that it is to get.
	Key int32
	// To is what it is to be at, nil for one that is to go.
	To *Link
}

// Match returns the key of each interface's card, 0 for one that has none, of those that a machine has, in the order of
// their keys. A card is known by its address. Where that tells nothing, as long as the machine is new, it is one at the
// interface's network, and else one that is no other's, as after somebody has put it elsewhere: so it stays the card
// that it is.
func (c Cards) Match(has []Card) []int32 {
	keys, left := make([]int32, len(c)), slices.Clone(has)
	for _, fits := range []func(Link, Card) bool{
		func(l Link, card Card) bool { return l.MAC != "" && strings.EqualFold(l.MAC, card.MAC) },
		Link.At,
		func(Link, Card) bool { return true },
	} {
		for i, link := range c {
			if keys[i] != 0 {
				continue
			}
			if at := slices.IndexFunc(left, func(card Card) bool { return fits(link, card) }); at >= 0 {
				keys[i] = left[at].Key
				left = slices.Delete(left, at, at+1)
			}
		}
	}
	return keys
}

// Of returns each interface's card, an empty one for one that has none.
func (c Cards) Of(has []Card) []Card {
	list := make([]Card, len(c))
	for i, key := range c.Match(has) {
		if at := slices.IndexFunc(has, func(card Card) bool { return card.Key == key }); at >= 0 {
			list[i] = has[at]
		}
	}
	return list
}

// Known returns the cards with the addresses of those that a machine has for them.
func (c Cards) Known(has []Card) Cards {
	known := slices.Clone(c)
	for i, card := range c.Of(has) {
		if card.MAC != "" {
			known[i].MAC = card.MAC
		}
	}
	return known
}

// Changes are what is to be done to the cards that a machine has.
func (c Cards) Changes(has []Card) []CardChange {
	var changes []CardChange
	of, others := c.Of(has), slices.Clone(has)
	for i := range c {
		link, card := &c[i], of[i]
		if card.Key == 0 || !link.At(card) {
			changes = append(changes, CardChange{Key: card.Key, To: link})
		}
		others = slices.DeleteFunc(others, func(other Card) bool { return other.Key == card.Key })
	}
	for _, other := range others {
		changes = append(changes, CardChange{Key: other.Key})
	}
	return changes
}

// Pluggable says whether network cards can be changed in a power state: not of a machine that is suspended, with its
// memory on disk.
func Pluggable(state string) bool { return state == PoweredOn || state == PoweredOff }
