// SPDX-License-Identifier: Apache-2.0

package up

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"

	"github.com/openpacific/pacific/cmd/supervisor/datadir"
)

const (
	// Ports of components come from below the range from which kernels hand out ports to outgoing connections: a
	// component that is started again must find its port free.
	lowestPort, highestPort = 20000, 29999
)

// assignPorts gives each of the names a loopback port: the one that it had, where that is free, else a new one.
func assignPorts(kept datadir.Ports, names []string) (datadir.Ports, error) {
	ports := datadir.Ports{}
	var listeners []net.Listener
	defer func() {
		for _, listener := range listeners {
			listener.Close()
		}
	}()
	for _, name := range names {
		candidate := kept[name]
		for attempt := 0; ; attempt++ {
			if candidate > 0 {
				// Held until all are assigned, so that no two get the same.
				if listener, err := net.Listen("tcp", loopback(candidate)); err == nil {
					listeners = append(listeners, listener)
					ports[name] = candidate
					break
				} else if attempt >= 200 {
					return nil, fmt.Errorf("find a free port for %s: %w", name, err)
				}
			}
			candidate = lowestPort + rand.IntN(highestPort-lowestPort+1)
		}
	}
	// Ports of components that are not wanted this time stay theirs.
	for name, port := range kept {
		if _, ok := ports[name]; !ok {
			ports[name] = port
		}
	}
	return ports, nil
}

// checkPort tells clearly when a port that a flag names is taken.
func checkPort(flag, address string, port int) error {
	endpoint := net.JoinHostPort(address, strconv.Itoa(port))
	listener, err := net.Listen("tcp", endpoint)
	switch {
	case err == nil:
		return listener.Close()
	case errors.Is(err, syscall.EADDRINUSE):
		holder := "another process"
		if name := portHolder(port); name != "" {
			holder = name
		}
		return fmt.Errorf("%s %d on %s is in use by %s: stop that, or choose another %s", flag, port, address, holder, flag)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s %d on %s may not be used by this user: choose a port above 1023", flag, port, address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("--bind-address %s is not an address of this machine: give one of its own, 127.0.0.1 for this "+
			"machine "+
			"alone, or 0.0.0.0 for all", address)
	default:
		return fmt.Errorf("%s %d on %s cannot be used: %w", flag, port, address, err)
	}
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
