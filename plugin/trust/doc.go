// SPDX-License-Identifier: Apache-2.0

// Package trust decides which server may be spoken to, before a password is.
//
// There are four ways to trust the login service that the user names, the first
// that applies is taken and no other is tried:
//
//  1. --insecure-skip-tls-verify: anybody.
//  2. --certificate-authority: its certificates.
//  3. A certificate that the user has trusted before (Store): that one, so that a
//     server whose certificate has changed is refused, whoever signed the new one.
//  4. The authorities that the operating system knows. A server of none of them is
//     Unknown: the caller shows the fingerprint and may Remember it.
//
// Its API server, at another port of that host, has a certificate of its own.
// Guard.API accepts it for what the login service was accepted for, for what the
// login service has told over the connection that was checked (Tell), or for what
// the user has trusted; never for a server's own certificate alone, since other
// programs than this one have to verify it with what is in the kubeconfig.
//
// A login service that the first one merely names gets a guard from Other. That it
// can be trusted does not mean that it gets a password: the first one's word is no
// reason, nor is it that some authority has signed both. The caller asks the user,
// unless it is Same.
//
// The package asks nobody and prints nothing.
package trust
