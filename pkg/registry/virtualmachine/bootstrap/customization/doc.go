// SPDX-License-Identifier: Apache-2.0

// Package customization makes what vCenter sets in a guest before its first start, of spec.bootstrap.linuxPrep and
// spec.bootstrap.sysprep: names, addresses, accounts. It acts on nothing.
package customization
