// SPDX-License-Identifier: Apache-2.0

// Package waittest waits in tests: for a condition, with a deadline, and for what a running thing writes. Tests alone
// import it. It knows nothing of what it waits for.
package waittest
