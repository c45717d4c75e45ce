// SPDX-License-Identifier: Apache-2.0

// Package e2e tests a whole Supervisor from outside, as its users meet it: kubectl and clients through the real
// aggregator, a VI admin through vCenter's own API. It holds tests only. They run the binary that SUPERVISOR names, or
// build one. `make e2e` does both.
package e2e
