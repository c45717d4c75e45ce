// SPDX-License-Identifier: Apache-2.0

// Package projection maps virtual machines of vCenter to VirtualMachine objects of the API and back.
//
// The Projector takes the picture's steps and shows the objects that stand for the machines in them; it owns the names
// and the status of virtual machines. The Backend takes writes and carries them out in vCenter; its effect comes back
// through the inventory, never by another way. What Kubernetes knows of a virtual machine and vCenter has no field for
// is kept in the machine itself, as Metadata in one value of its ExtraConfig; package machine owns the form of that
// value.
//
// The package knows nothing of the API server's registry and of its stores: package projected is all that it sees of
// them.
package projection
