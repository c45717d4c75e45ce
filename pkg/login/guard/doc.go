// SPDX-License-Identifier: Apache-2.0

// Package guard holds password guessing back, before vCenter locks the account
// that is guessed at.
//
// vCenter locks an account after five failures within three minutes. A Guard
// lets fewer through, so that nobody can lock a colleague out of vCenter by way
// of this server:
//
//   - Of one user's attempts, so many may fail within the window. One more is
//     kept for addresses from which that user has logged in before, so that a
//     guesser elsewhere does not shut the user out.
//   - Of a user of whom nobody could tell which account it is, fewer may fail: the
//     same account may be guessed at under another name.
//   - Of one address's attempts, so many may fail whoever they are for: many
//     people may stand behind one address. Those who have logged in from it
//     before may go on.
//
// Attempts under way count as failures until they are known not to be: where
// the limit is reached with them, the next one waits for their outcome.
//
// What is remembered is bounded; nothing is shared between users. The package
// knows names and addresses, no passwords.
package guard
