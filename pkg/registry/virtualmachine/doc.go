// SPDX-License-Identifier: Apache-2.0

// Package virtualmachine is the registry of virtualmachines.vmoperator.vmware.com:
// what a client may ask of a virtual machine and what it is told.
//
// It owns the strategy (what an update may change, and who sets what), the
// validation with its messages, the guard that keeps a DELETE away from machines
// that were there before, the selectable fields, the printed columns, and the
// status subresource. Everything works on the hub type, v1alpha5.
//
// It knows nothing of vSphere: it stands on genericregistry.Store over whatever
// storage the RESTOptionsGetter brings, and learns who made a machine through
// Origins.
//
// Three promises hold here. A field that the server does not honour is refused
// with its path, never dropped in silence. Status is what vCenter reports: no
// client writes it. A machine that Pacific did not make is deleted only when its
// reclaim policy says so.
package virtualmachine
