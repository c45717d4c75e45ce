// SPDX-License-Identifier: Apache-2.0

package supervisortest

import "syscall"

// attributes let a Supervisor end in order when the tests die.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }
