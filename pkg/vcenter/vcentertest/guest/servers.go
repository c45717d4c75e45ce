// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/guestaddress"
)

// Servers are what guests answer with to whoever connects to them: on each of their ports a page over HTTP that names the
// machine. They listen where vCenter tells that a guest has an address, as long as it tells so. Which ports a guest has is
// not told by any image here: it has the one that the readiness probe names in the machine's record, and those that
// somebody has told of (Tell), as the services are that lead to it.
type Servers struct {
	network guestaddress.Network

	mu       sync.Mutex
	machines map[types.ManagedObjectReference]*served
	told     map[netip.Addr][]uint16
	open     map[netip.AddrPort]*http.Server
	failed   map[netip.AddrPort]error
	closed   bool
}

// served is what is known of a machine that answers.
type served struct {
	name      string
	addresses []netip.Addr
	probed    uint16 // 0 for none
}

// NewServers returns servers on a loopback network; none where that is none.
func NewServers(network guestaddress.Network) *Servers {
	return &Servers{network: network, machines: map[types.ManagedObjectReference]*served{},
		told: map[netip.Addr][]uint16{}, open: map[netip.AddrPort]*http.Server{}, failed: map[netip.AddrPort]error{}}
}

// Reference implements simulator.RegisterObject.
func (*Servers) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "Handler", Value: "vcentertest-guest-servers"}
}

// PutObject implements simulator.RegisterObject.
func (*Servers) PutObject(*simulator.Context, mo.Reference) {}

// UpdateObject implements simulator.RegisterObject.
func (s *Servers) UpdateObject(_ *simulator.Context, o mo.Reference, changes []types.PropertyChange) {
	vm, ok := o.(*mo.VirtualMachine)
	if ok && slices.ContainsFunc(changes, func(change types.PropertyChange) bool {
		return strings.HasPrefix(change.Name, "guest.") || change.Name == "name" || change.Name == "runtime.powerState" ||
			change.Name == "config" || change.Name == "config.extraConfig"
	}) {
		s.Look(vm)
	}
}

// RemoveObject implements simulator.RegisterObject.
func (s *Servers) RemoveObject(_ *simulator.Context, ref types.ManagedObjectReference) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.machines[ref] != nil {
		delete(s.machines, ref)
		s.settle()
	}
}

// Look has the guest of a machine answer as the machine is now. The caller holds the machine's lock.
func (s *Servers) Look(vm *mo.VirtualMachine) {
	now := s.seen(vm)
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.machines[vm.Self]
	switch {
	case now == nil && before == nil:
		return
	case now == nil:
		delete(s.machines, vm.Self)
	case before != nil && before.name == now.name && before.probed == now.probed &&
		slices.Equal(before.addresses, now.addresses):
		return
	default:
		s.machines[vm.Self] = now
	}
	s.settle()
}

// seen is what is to be known of a machine, nil for one that does not answer.
func (s *Servers) seen(vm *mo.VirtualMachine) *served {
	if vm.Guest == nil || vm.Config == nil || vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		return nil
	}
	now := &served{name: vm.Name}
	for _, adapter := range vm.Guest.Net {
		for _, text := range adapter.IpAddress {
			if address, err := netip.ParseAddr(text); err == nil && adapter.Connected {
				if at, is := s.network.Of(address); is {
					now.addresses = append(now.addresses, at)
				}
			}
		}
	}
	if len(now.addresses) == 0 {
		return nil
	}
	for _, option := range vm.Config.ExtraConfig {
		if o := option.GetOptionValue(); o != nil && o.Key == recordKey {
			record, _ := o.Value.(string)
			now.probed = probedPort(record)
		}
	}
	return now
}

// recordKey is where a machine has its record.
const recordKey = "pacific.metadata"

// probedPort is the port that the readiness probe in a record connects to, 0 for none. A record is a version and two
// parts or more, of which the second is JSON.
func probedPort(record string) uint16 {
	parts := strings.Split(record, ".")
	if len(parts) < 3 {
		return 0
	}
	packed, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil {
		return 0
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return 0
	}
	var body struct {
		Spec struct {
			ReadinessProbe struct {
				TCPSocket struct {
					Port any `json:"port"`
				} `json:"tcpSocket"`
			} `json:"readinessProbe"`
		} `json:"spec"`
	}
	if json.NewDecoder(io.LimitReader(reader, largest)).Decode(&body) != nil {
		return 0
	}
	number, err := net.LookupPort("tcp", fmt.Sprint(body.Spec.ReadinessProbe.TCPSocket.Port))
	if err != nil {
		return 0
	}
	return uint16(number)
}

// Tell says which ports guests have besides those of their probes, by the addresses that vCenter tells. It returns the
// ports that cannot be listened on, each in a sentence.
func (s *Servers) Tell(ports map[netip.Addr][]uint16) (problems []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = map[netip.Addr][]uint16{}
	for address, of := range ports {
		if at, is := s.network.Of(address); is {
			s.told[at] = of
		}
	}
	s.settle()
	for at, err := range s.failed {
		problems = append(problems, fmt.Sprintf("a simulated guest does not answer on %s: %s", at, guestaddress.Why(at, err)))
	}
	slices.Sort(problems)
	return problems
}

// settle opens and closes what is to be. The caller holds mu.
func (s *Servers) settle() {
	wanted := map[netip.AddrPort]string{}
	for _, machine := range s.machines {
		for _, address := range machine.addresses {
			for _, port := range append([]uint16{machine.probed}, s.told[address]...) {
				if port != 0 && !s.closed {
					wanted[netip.AddrPortFrom(address, port)] = machine.name
				}
			}
		}
	}
	for at, server := range s.open {
		if _, is := wanted[at]; !is || server == nil {
			_ = server.Close()
			delete(s.open, at)
		}
	}
	s.failed = map[netip.AddrPort]error{}
	for at := range wanted {
		if s.open[at] != nil {
			continue
		}
		listener, err := net.Listen("tcp", at.String())
		if err != nil {
			s.failed[at] = err
			continue
		}
		server := &http.Server{Handler: s.page(at), ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
		s.open[at] = server
		go func() { _ = server.Serve(listener) }()
	}
}

// page names the machine that has an address now.
func (s *Servers) page(at netip.AddrPort) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, machine := range s.machines {
			if slices.Contains(machine.addresses, at.Addr()) {
				fmt.Fprintf(w, "%s on port %d\n", machine.name, at.Port())
				return
			}
		}
	})
}

// Close ends all of them.
func (s *Servers) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.settle()
}
