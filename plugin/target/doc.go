// SPDX-License-Identifier: Apache-2.0

// Package target finds the API server and the vSphere Namespace that a command is about: those of the kubeconfig's current
// context, or of the one that the command line names, with the token that a login has left.
//
// It knows the contexts that `kubectl vsphere login` makes, and no other way to prove who somebody is. It asks nobody for
// a password. What is asked of the API server is for the commands.
package target
