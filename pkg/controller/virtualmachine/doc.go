// SPDX-License-Identifier: Apache-2.0

// Package virtualmachine brings virtual machines to what was declared: it keeps
// the power state that somebody set through the API, and ends machines whose
// deletion was asked for.
//
//	deletionTimestamp  ──▶ power off by spec.powerOffMode ──▶ remove our finalizer; the storage
//	                       destroys the machine once no other finalizer is left
//	spec ≠ status      ──▶ power on, off or suspend
//
// Everything it does can be done again: after a restart it goes on from what
// the machine itself says. A machine that is paused is left alone.
//
// It reads machines through the API's own storage and asks vCenter through a
// one-method interface; it depends on neither govmomi nor the registry.
package virtualmachine
