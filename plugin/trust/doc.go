// SPDX-License-Identifier: Apache-2.0

// Package trust decides which server may be spoken to, before a password is.
//
// There are four ways, the first that applies is taken and no other is tried:
//
//  1. --insecure-skip-tls-verify: anybody.
//  2. --certificate-authority, or the authority of a kubeconfig: its certificates.
//  3. A certificate that the user has trusted before (Store): that one, so that a
//     server whose certificate has changed is refused, whoever signed the new one.
//  4. The authorities that the operating system knows. A server of none of them is
//     Unknown: the caller shows the fingerprint and may Remember it.
//
// A host that the first server merely names gets a Guard from Named. It must
// show that it is of the same authority as the first server, or hold the same
// certificate: what the first server says is no reason to give it a password.
//
// The package asks nobody and prints nothing.
package trust
