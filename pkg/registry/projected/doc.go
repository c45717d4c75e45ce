// SPDX-License-Identifier: Apache-2.0

// Package projected is what every projection shows its objects through: the frame's side of a kind that vCenter holds.
//
// A projection says what an object is (Set), that there is none (Drop), and that a step of the inventory is over
// (Flush). Objects does the rest, once for all kinds: it drops what is as it was, lays over what controllers say in
// conditions, gives conditions the times of their transitions, hands a step on as one, whatever names passed from one
// object to another in it, and wakes those who wait for the effect of what they did.
//
// It holds what is shown, and the projection holds none of it a second time. Nothing is handed on before the first
// whole truth, and whoever attaches later is given all of it: so a standby is warm.
//
// It knows no keys, no store and no kind; package registry attaches a kind's store.
package projected
