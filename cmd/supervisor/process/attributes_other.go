// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package process

import "syscall"

// attributes puts a child into a process group of its own, so that a Ctrl-C in the terminal reaches only its parent.
// Where the kernel has no death signal, FollowParent in the child takes its place.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
