// SPDX-License-Identifier: Apache-2.0

// Package status is `supervisor status`: what runs in a data directory, read from what `supervisor up` keeps there, and
// from its etcd.
package status
