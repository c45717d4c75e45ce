// SPDX-License-Identifier: Apache-2.0

package ports

import (
	"io"
	"net"
	"testing"

	"github.com/openpacific/pacific/cmd/supervisor/datadir"
)

// TestChosenPortIsKept chooses all ports there are, nearly: none is given twice, and each can be listened on.
func TestChosenPortIsKept(t *testing.T) {
	chosen := map[int]bool{}
	for range 500 {
		port, held, err := Choose()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = held.Close() })
		if chosen[port] {
			t.Fatalf("port %d is given twice", port)
		}
		chosen[port] = true
	}
	for port := range chosen {
		listener, err := net.Listen("tcp", Loopback(port))
		if err != nil {
			t.Fatalf("whoever was told of port %d cannot listen on it: %v", port, err)
		}
		if _, err := hold(port, false); err == nil {
			t.Fatalf("port %d is taken although somebody listens on it", port)
		}
		_ = listener.Close()
		// A component that is started again finds its port.
		if listener, err = net.Listen("tcp", Loopback(port)); err != nil {
			t.Fatalf("listen once more: %v", err)
		}
		_ = listener.Close()
	}
}

// TestLingeringConnectionsDoNotCostThePort starts a component again on the port it had, while connections of its
// former life are in TIME_WAIT.
func TestLingeringConnectionsDoNotCostThePort(t *testing.T) {
	port, held, err := Choose()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", Loopback(port))
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("tcp", Loopback(port))
	if err != nil {
		t.Fatal(err)
	}
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	// Who closes first has the connection linger.
	for _, closer := range []io.Closer{server, client, listener, held} {
		if err := closer.Close(); err != nil {
			t.Fatal(err)
		}
	}
	got, again, err := Assign(datadir.Ports{"vcenter": port}, []string{"vcenter"})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got["vcenter"] != port {
		t.Errorf("vcenter had port %d and gets %d", port, got["vcenter"])
	}
}
