// SPDX-License-Identifier: Apache-2.0

// Package collector is the property collector of the simulated vCenter: it waits
// for changes instead of asking the simulator for everything again and again,
// which takes the longer the more there is.
//
// It owns collectors, their filters, container views, and the Tracker, which hears
// of every change and knows who is called what and lies where. It does not know
// what is stricter about the objects themselves, nor listen, nor log anybody in.
// It depends on govmomi alone.
//
// What is stricter than in govmomi's simulator:
//
//   - A property collector sends what changed: an object enters once, sends the
//     paths whose values differ, and leaves when its view lets go of it. Moves
//     between folders change parent, and enter and leave views. Changes that the
//     simulator makes without notice (a resource pool's configuration, lists of
//     machines) arrive too.
//   - What somebody has the role "No access" on leaves their views; in a filter
//     that names it its properties are missing, and reading it fails, with
//     NoPermission.
//   - What a traversal passes is read under the lock of each object.
//   - A waiting WaitForUpdatesEx fails with NotAuthenticated when its session
//     ends, and a version that the collector did not hand out is refused with
//     InvalidCollectorVersion; the last version but one is answered again.
package collector
