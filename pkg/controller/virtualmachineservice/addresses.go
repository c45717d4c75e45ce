// SPDX-License-Identifier: Apache-2.0

package virtualmachineservice

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"

	"github.com/openpacific/pacific/pkg/failure"
)

// Pool is what addresses may be given to services.
type Pool struct{ spans []span }

// span is all addresses from first to last.
type span struct{ first, last netip.Addr }

// ParsePool reads networks such as 192.0.2.0/28, spans such as 192.0.2.10-192.0.2.20, and single addresses. Of an IPv4
// network its own address and that for broadcasts are left out.
func ParsePool(parts []string) (Pool, error) {
	var pool Pool
	for _, part := range parts {
		one, err := parseSpan(strings.TrimSpace(part))
		if err != nil {
			return Pool{}, fmt.Errorf("%q is not a network such as 192.0.2.0/28, a span such as 192.0.2.10-192.0.2.20 or an "+
				"address: %w", part, err)
		}
		pool.spans = append(pool.spans, one)
	}
	return pool, nil
}

func parseSpan(text string) (span, error) {
	if from, to, found := strings.Cut(text, "-"); found {
		first, err := netip.ParseAddr(strings.TrimSpace(from))
		if err != nil {
			return span{}, err
		}
		last, err := netip.ParseAddr(strings.TrimSpace(to))
		switch {
		case err != nil:
			return span{}, err
		case first.Is4() != last.Is4() || last.Less(first):
			return span{}, fmt.Errorf("%s does not come after %s", last, first)
		}
		return span{first, last}, nil
	}
	if !strings.Contains(text, "/") {
		only, err := netip.ParseAddr(text)
		return span{only, only}, err
	}
	network, err := netip.ParsePrefix(text)
	if err != nil {
		return span{}, err
	}
	network = network.Masked()
	first, last := network.Addr(), lastOf(network)
	if first.Is4() && network.Bits() < 31 {
		first, last = first.Next(), last.Prev()
	}
	return span{first, last}, nil
}

// lastOf is the last address of a network.
func lastOf(network netip.Prefix) netip.Addr {
	bytes := network.Addr().AsSlice()
	for bit := network.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 1 << (7 - bit%8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}

// Empty says that nothing is set aside.
func (p Pool) Empty() bool { return len(p.spans) == 0 }

func (p Pool) has(address netip.Addr) bool {
	return slices.ContainsFunc(p.spans, func(s span) bool {
		return s.first.Is4() == address.Is4() && !address.Less(s.first) && !s.last.Less(address)
	})
}

// free is the first address that is not taken.
func (p Pool) free(taken map[netip.Addr]string) (netip.Addr, bool) {
	for _, span := range p.spans {
		for address := span.first; address.IsValid() && !span.last.Less(address); address = address.Next() {
			if _, is := taken[address]; !is {
				return address, true
			}
		}
	}
	return netip.Addr{}, false
}

// address returns the one that a service has, and gives it one where it has none. It stays the service's as long as
// that is there, or asks for another.
func (c *Controller) address(ctx context.Context, service *vmopv1.VirtualMachineService) (string, error) {
	has := given(service)
	if asked := service.Spec.LoadBalancerIP; has != "" && (asked == "" || asked == has) {
		return has, nil
	}
	c.giving.Lock()
	defer c.giving.Unlock()
	all, err := c.Services.List(ctx, "")
	if err != nil {
		return "", fmt.Errorf("see which addresses are given: %w", err)
	}
	taken := map[netip.Addr]string{}
	for _, other := range all {
		if parsed, err := netip.ParseAddr(given(other)); err == nil && other.UID != service.UID {
			taken[parsed] = other.Namespace + "/" + other.Name
		}
	}
	chosen, found := c.Pool.free(taken)
	if asked := service.Spec.LoadBalancerIP; asked != "" {
		if chosen, err = netip.ParseAddr(asked); err != nil || !c.Pool.has(chosen) {
			return "", fmt.Errorf("the address %s, which spec.loadBalancerIP asks for, is none of those that are set aside by "+
				"--load-balancer-addresses: leave it out, or name one of them: %w", asked, failure.Invalid)
		}
		if who, is := taken[chosen]; is {
			return "", fmt.Errorf("the address %s, which spec.loadBalancerIP asks for, is given to the service %s: %w", asked, who,
				failure.AlreadyExists)
		}
	} else if !found {
		return "", fmt.Errorf("all addresses are given that are set aside for services of type LoadBalancer: an administrator "+
			"gives vsphere-apiserver more by --load-balancer-addresses: %w", failure.ResourceExhausted)
	}
	// Before it lets go of the lock, so that nobody else is given it.
	err = c.Services.Report(ctx, service.Namespace, service.Name, service.UID, func(s *vmopv1.VirtualMachineService) {
		s.Status.LoadBalancer.Ingress = []vmopv1.LoadBalancerIngress{{IP: chosen.String()}}
	})
	if err != nil {
		return "", fmt.Errorf("note that the address %s is given: %w", chosen, err)
	}
	service.Status.LoadBalancer.Ingress = []vmopv1.LoadBalancerIngress{{IP: chosen.String()}}
	return chosen.String(), nil
}

// given is the address that a service was given, empty for none.
func given(service *vmopv1.VirtualMachineService) string {
	if ingress := service.Status.LoadBalancer.Ingress; len(ingress) > 0 {
		return ingress[0].IP
	}
	return ""
}
