// SPDX-License-Identifier: Apache-2.0

// Package vcenter is `supervisor vcenter`: what a VI admin does in the vSphere Client, on the vCenter of the Supervisor
// that runs in a data directory; and Serve, the simulated vCenter itself, which a child process runs.
//
// The simulated vCenter stays alive while it is "stopped": only its listener closes. It is told so through a socket, so
// that whoever supervises the child need not know. Its inventory lives as long as the process: a stop and a start keep
// it, the death of the process does not.
package vcenter
