// SPDX-License-Identifier: Apache-2.0

// Package guest plays what runs in the machines of a simulated vCenter: a guest that starts with its machine, reads
// how it is to set itself up, and after a while reports running tools, its name, its addresses and a heartbeat, or
// fails in a way that was asked for. With the machine it stops.
//
// It reads what real guests read: cloud-init's data in guestinfo (userdata and metadata, plain, base64 or
// gzip+base64), the vApp properties of the OVF environment, and what CustomizeVM_Task has left. Where none of these
// sets an address, it has one by DHCP: 10.66.x.y, by adapter, the same as long as the vCenter lives.
//
// The package owns what a guest makes of its machine's configuration, and when. Whose machine it is, and its power,
// it is told. It depends on govmomi, a clock and a parser of YAML.
package guest
