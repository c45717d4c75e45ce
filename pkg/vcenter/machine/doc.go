// SPDX-License-Identifier: Apache-2.0

// Package machine is what can be done to one virtual machine of vCenter, in vCenter's nouns.
//
// It owns the verbs: each reads the machine afresh, with the folders above it, has whoever wants the act decide once
// more by what vCenter says in that moment, and only then acts, over the same connection and through the one gate to
// vCenter. And it owns the form of the record that a machine carries in its ExtraConfig: a head, which says what may be
// done to the machine, and a body, whose meaning is that of whoever wrote it.
//
// It reads from vCenter's events who did something to a machine.
//
// It knows no API object, and why something is done is not its business.
package machine
