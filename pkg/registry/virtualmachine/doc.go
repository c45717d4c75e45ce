// SPDX-License-Identifier: Apache-2.0

// Package virtualmachine is the kind virtualmachines.vmoperator.vmware.com: what a
// client may ask of a virtual machine and what it is told.
//
// It owns the descriptor, the rules (what an update may change, and who sets what),
// the validation with its messages, the guard that keeps a DELETE away from machines
// that were there before, and what may be used in which vSphere Namespace.
// Everything works on the hub type, v1alpha5.
//
// It knows nothing of vSphere, and learns who made a machine through Origins and
// what was given through Grants.
//
// Three promises hold here. A field that the server does not honour is refused
// with its path, never dropped in silence. Status is what vCenter reports: no
// client writes it. A machine that Pacific did not make is deleted only when its
// reclaim policy says so.
package virtualmachine
