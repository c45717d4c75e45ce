// SPDX-License-Identifier: Apache-2.0

// Package picture makes facts of vCenter's properties: it follows the inventory and
// hands each step of it on, decoded, to all who make something of it.
//
// It owns which properties are followed and what they mean, which folder stands for
// which namespace, and where each machine lies and runs: a machine is told anew when
// that differs, so that nobody else keeps folders, hosts and clusters to know it. One
// step reaches every follower before the next begins.
//
// Under which names folders are served, and which are detached, is for others to
// say. It knows nothing of Kubernetes' objects. It depends on the inventory, on facts,
// and on the packages that know the names of folders and the form of a machine's
// record.
package picture
