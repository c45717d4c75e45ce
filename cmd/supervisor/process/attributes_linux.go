// SPDX-License-Identifier: Apache-2.0

package process

import "syscall"

// attributes puts a child into a process group of its own, so that a Ctrl-C in the terminal reaches only its parent,
// and has the kernel kill it when its parent is gone.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
