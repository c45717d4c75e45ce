// SPDX-License-Identifier: Apache-2.0

package bootstrap_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap"
)

type (
	netspec = vmopv1.VirtualMachineNetworkSpec
	nic     = vmopv1.VirtualMachineNetworkInterfaceSpec
	hop     = vmopv1.VirtualMachineNetworkRouteSpec
)

// TestNetwork: what cloud-init is told of names and the network.
func TestNetwork(t *testing.T) {
	const eth0 = "match: {macaddress: '00:50:56:8a:00:01'}, set-name: eth0, "
	tests := []struct {
		name    string
		network *netspec
		want    string
	}{
		{"nothing", nil, "local-hostname: web\nhostname: web"},
		{"no cards", &netspec{Disabled: true}, "local-hostname: web\nhostname: web"},
		{"a name in a domain", &netspec{HostName: "www", DomainName: "example.com"},
			"local-hostname: www.example.com\nhostname: www.example.com"},
		{"no address", &netspec{Interfaces: []nic{{Name: "eth0"}}}, `{hostname: web, local-hostname: web,
			network: {version: 2, ethernets: {eth0: {` + eth0 + `dhcp4: true, dhcp6: false}}}}`},
		{"IPv6 alone, by DHCP", &netspec{Interfaces: []nic{{Name: "eth0", DHCP6: true}}}, `{hostname: web, local-hostname: web,
			network: {version: 2, ethernets: {eth0: {` + eth0 + `dhcp4: false, dhcp6: true}}}}`},
		{"IPv4 static, IPv6 by DHCP", &netspec{Interfaces: []nic{{Name: "eth0", DHCP6: true, Addresses: []string{"192.0.2.7/26"},
			Gateway4: "192.0.2.1", Gateway6: "None"}}}, `{hostname: web, local-hostname: web, network: {version: 2, ethernets: {eth0: {` +
			eth0 + `dhcp4: false, dhcp6: true, addresses: [192.0.2.7/26], gateway4: 192.0.2.1}}}}`},
		{"everything", &netspec{
			Nameservers: []string{"192.0.2.53"}, SearchDomains: []string{"example.com"},
			Interfaces: []nic{
				{Name: "eth0", Addresses: []string{"192.0.2.7/26", "2001:db8::7/64"}, Gateway4: "None", Gateway6: "2001:db8::1",
					MTU: ptr.To[int64](9000), Routes: []hop{{To: "default", Via: "192.0.2.1", Metric: 7}, {To: "default", Via: "2001:db8::1"},
						{To: "198.51.100.0/24", Via: "192.0.2.2"}, {To: "203.0.113.9", Via: "192.0.2.2"}, {To: "2001:db8:1::9", Via: "2001:db8::2"}}},
				{Name: "eth1", GuestDeviceName: "storage0", DHCP4: true, Nameservers: []string{"2001:db8::53"}, SearchDomains: []string{"a.test"}},
			},
		}, `{hostname: web, local-hostname: web, network: {version: 2, ethernets: {
			eth0: {` + eth0 + `dhcp4: false, dhcp6: false, addresses: [192.0.2.7/26, '2001:db8::7/64'], gateway6: '2001:db8::1', mtu: 9000,
				nameservers: {addresses: [192.0.2.53], search: [example.com]},
				routes: [{to: 0.0.0.0/0, via: 192.0.2.1, metric: 7}, {to: '::/0', via: '2001:db8::1'}, {to: 198.51.100.0/24, via: 192.0.2.2},
					{to: 203.0.113.9/32, via: 192.0.2.2}, {to: '2001:db8:1::9/128', via: '2001:db8::2'}]},
			eth1: {match: {macaddress: '00:50:56:8a:00:02'}, set-name: storage0, dhcp4: true, dhcp6: false,
				nameservers: {addresses: ['2001:db8::53'], search: [a.test]}}}}}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			vm := machine()
			vm.Spec.Network = test.network
			vm.Spec.Bootstrap.CloudInit = &vmopv1.VirtualMachineBootstrapCloudInitSpec{}
			// One more than was asked for, which somebody added in vCenter.
			options := told(t, bootstrap.Bootstrap{}, vm, cards(3))
			if diff := cmp.Diff(document(t, test.want), document(t, decoded(t, options, "guestinfo.metadata"))); diff != "" {
				t.Errorf("metadata (-want +got):\n%s", diff)
			}
		})
	}
}

// document is what a guest reads in YAML. The instance's id is always the same.
func document(t *testing.T, text string) (read map[string]any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &read); err != nil {
		t.Fatal(err)
	}
	delete(read, "instance-id")
	return read
}

// A guest that was told half of its network would come up without the rest.
func TestMissingCard(t *testing.T) {
	vm := machine()
	vm.Spec.Network.Interfaces = append(vm.Spec.Network.Interfaces, nic{Name: "eth1"})
	b := bootstrap.Bootstrap{Secrets: secrets{"team-a/web/user-data": nil}}
	got, err := b.Tell(t.Context(), vm, cards(1))
	if !errors.Is(err, failure.Unavailable) || !strings.Contains(err.Error(), "spec.network.interfaces[1]: ") || got.Options != nil {
		t.Errorf("got %v, %v", got, err)
	}
}
