// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"

	"github.com/openpacific/pacific/cmd/supervisor/datadir"
)

const (
	// Ports of components come from below the range from which kernels hand out ports to outgoing connections: a
	// component that is started again must find its port free.
	lowest, highest = 20000, 29999
	attempts        = 200
)

// Held are ports that are kept from others. Whoever was told of them can listen on them all the same.
type Held []io.Closer

// Close gives the ports up.
func (h Held) Close() {
	for _, held := range h {
		_ = held.Close()
	}
}

// Assign gives each of the names a loopback port, the one that it had, where that is free, else a new one, and keeps
// them until they are given up.
func Assign(kept datadir.Ports, names []string) (datadir.Ports, Held, error) {
	assigned := datadir.Ports{}
	var all Held
	for _, name := range names {
		port, held, err := kept[name], io.Closer(nil), error(nil)
		if port != 0 {
			held, err = again(port)
		}
		if port == 0 || err != nil {
			port, held, err = Choose()
		}
		if err != nil {
			all.Close()
			return nil, nil, fmt.Errorf("find a free port for %s: %w", name, err)
		}
		assigned[name] = port
		all = append(all, held)
	}
	// Ports of components that are not wanted this time stay theirs.
	for name, port := range kept {
		if _, ok := assigned[name]; !ok {
			assigned[name] = port
		}
	}
	return assigned, all, nil
}

// Choose takes a loopback port that nobody else has, and keeps it until it is given up.
func Choose() (int, io.Closer, error) {
	for attempt := 1; ; attempt++ {
		port := lowest + rand.IntN(highest-lowest+1)
		held, err := hold(port, false)
		if err == nil || attempt == attempts {
			return port, held, err
		}
	}
}

// again takes a port that was used before. Connections of that time may linger there, which only hinders who would
// choose it anew.
func again(port int) (io.Closer, error) {
	if held, err := hold(port, false); err == nil {
		return held, nil
	}
	listener, err := net.Listen("tcp", Loopback(port))
	if err != nil {
		return nil, err
	}
	_ = listener.Close()
	return hold(port, true)
}

// Check tells clearly when a port that a flag names is taken.
func Check(flag, address string, port int) error {
	endpoint := net.JoinHostPort(address, strconv.Itoa(port))
	listener, err := net.Listen("tcp", endpoint)
	switch {
	case err == nil:
		return listener.Close()
	case errors.Is(err, syscall.EADDRINUSE):
		by := "another process"
		if name := holder(port); name != "" {
			by = name
		}
		return fmt.Errorf("%s %d on %s is in use by %s: stop that, or choose another %s", flag, port, address, by, flag)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s %d on %s may not be used by this user: choose a port above 1023", flag, port, address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("--bind-address %s is not an address of this machine: give one of its own, 127.0.0.1 for this "+
			"machine alone, or 0.0.0.0 for all", address)
	default:
		return fmt.Errorf("%s %d on %s cannot be used: %w", flag, port, address, err)
	}
}

// Loopback is where a component with that port listens.
func Loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
