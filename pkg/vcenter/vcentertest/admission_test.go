// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"context"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// with is what a machine is made of that names one thing.
func with(devices ...types.BaseVirtualDevice) types.VirtualMachineConfigSpec {
	spec := types.VirtualMachineConfigSpec{Name: "new", Files: &types.VirtualMachineFileInfo{VmPathName: "[datastore-1]"}}
	for _, device := range devices {
		spec.DeviceChange = append(spec.DeviceChange, &types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: device})
	}
	return spec
}

func adapterOn(backing types.BaseVirtualDeviceBackingInfo) types.BaseVirtualDevice {
	card := new(types.VirtualVmxnet3)
	card.Backing = backing
	return card
}

func diskAt(file string) types.BaseVirtualDevice {
	unit, disk := int32(0), new(types.VirtualDisk)
	disk.Key, disk.ControllerKey, disk.UnitNumber, disk.CapacityInKB = -2, -1, &unit, 1<<20
	backing := new(types.VirtualDiskFlatVer2BackingInfo)
	backing.FileName = file
	disk.Backing = backing
	return disk
}

func controllerOf(disk types.BaseVirtualDevice) []types.BaseVirtualDevice {
	controller := new(types.ParaVirtualSCSIController)
	controller.Key = -1
	return []types.BaseVirtualDevice{controller, disk}
}

// kindOf returns the type of a fault, for tables.
func kindOf(err error) string {
	kind := "nothing"
	if err == nil {
		return kind
	}
	fault.In(err, func(f types.BaseMethodFault, _ string, _ []types.LocalizableMessage) bool {
		kind = reflect.TypeOf(f).Elem().Name()
		return true
	})
	if kind == "nothing" {
		kind = err.Error()
	}
	return kind
}

// TestWrongArguments: what does not exist is a fault, leaves nothing, and does not end the process.
func TestWrongArguments(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	ctx := context.Background()
	teamA, web := i.folder(namespaces+"/team-a"), i.vm("web-1")
	gone := func(kind string) types.ManagedObjectReference {
		return types.ManagedObjectReference{Type: kind, Value: "gone-1"}
	}
	at := func(path string) types.VirtualMachineConfigSpec {
		spec := with()
		spec.Files.VmPathName = path
		return spec
	}
	bare := new(types.VirtualDisk)
	nothing := types.VirtualMachineConfigSpec{Name: "new", Files: &types.VirtualMachineFileInfo{
		VmPathName: "[datastore-1]"},
		DeviceChange: []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationAdd}}}
	specs := map[string]struct {
		spec types.VirtualMachineConfigSpec
		want string
	}{
		"datastore": {at("[nosuch] new/new.vmx"), "InvalidDatastore"},
		"path":      {at("new.vmx"), "InvalidDatastorePath"},
		"network": {with(adapterOn(&types.VirtualEthernetCardNetworkBackingInfo{
			VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: "nosuch"}})), "InvalidDeviceSpec"},
		"port group": {with(adapterOn(&types.VirtualEthernetCardDistributedVirtualPortBackingInfo{
			Port: types.DistributedVirtualSwitchPortConnection{PortgroupKey: "nosuch"}})), "InvalidDeviceSpec"},
		"disk's datastore":    {with(controllerOf(diskAt("[nosuch] x/x.vmdk"))...), "InvalidDatastore"},
		"disk's path":         {with(controllerOf(diskAt("x.vmdk"))...), "InvalidDatastorePath"},
		"disk without a file": {with(controllerOf(bare)...), "InvalidDeviceSpec"},
		"no device":           {nothing, "InvalidDeviceSpec"},
		"no files":            {types.VirtualMachineConfigSpec{Name: "new"}, "InvalidVmConfig"},
	}
	machines, files := machineNames(i), v.onDisk(t)
	for name, test := range specs {
		t.Run("create: "+name, func(t *testing.T) {
			_, err := i.try(teamA.CreateVM(ctx, test.spec, i.pool(), nil))
			if got := kindOf(err); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
		t.Run("reconfigure: "+name, func(t *testing.T) {
			spec := test.spec
			spec.Name = ""
			if spec.Files != nil && strings.HasPrefix(spec.Files.VmPathName, "[datastore-1]") {
				spec.Files = nil
			}
			if reflect.DeepEqual(spec, types.VirtualMachineConfigSpec{}) {
				return // there is nothing wrong with that
			}
			_, err := i.try(web.Reconfigure(ctx, spec))
			if got := kindOf(err); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}

	pool, folder, host := gone("ResourcePool"), gone("Folder"), gone("HostSystem")
	wrong, network := teamA.Reference(), gone("Datastore")
	calls := map[string]struct {
		call func() (*object.Task, error)
		want string
	}{
		"pool": {func() (*object.Task, error) {
			return teamA.CreateVM(ctx, with(), object.NewResourcePool(i.client.Client, pool), nil)
		}, "ManagedObjectNotFound"},
		"pool of another type": {func() (*object.Task, error) {
			return teamA.CreateVM(ctx, with(), object.NewResourcePool(i.client.Client, wrong), nil)
		}, "InvalidArgument"},
		"host": {func() (*object.Task, error) {
			return teamA.CreateVM(ctx, with(), i.pool(), object.NewHostSystem(i.client.Client, host))
		}, "ManagedObjectNotFound"},
		"clone to a folder": {func() (*object.Task, error) {
			return web.Clone(ctx, object.NewFolder(i.client.Client, folder), "new", types.VirtualMachineCloneSpec{})
		}, "ManagedObjectNotFound"},
		"clone to a datastore": {func() (*object.Task, error) {
			return web.Clone(ctx, teamA, "new", types.VirtualMachineCloneSpec{Location: types.VirtualMachineRelocateSpec{
				Datastore: &network}})
		}, "ManagedObjectNotFound"},
		"relocate to a pool": {func() (*object.Task, error) {
			return web.Relocate(ctx, types.VirtualMachineRelocateSpec{Pool: &pool},
				types.VirtualMachineMovePriorityDefaultPriority)
		}, "ManagedObjectNotFound"},
		"register": {func() (*object.Task, error) {
			return teamA.RegisterVM(ctx, "[nosuch] a/a.vmx", "new", false, i.pool(), nil)
		}, "InvalidDatastore"},
		"remove a device": {func() (*object.Task, error) {
			change := &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationRemove,
				Device: &types.VirtualVmxnet3{}}
			return web.Reconfigure(ctx, types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{
				change}})
		}, "InvalidDeviceSpec"},
		"copy to a datacenter": {func() (*object.Task, error) {
			dc := object.NewDatacenter(i.client.Client, gone("Datacenter"))
			return object.NewVirtualDiskManager(i.client.Client).CopyVirtualDisk(ctx, "[datastore-1] a.vmdk", dc,
				"[datastore-1] b.vmdk", dc, nil, false)
		}, "ManagedObjectNotFound"},
	}
	for name, test := range calls {
		t.Run(name, func(t *testing.T) {
			_, err := i.try(test.call())
			if got := kindOf(err); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
	if diff := cmp.Diff(machines, machineNames(i)); diff != "" {
		t.Errorf("machines before and after (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(files, v.onDisk(t)); diff != "" {
		t.Errorf("files before and after (-before +after):\n%s", diff)
	}
}

// onDisk is all that there is on the datastores.
func (v *VCenter) onDisk(t *testing.T) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(v.dir, func(path string, _ fs.DirEntry, err error) error {
		found = append(found, strings.TrimPrefix(path, v.dir))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestAdapterByItsKey: of a device that is removed the key is enough.
func TestAdapterByItsKey(t *testing.T) {
	i := inventoryOf(t, Run(t, Options{}))
	ctx := context.Background()
	db := i.vm("db-1")
	card := object.VirtualDeviceList(i.read(db).Config.Hardware.Device).SelectByType((*types.VirtualEthernetCard)(nil))[0]
	bare := adapterOn(&types.VirtualEthernetCardNetworkBackingInfo{})
	bare.GetVirtualDevice().Key = card.GetVirtualDevice().Key
	i.do(db.Reconfigure(ctx, types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{
		&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationRemove, Device: bare},
	}}))
	if got := object.VirtualDeviceList(i.read(db).Config.Hardware.Device).SelectByType((*types.VirtualEthernetCard)(
		nil)); len(got) != 0 {
		t.Errorf("adapters left: %v", got)
	}
}

// TestPlaceOfANewMachine: without a host, one is chosen that is ready, mounts what the machine needs and has few
// machines.
func TestPlaceOfANewMachine(t *testing.T) {
	v := Run(t, Options{Inventory: func(ctx context.Context, b *Builder) error {
		return b.steps(ctx,
			func() error { return b.Datacenter(ctx, "DC0") },
			func() error { return b.Cluster(ctx, "cluster-a", "esx-1", "esx-2", "esx-3") },
			func() error { return b.Datastore(ctx, "datastore-1") },
			func() error { return b.Folder(ctx, "Namespaces/team-a") },
			func() error { return b.ResourcePool(ctx, "cluster-a", "team-a") },
		)
	}})
	i := inventoryOf(t, v)
	ctx := context.Background()
	hosts, err := i.finder.HostSystemList(ctx, "cluster-a/*")
	if err != nil {
		t.Fatal(err)
	}
	i.do(hosts[1].EnterMaintenanceMode(ctx, 0, false, nil))
	count := map[string]int{}
	for _, name := range []string{"a", "b", "c", "d"} {
		spec := with()
		spec.Name = name
		vm := i.read(i.made(i.do(i.folder(namespaces+"/team-a").CreateVM(ctx, spec, i.pool(), nil))))
		count[vm.Runtime.Host.Value]++
	}
	want := map[string]int{hosts[0].Reference().Value: 2, hosts[2].Reference().Value: 2}
	if diff := cmp.Diff(want, count); diff != "" {
		t.Errorf("machines by host (-want +got):\n%s", diff)
	}
	i.do(hosts[0].EnterMaintenanceMode(ctx, 0, false, nil))
	i.do(hosts[2].EnterMaintenanceMode(ctx, 0, false, nil))
	_, err = i.try(i.folder(namespaces+"/team-a").CreateVM(ctx, with(), i.pool(), nil))
	refused[*types.NoCompatibleHost](t, err)
}

// TestLastResort: a task that panics is one that fails.
func TestLastResort(t *testing.T) {
	v := Run(t, Options{})
	i := inventoryOf(t, v)
	ctx := v.inProcess()
	vm := ctx.Map.Get(i.vm("web-1").Reference()).(*simulator.VirtualMachine)
	var fault types.BaseMethodFault
	v.gate.enter(func() {
		task := simulator.CreateTask(vm, "stumble", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
			var nothing *simulator.Datastore
			return nothing.Name, nil
		})
		fault = result(ctx, start(ctx, vm, task))
	})
	if f, ok := fault.(*types.SystemError); !ok || !strings.Contains(f.Reason, "nil pointer") {
		t.Errorf("fault %+v", fault)
	}
	i.do(i.vm("web-1").PowerOff(context.Background()))
}
