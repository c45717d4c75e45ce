// SPDX-License-Identifier: Apache-2.0

// Package wcptest is a small world of Supervisors for tests: login services as
// VMware's public protocol describes them, on port 443 of addresses that exist
// nowhere, behind a proxy that leads to them. A program that is tested gets
// there through HTTPS_PROXY, as it would in the world outside.
//
// A Supervisor and the API server beside it write down what they were asked, and
// who sent a password or a token.
package wcptest
