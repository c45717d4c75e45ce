// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/failure"
)

// Customize has vCenter customise the guest of a machine that is being made when it is powered on first, and notes in
// the machine that this was done. It is done once: a machine for which a customisation waits already, or was run, as
// after an answer that was lost, is noted alone. One that is not off has been powered on by somebody before: it is not
// customised any more, neither now nor when it is off again, since what was set up in its guest by then would be lost.
// That is noted, and a failure.Conflict.
func (v *Verbs) Customize(ctx context.Context, id facts.ID, customization facts.Customization, still Still) error {
	waits, started := false, false
	whether := func(now facts.Machine) error {
		if err := still(now); err != nil {
			return err
		}
		if now.Build == nil || !now.Build.Assembled {
			return fmt.Errorf("its guest is not to be customised now: %w", failure.Conflict)
		}
		if waits = now.Customized; waits {
			return errCustomized
		}
		if started = now.PowerState != facts.PoweredOff; started {
			return errStarted
		}
		return nil
	}
	err := v.task(ctx, "customise the guest of", id, whether, func(ctx context.Context, client *vim25.Client,
		this reference) (reference, error) {
		if err := known(customization, client.ServiceContent.About.ApiVersion); err != nil {
			return reference{}, err
		}
		response, err := methods.CustomizeVM_Task(ctx, client,
			&types.CustomizeVM_Task{This: this, Spec: specification(customization)})
		if err != nil {
			return reference{}, err
		}
		return response.Returnval, nil
	})
	switch {
	case started:
		return errors.Join(err, v.noted(ctx, id))
	case err != nil && !waits && !fault.Is(err, &types.CustomizationPending{}):
		return err
	}
	return v.noted(ctx, id)
}

// errStarted says that somebody powered a machine on that was not ready for that.
var errStarted = fmt.Errorf("it was powered on in vCenter before its guest was customised, and so is not customised any "+
	"more: set up the guest by hand, or delete the virtual machine and make it anew: %w", failure.Conflict)

// errCustomized says that a customisation waits already, or was run.
var errCustomized = fmt.Errorf("its guest has been customised: %w", failure.AlreadyExists)

// noted notes that nothing is left to be made of a machine that was read for its customisation.
func (v *Verbs) noted(ctx context.Context, id facts.ID) error {
	return v.Amend(ctx, id, func(now facts.Machine) (facts.Head, error) {
		if now.Build == nil || !now.Build.Assembled {
			return facts.Head{}, fmt.Errorf("its guest is not to be customised now: %w", failure.Conflict)
		}
		return *now.Left(nil).Head, nil
	})
}

// known refuses what a vCenter of that version would pass over.
func known(c facts.Customization, api string) error {
	for _, part := range []struct {
		asked         bool
		since, called string
	}{
		{c.Linux != nil && c.Linux.Password != "", "9.1", "a password for root"},
		{c.Linux != nil && c.Linux.ExpirePassword, "9.1", "a password of root that expires"},
		{c.Windows != nil && c.Windows.ExpirePassword, "9.1", "a password of the administrator that expires"},
		{c.Windows != nil && c.Windows.Script != "", "9.1", "a script for Windows"},
		{c.Windows != nil && c.Windows.DomainOU != "", "8.0.2", "an organisational unit"},
	} {
		has, err := version.ParseGeneric(api)
		if part.asked && (err != nil || has.LessThan(version.MustParseGeneric(part.since))) {
			return fmt.Errorf("the customisation has %s, which vCenter knows since version %s, and this one is %s: leave it "+
				"out: %w", part.called, part.since, api, failure.Invalid)
		}
	}
	return nil
}

// specification is a customisation in vCenter's types.
func specification(c facts.Customization) types.CustomizationSpec {
	spec := types.CustomizationSpec{
		GlobalIPSettings: types.CustomizationGlobalIPSettings{DnsServerList: c.Nameservers, DnsSuffixList: c.SearchDomains},
	}
	switch {
	case c.Linux != nil:
		spec.Identity = linuxPrep(c.Linux)
	case c.Windows != nil:
		spec.Identity = sysprep(c.Windows)
	default:
		spec.Identity = &types.CustomizationSysprepText{Value: c.Answers}
	}
	for _, adapter := range c.Adapters {
		spec.NicSettingMap = append(spec.NicSettingMap,
			types.CustomizationAdapterMapping{MacAddress: adapter.MAC, Adapter: addressing(adapter)})
	}
	return spec
}

func linuxPrep(l *facts.LinuxPrep) *types.CustomizationLinuxPrep {
	return &types.CustomizationLinuxPrep{
		HostName: &types.CustomizationFixedName{Name: l.HostName}, Domain: l.Domain, TimeZone: l.TimeZone,
		HwClockUTC: l.ClockUTC, Password: password(l.Password), ResetPassword: only(l.ExpirePassword), ScriptText: l.Script,
	}
}

func sysprep(s *facts.Sysprep) *types.CustomizationSysprep {
	made := &types.CustomizationSysprep{
		GuiUnattended: types.CustomizationGuiUnattended{
			Password: password(s.Password), TimeZone: s.TimeZone, AutoLogon: s.AutoLogon, AutoLogonCount: s.AutoLogonCount,
		},
		UserData: types.CustomizationUserData{
			FullName: s.FullName, OrgName: s.Organisation, ProductId: s.ProductID,
			ComputerName: &types.CustomizationFixedName{Name: s.ComputerName},
		},
		Identification: types.CustomizationIdentification{
			JoinWorkgroup: s.Workgroup, JoinDomain: s.Domain, DomainAdmin: s.DomainAdmin,
			DomainAdminPassword: password(s.DomainPassword), DomainOU: s.DomainOU,
		},
		ScriptText: s.Script, ResetPassword: only(s.ExpirePassword),
	}
	if len(s.Commands) > 0 {
		made.GuiRunOnce = &types.CustomizationGuiRunOnce{CommandList: s.Commands}
	}
	if s.License != nil {
		made.LicenseFilePrintData = &types.CustomizationLicenseFilePrintData{
			AutoMode: types.CustomizationLicenseDataMode(s.License.Mode), AutoUsers: s.License.Users,
		}
	}
	return made
}

// password is nil where there is none: vCenter takes an empty one for an encrypted one.
func password(value string) *types.CustomizationPassword {
	if value == "" {
		return nil
	}
	return &types.CustomizationPassword{Value: value, PlainText: true}
}

// only leaves out what is not to be done, which vCenter before 9.1 does not know.
func only(done bool) *bool {
	if !done {
		return nil
	}
	return &done
}

// addressing is how an adapter gets its addresses. One without any of IPv4 is told to have none.
func addressing(a facts.Adapter) types.CustomizationIPSettings {
	settings := types.CustomizationIPSettings{DnsServerList: a.Nameservers}
	switch {
	case a.DHCP4:
		settings.Ip = &types.CustomizationDhcpIpGenerator{}
	case a.Address4.IsValid():
		settings.Ip = &types.CustomizationFixedIp{IpAddress: a.Address4.Addr().String()}
		settings.SubnetMask = mask(a.Address4)
		if a.Gateway4 != "" {
			settings.Gateway = []string{a.Gateway4}
		}
	default:
		settings.Ip = &types.CustomizationDisableIpV4{}
	}
	var six types.CustomizationIPSettingsIpV6AddressSpec
	if a.DHCP6 {
		six.Ip = append(six.Ip, &types.CustomizationDhcpIpV6Generator{})
	}
	for _, address := range a.Addresses {
		six.Ip = append(six.Ip,
			&types.CustomizationFixedIpV6{IpAddress: address.Addr().String(), SubnetMask: int32(address.Bits())})
	}
	if a.Gateway6 != "" {
		six.Gateway = []string{a.Gateway6}
	}
	if len(six.Ip) > 0 {
		settings.IpV6Spec = &six
	}
	return settings
}

func mask(prefix netip.Prefix) string {
	return net.IP(net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())).String()
}
