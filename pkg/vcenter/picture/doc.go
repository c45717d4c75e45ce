// SPDX-License-Identifier: Apache-2.0

// Package picture makes facts of vCenter's properties: it follows the inventory and
// hands each step of it on, decoded, to all who make something of it.
//
// It owns which properties are followed and what they mean. One step reaches every
// follower before the next begins, so that none has to find out for itself what
// another has found out, nor to wait for it.
//
// It knows nothing of Kubernetes. It depends on the inventory and on facts.
package picture
