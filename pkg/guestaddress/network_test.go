// SPDX-License-Identifier: Apache-2.0

package guestaddress

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
)

func TestNetwork(t *testing.T) {
	for _, text := range []string{"127.66.0.0", "127.66.0.0/24", "10.66.0.0/16", "127.66.1.0/16", "::1/128", "x"} {
		if n, err := Parse(text); err == nil {
			t.Errorf("%q is %v", text, n)
		}
	}
	none, err := Parse("")
	if at, is := none.Of(netip.MustParseAddr("10.66.0.11")); err != nil || is || at.String() != "10.66.0.11" {
		t.Errorf("without a network: %v %t %v", at, is, err)
	}
	n, err := Parse("127.77.0.0/16")
	if err != nil || n.String() != "127.77.0.0/16" || n.Addresses().String() != "127.77.250.0/24" {
		t.Fatalf("%v %v %v", n, n.Addresses(), err)
	}
	for told, want := range map[string]string{"10.66.0.11": "127.77.0.11", "10.66.249.3": "127.77.249.3",
		"10.67.0.11": "10.67.0.11", "192.0.2.7": "192.0.2.7", "2001:db8::7": "2001:db8::7"} {
		if at, is := n.Of(netip.MustParseAddr(told)); at.String() != want || is != (told != want) {
			t.Errorf("%s is reached at %s (%t), want %s", told, at, is, want)
		}
	}
}

// TestDialer: what is told as 10.66 is reached on the loopback network, and what is refused there is refused.
func TestDialer(t *testing.T) {
	n, err := Parse("127.77.0.0/16")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Lacking(); errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Skipf("this system has 127.0.0.1 alone: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.77.0.11:0")
	if err != nil {
		t.Fatal(err)
	}
	port := netip.MustParseAddrPort(listener.Addr().String()).Port()
	d := &Dialer{Network: n}
	at := netip.AddrPortFrom(netip.MustParseAddr("10.66.0.11"), port).String()
	connection, err := d.DialContext(t.Context(), "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	_ = connection.Close()
	_ = listener.Close()
	if connection, err := d.DialContext(t.Context(), "tcp", at); err == nil {
		t.Errorf("connected to %s where nobody listens", connection.RemoteAddr())
	}
}

// TestWhy: whoever cannot listen is told what to do.
func TestWhy(t *testing.T) {
	at := netip.MustParseAddrPort("127.77.0.11:80")
	for err, want := range map[error]string{
		syscall.EACCES: "sysctl net.ipv4.ip_unprivileged_port_start=80", syscall.EADDRINUSE: "--guest-network",
		syscall.EADDRNOTAVAIL: "ifconfig lo0 alias 127.77.0.11", io.ErrUnexpectedEOF: io.ErrUnexpectedEOF.Error(),
	} {
		if got := Why(at, &net.OpError{Op: "listen", Err: err}); !strings.Contains(got, want) {
			t.Errorf("%v: %s", err, got)
		}
	}
}
