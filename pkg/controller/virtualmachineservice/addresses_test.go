// SPDX-License-Identifier: Apache-2.0

package virtualmachineservice

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPool(t *testing.T) {
	for text, want := range map[string][]string{
		"192.0.2.4/30":            {"192.0.2.5", "192.0.2.6"},
		"192.0.2.7/32":            {"192.0.2.7"},
		"192.0.2.6/31":            {"192.0.2.6", "192.0.2.7"},
		"192.0.2.9-192.0.2.11":    {"192.0.2.9", "192.0.2.10", "192.0.2.11"},
		"192.0.2.7":               {"192.0.2.7"},
		"2001:db8::4/127":         {"2001:db8::4", "2001:db8::5"},
		"255.255.255.255":         {"255.255.255.255"},
		" 192.0.2.1 - 192.0.2.2 ": {"192.0.2.1", "192.0.2.2"},
	} {
		pool, err := ParsePool([]string{text})
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		taken := map[netip.Addr]string{}
		var got []string
		for {
			address, found := pool.free(taken)
			if !found || len(got) > len(want) {
				break
			}
			if !pool.has(address) {
				t.Errorf("%q has not %s", text, address)
			}
			taken[address] = "somebody"
			got = append(got, address.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
		for _, other := range []string{"192.0.2.3", "192.0.2.12", "2001:db8::6", "::ffff:192.0.2.7"} {
			if pool.has(netip.MustParseAddr(other)) {
				t.Errorf("%q has %s", text, other)
			}
		}
	}
	for _, text := range []string{"", "192.0.2.0/33", "192.0.2.9-192.0.2.8", "192.0.2.9-2001:db8::1", "a-b", "192.0.2"} {
		if _, err := ParsePool([]string{text}); err == nil {
			t.Errorf("%q is taken for a pool", text)
		}
	}
}
