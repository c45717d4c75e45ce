// SPDX-License-Identifier: Apache-2.0

// Package bootstrap makes what a virtual machine's guest is told when it starts: options of the machine's ExtraConfig, from
// which cloud-init's VMware datasource reads.
//
// What a user keeps in a Secret is read when it is needed, from the one Secret that the machine names, and is nowhere but in
// the options: in no record, log or error. In vCenter whoever may see the machine's configuration can read it there. The
// package acts on nothing.
package bootstrap
