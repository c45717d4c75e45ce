// SPDX-License-Identifier: Apache-2.0

package vapp

import (
	"errors"
	"fmt"
	stdnet "net"
	"net/netip"
	"strings"
	"text/template"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"

	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap/network"
)

// net is the network of a machine as templates have it: with the addresses of IPv4 alone, and with dashes in those of
// network cards, as Windows writes them.
type net struct {
	devices     []vmopv1.NetworkDeviceStatus
	nameservers []string
}

func netOf(interfaces []network.Interface, nameservers []string) net {
	made := net{nameservers: nameservers}
	for _, settled := range interfaces {
		device := vmopv1.NetworkDeviceStatus{MacAddress: strings.ReplaceAll(settled.MAC, ":", "-")}
		for _, address := range settled.Addresses {
			if address.Addr().Is4() {
				device.Gateway4 = settled.Gateway4
				device.IPAddresses = append(device.IPAddresses, address.String())
			}
		}
		made.devices = append(made.devices, device)
	}
	return made
}

// functions are those that templates call by a prefix, which is a version's.
func (n net) functions(prefix string) template.FuncMap {
	return template.FuncMap{
		prefix + "FirstIP":           func() (string, error) { return n.first(0) },
		prefix + "FirstNicMacAddr":   n.firstMAC,
		prefix + "FirstIPFromNIC":    n.first,
		prefix + "IPsFromNIC":        n.addresses,
		prefix + "FormatNameservers": n.formatNameservers,
		prefix + "SubnetMask":        subnetMask,
		prefix + "IP":                withUsualPrefix,
		prefix + "FormatIP":          formatIP,
	}
}

func (n net) device(index int) (vmopv1.NetworkDeviceStatus, error) {
	if index < 0 || index >= len(n.devices) {
		return vmopv1.NetworkDeviceStatus{}, fmt.Errorf("there is no interface %d: there are %d", index, len(n.devices))
	}
	return n.devices[index], nil
}

func (n net) addresses(index int) ([]string, error) {
	device, err := n.device(index)
	return device.IPAddresses, err
}

func (n net) first(index int) (string, error) {
	device, err := n.device(index)
	switch {
	case err != nil:
		return "", err
	case len(device.IPAddresses) == 0:
		return "", fmt.Errorf("spec.network.interfaces[%d] has no IPv4 address that is known beforehand: give it addresses", index)
	}
	return device.IPAddresses[0], nil
}

func (n net) firstMAC() (string, error) {
	device, err := n.device(0)
	return device.MacAddress, err
}

// formatNameservers joins the first name servers, all of them where count is negative.
func (n net) formatNameservers(count int, delimiter string) (string, error) {
	if len(n.nameservers) == 0 {
		return "", errors.New("there are no name servers: give spec.network.nameservers")
	}
	if count < 0 || count > len(n.nameservers) {
		count = len(n.nameservers)
	}
	return strings.Join(n.nameservers[:count], delimiter), nil
}

// subnetMask is the mask of an IPv4 network.
func subnetMask(address string) (string, error) {
	prefix, err := netip.ParsePrefix(address)
	if err != nil || !prefix.Addr().Is4() {
		return "", errors.New("the mask of what is no IPv4 address with its prefix is asked for")
	}
	return maskOf(prefix), nil
}

func maskOf(prefix netip.Prefix) string {
	return stdnet.IP(stdnet.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())).String()
}

// withUsualPrefix gives an IPv4 address the prefix of its class.
func withUsualPrefix(address string) (string, error) {
	four := stdnet.ParseIP(address).To4()
	if four == nil {
		return "", errors.New("the prefix of what is no IPv4 address is asked for")
	}
	ones, _ := four.DefaultMask().Size()
	return fmt.Sprintf("%s/%d", address, ones), nil
}

// formatIP gives an address, with or without a prefix, another one: /24 and 255.255.255.0 are the same, and an empty
// mask takes it away.
func formatIP(address, mask string) (string, error) {
	at, err := netip.ParseAddr(address)
	if err != nil {
		prefix, err := netip.ParsePrefix(address)
		if err != nil {
			return "", errors.New("what is no address is to be formatted")
		}
		at = prefix.Addr()
	}
	if mask == "" {
		return at.String(), nil
	}
	if strings.HasPrefix(mask, "/") {
		prefix, err := netip.ParsePrefix(at.String() + mask)
		if err != nil {
			return "", errors.New("an address is to have a prefix that is none")
		}
		return prefix.String(), nil
	}
	given := stdnet.ParseIP(mask)
	if four := given.To4(); four != nil {
		given = four
	}
	ones, size := stdnet.IPMask(given).Size()
	if size != at.BitLen() {
		return "", errors.New("an address is to have a mask that is none")
	}
	return netip.PrefixFrom(at, ones).String(), nil
}
