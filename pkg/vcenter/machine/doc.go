// SPDX-License-Identifier: Apache-2.0

// Package machine is what can be done to one virtual machine of vCenter, in vCenter's nouns.
//
// It owns the form of the record that a machine carries in its ExtraConfig: a head, which says what may be done to the machine,
// and a body, whose meaning is that of whoever wrote it. It knows no API object.
package machine
