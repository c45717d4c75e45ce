// SPDX-License-Identifier: Apache-2.0

// Package inventory follows vCenter's inventory: a full set of objects first,
// then what changes, each step handed to a Handler as one Update.
//
// It owns the stream from vCenter's PropertyCollector: one filter per Kind over
// a recursive ContainerView, sets gathered until they are complete, changes
// deeper than what was asked for read again. After any loss (login, connection,
// collector, namespaces folder) it builds everything anew, reads the full set
// and compares it with what it had, so that a Handler sees only what really
// changed. While vCenter is away what was known stays as it is: stale beats
// partial.
//
//	          ┌──────────────────────── back-off ◀──────────────┐
//	          ▼                                                 │ any loss
//	wait for a login ─▶ find the folder ─▶ full set, diff ─▶ follow changes
//
// It knows vSphere's objects and properties, not what they mean: the mapping to
// API objects is the Handler's. It imports pkg/vcenter and no other of ours but
// pkg/failure.
package inventory
