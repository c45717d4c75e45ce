// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"context"
	"fmt"
	"regexp"
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

func (i *inventory) addresses(vm *object.VirtualMachine) (found []string) {
	i.t.Helper()
	devices := object.VirtualDeviceList(i.read(vm).Config.Hardware.Device)
	for _, device := range devices.SelectByType((*types.VirtualEthernetCard)(nil)) {
		found = append(found, device.(types.BaseVirtualEthernetCard).GetVirtualEthernetCard().MacAddress)
	}
	return found
}

// TestMACAddresses: no two adapters have the same, a clone's included, and a change keeps it.
func TestMACAddresses(t *testing.T) {
	i := inventoryOf(t, Run(t, Options{}))
	ctx := t.Context()
	folder, pool := i.folder(namespaces+"/team-a"), i.pool()
	network := func() types.BaseVirtualDevice {
		return adapterOn(&types.VirtualEthernetCardNetworkBackingInfo{
			VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: "VM Network"}})
	}
	seen := map[string]string{}
	pattern := regexp.MustCompile(`^00:50:56:[89ab][0-9a-f]:[0-9a-f]{2}:[0-9a-f]{2}$`)
	note := func(name string, vm *object.VirtualMachine) {
		t.Helper()
		for _, address := range i.addresses(vm) {
			if other := seen[address]; other != "" || !pattern.MatchString(address) {
				t.Errorf("%s has the address %q, which %q has too", name, address, other)
			}
			seen[address] = name
		}
	}
	var first *object.VirtualMachine
	for n := range 40 {
		spec := with(network(), network())
		spec.Name = fmt.Sprintf("m-%d", n)
		vm := i.made(i.do(folder.CreateVM(ctx, spec, pool, nil)))
		note(spec.Name, vm)
		if first == nil {
			first = vm
		}
	}
	note("clone", i.made(i.do(first.Clone(ctx, folder, "clone", types.VirtualMachineCloneSpec{}))))

	before := i.addresses(first)
	card := object.VirtualDeviceList(i.read(first).Config.Hardware.Device).SelectByType((*types.VirtualEthernetCard)(
		nil))[0]
	card.(types.BaseVirtualEthernetCard).GetVirtualEthernetCard().MacAddress = ""
	i.do(first.Reconfigure(ctx, types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{
		&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: card},
	}}))
	after := i.addresses(first)
	if len(after) != 2 || !(after[0] == before[0] && after[1] == before[1] || after[0] == before[1] &&
		after[1] == before[0]) {
		t.Errorf("addresses %q before a change and %q after it", before, after)
	}
	asked := network()
	asked.(*types.VirtualVmxnet3).MacAddress = before[0] // which is taken
	spec := with(asked)
	spec.Name = "thief"
	note("thief", i.made(i.do(folder.CreateVM(ctx, spec, pool, nil))))
}

// TestPowerOnElsewhere: a machine whose host cannot run it starts on another, where DRS is on. Power changes the
// version of the configuration.
func TestPowerOnElsewhere(t *testing.T) {
	v := Run(t, Options{Inventory: func(ctx context.Context, b *Builder) error {
		return b.steps(ctx,
			func() error { return b.Datacenter(ctx, "DC0") },
			func() error { return b.Cluster(ctx, "cluster-a", "esx-1", "esx-2") },
			func() error { return b.Datastore(ctx, "datastore-1") },
			func() error { return b.Folder(ctx, "Namespaces/team-a") },
			func() error {
				_, err := b.VirtualMachine(ctx, VM{Name: "a", Folder: "Namespaces/team-a", Cluster: "cluster-a"})
				return err
			},
		)
	}})
	i := inventoryOf(t, v)
	ctx := t.Context()
	vm := i.vm("a")
	version := i.read(vm).Config.ChangeVersion
	moved := func(what string) {
		t.Helper()
		now := i.read(vm).Config.ChangeVersion
		if now == version {
			t.Errorf("%s leaves the version of the configuration", what)
		}
		version = now
	}
	host := object.NewHostSystem(i.client.Client, *i.read(vm).Runtime.Host)
	i.do(host.EnterMaintenanceMode(ctx, 0, false, nil))
	i.do(vm.PowerOn(ctx))
	moved("power on")
	if got := *i.read(vm).Runtime.Host; got == host.Reference() {
		t.Error("the machine runs on a host in maintenance")
	}
	i.do(vm.PowerOff(ctx))
	moved("power off")

	i.do(host.ExitMaintenanceMode(ctx, 0))
	b, err := v.Builder(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(ctx)
	if err := b.In(ctx, "DC0"); err != nil {
		t.Fatal(err)
	}
	if err := b.DRS(ctx, "cluster-a", false); err != nil {
		t.Fatal(err)
	}
	host = object.NewHostSystem(i.client.Client, *i.read(vm).Runtime.Host)
	i.do(host.EnterMaintenanceMode(ctx, 0, false, nil))
	_, err = i.try(vm.PowerOn(ctx))
	refused[*types.InvalidState](t, err)
}
