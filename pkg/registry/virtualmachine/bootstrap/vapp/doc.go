// SPDX-License-Identifier: Apache-2.0

// Package vapp makes the values of a machine's vApp properties, of spec.bootstrap.vAppConfig: what is there in plain, in
// Secrets, and in templates, which are filled in with what is known of the machine. It acts on nothing.
//
// Templates are other people's programs. They cannot call others, go round without end, or grow without limit.
package vapp
