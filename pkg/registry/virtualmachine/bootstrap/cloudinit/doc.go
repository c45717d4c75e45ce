// SPDX-License-Identifier: Apache-2.0

// Package cloudinit makes what cloud-init's VMware datasource reads in the options of a machine's ExtraConfig: metadata,
// with the network, and user data, from a Secret or of a cloud-config. It acts on nothing.
package cloudinit
