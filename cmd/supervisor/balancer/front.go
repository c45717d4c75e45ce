// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/openpacific/pacific/pkg/guestaddress"
)

// patience is how long a guest may take to take a connection, before the next one is asked.
const patience = 3 * time.Second

// front is a port of a service on its address.
type front struct {
	service string
	ready   []netip.AddrPort // guests
	from    []netip.Prefix   // who may connect; none is everybody
}

func (f front) lets(client net.Addr) bool {
	at, err := netip.ParseAddrPort(client.String())
	return len(f.from) == 0 || err == nil && slices.ContainsFunc(f.from, func(network netip.Prefix) bool {
		return network.Contains(at.Addr().Unmap())
	})
}

// fronts are those that are listened on.
type fronts struct {
	mu      sync.Mutex
	wanted  map[netip.AddrPort]front
	open    map[netip.AddrPort]net.Listener
	passing map[net.Conn]bool
	turn    int
	ended   sync.WaitGroup
}

// set has these be listened on, and no others. It returns a sentence for each that cannot be.
func (f *fronts) set(wanted map[netip.AddrPort]front, network guestaddress.Network) (problems []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wanted = wanted
	if f.open == nil {
		f.open, f.passing = map[netip.AddrPort]net.Listener{}, map[net.Conn]bool{}
	}
	for at, listener := range f.open {
		if _, is := wanted[at]; !is {
			_ = listener.Close()
			delete(f.open, at)
		}
	}
	dialer := &guestaddress.Dialer{Network: network, Dialer: net.Dialer{Timeout: patience}}
	for _, at := range slices.SortedFunc(maps.Keys(wanted), netip.AddrPort.Compare) {
		if f.open[at] != nil {
			continue
		}
		listener, err := net.Listen("tcp", at.String())
		if err != nil {
			problems = append(problems, fmt.Sprintf("the service %s does not answer on %s: %s", wanted[at].service, at,
				guestaddress.Why(at, err)))
			continue
		}
		f.open[at] = listener
		f.ended.Go(func() { f.accept(at, listener, dialer) })
	}
	return problems
}

func (f *fronts) accept(at netip.AddrPort, listener net.Listener, dialer *guestaddress.Dialer) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return // which is its end
		}
		f.ended.Go(func() { f.pass(at, client, dialer) })
	}
}

// pass connects a client with one of the guests that are ready, each in its turn. Where none takes the connection, the
// client's ends.
func (f *fronts) pass(at netip.AddrPort, client net.Conn, dialer *guestaddress.Dialer) {
	if !f.keep(client) {
		return
	}
	defer f.drop(client)
	f.mu.Lock()
	wanted := f.wanted[at]
	guests := wanted.ready
	f.turn++
	turn := f.turn
	f.mu.Unlock()
	if !wanted.lets(client.RemoteAddr()) {
		return
	}
	for n := range guests {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		guest, err := dialer.DialContext(ctx, "tcp", guests[(turn+n)%len(guests)].String())
		cancel()
		if err != nil {
			continue
		}
		if f.keep(guest) {
			splice(client, guest)
			f.drop(guest)
		}
		return
	}
}

// splice copies both ways until both have ended.
func splice(a, b net.Conn) {
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		both.Go(func() {
			_, err := io.Copy(way[0], way[1])
			if end, ok := way[0].(*net.TCPConn); ok && err == nil {
				_ = end.CloseWrite()
				return
			}
			_ = way[0].Close()
			_ = way[1].Close()
		})
	}
	both.Wait()
}

// keep notes a connection, so that it ends with all; false where that has been.
func (f *fronts) keep(connection net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.passing == nil {
		_ = connection.Close()
		return false
	}
	f.passing[connection] = true
	return true
}

func (f *fronts) drop(connection net.Conn) {
	_ = connection.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.passing, connection)
}

// close ends all listening and passing.
func (f *fronts) close() {
	f.mu.Lock()
	for _, listener := range f.open {
		_ = listener.Close()
	}
	for connection := range f.passing {
		_ = connection.Close()
	}
	f.passing = nil
	f.mu.Unlock()
	f.ended.Wait()
}
