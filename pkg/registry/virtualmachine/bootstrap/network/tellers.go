// SPDX-License-Identifier: Apache-2.0

package network

import (
	"slices"
	"strings"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The bootstrap providers, as their fields in spec.bootstrap are called.
const (
	cloudInit  = "cloudInit"
	linuxPrep  = "linuxPrep"
	sysprep    = "sysprep"
	vAppConfig = "vAppConfig"
)

var (
	// everybody tells of it, vAppConfig in templates.
	everybody   = []string{cloudInit, linuxPrep, sysprep, vAppConfig}
	customizers = []string{cloudInit, linuxPrep, sysprep}
	perAdapter  = []string{cloudInit, sysprep}
	alone       = []string{cloudInit}
)

// tellers are the providers that a spec has.
func tellers(bootstrap *vmopv1.VirtualMachineBootstrapSpec) (who []string) {
	if bootstrap == nil {
		return nil
	}
	for _, provider := range []struct {
		name string
		set  bool
	}{{cloudInit, bootstrap.CloudInit != nil}, {linuxPrep, bootstrap.LinuxPrep != nil}, {sysprep, bootstrap.Sysprep != nil},
		{vAppConfig, bootstrap.VAppConfig != nil}} {
		if provider.set {
			who = append(who, provider.name)
		}
	}
	return who
}

// Untold refuses what none of the spec's providers tells a guest.
func Untold(vm *vmopv1.VirtualMachine) (errs field.ErrorList) {
	network, path, who := vm.Spec.Network, field.NewPath("spec", "network"), tellers(vm.Spec.Bootstrap)
	if network == nil {
		return nil
	}
	refuse := func(set bool, path *field.Path, by []string) {
		if set && !slices.ContainsFunc(by, func(one string) bool { return slices.Contains(who, one) }) {
			errs = append(errs, field.Forbidden(path, "is told to a guest by "+anyOf(by)+", or leave this out"))
		}
	}
	refuse(network.HostName != "", path.Child("hostName"), everybody)
	refuse(network.DomainName != "", path.Child("domainName"), everybody)
	refuse(len(network.Nameservers) > 0, path.Child("nameservers"), everybody)
	refuse(len(network.SearchDomains) > 0, path.Child("searchDomains"), customizers)
	for i := range network.Interfaces {
		wanted, path := &network.Interfaces[i], path.Child("interfaces").Index(i)
		refuse(wanted.GuestDeviceName != "", path.Child("guestDeviceName"), alone)
		refuse(len(wanted.Addresses) > 0, path.Child("addresses"), everybody)
		refuse(wanted.DHCP6, path.Child("dhcp6"), customizers)
		refuse(wanted.Gateway4 != "", path.Child("gateway4"), everybody)
		refuse(wanted.Gateway6 != "", path.Child("gateway6"), customizers)
		refuse(wanted.MTU != nil, path.Child("mtu"), alone)
		refuse(len(wanted.Nameservers) > 0, path.Child("nameservers"), perAdapter)
		refuse(len(wanted.Routes) > 0, path.Child("routes"), alone)
		refuse(len(wanted.SearchDomains) > 0, path.Child("searchDomains"), alone)
	}
	return errs
}

// anyOf says that one of some providers is to be set.
func anyOf(by []string) string {
	last := len(by) - 1
	if last == 0 {
		return "spec.bootstrap." + by[0] + " alone: set that"
	}
	return "spec.bootstrap." + strings.Join(by[:last], ", ") + " or " + by[last] + " alone: set one of them"
}
