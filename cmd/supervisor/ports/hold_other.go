// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package ports

import (
	"io"
	"net"
)

// hold says whether the port is free now: this system has no way to keep it for another process.
func hold(port int, _ bool) (io.Closer, error) {
	listener, err := net.Listen("tcp", Loopback(port))
	if err != nil {
		return nil, err
	}
	return io.NopCloser(nil), listener.Close()
}
