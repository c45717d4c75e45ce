// SPDX-License-Identifier: Apache-2.0

// Package event tells people, in Events of Kubernetes and in the log, what becomes of virtual machines and vSphere
// Namespaces: what Pacific undoes that somebody did in vCenter, what it has brought to what was declared, what it
// refuses or cannot do.
//
// Who it was that undid something, vCenter's own events are asked for: once for each Event and not too often, and what
// they do not tell, or not in time, is told without a name.
//
// It goes by what is served, as everybody can see it, and by what changes in that. So it tells once of what a
// controller tries again and again, nothing of what vCenter does by itself, and nothing of what was so before it began
// to look. It owns no decision and needs nothing of those who decide.
package event
