// SPDX-License-Identifier: Apache-2.0

// Package slow runs tasks of the simulated vCenter that take their time: their progress moves, they can be cancelled,
// and meanwhile they hold no lock, so that what they are about can be read. What they do they do at their end. A task
// of govmomi's simulator holds the lock of what it is about as long as it runs, has no progress, and goes on with its
// work after it was cancelled.
//
// The package owns these tasks and the time that they take. What their work is it is given. It depends on govmomi and
// on a clock.
package slow
