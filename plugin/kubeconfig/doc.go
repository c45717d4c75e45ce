// SPDX-License-Identifier: Apache-2.0

// Package kubeconfig reads the user's kubeconfig files and changes them.
//
// People keep other clusters in there, comments, an order of their own. An edit
// therefore works on the text: only the lines of the entries that it sets or
// removes change, every other byte stays (document.go). The outcome is checked
// against the edit done on the parsed values; where they differ, as in a file
// written in flow style, the file is written anew from the values.
//
// Edits of several processes, kubectl's among them, follow each other: each
// takes kubectl's own lock, <file>.lock, reads, and replaces the file in one
// step, keeping its mode (files.go).
//
// client-go's clientcmd, which writes the whole file anew, is used by the tests
// only: to hold us to its view of a kubeconfig.
package kubeconfig
