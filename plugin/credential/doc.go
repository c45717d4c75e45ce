// SPDX-License-Identifier: Apache-2.0

// Package credential is `kubectl-vsphere credential`, which kubectl runs for
// contexts that were made with `login --auth exec`, and the cache that it takes
// tokens from.
//
// A token that is still good is printed at once: that is nearly every run, and
// takes milliseconds, so the packages on this path are few and small. Otherwise
// one process, the one that holds the lock of the token, asks for the password
// and logs in; the others wait and print what it got. Where nobody can be asked,
// one line says what to run.
//
// Tokens are in the keyring of the operating system or, where there is none, in
// files that only the user can read. Passwords are nowhere.
package credential
