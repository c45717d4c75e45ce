// SPDX-License-Identifier: Apache-2.0

// Package shell is what a command gets from the shell that starts it (streams,
// environment, time, a folder for what it remembers) and how it speaks back:
// questions on a terminal, a progress line, a log, errors with a hint.
//
// The rules:
//
//   - Standard output holds what was asked for and nothing else, so that it can
//     be piped. Questions, progress, warnings and errors go to standard error.
//   - Nothing is asked where standard input is not a terminal: the command
//     fails and says which flag or variable answers the question instead.
//   - An error is printed once, by Report, as "error: ..." and, when the user can
//     do something about it, "hint: ...".
//   - What a server says passes through Clean before it reaches the terminal.
//   - No password and no token is handed to anything in this package but
//     ReadPassword, which returns one.
package shell
