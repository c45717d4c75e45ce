// SPDX-License-Identifier: Apache-2.0

// Package guestaddress says where the guests of a simulated vCenter are reached. vCenter tells addresses of 10.66.0.0/16,
// since EndpointSlices take none of the loopback network; the guests answer on a loopback network of the same size, at
// the address with the same last two bytes. Whoever connects to a guest translates. It depends on the standard library.
package guestaddress
