// SPDX-License-Identifier: Apache-2.0

// Package vm is the command `kubectl vsphere vm`: the power of a virtual machine, a shell in its guest, and what happened to
// it. Nothing of that needs the plugin: what it writes and reads are fields that kubectl writes and reads too.
package vm
