// SPDX-License-Identifier: Apache-2.0

// Package shelltest is a terminal for tests: a pseudo-terminal that a program is
// started on, somebody who types, and everything that was shown. There is one on
// Linux.
package shelltest
