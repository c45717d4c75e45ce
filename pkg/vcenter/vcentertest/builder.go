// SPDX-License-Identifier: Apache-2.0

package vcentertest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

// Builder fills an inventory over SOAP. It works in one datacenter at a time.
// What it is given is found by name; what it makes is the same at each start,
// identifiers and addresses included.
type Builder struct {
	// Client is logged in as the administrator.
	Client *govmomi.Client
	// User is for the REST endpoints, which do not take the login of Client.
	User *url.Userinfo

	dir     string
	finder  *find.Finder
	folders *object.DatacenterFolders
	found   map[string]any // by kind and path, so that a machine costs no search
}

// lookup finds something once.
func lookup[T any](b *Builder, kind, path string, find func(string) (T, error)) (T, error) {
	if known, ok := b.found[kind+path].(T); ok {
		return known, nil
	}
	made, err := find(path)
	if err == nil {
		b.found[kind+path] = made
	}
	return made, err
}

// VM describes a virtual machine to make. Only Name and Cluster are required.
type VM struct {
	Name string
	// Folder is the path below the datacenter's VM folder, such as
	// Namespaces/team-a; empty is the VM folder itself.
	Folder string
	// Cluster and Pool say where it runs; an empty Pool is the cluster's own.
	Cluster, Pool string
	// Host is one of the cluster's hosts; empty is the first one.
	Host string
	// Datastore is where its files are; empty is any.
	Datastore string

	GuestID  string
	CPUs     int32
	MemoryMB int64
	DisksGB  []int64
	// Networks are names of port groups, one adapter each.
	Networks []string
	// IPs are what the guest reports for its first adapter.
	IPs      []string
	HostName string
	// Power is the state it ends up in; empty is off.
	Power types.VirtualMachinePowerState
	// NoTools leaves a running guest without tools, so without guest facts.
	NoTools    bool
	Annotation string
	// StoragePolicy is the name of the policy of the machine's home, and
	// DiskPolicies are those of its disks, in their order; empty is none.
	StoragePolicy string
	DiskPolicies  []string
	// ExtraConfig is set as it is.
	ExtraConfig map[string]string
	// Firmware and HardwareVersion, such as vmx-21, are vCenter's to choose where they are empty.
	Firmware, HardwareVersion string
	// InstanceUUID and BIOSUUID default to ones made of the datacenter, the
	// folder and the name.
	InstanceUUID, BIOSUUID string
	// Created and Booted default to fixed times.
	Created, Booted time.Time
}

// Close logs out.
func (b *Builder) Close(ctx context.Context) { _ = b.Client.Logout(ctx) }

// Datacenter makes a datacenter and works in it from then on.
func (b *Builder) Datacenter(ctx context.Context, name string) error {
	dc, err := object.NewRootFolder(b.Client.Client).CreateDatacenter(ctx, name)
	if err != nil {
		return fmt.Errorf("create datacenter %q: %w", name, err)
	}
	return b.use(ctx, dc)
}

// In works in an existing datacenter from then on.
func (b *Builder) In(ctx context.Context, datacenter string) error {
	dc, err := find.NewFinder(b.Client.Client, false).Datacenter(ctx, datacenter)
	if err != nil {
		return fmt.Errorf("find datacenter %q: %w", datacenter, err)
	}
	return b.use(ctx, dc)
}

func (b *Builder) use(ctx context.Context, dc *object.Datacenter) error {
	folders, err := dc.Folders(ctx)
	if err != nil {
		return fmt.Errorf("read the folders of a datacenter: %w", err)
	}
	b.folders = folders
	b.finder = find.NewFinder(b.Client.Client, false).SetDatacenter(dc)
	b.found = make(map[string]any)
	return nil
}

// Switch makes a distributed switch with port groups.
func (b *Builder) Switch(ctx context.Context, name string, portgroups ...string) error {
	task, err := b.folders.NetworkFolder.CreateDVS(ctx, types.DVSCreateSpec{
		ConfigSpec: &types.VMwareDVSConfigSpec{DVSConfigSpec: types.DVSConfigSpec{Name: name}},
	})
	if err != nil {
		return fmt.Errorf("create distributed switch %q: %w", name, err)
	}
	info, err := task.WaitForResult(ctx)
	if err != nil {
		return fmt.Errorf("create distributed switch %q: %w", name, err)
	}
	dvs := object.NewDistributedVirtualSwitch(b.Client.Client, info.Result.(types.ManagedObjectReference))
	for _, portgroup := range portgroups {
		task, err := dvs.AddPortgroup(ctx, []types.DVPortgroupConfigSpec{{
			Name: portgroup, Type: string(types.DistributedVirtualPortgroupPortgroupTypeEarlyBinding), NumPorts: 128,
		}})
		if err == nil {
			err = task.WaitEx(ctx)
		}
		if err != nil {
			return fmt.Errorf("create port group %q: %w", portgroup, err)
		}
	}
	return nil
}

// Cluster makes a cluster of hosts that are members of every distributed switch.
func (b *Builder) Cluster(ctx context.Context, name string, hosts ...string) error {
	cluster, err := b.folders.HostFolder.CreateCluster(ctx, name, types.ClusterConfigSpecEx{})
	if err != nil {
		return fmt.Errorf("create cluster %q: %w", name, err)
	}
	switches, err := b.switches(ctx)
	if err != nil {
		return err
	}
	for _, host := range hosts {
		task, err := cluster.AddHost(ctx, types.HostConnectSpec{HostName: host}, true, nil, nil)
		if err != nil {
			return fmt.Errorf("add host %q: %w", host, err)
		}
		info, err := task.WaitForResult(ctx)
		if err != nil {
			return fmt.Errorf("add host %q: %w", host, err)
		}
		for _, dvs := range switches {
			task, err := dvs.Reconfigure(ctx, &types.DVSConfigSpec{Host: []types.DistributedVirtualSwitchHostMemberConfigSpec{{
				Operation: string(types.ConfigSpecOperationAdd), Host: info.Result.(types.ManagedObjectReference),
			}}})
			if err == nil {
				err = task.WaitEx(ctx)
			}
			if err != nil {
				return fmt.Errorf("add host %q to a distributed switch: %w", host, err)
			}
		}
	}
	return nil
}

func (b *Builder) switches(ctx context.Context) ([]*object.DistributedVirtualSwitch, error) {
	children, err := b.folders.NetworkFolder.Children(ctx)
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	var switches []*object.DistributedVirtualSwitch
	for _, child := range children {
		if dvs, ok := child.(*object.DistributedVirtualSwitch); ok {
			switches = append(switches, dvs)
		}
	}
	return switches, nil
}

// Datastore makes a datastore that every host there is mounts.
func (b *Builder) Datastore(ctx context.Context, name string) error {
	dir := filepath.Join(b.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of datastore %q: %w", name, err)
	}
	hosts, err := b.finder.HostSystemList(ctx, "*")
	if err != nil {
		return fmt.Errorf("find hosts for datastore %q: %w", name, err)
	}
	for _, host := range hosts {
		system, err := host.ConfigManager().DatastoreSystem(ctx)
		if err == nil {
			_, err = system.CreateLocalDatastore(ctx, name, dir)
		}
		if err != nil {
			return fmt.Errorf("mount datastore %q: %w", name, err)
		}
	}
	return nil
}

// Folder makes a VM folder, and those above it that do not exist.
func (b *Builder) Folder(ctx context.Context, p string) error {
	parent := b.folders.VmFolder
	walked := parent.InventoryPath
	for _, name := range strings.Split(p, "/") {
		walked = path.Join(walked, name)
		folder, err := b.finder.Folder(ctx, walked)
		if err != nil {
			folder, err = parent.CreateFolder(ctx, name)
		}
		if err != nil {
			return fmt.Errorf("create folder %q: %w", p, err)
		}
		parent = folder
	}
	return nil
}

// ResourcePool makes a resource pool in a cluster.
func (b *Builder) ResourcePool(ctx context.Context, cluster, name string) error {
	parent, err := b.finder.ResourcePool(ctx, path.Join(cluster, "Resources"))
	if err == nil {
		_, err = parent.Create(ctx, name, types.DefaultResourceConfigSpec())
	}
	if err != nil {
		return fmt.Errorf("create resource pool %q in cluster %q: %w", name, cluster, err)
	}
	return nil
}

// identifier is the same for the same words.
func identifier(parts ...string) uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("vcentertest:"+strings.Join(parts, "/")))
}

// mac is an address of the range that vCenter hands out.
func mac(instanceUUID string, adapter int) string {
	id := identifier(instanceUUID, "mac")
	return fmt.Sprintf("00:50:56:%02x:%02x:%02x", 0x80|id[0]&0x3f, id[1], id[2]+byte(adapter))
}

// VirtualMachine makes a virtual machine and brings it into its power state.
func (b *Builder) VirtualMachine(ctx context.Context, vm VM) (*object.VirtualMachine, error) {
	made, err := b.virtualMachine(ctx, vm)
	if err != nil {
		return nil, fmt.Errorf("create virtual machine %q: %w", vm.Name, err)
	}
	return made, nil
}

func (b *Builder) virtualMachine(ctx context.Context, vm VM) (*object.VirtualMachine, error) {
	folder, err := lookup(b, "folder", path.Join(b.folders.VmFolder.InventoryPath, vm.Folder),
		func(p string) (*object.Folder, error) {
			return b.finder.Folder(ctx, p)
		})
	if err != nil {
		return nil, err
	}
	pool, err := lookup(b, "pool", path.Join(vm.Cluster, "Resources", vm.Pool),
		func(p string) (*object.ResourcePool, error) {
			return b.finder.ResourcePool(ctx, p)
		})
	if err != nil {
		return nil, err
	}
	hostPath := path.Join(vm.Cluster, "*")
	if vm.Host != "" {
		hostPath = path.Join(vm.Cluster, vm.Host)
	}
	hosts, err := lookup(b, "host", hostPath, func(p string) ([]*object.HostSystem, error) {
		return b.finder.HostSystemList(ctx, p)
	})
	if err != nil {
		return nil, err
	}
	spec, err := b.spec(ctx, &vm)
	if err != nil {
		return nil, err
	}
	task, err := folder.CreateVM(ctx, *spec, pool, hosts[0])
	if err != nil {
		return nil, err
	}
	info, err := task.WaitForResult(ctx)
	if err != nil {
		return nil, err
	}
	made := object.NewVirtualMachine(b.Client.Client, info.Result.(types.ManagedObjectReference))
	made.InventoryPath = path.Join(folder.InventoryPath, vm.Name)
	return made, b.power(ctx, made, vm)
}

func (b *Builder) spec(ctx context.Context, vm *VM) (*types.VirtualMachineConfigSpec, error) {
	if vm.InstanceUUID == "" {
		vm.InstanceUUID = identifier(b.folders.VmFolder.InventoryPath, vm.Folder, vm.Name).String()
	}
	if vm.BIOSUUID == "" {
		vm.BIOSUUID = identifier(vm.InstanceUUID, "bios").String()
	}
	datastore := vm.Datastore
	if datastore == "" {
		found, err := lookup(b, "datastore", "*", func(p string) ([]*object.Datastore, error) {
			return b.finder.DatastoreList(ctx, p)
		})
		if err != nil {
			return nil, err
		}
		datastore = path.Base(found[0].InventoryPath)
	}
	var err error
	spec := &types.VirtualMachineConfigSpec{
		Name: vm.Name, GuestId: vm.GuestID, NumCPUs: vm.CPUs, MemoryMB: vm.MemoryMB, Annotation: vm.Annotation,
		InstanceUuid: vm.InstanceUUID, Uuid: vm.BIOSUUID, Firmware: vm.Firmware, Version: vm.HardwareVersion,
		Files: &types.VirtualMachineFileInfo{VmPathName: "[" + datastore + "]"},
	}
	if spec.VmProfile, err = b.profile(ctx, vm.StoragePolicy); err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(vm.ExtraConfig))
	for key := range vm.ExtraConfig {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, key := range keys {
		spec.ExtraConfig = append(spec.ExtraConfig, &types.OptionValue{Key: key, Value: vm.ExtraConfig[key]})
	}

	var devices object.VirtualDeviceList
	if len(vm.DisksGB) > 0 {
		controller, err := devices.CreateSCSIController("pvscsi")
		if err != nil {
			return nil, err
		}
		devices = append(devices, controller)
		for i, size := range vm.DisksGB {
			disk := devices.CreateDisk(controller.(types.BaseVirtualController), types.ManagedObjectReference{},
				fmt.Sprintf("[%s] %s/disk-%d.vmdk", datastore, vm.Name, i))
			disk.CapacityInKB = size << 20
			devices = append(devices, disk)
		}
	}
	for i, name := range vm.Networks {
		backing, err := lookup(b, "network", name, func(p string) (types.BaseVirtualDeviceBackingInfo, error) {
			network, err := b.finder.Network(ctx, p)
			if err != nil {
				return nil, err
			}
			return network.EthernetCardBackingInfo(ctx)
		})
		if err != nil {
			return nil, err
		}
		device, err := devices.CreateEthernetCard("vmxnet3", backing)
		if err != nil {
			return nil, err
		}
		card := device.(types.BaseVirtualEthernetCard).GetVirtualEthernetCard()
		card.AddressType = string(types.VirtualEthernetCardMacTypeAssigned)
		card.MacAddress = mac(vm.InstanceUUID, i)
		card.Connectable = &types.VirtualDeviceConnectInfo{StartConnected: true, Connected: false, AllowGuestControl: true}
		devices = append(devices, device)
	}
	changes, err := devices.ConfigSpec(types.VirtualDeviceConfigSpecOperationAdd)
	if err != nil {
		return nil, err
	}
	spec.DeviceChange = changes
	disk := 0
	for _, change := range changes {
		change := change.GetVirtualDeviceConfigSpec()
		if _, ok := change.Device.(*types.VirtualDisk); !ok || disk == len(vm.DiskPolicies) {
			continue
		}
		if change.Profile, err = b.profile(ctx, vm.DiskPolicies[disk]); err != nil {
			return nil, err
		}
		disk++
	}
	return spec, nil
}

func (b *Builder) power(ctx context.Context, made *object.VirtualMachine, vm VM) error {
	created := vm.Created
	if created.IsZero() {
		created = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC).Add(
			time.Duration(identifier(vm.InstanceUUID).ID()%1000) * time.Hour / 4)
	}
	facts := []types.BaseOptionValue{&types.OptionValue{Key: "SET.config.createDate", Value: created}}
	if vm.Power == types.VirtualMachinePowerStatePoweredOn || vm.Power == types.VirtualMachinePowerStateSuspended {
		task, err := made.PowerOn(ctx)
		if err == nil {
			err = task.WaitEx(ctx)
		}
		if err != nil {
			return err
		}
		booted := vm.Booted
		if booted.IsZero() {
			booted = created.Add(90 * time.Second)
		}
		facts = append(facts,
			&types.OptionValue{Key: "SET.runtime.bootTime", Value: booted},
			&types.OptionValue{Key: "SET.summary.runtime.bootTime", Value: booted})
		if !vm.NoTools {
			facts = append(facts, guestFacts(vm)...)
		}
	}
	task, err := made.Reconfigure(ctx, types.VirtualMachineConfigSpec{ExtraConfig: facts})
	if err == nil {
		err = task.WaitEx(ctx)
	}
	if err != nil || vm.Power != types.VirtualMachinePowerStateSuspended {
		return err
	}
	if task, err = made.Suspend(ctx); err != nil {
		return err
	}
	return task.WaitEx(ctx)
}
