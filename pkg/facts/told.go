// SPDX-License-Identifier: Apache-2.0

package facts

import "net/netip"

// Told is what a guest is told for its first start. Secrets may be in it: it is never kept, nor written to a log.
type Told struct {
	// Options are of ExtraConfig, by their keys.
	Options map[string]string
	// Properties are values of the machine's vApp properties, by their ids.
	Properties map[string]string
	// Customization is nil where vCenter is to customise nothing.
	Customization *Customization
}

// Customization is what vCenter is to set in a guest before it starts. One of Linux, Windows and Answers is set.
type Customization struct {
	Linux   *LinuxPrep
	Windows *Sysprep
	// Answers is an answer file for Windows.
	Answers string
	// Nameservers and SearchDomains are for all adapters.
	Nameservers, SearchDomains []string
	// Adapters are as many as the machine's network cards, in their order.
	Adapters []Adapter
}

// LinuxPrep is what is set in a Linux guest.
type LinuxPrep struct {
	HostName, Domain, TimeZone string
	// ClockUTC says what the hardware's clock is set to, nil where the guest is to keep what it has.
	ClockUTC *bool
	// Password is root's, empty for the one that there is, and ExpirePassword says that it is to be changed at the first
	// login.
	Password       string
	ExpirePassword bool
	// Script runs before and after.
	Script string
}

// Sysprep is what is set in a Windows guest.
type Sysprep struct {
	ComputerName, FullName, Organisation, ProductID string
	// Password is the administrator's, empty for none, and ExpirePassword says that it is to be changed at the first
	// login.
	Password       string
	ExpirePassword bool
	// AutoLogon says that the administrator is logged in by itself, AutoLogonCount times.
	AutoLogon      bool
	AutoLogonCount int32
	// TimeZone is Microsoft's number for it.
	TimeZone int32
	// Workgroup or Domain is what it joins, the latter with an account there that may let it in.
	Workgroup, Domain, DomainAdmin, DomainPassword, DomainOU string
	// Commands run at the first login, and Script before and after.
	Commands []string
	Script   string
	// License is nil where nothing is said of it.
	License *License
}

// License is how a Windows server is licensed.
type License struct {
	// Mode is vCenter's word: perSeat or perServer.
	Mode string
	// Users are as many as a server is licensed for.
	Users int32
}

// Adapter is how a network adapter is to be set up.
type Adapter struct {
	MAC string
	// DHCP4 and DHCP6 say by which kind of DHCP it asks for addresses.
	DHCP4, DHCP6 bool
	// Address4 is the zero prefix where it has none of its own.
	Address4  netip.Prefix
	Addresses []netip.Prefix // of IPv6
	// Gateway4 and Gateway6 are empty for none.
	Gateway4, Gateway6 string
	// Nameservers are those of this adapter alone, in Windows.
	Nameservers []string
}
