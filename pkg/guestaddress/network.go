// SPDX-License-Identifier: Apache-2.0

package guestaddress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// Network is the loopback network on which guests answer. The zero value is none: guests are where they say.
type Network struct{ at netip.Prefix }

// Parse reads a network of the loopback interface of IPv4, such as 127.66.0.0/16. An empty text is none.
func Parse(text string) (Network, error) {
	if text == "" {
		return Network{}, nil
	}
	at, err := netip.ParsePrefix(text)
	if err != nil || !at.Addr().Is4() || !at.Addr().IsLoopback() || at.Bits() != 16 || at != at.Masked() {
		return Network{}, fmt.Errorf("%q is not a network of 16 bits of the loopback interface: give one such as 127.66.0.0/16",
			text)
	}
	return Network{at}, nil
}

// String is what Parse reads.
func (n Network) String() string {
	if !n.at.IsValid() {
		return ""
	}
	return n.at.String()
}

// Addresses are the network's own for load balancers, which no guest has.
func (n Network) Addresses() netip.Prefix {
	bytes := n.at.Addr().As4()
	bytes[2] = 250
	return netip.PrefixFrom(netip.AddrFrom4(bytes), 24)
}

// Lacking says why this system has not the network's addresses, nil where it has them: some have 127.0.0.1 alone.
func (n Network) Lacking() error {
	first := netip.AddrPortFrom(n.Addresses().Addr().Next(), 0)
	probe, err := net.Listen("tcp", first.String())
	if err != nil {
		return &lacking{Why(first, err), err}
	}
	return probe.Close()
}

// lacking is an error that says what to do.
type lacking struct {
	why   string
	cause error
}

func (l *lacking) Error() string { return l.why }

func (l *lacking) Unwrap() error { return l.cause }

// Has says whether an address is of the loopback network itself.
func (n Network) Has(address netip.Addr) bool { return n.at.IsValid() && n.at.Contains(address) }

// Of is where a guest answers that vCenter tells an address of; false where that is none of a simulated guest.
func (n Network) Of(address netip.Addr) (netip.Addr, bool) {
	if !n.at.IsValid() || !told().Contains(address) {
		return address, false
	}
	bytes, at := address.As4(), n.at.Addr().As4()
	bytes[0], bytes[1] = at[0], at[1]
	return netip.AddrFrom4(bytes), true
}

// told is the network of the addresses that vCenter tells.
func told() netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 66, 0, 0}), 16) }

// Dialer connects to guests where they answer, and to all else where it is.
type Dialer struct {
	Network Network
	net.Dialer
}

// DialContext is that of net.Dialer.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if at, err := netip.ParseAddrPort(address); err == nil {
		if reached, is := d.Network.Of(at.Addr()); is {
			address = netip.AddrPortFrom(reached, at.Port()).String()
		}
	}
	return d.Dialer.DialContext(ctx, network, address)
}

// Why says why nobody can listen on an address of a loopback network, and what to do.
func Why(at netip.AddrPort, err error) string {
	switch {
	case errors.Is(err, syscall.EACCES):
		return fmt.Sprintf("ports below 1024 are root's on this system; use a port from 1024 on, or on Linux allow them with "+
			"`sysctl net.ipv4.ip_unprivileged_port_start=%d`", at.Port())
	case errors.Is(err, syscall.EADDRINUSE):
		return "another process listens there; a second Supervisor on one computer needs a --guest-network of its own"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Sprintf("this system has not that address; on macOS `sudo ifconfig lo0 alias %s` makes it", at.Addr())
	}
	return err.Error()
}
