// SPDX-License-Identifier: Apache-2.0

package network

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

const (
	// maxInterfaces are as many as a machine can have in vSphere.
	maxInterfaces = 10
	// maxDeviceName is how long Linux lets the name of a network device be.
	maxDeviceName = 15
	// minMTU and maxMTU are the smallest that IPv4 knows, and the largest.
	minMTU, maxMTU = 68, 65535
	maxLabel       = 63
	maxDNSName     = 255
	noDomain       = "has to be a DNS domain, such as example.com"
)

var (
	interfaceName = regexp.MustCompile(`^[a-z0-9]{2,}$`)
	device        = regexp.MustCompile(`^\w\w+$`)
	topLevel      = regexp.MustCompile(`^[A-Za-z]{2,}$`)
)

// Validate refuses what no guest can be set up with.
func Validate(vm *vmopv1.VirtualMachine) (errs field.ErrorList) {
	network, path := vm.Spec.Network, field.NewPath("spec", "network")
	if network == nil {
		return nil
	}
	interfaces := path.Child("interfaces")
	if network.Disabled && len(network.Interfaces) > 0 {
		errs = append(errs, field.Forbidden(interfaces, "cannot be given while spec.network.disabled is true"))
	}
	if len(network.Interfaces) > maxInterfaces {
		errs = append(errs, field.TooMany(interfaces, len(network.Interfaces), maxInterfaces))
	}
	names, devices := map[string]bool{}, map[string]bool{}
	who := tellers(vm.Spec.Bootstrap)
	for i := range network.Interfaces {
		wanted, path := &network.Interfaces[i], interfaces.Index(i)
		if bad := validateName(path.Child("name"), wanted.Name, names); bad != nil {
			errs = append(errs, bad)
		} else if slices.Contains(who, cloudInit) {
			errs = append(errs, validateDevice(path, wanted, devices)...)
		}
		errs = append(errs, validateInterface(path, wanted)...)
	}
	errs = append(errs, validateHostName(vm, path)...)
	return append(errs, validateServers(path, network.Nameservers, network.SearchDomains)...)
}

func validateName(path *field.Path, name string, others map[string]bool) *field.Error {
	switch {
	case name == "":
		return field.Required(path, "such as eth0")
	case !interfaceName.MatchString(name):
		return field.Invalid(path, name, "has to be two or more lower case letters and digits, such as eth0")
	case others[name]:
		return field.Duplicate(path, name)
	}
	others[name] = true
	return nil
}

// validateDevice looks at what the interface is to be called in the guest.
func validateDevice(path *field.Path, wanted *wish, others map[string]bool) (errs field.ErrorList) {
	name := deviceName(wanted)
	if wanted.GuestDeviceName == "" {
		path = path.Child("name")
	} else {
		path = path.Child("guestDeviceName")
	}
	switch {
	case len(name) > maxDeviceName:
		errs = append(errs, field.Invalid(path, name,
			fmt.Sprintf("a guest knows no network device by more than %d characters: give it a shorter guestDeviceName",
				maxDeviceName)))
	case others[name]:
		errs = append(errs, field.Duplicate(path, name))
	case !device.MatchString(name):
		errs = append(errs, field.Invalid(path, name, "has to be two or more letters, digits and underscores, such as eth0"))
	}
	others[name] = true
	return errs
}

func validateInterface(path *field.Path, wanted *wish) (errs field.ErrorList) {
	var four, six bool
	for i, address := range wanted.Addresses {
		prefix, err := netip.ParsePrefix(address)
		switch {
		case err != nil || prefix.Addr().Is4In6():
			errs = append(errs, field.Invalid(path.Child("addresses").Index(i), address,
				"has to be an address with the length of its prefix, such as 192.0.2.10/24 or 2001:db8::a/64"))
		case prefix.Addr().Is4():
			four = true
		default:
			six = true
		}
	}
	errs = append(errs, validateFamily(path, "4", wanted.Gateway4, wanted.DHCP4, four, netip.Addr.Is4)...)
	errs = append(errs, validateFamily(path, "6", wanted.Gateway6, wanted.DHCP6, six, isSix)...)
	if mtu := ptr.Deref(wanted.MTU, minMTU); mtu < minMTU || mtu > maxMTU {
		errs = append(errs, field.Invalid(path.Child("mtu"), mtu, fmt.Sprintf("has to be from %d to %d", minMTU, maxMTU)))
	}
	errs = append(errs, validateServers(path, wanted.Nameservers, wanted.SearchDomains)...)
	for i, route := range wanted.Routes {
		errs = append(errs, validateRoute(path.Child("routes").Index(i), route)...)
	}
	return errs
}

// validateFamily holds what is said of IPv4, or of IPv6, against each other.
func validateFamily(path *field.Path, version, gateway string, dhcp, static bool, family func(netip.Addr) bool,
) (errs field.ErrorList) {
	if dhcp && static {
		errs = append(errs, field.Invalid(path.Child("dhcp"+version), dhcp,
			fmt.Sprintf("cannot be used with IPv%s addresses in addresses", version)))
	}
	if gateway == "" {
		return errs
	}
	path = path.Child("gateway" + version)
	if dhcp {
		errs = append(errs, field.Invalid(path, gateway, fmt.Sprintf("cannot be used with dhcp%s", version)))
	}
	if gateway == noGateway {
		return errs
	}
	if !static && !dhcp {
		errs = append(errs, field.Invalid(path, gateway, fmt.Sprintf("needs an IPv%s address in addresses", version)))
	}
	if parsed, found := host(gateway); !found || !family(parsed) {
		errs = append(errs, field.Invalid(path, gateway,
			fmt.Sprintf("has to be an IPv%s address, or %s", version, noGateway)))
	}
	return errs
}

// host reads the address of a host. One of a zone means nothing to anybody else.
func host(text string) (netip.Addr, bool) {
	address, err := netip.ParseAddr(text)
	return address, err == nil && address.Zone() == "" && !address.Is4In6()
}

func isSix(address netip.Addr) bool { return address.Is6() && !address.Is4In6() }

func validateServers(path *field.Path, servers, domains []string) (errs field.ErrorList) {
	for i, server := range servers {
		if _, found := host(server); !found {
			errs = append(errs, field.Invalid(path.Child("nameservers").Index(i), server, "has to be an IPv4 or IPv6 address"))
		}
	}
	for i, domain := range domains {
		if domain == "" || len(domain) > maxDNSName || strings.ContainsFunc(domain, unicode.IsSpace) {
			errs = append(errs, field.Invalid(path.Child("searchDomains").Index(i), domain, noDomain))
		}
	}
	return errs
}

func validateRoute(path *field.Path, route vmopv1.VirtualMachineNetworkRouteSpec) (errs field.ErrorList) {
	via, good := host(route.Via)
	if !good {
		errs = append(errs, field.Invalid(path.Child("via"), route.Via, "has to be an IPv4 or IPv6 address"))
	}
	if route.To != defaultRoute {
		to, found := host(route.To)
		if !found {
			prefix, err := netip.ParsePrefix(route.To)
			to, found = prefix.Addr(), err == nil && !prefix.Addr().Is4In6()
		}
		switch {
		case !found:
			errs = append(errs, field.Invalid(path.Child("to"), route.To,
				"has to be default, or an IPv4 or IPv6 network, such as 198.51.100.0/24"))
		case good && to.Is4() != via.Is4():
			errs = append(errs, field.Invalid(path, route.To+" via "+route.Via, "cannot mix IPv4 and IPv6"))
		}
	}
	if route.Metric < 0 {
		errs = append(errs, field.Invalid(path.Child("metric"), route.Metric, "has to be 1 or more"))
	}
	return errs
}

// validateHostName looks at what the guest is to be called. An address is a name too, but in no domain.
func validateHostName(vm *vmopv1.VirtualMachine, path *field.Path) (errs field.ErrorList) {
	name, domain := vm.Spec.Network.HostName, vm.Spec.Network.DomainName
	if _, address := host(name); address {
		if domain != "" {
			errs = append(errs, field.Invalid(path.Child("hostName"), name, "cannot be an address together with domainName"))
		}
	} else if name != "" && !isLabel(name) {
		errs = append(errs, field.Invalid(path.Child("hostName"), name,
			fmt.Sprintf("has to be at most %d letters, digits and dashes, and neither begin nor end with a dash", maxLabel)))
	}
	if domain == "" {
		return errs
	}
	labels := strings.Split(domain, ".")
	bad := !topLevel.MatchString(labels[len(labels)-1])
	for _, label := range labels {
		bad = bad || !isLabel(label)
	}
	if bad {
		errs = append(errs, field.Invalid(path.Child("domainName"), domain, noDomain))
	} else if full := HostName(vm) + "." + domain; len(full) > maxDNSName {
		errs = append(errs, field.Invalid(path.Child("domainName"), domain,
			fmt.Sprintf("has to be shorter: with the host name it takes %d characters, and %d is the most",
				len(full), maxDNSName)))
	}
	return errs
}

// isLabel says whether a text can be one part of a DNS name. Symbols may be in it, as vm-operator has it.
func isLabel(text string) bool {
	odd := func(r rune) bool {
		letter := r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) || r == '-'
		return !letter && (r < unicode.MaxASCII || !unicode.IsSymbol(r))
	}
	return text != "" && len(text) <= maxLabel && !strings.HasPrefix(text, "-") && !strings.HasSuffix(text, "-") &&
		!strings.ContainsFunc(text, odd)
}

// deviceName is what an interface is called in the guest.
func deviceName(wanted *wish) string {
	return cmp.Or(wanted.GuestDeviceName, wanted.Name)
}
