// SPDX-License-Identifier: Apache-2.0

package virtualmachine

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware-tanzu/vm-operator/api/v1alpha5/common"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
)

// TestNetworkChanges: which interfaces there are, and where, can be changed at any time; what a guest is told of them where
// it is told again.
func TestNetworkChanges(t *testing.T) {
	type (
		nic     = v1alpha5.VirtualMachineNetworkInterfaceSpec
		netspec = v1alpha5.VirtualMachineNetworkSpec
		boot    = v1alpha5.VirtualMachineBootstrapSpec
	)
	at := func(name, network string) nic {
		return nic{Name: name, Network: &common.PartialObjectRef{Name: network}}
	}
	with := func(nics ...nic) *netspec { return &netspec{Interfaces: nics} }
	cloudInit := &boot{CloudInit: &v1alpha5.VirtualMachineBootstrapCloudInitSpec{}}
	linuxPrep := &boot{LinuxPrep: &v1alpha5.VirtualMachineBootstrapLinuxPrepSpec{}}
	static := at("eth0", "a")
	static.Addresses, static.MTU = []string{"192.0.2.7/24"}, ptr.To[int64](9000)
	asks, fixed := at("eth1", "b"), at("eth1", "b")
	asks.DHCP4, fixed.MACAddr = true, "00:50:56:80:00:01"
	path := field.NewPath("spec", "network", "interfaces")
	told := func(paths ...*field.Path) (errs field.ErrorList) {
		for _, path := range paths {
			errs = append(errs, field.Forbidden(path, ""))
		}
		return errs
	}
	for name, test := range map[string]struct {
		bootstrap *boot
		was, is   *netspec
		want      field.ErrorList
	}{
		"nothing is said":                 {was: with(static), bootstrap: linuxPrep},
		"one more":                        {was: with(at("eth0", "a")), is: with(at("eth0", "a"), asks)},
		"one less":                        {was: with(static, asks), is: with(static), bootstrap: linuxPrep},
		"another order":                   {was: with(static, asks), is: with(asks, static), bootstrap: linuxPrep},
		"another network":                 {was: with(static), is: with(at("eth0", "b")), bootstrap: cloudInit},
		"none":                            {was: with(static), is: &netspec{Disabled: true}, bootstrap: linuxPrep},
		"DHCP, as it was said":            {was: with(at("eth1", "b")), is: with(asks)},
		"addresses that cloud-init tells": {was: with(at("eth0", "a")), is: with(static, asks), bootstrap: cloudInit},
		"addresses that were set once": {was: with(at("eth0", "a")), is: with(static), bootstrap: linuxPrep,
			want: told(path.Index(0).Child("addresses"), path.Index(0).Child("dhcp4"), path.Index(0).Child("mtu"))},
		"addresses of a new one that nobody sets": {was: with(asks), is: with(asks, static),
			want: told(path.Index(1).Child("addresses"), path.Index(1).Child("dhcp4"), path.Index(1).Child("mtu"))},
		"a name that nobody is told": {was: with(asks), is: &netspec{HostName: "db", Interfaces: with(asks).Interfaces},
			want: told(field.NewPath("spec", "network", "hostName"))},
		"a name that cloud-init tells": {was: with(asks), is: &netspec{HostName: "db", Interfaces: with(asks).Interfaces},
			bootstrap: cloudInit},
		"what vCenter chooses": {was: with(asks), is: with(fixed), want: told(path.Index(0).Child("macAddr"))},
		"two of one name": {was: with(asks), is: with(asks, asks),
			want: field.ErrorList{field.Duplicate(path.Index(1).Child("name"), "eth1")}},
		"of a machine of which nobody said anything": {is: with(at("eth0", "a"))},
		"what none of them tells": {is: with(static),
			want: told(path.Index(0).Child("addresses"), path.Index(0).Child("dhcp4"), path.Index(0).Child("mtu"))},
	} {
		t.Run(name, func(t *testing.T) {
			vm, old := machine("web"), machine("web")
			old.Spec.Bootstrap, vm.Spec.Bootstrap = test.bootstrap.DeepCopy(), test.bootstrap.DeepCopy()
			old.Spec.Network, vm.Spec.Network = test.was.DeepCopy(), test.is.DeepCopy()
			r := rules{clock.RealClock{}}
			r.prepareUpdate(context.Background(), vm, old)
			got := r.validateUpdate(context.Background(), vm, old)
			for i := range got {
				got[i].Detail = ""
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}
