// SPDX-License-Identifier: Apache-2.0

package clients

import "syscall"

// attributes let the Supervisor end in order when the tests die.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }
