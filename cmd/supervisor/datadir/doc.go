// SPDX-License-Identifier: Apache-2.0

// Package datadir is the folder that holds everything a Supervisor keeps: certificates, etcd's data, logs, and the
// state that a second start and `supervisor status` read. One process holds it at a time.
package datadir
