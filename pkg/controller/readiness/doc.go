// SPDX-License-Identifier: Apache-2.0

// Package readiness probes virtual machines for which somebody declared how it shows that they are ready, and says by the
// condition Ready what came of it.
//
// It owns when a machine is probed and what its answer means. How the signs of a guest are read in vCenter, and how a
// connection is made, it is given. A machine without a probe is none of its business.
package readiness
