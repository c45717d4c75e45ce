// SPDX-License-Identifier: Apache-2.0

// Package secret reads what a virtual machine's spec has in Secrets: from those that it names alone, when it is needed. It
// knows neither how they are kept nor what their values mean, and no error of it has a value in it.
package secret
