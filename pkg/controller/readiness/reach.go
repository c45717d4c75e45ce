// SPDX-License-Identifier: Apache-2.0

package readiness

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Reach says to which addresses connections are made. What a guest tells as its address is the guest's word, and a
// connection that is made or refused tells who has the guest what listens where the server is: so the server's own
// addresses, and what answers for clouds, are never connected to, nor anything that is not one computer's on a network.
// Its fields are set before use.
type Reach struct {
	// Ranges are those to which connections are made. Nil: all.
	Ranges []netip.Prefix
	// Own are the addresses of this computer. Nil: none.
	Own func() ([]net.Addr, error)
}

// never lists addresses that look like those of computers: what tells a computer in a cloud its credentials, and what
// stands for addresses of IPv4, which would have to be looked at in turn.
func never() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("100.100.100.200/32"), netip.MustParsePrefix("168.63.129.16/32"),
		netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("fd00:ec2::/32"),
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("240.0.0.0/4"),
		netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"),
		netip.MustParsePrefix("::/96"),
	}
}

// permits says whether a connection is made to an address.
func (r Reach) permits(ip netip.Addr) bool {
	ip = ip.Unmap()
	within := func(ranges []netip.Prefix) bool {
		return slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(ip) })
	}
	if ip.Zone() != "" || !ip.IsGlobalUnicast() || within(never()) || r.Ranges != nil && !within(r.Ranges) {
		return false
	}
	if r.Own == nil {
		return true
	}
	own, err := r.Own()
	return err == nil && !slices.ContainsFunc(own, func(address net.Addr) bool {
		network, ok := address.(*net.IPNet)
		if !ok {
			return false
		}
		mine, ok := netip.AddrFromSlice(network.IP)
		return ok && mine.Unmap() == ip
	})
}

// ParseRanges reads networks such as 10.20.0.0/16, nil for none.
func ParseRanges(texts []string) ([]netip.Prefix, error) {
	var ranges []netip.Prefix
	for _, text := range texts {
		one, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q is not a network such as 10.20.0.0/16 or fd00:20::/64", text)
		}
		ranges = append(ranges, one.Masked())
	}
	return ranges, nil
}
