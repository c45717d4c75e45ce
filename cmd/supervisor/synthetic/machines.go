// SPDX-License-Identifier: Apache-2.0

package synthetic

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/registry/virtualmachine/projection"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	vcmachine "github.com/openpacific/pacific/pkg/vcenter/machine"
)

const (
	// Namespaces is how many namespaces the machines are spread over.
	Namespaces = 20

	// Installation is the id under which the records in the machines are written: of another one they would not count.
	Installation = "5c1e7f0a-3b52-4d0e-9a34-6f2b8d9c7e10"

	clusters        = 4
	hostsPerCluster = 8
	rootFolder      = "group-v1000"

	pathGuestHostName = "guest.hostName"
)

// keys prove the records in the machines. They are no secret, since nobody writes to these machines.
func keys() *vcmachine.Keys { return vcmachine.NewKeys([]byte(Installation)) }

// Namespace is the name of the i-th namespace.
func Namespace(i int) string { return fmt.Sprintf("bench-%02d", i%Namespaces) }

// Machine is the name of the i-th machine.
func Machine(i int) string { return fmt.Sprintf("vm-%05d", i) }

// epoch is when the oldest machine was made.
var epoch = time.Date(2025, time.March, 1, 8, 0, 0, 0, time.UTC)

func reference(kind, id string) types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: kind, Value: id}
}

// surroundings are the folders, hosts and clusters that the machines lie in.
func surroundings() []inventory.Object {
	var objects []inventory.Object
	for i := range Namespaces {
		objects = append(objects, inventory.Object{Ref: folder(i), Properties: map[string]any{
			"name": Namespace(i), "parent": reference(facts.TypeFolder, rootFolder),
		}})
	}
	for c := range clusters {
		cluster := reference(facts.TypeCluster, fmt.Sprintf("domain-c%d", 100+c))
		objects = append(objects, inventory.Object{Ref: cluster,
			Properties: map[string]any{"name": fmt.Sprintf("cluster-%d", c+1)}})
		for h := range hostsPerCluster {
			objects = append(objects, inventory.Object{Ref: host(c*hostsPerCluster + h), Properties: map[string]any{
				"name": fmt.Sprintf("esx-%d-%02d.lab.pacific.test", c+1, h+1), "parent": cluster,
			}})
		}
	}
	return objects
}

func folder(i int) types.ManagedObjectReference {
	return reference(facts.TypeFolder, fmt.Sprintf("group-v%d", 1001+i%Namespaces))
}

func host(i int) types.ManagedObjectReference {
	return reference(facts.TypeHost, fmt.Sprintf("host-%d", 200+i%(clusters*hostsPerCluster)))
}

// machine makes the i-th machine. It is the same each time.
func machine(i int) (inventory.Object, error) {
	random := rand.New(rand.NewPCG(1, uint64(i)))
	uuid := func() string {
		return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", random.Uint32(), random.IntN(1<<16), random.IntN(1<<12), random.IntN(1<<12), random.Int64N(1<<48))
	}
	instance := uuid()
	metadata := projection.Metadata{
		Head: facts.Head{Installation: Installation, UID: instance, Sequence: 1, Namespace: Namespace(i), Name: Machine(i),
			Folder: facts.ID{Type: facts.TypeFolder, Value: folder(i).Value}},
		Body: projection.Body{Generation: 1,
			Labels:      map[string]string{"app": []string{"web", "db", "queue", "batch"}[i%4], "tier": []string{"front", "back"}[i%2]},
			Annotations: map[string]string{"example.com/note": note(i)}},
	}
	head, body, err := metadata.Record()
	if err != nil {
		return inventory.Object{}, err
	}
	record, err := keys().Encode(head, body)
	if err != nil {
		return inventory.Object{}, err
	}
	mac := fmt.Sprintf("00:50:56:%02x:%02x:%02x", i>>16&255, i>>8&255, i&255)
	ip := fmt.Sprintf("10.%d.%d.%d", 20+i>>16&255, i>>8&255, i&255)
	disk := int64(20+random.IntN(80)) << 30
	committed := disk/4 + int64(random.IntN(1<<20))<<10
	return inventory.Object{
		Ref: reference(facts.TypeMachine, fmt.Sprintf("vm-%d", 10000+i)),
		Properties: map[string]any{
			"name":                                Machine(i),
			"parent":                              folder(i),
			"runtime.powerState":                  types.VirtualMachinePowerState(strings.Clone("poweredOn")),
			"runtime.host":                        host(i),
			"runtime.connectionState":             types.VirtualMachineConnectionState(strings.Clone("connected")),
			"config.instanceUuid":                 instance,
			"config.uuid":                         uuid(),
			"config.createDate":                   epoch.Add(time.Duration(i) * 7 * time.Minute),
			"config.changeVersion":                fmt.Sprintf("2026-10-01T08:00:00.%06dZ", i),
			"config.guestId":                      strings.Clone("ubuntu64Guest"),
			"config.guestFullName":                strings.Clone("Ubuntu Linux (64-bit)"),
			"config.version":                      strings.Clone("vmx-21"),
			"config.template":                     false,
			"config.hardware.numCPU":              int32(2 << (i % 3)),
			"config.hardware.memoryMB":            int32(4096 << (i % 3)),
			"config.hardware.device":              devices(uuid(), mac, disk),
			"config.cpuAllocation.reservation":    int64(0),
			"config.memoryAllocation.reservation": int64(0),
			"config.changeTrackingEnabled":        true,
			`config.extraConfig["` + facts.RecordKey + `"]`: types.OptionValue{
				Key: strings.Clone(facts.RecordKey), Value: record},
			"guest.toolsRunningStatus":    strings.Clone("guestToolsRunning"),
			pathGuestHostName:             Machine(i) + ".bench.pacific.test",
			"guest.ipAddress":             ip,
			"guest.net":                   nics(Machine(i), mac, ip),
			"guest.guestId":               strings.Clone("ubuntu64Guest"),
			"guest.guestFullName":         strings.Clone("Ubuntu Linux (64-bit)"),
			"summary.storage.committed":   committed,
			"summary.storage.uncommitted": disk - committed + 2<<30,
		},
	}, nil
}

// note is an annotation such as an administrator writes, of one length for all machines.
func note(i int) string {
	return fmt.Sprintf("Machine %05d of the benchmark: owner platform-team@example.com, cost centre %04d, reviewed in "+
		"the third quarter, "+
		"backed up every night at two, patched every second Tuesday", i, i%10000)
}

// devices are what vCenter lists of an ordinary machine.
func devices(diskUUID, mac string, capacity int64) types.ArrayOfVirtualDevice {
	base := func(key, controller int32, unit int32, label, summary string) types.VirtualDevice {
		return types.VirtualDevice{
			Key: key, ControllerKey: controller, UnitNumber: &unit,
			DeviceInfo: &types.Description{Label: strings.Clone(label), Summary: strings.Clone(summary)},
		}
	}
	control := func(key, bus int32, label string, controlled ...int32) types.VirtualController {
		return types.VirtualController{
			VirtualDevice: types.VirtualDevice{Key: key, DeviceInfo: &types.Description{Label: strings.Clone(label), Summary: strings.Clone(label)}},
			BusNumber:     bus, Device: controlled,
		}
	}
	hot, split := true, false
	start := types.VirtualDeviceConnectInfo{StartConnected: true, AllowGuestControl: true, Connected: true, Status: strings.Clone("ok"), MigrateConnect: strings.Clone("unset")}
	cdromStart, nicStart := start, start
	nic := base(4000, 100, 7, "Network adapter 1", "workload-net")
	nic.Connectable = &nicStart
	nic.Backing = &types.VirtualEthernetCardDistributedVirtualPortBackingInfo{Port: types.DistributedVirtualSwitchPortConnection{
		SwitchUuid: strings.Clone("50 0d 6b 1c 4c 2a 11 5e-9d 1b 7f 10 a1 00 c4 52"), PortgroupKey: strings.Clone("dvportgroup-31"),
		PortKey: strings.Clone("17"), ConnectionCookie: 1129877463,
	}}
	cdrom := base(16000, 15000, 0, "CD/DVD drive 1", "Remote device")
	cdrom.Connectable = &cdromStart
	cdrom.Backing = &types.VirtualCdromRemotePassthroughBackingInfo{VirtualDeviceRemoteDeviceBackingInfo: types.VirtualDeviceRemoteDeviceBackingInfo{UseAutoDetect: &split}}
	hardDisk := base(2000, 1000, 0, "Hard disk 1", fmt.Sprintf("%d KB", capacity>>10))
	store := reference("Datastore", "datastore-11")
	thin, eager, through := true, false, false
	hardDisk.Backing = &types.VirtualDiskFlatVer2BackingInfo{
		VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: "[nfs-fast] " + diskUUID + "/disk.vmdk", Datastore: &store},
		DiskMode:                     strings.Clone("persistent"), Split: &split, WriteThrough: &through, ThinProvisioned: &thin, EagerlyScrub: &eager,
		Uuid: "6000C29" + diskUUID[1:], ContentId: strings.ReplaceAll(diskUUID, "-", ""), Sharing: strings.Clone("sharingNone"),
	}
	return types.ArrayOfVirtualDevice{VirtualDevice: []types.BaseVirtualDevice{
		&types.VirtualIDEController{VirtualController: control(200, 0, "IDE 0")},
		&types.VirtualIDEController{VirtualController: control(201, 1, "IDE 1")},
		&types.VirtualPS2Controller{VirtualController: control(300, 0, "PS2 controller 0", 600, 700)},
		&types.VirtualPCIController{VirtualController: control(100, 0, "PCI controller 0", 500, 12000, 1000, 15000, 4000)},
		&types.VirtualSIOController{VirtualController: control(400, 0, "SIO controller 0")},
		&types.VirtualKeyboard{VirtualDevice: base(600, 300, 0, "Keyboard", "Keyboard")},
		&types.VirtualPointingDevice{VirtualDevice: base(700, 300, 1, "Pointing device", "Pointing device; Device")},
		&types.VirtualMachineVideoCard{VirtualDevice: base(500, 100, 0, "Video card", "Video card"), VideoRamSizeInKB: 4096, NumDisplays: 1, GraphicsMemorySizeInKB: 262144},
		&types.VirtualMachineVMCIDevice{VirtualDevice: base(12000, 100, 17, "VMCI device", "Device on the virtual machine PCI bus that provides support for the virtual machine communication interface"),
			Id: int64(capacity & 0xffffff), AllowUnrestrictedCommunication: &split, FilterEnable: &thin},
		&types.ParaVirtualSCSIController{VirtualSCSIController: types.VirtualSCSIController{
			VirtualController: control(1000, 0, "SCSI controller 0", 2000), HotAddRemove: &hot, SharedBus: types.VirtualSCSISharing(strings.Clone("noSharing")), ScsiCtlrUnitNumber: 7}},
		&types.VirtualAHCIController{VirtualSATAController: types.VirtualSATAController{VirtualController: control(15000, 0, "SATA controller 0", 16000)}},
		&types.VirtualCdrom{VirtualDevice: cdrom},
		&types.VirtualDisk{VirtualDevice: hardDisk, CapacityInKB: capacity >> 10, CapacityInBytes: capacity,
			Shares:              &types.SharesInfo{Shares: 1000, Level: types.SharesLevel(strings.Clone("normal"))},
			StorageIOAllocation: &types.StorageIOAllocationInfo{Shares: &types.SharesInfo{Shares: 1000, Level: types.SharesLevel(strings.Clone("normal"))}},
			VDiskId:             &types.ID{Id: diskUUID}},
		&types.VirtualVmxnet3{VirtualVmxnet: types.VirtualVmxnet{VirtualEthernetCard: types.VirtualEthernetCard{
			VirtualDevice: nic, MacAddress: mac, AddressType: strings.Clone("assigned"), WakeOnLanEnabled: &hot, UptCompatibilityEnabled: &hot}}},
	}}
}

// nics are what VMware Tools reports of a guest with an address of each family.
func nics(name, mac, ip string) types.ArrayOfGuestNicInfo {
	yes := true
	return types.ArrayOfGuestNicInfo{GuestNicInfo: []types.GuestNicInfo{{
		Network: strings.Clone("workload-net"), DeviceConfigId: 4000, MacAddress: strings.Clone(mac), Connected: true,
		IpAddress: []string{strings.Clone(ip), "fe80::250:56ff:fe" + mac[9:11] + ":" + mac[12:14] + mac[15:17]},
		DnsConfig: &types.NetDnsConfigInfo{Dhcp: true, HostName: strings.Clone(name),
			DomainName: strings.Clone("bench.pacific.test"), IpAddress: []string{strings.Clone("10.20.0.2")}},
		IpConfig: &types.NetIpConfigInfo{
			Dhcp:                     &types.NetDhcpConfigInfo{Ipv4: &types.NetDhcpConfigInfoDhcpOptions{Enable: true}},
			AutoConfigurationEnabled: &yes,
			IpAddress: []types.NetIpConfigInfoIpAddress{
				{IpAddress: strings.Clone(ip), PrefixLength: 16, Origin: strings.Clone("dhcp"), State: strings.Clone("preferred")},
				{IpAddress: "fe80::250:56ff:fe" + mac[9:11] + ":" + mac[12:14] + mac[15:17], PrefixLength: 64,
					State: strings.Clone("preferred")},
			},
		},
	}}}
}
