// SPDX-License-Identifier: Apache-2.0

// Package directory is the single sign-on of the simulated vCenter.
//
// It owns users, groups, passwords and assertions, the token service, and the
// administration service. The sessions of vCenter itself and the listener are its
// caller's. It depends on govmomi alone.
//
// What is stricter than in govmomi's simulator:
//
//   - Passwords are checked, with vCenter's lockout.
//   - The token service issues an assertion for the one who asks and for nobody
//     else, and the administration service takes only one that was issued, as its
//     caller can with IssuedTo.
//   - The administration service finds nested groups.
package directory
