// SPDX-License-Identifier: Apache-2.0

// Package supervisortest runs a whole Supervisor for tests, as its users do: the binary that SUPERVISOR names, or one
// that it builds, in a data directory and on a port of its own. It also has those who act on one: the administrator
// with kubectl and clients, people who log in, the VI admin at its vCenter, and watchers who hold what they are told
// against what is there. It knows nothing of what is tested.
package supervisortest
