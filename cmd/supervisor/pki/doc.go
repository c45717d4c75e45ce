// SPDX-License-Identifier: Apache-2.0

// Package pki makes and keeps the certificates of a Supervisor: certificate authorities, and certificates that they
// sign. What is on disk and still good is used again; a certificate that nears its end, names the wrong hosts or was
// signed by another authority is made anew. An authority is made once: people hold what it signed, so that its loss is
// an error. Keys are ECDSA P-256 and readable by their owner alone.
//
// The package knows no component: which certificates there are is said by package up.
package pki
