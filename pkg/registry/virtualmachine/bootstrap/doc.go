// SPDX-License-Identifier: Apache-2.0

// Package bootstrap makes what a virtual machine's guest is told when it starts, of spec.bootstrap: by cloud-init
// (cloudinit), by vCenter, which customises it (customization), and by vApp properties (vapp). It holds together what
// these share: which of them exclude each other, which Secrets they name (secret), and what is said of the network
// (network).
//
// What a user keeps in a Secret is read when it is needed, from the one Secret that the machine names, and is nowhere
// but in what the guest is told: in no record, log or error. In vCenter whoever may see the machine's configuration can
// read options and properties there. The package acts on nothing.
package bootstrap
