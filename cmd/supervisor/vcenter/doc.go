// SPDX-License-Identifier: Apache-2.0

// Package vcenter is `supervisor vcenter`: what a VI admin does in the vSphere Client, on the vCenter of the Supervisor
// that runs in a data directory; and Serve, the simulated vCenter itself, which a child process runs.
//
// The simulated vCenter stays alive while it is "stopped": only its listener closes. It is told so through a socket, so
// that whoever supervises the child need not know. What there is in it lies in the data directory, and is there again
// in the next process, however the last one ended; `reset` forgets it.
package vcenter
