// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"fmt"
	"io"
	"syscall"
)

// hold binds a loopback port without listening on it. A socket that is bound so may have others beside it that are
// bound with SO_REUSEADDR, as those of Go's listeners are, as long as it has the option too; taking a port without the
// option fails wherever another socket is bound to it. So the port is taken without, and the option set afterwards.
// shared takes a port that connections of a former component linger on, with the option from the start.
func hold(port int, shared bool) (io.Closer, error) {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	share := func() error { return syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) }
	if shared {
		err = share()
	}
	if err == nil {
		err = syscall.Bind(socket, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	}
	if err == nil && !shared {
		err = share()
	}
	if err != nil {
		_ = syscall.Close(socket)
		return nil, fmt.Errorf("bind %s: %w", Loopback(port), err)
	}
	return bound(socket), nil
}

// bound is a socket that stays bound until it is closed, whether anybody still knows it or not.
type bound int

// Close gives the port up.
func (b bound) Close() error { return syscall.Close(int(b)) }
