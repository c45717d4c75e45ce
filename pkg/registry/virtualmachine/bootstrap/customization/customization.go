// SPDX-License-Identifier: Apache-2.0

package customization

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	vmopv1common "github.com/vmware-tanzu/vm-operator/api/v1alpha5/common"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5/sysprep"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap/network"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/bootstrap/secret"
)

// The keys of Secrets that are meant where none is named.
const (
	passwordKey       = "password"
	domainPasswordKey = "domain_admin_password"
	productKey        = "product_id"
	answersKey        = "unattend"
)

// utc is Microsoft's number for the time zone of a guest of which nothing is said.
const utc = 85

func linuxPath() *field.Path   { return field.NewPath("spec", "bootstrap", "linuxPrep") }
func sysprepPath() *field.Path { return field.NewPath("spec", "bootstrap", "sysprep") }

// Asked says whether a machine's guest is to be customised before its first start.
func Asked(spec *vmopv1.VirtualMachineSpec) bool {
	switch b := spec.Bootstrap; {
	case b == nil:
		return false
	case b.LinuxPrep != nil:
		return ptr.Deref(b.LinuxPrep.CustomizeAtNextPowerOn, true)
	case b.Sysprep != nil:
		return ptr.Deref(b.Sysprep.CustomizeAtNextPowerOn, true)
	}
	return false
}

// References are the Secrets that a guest is told something of.
func References(bootstrap *vmopv1.VirtualMachineBootstrapSpec) (found []secret.Reference) {
	add := func(path *field.Path, name, key, usual string) {
		found = append(found, secret.Reference{Path: path, Name: name, Key: cmp.Or(key, usual)})
	}
	script := func(path *field.Path, text *vmopv1common.ValueOrSecretKeySelector) {
		if text != nil && text.From != nil {
			add(path.Child("from"), text.From.Name, text.From.Key, "")
		}
	}
	if linux := bootstrap.LinuxPrep; linux != nil {
		if linux.Password != nil {
			add(linuxPath().Child("password"), linux.Password.Name, linux.Password.Key, passwordKey)
		}
		script(linuxPath().Child("scriptText"), linux.ScriptText)
	}
	if bootstrap.Sysprep == nil {
		return found
	}
	if raw := bootstrap.Sysprep.RawSysprep; raw != nil {
		found = append(found, secret.Reference{Path: sysprepPath().Child("rawSysprep"), Name: raw.Name,
			Key: cmp.Or(raw.Key, answersKey), Bytes: true}) // which may be compressed
	}
	windows, path := bootstrap.Sysprep.Sysprep, sysprepPath().Child("sysprep")
	if windows == nil {
		return found
	}
	if gui := windows.GUIUnattended; gui != nil && gui.Password != nil {
		add(path.Child("guiUnattended", "password"), gui.Password.Name, gui.Password.Key, passwordKey)
	}
	if joins := windows.Identification; joins != nil && joins.DomainAdminPassword != nil {
		add(path.Child("identification", "domainAdminPassword"), joins.DomainAdminPassword.Name,
			joins.DomainAdminPassword.Key, domainPasswordKey)
	}
	if product := windows.UserData.ProductID; product != nil {
		add(path.Child("userData", "productID"), product.Name, product.Key, productKey)
	}
	script(path.Child("scriptText"), windows.ScriptText)
	return found
}

// Of is what vCenter is to set in a machine's guest, nil for nothing. fill fills in what a template in an answer file
// leaves open.
func Of(vm *vmopv1.VirtualMachine, cards []facts.Card, values secret.Values,
	fill func(text string) (string, error)) (*facts.Customization, error) {
	if !Asked(&vm.Spec) {
		return nil, nil
	}
	made := &facts.Customization{SearchDomains: network.SearchDomains(vm), Nameservers: network.Nameservers(vm)}
	switch linux, windows := vm.Spec.Bootstrap.LinuxPrep, vm.Spec.Bootstrap.Sysprep; {
	case linux != nil:
		made.Linux = linuxPrep(vm, linux, values)
	case windows.RawSysprep != nil:
		answers, err := answersOf(windows.RawSysprep, values, fill)
		if err != nil {
			return nil, err
		}
		made.Answers = answers
	case windows.Sysprep != nil:
		made.Windows = windowsPrep(vm, windows.Sysprep, values)
	}
	adapters, err := adaptersOf(vm, cards, made.Linux == nil)
	if err != nil {
		return nil, err
	}
	made.Adapters = adapters
	return made, nil
}

func linuxPrep(vm *vmopv1.VirtualMachine, linux *vmopv1.VirtualMachineBootstrapLinuxPrepSpec,
	values secret.Values) *facts.LinuxPrep {
	return &facts.LinuxPrep{
		HostName: network.HostName(vm), Domain: network.DomainName(vm), TimeZone: linux.TimeZone,
		ClockUTC: linux.HardwareClockIsUTC, ExpirePassword: linux.ExpirePasswordAfterNextLogin,
		Password: secret.Text(values.Of(linuxPath().Child("password"))),
		Script:   scriptOf(linuxPath().Child("scriptText"), linux.ScriptText, values),
	}
}

func scriptOf(path *field.Path, text *vmopv1common.ValueOrSecretKeySelector, values secret.Values) string {
	switch {
	case text == nil:
		return ""
	case text.From != nil:
		return string(values.Of(path.Child("from")))
	}
	return ptr.Deref(text.Value, "")
}

func answersOf(raw *vmopv1common.SecretKeySelector, values secret.Values,
	fill func(string) (string, error)) (string, error) {
	path := sysprepPath().Child("rawSysprep")
	where := fmt.Sprintf("%s: the key %q of the Secret %q", path, cmp.Or(raw.Key, answersKey), raw.Name)
	plain, err := secret.Plain(values.Of(path))
	if err != nil {
		return "", fmt.Errorf("%s: %w", where, err)
	}
	if !secret.IsText(string(plain)) {
		return "", fmt.Errorf("%s %s: %w", where, secret.NoText, failure.Invalid)
	}
	answers, err := fill(string(plain))
	if err != nil {
		// What is wrong with it has a part of the text, which is a secret.
		return "", fmt.Errorf("%s is a template that cannot be filled in: write a brace that is none of a template's as \\{: %w",
			where, failure.Invalid)
	}
	if strings.TrimSpace(answers) == "" {
		return "", fmt.Errorf("%s is empty: %w", where, failure.Invalid)
	}
	return answers, nil
}

func windowsPrep(vm *vmopv1.VirtualMachine, windows *sysprep.Sysprep, values secret.Values) *facts.Sysprep {
	path := sysprepPath().Child("sysprep")
	made := &facts.Sysprep{
		ComputerName: network.HostName(vm), FullName: windows.UserData.FullName, Organisation: windows.UserData.OrgName,
		ProductID:      secret.Text(values.Of(path.Child("userData", "productID"))),
		ExpirePassword: windows.ExpirePasswordAfterNextLogin, TimeZone: utc,
		Domain: network.DomainName(vm), Script: scriptOf(path.Child("scriptText"), windows.ScriptText, values),
	}
	if gui := windows.GUIUnattended; gui != nil {
		made.AutoLogon, made.AutoLogonCount = gui.AutoLogon, gui.AutoLogonCount
		made.TimeZone = cmp.Or(gui.TimeZone, utc)
		made.Password = secret.Text(values.Of(path.Child("guiUnattended", "password")))
	}
	if joins := windows.Identification; joins != nil {
		made.Workgroup, made.DomainAdmin, made.DomainOU = joins.JoinWorkgroup, joins.DomainAdmin, joins.DomainOU
		made.DomainPassword = secret.Text(values.Of(path.Child("identification", "domainAdminPassword")))
	}
	if windows.GUIRunOnce != nil {
		made.Commands = windows.GUIRunOnce.Commands
	}
	if license := windows.LicenseFilePrintData; license != nil {
		made.License = &facts.License{Mode: string(license.AutoMode), Users: ptr.Deref(license.AutoUsers, 0)}
	}
	return made
}

// adaptersOf says of each network card how it is to be set up, since vCenter wants to be told of all. Those that nobody
// asked for here, but somebody added in vCenter, get an address by DHCP. Windows has its name servers by adapter.
func adaptersOf(vm *vmopv1.VirtualMachine, cards []facts.Card, windows bool) ([]facts.Adapter, error) {
	interfaces, err := network.Interfaces(vm, cards)
	if err != nil {
		return nil, err
	}
	var adapters []facts.Adapter
	for _, settled := range interfaces {
		made := facts.Adapter{MAC: settled.MAC, DHCP4: settled.DHCP4, DHCP6: settled.DHCP6, Gateway4: settled.Gateway4,
			Gateway6: settled.Gateway6}
		for _, address := range settled.Addresses {
			if address.Addr().Is4() {
				made.Address4 = address
			} else {
				made.Addresses = append(made.Addresses, address)
			}
		}
		if windows {
			made.Nameservers = settled.Wish.Nameservers
			if len(made.Nameservers) == 0 {
				made.Nameservers = network.Nameservers(vm)
			}
		}
		adapters = append(adapters, made)
	}
	for _, card := range cards[min(len(interfaces), len(cards)):] {
		adapters = append(adapters, facts.Adapter{MAC: strings.ToLower(card.MAC), DHCP4: true})
	}
	return adapters, nil
}

// fourOf are the IPv4 addresses of an interface.
func fourOf(addresses []string) (count int) {
	for _, address := range addresses {
		if prefix, err := netip.ParsePrefix(address); err == nil && prefix.Addr().Is4() {
			count++
		}
	}
	return count
}
