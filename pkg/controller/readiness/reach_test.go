// SPDX-License-Identifier: Apache-2.0

package readiness

import (
	"net"
	"net/netip"
	"testing"
)

// TestReach: whoever has a guest chooses what it tells as its addresses.
func TestReach(t *testing.T) {
	ranges, err := ParseRanges([]string{"10.20.0.0/16", "fd00:20::/64"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseRanges([]string{"10.20.0.0"}); err == nil {
		t.Error("an address is taken for a network")
	}
	own := func() ([]net.Addr, error) {
		return []net.Addr{&net.IPNet{IP: net.ParseIP("10.20.0.9"), Mask: net.CIDRMask(16, 32)},
			&net.IPNet{IP: net.ParseIP("fd00:20::9"), Mask: net.CIDRMask(64, 128)}}, nil
	}
	everywhere, some := Reach{Own: own}, Reach{Own: own, Ranges: ranges}
	for address, want := range map[string][2]bool{
		"10.20.0.7": {true, true}, "::ffff:10.20.0.7": {true, true}, "fd00:20::7": {true, true},
		"192.168.1.1": {true, false}, "203.0.113.5": {true, false}, "fd00:21::7": {true, false},
		// The server itself, in both ways to write it.
		"10.20.0.9": {}, "::ffff:10.20.0.9": {}, "fd00:20::9": {},
		"127.0.0.1": {}, "::1": {}, "::ffff:127.0.0.1": {}, "0.0.0.0": {}, "::": {}, "0.1.2.3": {}, "::127.0.0.1": {},
		"169.254.169.254": {}, "::ffff:169.254.169.254": {}, "fe80::1": {}, "fe80::1%eth0": {}, "fd00:20::7%eth0": {},
		"224.0.0.1": {}, "ff02::1": {}, "255.255.255.255": {}, "240.0.0.1": {},
		"100.100.100.200": {}, "168.63.129.16": {}, "192.0.0.192": {}, "fd00:ec2::254": {},
		"64:ff9b::7f00:1": {}, "2002:7f00:1::": {},
	} {
		ip := netip.MustParseAddr(address)
		if got := [2]bool{everywhere.permits(ip), some.permits(ip)}; got != want {
			t.Errorf("%s: everywhere and in ranges %v, want %v", address, got, want)
		}
	}
}
