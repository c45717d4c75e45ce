// SPDX-License-Identifier: Apache-2.0

//go:build unix

package login

import (
	"fmt"
	"syscall"
)

// ForbidCoreDumps keeps the system from writing this process's memory, in which
// passwords are for a moment, to a file when it crashes. It is for a program's
// main function: it is about the whole process and its children.
func ForbidCoreDumps() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	return nil
}
