// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package login

// ForbidCoreDumps does nothing: this system writes none by itself.
func ForbidCoreDumps() error { return nil }
