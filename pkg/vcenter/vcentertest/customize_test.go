// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

// faultOf is the fault of an error, with what it says of the fault's property.
func faultOf(err error) string {
	if err == nil {
		return ""
	}
	var name string
	fault.In(err, func(found types.BaseMethodFault, _ string, _ []types.LocalizableMessage) bool {
		name = strings.TrimPrefix(fmt.Sprintf("%T", found), "*types.")
		if argument, ok := found.(*types.InvalidArgument); ok {
			name += " " + argument.InvalidProperty
		}
		return true
	})
	return name
}

// TestRefusedCustomization: what a guest cannot be customised to is refused before anything waits for it.
func TestRefusedCustomization(t *testing.T) {
	g := startGuests(t)
	ctx := t.Context()
	vm := g.machine("new", nil)
	linux := func(name string) *types.CustomizationLinuxPrep {
		return &types.CustomizationLinuxPrep{HostName: &types.CustomizationFixedName{Name: name}}
	}
	dhcp := types.CustomizationAdapterMapping{Adapter: types.CustomizationIPSettings{Ip: &types.CustomizationDhcpIpGenerator{}}}
	unknown := dhcp
	unknown.MacAddress = "00:50:56:80:ff:ff"
	own := dhcp
	own.MacAddress = strings.ToUpper(g.addresses(vm)[0])
	type spec = types.CustomizationSpec
	one := func(setting types.CustomizationAdapterMapping) []types.CustomizationAdapterMapping {
		return []types.CustomizationAdapterMapping{setting}
	}
	for _, test := range []struct {
		name, want string
		spec       spec
	}{
		{"no adapter", "NicSettingMismatch", spec{Identity: linux("a")}},
		{"an adapter that it has not", "InvalidArgument spec.nicSettingMap.macAddress",
			spec{Identity: linux("a"), NicSettingMap: one(unknown)}},
		{"no addresses", "InvalidArgument spec.nicSettingMap.adapter.ip",
			spec{Identity: linux("a"), NicSettingMap: one(types.CustomizationAdapterMapping{})}},
		{"a name in a domain", "InvalidArgument spec.identity.hostName", spec{Identity: linux("a.b"), NicSettingMap: one(dhcp)}},
		{"a number for a name", "InvalidArgument spec.identity.hostName", spec{Identity: linux("12"), NicSettingMap: one(dhcp)}},
		{"Windows", "UncustomizableGuest", spec{Identity: &types.CustomizationSysprepText{}, NicSettingMap: one(dhcp)}},
		{"all that is good", "", spec{Identity: linux("a"), NicSettingMap: one(own)}},
		{"a second one", "CustomizationPending", spec{Identity: linux("b"), NicSettingMap: one(own)}},
	} {
		_, err := g.try(vm.Customize(ctx, test.spec))
		if got := faultOf(err); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
	g.do(vm.PowerOn(ctx))
	_, err := g.try(vm.Customize(ctx, spec{Identity: linux("b"), NicSettingMap: one(own)}))
	if got := faultOf(err); got != "InvalidPowerState" {
		t.Errorf("of one that is on: got %q", got)
	}
	g.after(vm, "Running green a 10.66.0.11 10.66.0.11 SUCCEEDED")
}

// TestProperties: a machine has the properties that it was made with, and takes values that are of their type.
func TestProperties(t *testing.T) {
	g := startGuests(t)
	ctx := t.Context()
	add := func(key int32, id, kind, value string) types.VAppPropertySpec {
		return types.VAppPropertySpec{
			ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationAdd},
			Info: &types.VAppPropertyInfo{Key: key, Id: id, Type: kind, DefaultValue: value,
				UserConfigurable: types.NewBool(true)},
		}
	}
	made := with()
	made.Name = "vapp"
	made.VAppConfig = &types.VmConfigSpec{Property: []types.VAppPropertySpec{add(0, "hostname", "string", "localhost"),
		add(1, "port", "int", "80")}}
	vm := g.made(g.do(g.folder(namespaces+"/team-a").CreateVM(ctx, made, g.pool(), nil)))
	edit := func(vm *object.VirtualMachine, key int, value string) error {
		property := g.read(vm).Config.VAppConfig.GetVmConfigInfo().Property[key]
		property.Value = value
		_, err := g.try(vm.Reconfigure(ctx, types.VirtualMachineConfigSpec{VAppConfig: &types.VmConfigSpec{
			Property: []types.VAppPropertySpec{{
				ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationEdit}, Info: &property}}}}))
		return err
	}
	if err := edit(vm, 0, "web"); err != nil {
		t.Error(err)
	}
	if got := faultOf(edit(vm, 1, "many")); got != "InvalidPropertyValue" {
		t.Errorf("a text for a number: got %q", got)
	}
	got := map[string]string{}
	for _, property := range g.read(vm).Config.VAppConfig.GetVmConfigInfo().Property {
		got[property.Id] = property.Value + " " + property.DefaultValue
	}
	if diff := cmp.Diff(map[string]string{"hostname": "web localhost", "port": " 80"}, got); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
}
