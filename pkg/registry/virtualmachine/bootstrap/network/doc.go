// SPDX-License-Identifier: Apache-2.0

// Package network is what a virtual machine's spec says of its guest's network: what may be said, and to which bootstrap
// provider it is told, and how each network card is to be set up in the end. How a guest is told is the providers'.
package network
