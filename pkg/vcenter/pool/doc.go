// SPDX-License-Identifier: Apache-2.0

// Package pool is what can be done to one resource pool of vCenter, in vCenter's nouns.
//
// It owns the verbs. The one that destroys a pool reads it afresh, has whoever wants the act decide once more by what
// vCenter says in that moment, and only then acts, over the same connection and through the one gate to vCenter. And it
// tells what vCenter itself says of a pool, for whoever may not go by the inventory, which may be behind.
//
// It knows no API object, and why something is done is not its business.
package pool
