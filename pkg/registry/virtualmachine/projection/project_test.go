// SPDX-License-Identifier: Apache-2.0

package projection

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	vmopv1 "github.com/vmware-tanzu/vm-operator/api/v1alpha5"
	"github.com/vmware/govmomi/vim25/types"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/openpacific/pacific/pkg/apis/vmoperator"
	"github.com/openpacific/pacific/pkg/facts"
	"github.com/openpacific/pacific/pkg/vcenter/inventory"
	"github.com/openpacific/pacific/pkg/vcenter/machine"
)

var (
	created = time.Date(2024, 3, 1, 12, 0, 0, 123456, time.UTC)
	now     = time.Date(2024, 6, 1, 12, 0, 0, 0, time.UTC)
)

func ref(kind, id string) types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: kind, Value: id}
}

func vmRef(id string) types.ManagedObjectReference { return ref(TypeVirtualMachine, id) }

func folder(id, name, parent string) inventory.Object {
	return inventory.Object{Ref: ref(TypeFolder, id), Properties: map[string]any{machine.PathName: name,
		machine.PathParent: ref(TypeFolder, parent)}}
}

// vm makes a machine of the inventory. more are pairs of path and value; a nil value takes the path away.
func vm(id, name, parent string, more ...any) inventory.Object {
	p := map[string]any{
		machine.PathName:            name,
		machine.PathParent:          ref(TypeFolder, parent),
		machine.PathPowerState:      types.VirtualMachinePowerStatePoweredOn,
		machine.PathHost:            ref(TypeHost, "host-1"),
		machine.PathConnectionState: types.VirtualMachineConnectionStateConnected,
		machine.PathInstanceUUID:    "uid-" + id,
		machine.PathBIOSUUID:        "bios-" + id,
		machine.PathCreateDate:      created,
		machine.PathChangeVersion:   "1",
		machine.PathTemplate:        false,
	}
	for i := 0; i < len(more); i += 2 {
		if more[i+1] == nil {
			delete(p, more[i].(string))
			continue
		}
		p[more[i].(string)] = more[i+1]
	}
	return inventory.Object{Ref: vmRef(id), Properties: p}
}

func encoded(t testing.TB, m Metadata) types.OptionValue {
	t.Helper()
	value, err := encode(&m)
	if err != nil {
		t.Fatal(err)
	}
	return types.OptionValue{Key: facts.RecordKey, Value: value}
}

// surroundings are a folder tree, a cluster and a host.
func surroundings() []inventory.Object {
	return []inventory.Object{
		folder("a", "team-a", "root"), folder("b", "team-b", "root"), folder("deep", "Deep", "a"),
		{Ref: ref(TypeCluster, "domain-c1"), Properties: map[string]any{machine.PathName: "Zone One"}},
		{Ref: ref(TypeHost, "host-1"), Properties: map[string]any{machine.PathName: "esx-1.example.com",
			machine.PathParent: ref(TypeCluster, "domain-c1")}},
		{Ref: ref(TypeHost, "host-2"), Properties: map[string]any{machine.PathName: "esx-2.example.com",
			machine.PathParent: ref(TypeCluster, "domain-c1")}},
	}
}

func initial(objects ...inventory.Object) inventory.Update {
	return inventory.Update{Initial: true, NamespacesFolder: ref(TypeFolder, "root"),
		Changed: append(surroundings(), objects...)}
}

func changed(objects ...inventory.Object) inventory.Update {
	return inventory.Update{NamespacesFolder: ref(TypeFolder, "root"), Changed: objects}
}

func newTestProjector() (*fed, *recorder) {
	p := newFed(Config{Clock: testingclock.NewFakePassiveClock(now)})
	r := &recorder{}
	p.Machines().Attach(into(r))
	return p, r
}

func richVM() inventory.Object {
	return vm("vm-1", "web", "a",
		machine.PathGuestID, "ubuntu64Guest", machine.PathGuestFullName, "Ubuntu Linux (64-bit)", machine.PathVersion,
		"vmx-19",
		machine.PathCPUs, int32(4), machine.PathMemoryMB, int32(8192), machine.PathCPUReservation, int64(500),
		machine.PathMemoryReservation, int64(1024),
		machine.PathChangeTracking, true,
		machine.PathToolsRunning, "guestToolsRunning", machine.PathGuestHostName, "web.local", machine.PathGuestIP,
		"10.0.0.5",
		machine.PathGuestGuestID, "ubuntu64Guest", machine.PathGuestGuestFullName, "Ubuntu 22.04",
		machine.PathCommitted, int64(6<<30), machine.PathUncommitted, int64(16<<30),
		machine.PathDevices, types.ArrayOfVirtualDevice{VirtualDevice: []types.BaseVirtualDevice{
			&types.VirtualIDEController{VirtualController: types.VirtualController{
				VirtualDevice: types.VirtualDevice{Key: 200}}},
			&types.ParaVirtualSCSIController{VirtualSCSIController: types.VirtualSCSIController{
				VirtualController: types.VirtualController{VirtualDevice: types.VirtualDevice{Key: 1000}, BusNumber: 0}}},
			&types.VirtualKeyboard{VirtualDevice: types.VirtualDevice{Key: 600}},
			&types.VirtualCdrom{VirtualDevice: types.VirtualDevice{Key: 3000, ControllerKey: 200, UnitNumber: ptr.To[int32](1)}},
			&types.VirtualDisk{
				VirtualDevice: types.VirtualDevice{Key: 2000, ControllerKey: 1000, UnitNumber: ptr.To[int32](0),
					DeviceInfo: &types.Description{Label: "Hard disk 1"},
					Backing: &types.VirtualDiskFlatVer2BackingInfo{DiskMode: "persistent", Sharing: "sharingNone",
						Uuid: "6000C29a"}},
				CapacityInBytes: 20 << 30},
			&types.VirtualVmxnet3{VirtualVmxnet: types.VirtualVmxnet{VirtualEthernetCard: types.VirtualEthernetCard{
				VirtualDevice: types.VirtualDevice{Key: 4000}, MacAddress: "00:50:56:AA:BB:CC"}}},
		}},
		machine.PathGuestNet, types.ArrayOfGuestNicInfo{GuestNicInfo: []types.GuestNicInfo{
			{DeviceConfigId: -1, MacAddress: "02:42:00:00:00:01", IpAddress: []string{"172.17.0.1"}},
			{DeviceConfigId: 4000, MacAddress: "00:50:56:aa:bb:cc",
				DnsConfig: &types.NetDnsConfigInfo{Dhcp: true, HostName: "web", DomainName: "local",
					IpAddress: []string{"10.0.0.1"}},
				IpConfig: &types.NetIpConfigInfo{
					Dhcp: &types.NetDhcpConfigInfo{Ipv4: &types.NetDhcpConfigInfoDhcpOptions{Enable: true}},
					IpAddress: []types.NetIpConfigInfoIpAddress{
						{IpAddress: "fe80::1", PrefixLength: 64, State: "preferred"},
						{IpAddress: "10.0.0.5", PrefixLength: 24, Origin: "dhcp", State: "preferred", Lifetime: &created},
						{IpAddress: "2001:db8::5", PrefixLength: 64, State: "preferred"},
					}}},
		}},
	)
}

func TestProjectUntouchedMachine(t *testing.T) {
	p, mirror := newTestProjector()
	p.Apply(initial(richVM()))
	at := metav1.NewTime(created.Truncate(time.Second))
	zone := "zone-one-" + "x"
	if got := mirror.objects["/virtualmachines/team-a/web"]; got != nil {
		zone = got.Status.Zone
	}
	size := func(s string) *resource.Quantity { q := resource.MustParse(s); return &q }
	want := &vmopv1.VirtualMachine{
		ObjectMeta: metav1.ObjectMeta{
			Name: "web", Namespace: "team-a", UID: "uid-vm-1", Generation: 1, CreationTimestamp: at,
			Labels: map[string]string{ZoneLabel: zone}, Finalizers: []string{vmoperator.MachineFinalizer},
		},
		Spec: vmopv1.VirtualMachineSpec{PowerState: "PoweredOn", GuestID: "ubuntu64Guest", BiosUUID: "bios-vm-1",
			InstanceUUID: "uid-vm-1"},
		Status: vmopv1.VirtualMachineStatus{
			PowerState: "PoweredOn", NodeName: "esx-1.example.com", Zone: zone, UniqueID: "vm-1",
			BiosUUID: "bios-vm-1", InstanceUUID: "uid-vm-1", HardwareVersion: 19, ChangeBlockTracking: ptr.To(true),
			Guest: &vmopv1.VirtualMachineGuestStatus{GuestID: "ubuntu64Guest", GuestFullName: "Ubuntu 22.04"},
			Hardware: &vmopv1.VirtualMachineHardwareStatus{
				CPU:    &vmopv1.VirtualMachineCPUAllocationStatus{Total: 4, Reservation: 500},
				Memory: &vmopv1.VirtualMachineMemoryAllocationStatus{Total: size("8Gi"), Reservation: size("1Gi")},
				Controllers: []vmopv1.VirtualControllerStatus{
					{Type: "IDE", DeviceKey: 200, Devices: []vmopv1.VirtualDeviceStatus{{Type: "CDROM", UnitNumber: 1}}},
					{Type: "SCSI", DeviceKey: 1000, Devices: []vmopv1.VirtualDeviceStatus{{Type: "Disk", UnitNumber: 0}}},
				},
			},
			Volumes: []vmopv1.VirtualMachineVolumeStatus{{
				Name: "Hard disk 1", Type: "Classic", Attached: true, DiskUUID: "6000C29a", DiskMode: "Persistent",
				SharingMode:    "None",
				ControllerType: "SCSI", ControllerBusNumber: ptr.To[int32](0), UnitNumber: ptr.To[int32](0), Limit: size("20Gi"),
				Requested: size("20Gi"),
			}},
			Storage: &vmopv1.VirtualMachineStorageStatus{
				Total: size("22Gi"), Requested: &vmopv1.VirtualMachineStorageStatusRequested{Disks: size("20Gi")},
				Used: &vmopv1.VirtualMachineStorageStatusUsed{Disks: size("4Gi"), Other: size("2Gi")},
			},
			Network: &vmopv1.VirtualMachineNetworkStatus{
				HostName: "web.local", PrimaryIP4: "10.0.0.5", PrimaryIP6: "2001:db8::5",
				Interfaces: []vmopv1.VirtualMachineNetworkInterfaceStatus{{
					DeviceKey: 4000,
					DNS: &vmopv1.VirtualMachineNetworkDNSStatus{DHCP: true, HostName: "web", DomainName: "local",
						Nameservers: []string{"10.0.0.1"}},
					IP: &vmopv1.VirtualMachineNetworkInterfaceIPStatus{
						MACAddr: "00:50:56:aa:bb:cc",
						DHCP: &vmopv1.VirtualMachineNetworkDHCPStatus{
							IP4: vmopv1.VirtualMachineNetworkDHCPOptionsStatus{Enabled: true}},
						Addresses: []vmopv1.VirtualMachineNetworkInterfaceIPAddrStatus{
							{Address: "fe80::1/64", State: "preferred"},
							{Address: "10.0.0.5/24", Origin: "dhcp", State: "preferred"},
							{Address: "2001:db8::5/64", State: "preferred"},
						},
					},
				}},
			},
			Conditions: []metav1.Condition{
				{Type: "VirtualMachineCreated", Status: "True", Reason: "True", LastTransitionTime: at},
				{Type: "VirtualMachineReconcileReady", Status: "True", Reason: "True", LastTransitionTime: at},
				{Type: "VirtualMachineTools", Status: "True", Reason: "VirtualMachineToolsRunning", LastTransitionTime: at},
			},
		},
	}
	if diff := cmp.Diff(map[string]*vmopv1.VirtualMachine{"/virtualmachines/team-a/web": want},
		mirror.objects); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// sizedVM was declared with a class of 4 CPUs, and has them but for what properties say.
func sizedVM(t *testing.T, with func(func(*Metadata)) types.OptionValue, power string, properties ...any) inventory.Object {
	t.Helper()
	return vm("vm-1", "web", "a", append([]any{
		machine.PathPowerState, types.VirtualMachinePowerState(power),
		machine.PathCPUs, int32(4), machine.PathMemoryMB, int32(4096), machine.PathCPUReservation, int64(500),
		machine.PathRecord, with(func(m *Metadata) {
			m.Spec.ClassName = "small"
			m.Size = &facts.Size{CPUs: 4, MemoryMB: 4096, CPU: facts.Allocation{Limit: -1, Reservation: 500},
				Memory: facts.Allocation{Limit: -1}}
		}),
	}, properties...)...)
}

// conditionOf is why a condition is false, and what it says.
func conditionOf(vm *vmopv1.VirtualMachine, conditionType string) string {
	c := meta.FindStatusCondition(vm.Status.Conditions, conditionType)
	return c.Reason + ": " + c.Message
}

// TestProjectDetails looks at one thing each of a machine that differs from a plain one.
func TestProjectDetails(t *testing.T) {
	none := Metadata{Head: facts.Head{UID: "uid-vm-1", Name: "web", Namespace: "team-a",
		Folder: facts.ID{Type: TypeFolder, Value: "a"}}}
	with := func(f func(*Metadata)) types.OptionValue {
		m := none
		f(&m)
		return encoded(t, m)
	}
	clone := none
	clone.UID, clone.Name = "other", "original"
	condition := func(vm *vmopv1.VirtualMachine, conditionType string) string {
		for _, c := range vm.Status.Conditions {
			if c.Type == conditionType {
				return string(c.Status) + " " + c.Reason
			}
		}
		return ""
	}
	type object = *vmopv1.VirtualMachine
	for _, test := range []struct {
		name string
		vm   inventory.Object
		get  func(object) any
		want any
	}{
		{"powered off: no addresses", vm("vm-1", "web", "a", machine.PathPowerState, types.VirtualMachinePowerStatePoweredOff,
			machine.PathGuestIP, "10.0.0.5"),
			func(o object) any { return o.Status.Network }, (*vmopv1.VirtualMachineNetworkStatus)(nil)},
		{"loopback is no address", vm("vm-1", "web", "a", machine.PathGuestIP, "127.0.0.1"),
			func(o object) any { return o.Status.Network }, (*vmopv1.VirtualMachineNetworkStatus)(nil)},
		{"primary IPv6", vm("vm-1", "web", "a", machine.PathGuestIP, "2001:db8::1"),
			func(o object) any { return o.Status.Network.PrimaryIP6 }, "2001:db8::1"},
		{"suspended", vm("vm-1", "web", "a", machine.PathPowerState, types.VirtualMachinePowerStateSuspended),
			func(o object) any { return o.Spec.PowerState }, vmopv1.VirtualMachinePowerStateSuspended},
		{"made before vCenter kept that", vm("vm-1", "web", "a", machine.PathCreateDate, time.Unix(0, 0)),
			func(o object) any { return o.CreationTimestamp.IsZero() }, true},
		{"unknown host", vm("vm-1", "web", "a", machine.PathHost, ref(TypeHost, "host-9")),
			func(o object) any { return o.Status.NodeName + o.Status.Zone + o.Labels[ZoneLabel] }, ""},
		{"declared power state, not synced",
			vm("vm-1", "web", "a", machine.PathRecord, with(func(m *Metadata) {
				m.Spec.PowerState = vmopv1.VirtualMachinePowerStateOff
			})),
			func(o object) any {
				return []string{string(o.Spec.PowerState), string(o.Status.PowerState),
					condition(o, vmopv1.VirtualMachinePowerStateSynced)}
			},
			[]string{"PoweredOff", "PoweredOn", "False NotSynced"}},
		{"as large as declared", sizedVM(t, with, facts.PoweredOn),
			func(o object) any { return condition(o, vmopv1.VirtualMachineClassConfigurationSynced) }, "True True"},
		{"too small, and on", sizedVM(t, with, facts.PoweredOn, machine.PathCPUs, int32(2)),
			func(o object) any { return conditionOf(o, vmopv1.VirtualMachineClassConfigurationSynced) },
			"NeedsPowerOff: it has 2 CPUs and 4096 MiB of memory, 500 MHz of CPU reserved where the class \"small\" was declared " +
				"with 4 CPUs and 4096 MiB of memory, 500 MHz of CPU reserved, and cannot be given that while it is on: set " +
				"spec.powerState to PoweredOff, and then to PoweredOn"},
		{"too small, and gets more while it is on",
			sizedVM(t, with, facts.PoweredOn, machine.PathCPUs, int32(2), machine.PathCPUHotAdd, true),
			func(o object) any { return condition(o, vmopv1.VirtualMachineClassConfigurationSynced) }, "False NotSynced"},
		{"too large, and CPUs are not taken while it is on",
			sizedVM(t, with, facts.PoweredOn, machine.PathCPUs, int32(8), machine.PathCPUHotAdd, true),
			func(o object) any { return condition(o, vmopv1.VirtualMachineClassConfigurationSynced) }, "False NeedsPowerOff"},
		{"too small, and suspended",
			sizedVM(t, with, facts.Suspended, machine.PathCPUs, int32(2), machine.PathCPUHotAdd, true),
			func(o object) any { return condition(o, vmopv1.VirtualMachineClassConfigurationSynced) }, "False NeedsPowerOff"},
		{"too small, and off", sizedVM(t, with, facts.PoweredOff, machine.PathCPUs, int32(2)),
			func(o object) any { return condition(o, vmopv1.VirtualMachineClassConfigurationSynced) }, "False NotSynced"},
		{"less reserved than declared", sizedVM(t, with, facts.PoweredOn, machine.PathCPUReservation, int64(0)),
			func(o object) any { return condition(o, vmopv1.VirtualMachineClassConfigurationSynced) }, "False NotSynced"},
		{"not probed yet", vm("vm-1", "web", "a", machine.PathRecord, with(func(m *Metadata) {
			m.Spec.ReadinessProbe = &vmopv1.VirtualMachineReadinessProbeSpec{}
		})), func(o object) any { return condition(o, vmopv1.ReadyConditionType) }, "False NotProbed"},
		{"off, and not ready whatever the probe", vm("vm-1", "web", "a", machine.PathPowerState,
			types.VirtualMachinePowerStatePoweredOff, machine.PathRecord, with(func(m *Metadata) {
				m.Spec.ReadinessProbe = &vmopv1.VirtualMachineReadinessProbeSpec{}
			})), func(o object) any { return condition(o, vmopv1.ReadyConditionType) }, "False NotPoweredOn"},
		{"restarted", vm("vm-1", "web", "a", machine.PathRecord, with(func(m *Metadata) {
			m.Restart = facts.Restart{Wanted: "2026-03-01T12:00:00Z", Since: now, Done: true}
		})), func(o object) any { return o.Status.LastRestartTime.UTC().Format(time.RFC3339) }, "2026-03-01T12:00:00Z"},
		{"not restarted yet", vm("vm-1", "web", "a", machine.PathRecord, with(func(m *Metadata) {
			m.Restart = facts.Restart{Wanted: "2026-03-01T12:00:00Z", Since: now}
		})), func(o object) any { return o.Status.LastRestartTime }, (*metav1.Time)(nil)},
		{"declared power state, synced",
			vm("vm-1", "web", "a", machine.PathRecord, with(func(m *Metadata) {
				m.Spec.PowerState = vmopv1.VirtualMachinePowerStateOn
			})),
			func(o object) any { return condition(o, vmopv1.VirtualMachinePowerStateSynced) }, "True True"},
		{"paused by annotation",
			vm("vm-1", "web", "a", machine.PathRecord, with(func(m *Metadata) {
				m.Annotations = map[string]string{vmopv1.PauseAnnotation: ""}
			})),
			func(o object) any { return condition(o, vmopv1.VirtualMachineReconcileReady) },
			"False VirtualMachineReconcilePaused"},
		{"paused by ExtraConfig", vm("vm-1", "web", "a", machine.PathPause, types.OptionValue{Value: "TRUE"}),
			func(o object) any { return condition(o, vmopv1.VirtualMachineReconcileReady) },
			"False VirtualMachineReconcilePaused"},
		{"paused, by a label", vm("vm-1", "web", "a", machine.PathPause, types.OptionValue{Value: "true"}),
			func(o object) any { return o.Labels[vmopv1.PausedVMLabelKey] }, "admin"},
		{"paused by both, by a label", vm("vm-1", "web", "a", machine.PathPause, types.OptionValue{Value: "true"},
			machine.PathRecord, with(func(m *Metadata) { m.Annotations = map[string]string{vmopv1.PauseAnnotation: ""} })),
			func(o object) any { return o.Labels[vmopv1.PausedVMLabelKey] }, "both"},
		{"a label is not a pause", vm("vm-1", "web", "a",
			machine.PathRecord, with(func(m *Metadata) { m.Labels = map[string]string{vmopv1.PausedVMLabelKey: "devops"} })),
			func(o object) any {
				return o.Labels[vmopv1.PausedVMLabelKey] + condition(o, vmopv1.VirtualMachineReconcileReady)
			}, "True True"},
		{"disconnected", vm("vm-1", "web", "a", machine.PathConnectionState, types.VirtualMachineConnectionStateDisconnected),
			func(o object) any { return condition(o, vmopv1.VirtualMachineReconcileReady) }, "False VirtualMachineDisconnected"},
		{"tools not running", vm("vm-1", "web", "a", machine.PathToolsRunning, "guestToolsNotRunning"),
			func(o object) any { return condition(o, vmopv1.VirtualMachineToolsCondition) },
			"False VirtualMachineToolsNotRunning"},
		{"tools unknown", vm("vm-1", "web", "a"),
			func(o object) any { return condition(o, vmopv1.VirtualMachineToolsCondition) }, "Unknown NoGuestInfo"},
		{"zone label of the user's own", vm("vm-1", "web", "a", machine.PathRecord,
			with(func(m *Metadata) { m.Labels = map[string]string{ZoneLabel: "mine"} })),
			func(o object) any { return o.Labels }, map[string]string{ZoneLabel: "mine"}},
		{"finalizers", vm("vm-1", "web", "a", machine.PathRecord, with(func(m *Metadata) { m.Finalizers = []string{"x/y"} })),
			func(o object) any { return o.Finalizers }, []string{"x/y", vmoperator.MachineFinalizer}},
		{"metadata of another machine does not count", vm("vm-1", "web", "a", machine.PathRecord, encoded(t, clone)),
			func(o object) any { return o.Name + condition(o, MetadataReadableCondition) }, "web"},
		{"malformed metadata", vm("vm-1", "web", "a", machine.PathRecord, types.OptionValue{Value: "v2:garbage"}),
			func(o object) any { return o.Name + " " + condition(o, MetadataReadableCondition) }, "web False MalformedMetadata"},
		{"metadata of a newer version", vm("vm-1", "web", "a", machine.PathRecord, types.OptionValue{Value: "v9:x"}),
			func(o object) any { return condition(o, MetadataReadableCondition) }, "False MalformedMetadata"},
		{"snapshot", vm("vm-1", "web", "a", machine.PathCurrentSnapshot, ref("VirtualMachineSnapshot", "snapshot-1")),
			func(o object) any { return o.Status.CurrentSnapshot }, &vmopv1.VirtualMachineSnapshotReference{Type: "Unmanaged"}},
		{"odd hardware version", vm("vm-1", "web", "a", machine.PathVersion, "esx-9"),
			func(o object) any { return o.Status.HardwareVersion }, int32(0)},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, mirror := newTestProjector()
			p.Apply(initial(test.vm))
			o := mirror.objects["/virtualmachines/team-a/web"]
			if o == nil {
				t.Fatalf("not served as web; there is %v", mirror.keys())
			}
			if diff := cmp.Diff(test.want, test.get(o)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestCustomization: how far vCenter is with a guest, and that a machine is not ready before.
func TestCustomization(t *testing.T) {
	record := func(bootstrap *vmopv1.VirtualMachineBootstrapSpec, left *facts.Build) types.OptionValue {
		m := Metadata{Head: facts.Head{UID: "uid-vm-1", Name: "web", Namespace: "team-a", Created: true,
			Folder: facts.ID{Type: TypeFolder, Value: "a"}, Build: left}}
		m.Spec.Bootstrap = bootstrap
		return encoded(t, m)
	}
	bootstrap := &vmopv1.VirtualMachineBootstrapSpec{LinuxPrep: &vmopv1.VirtualMachineBootstrapLinuxPrepSpec{}}
	linux := record(bootstrap, nil)
	left := record(bootstrap, &facts.Build{Customize: true, Assembled: true})
	info := func(state, message string) types.GuestInfoCustomizationInfo {
		return types.GuestInfoCustomizationInfo{CustomizationStatus: state, ErrorMsg: message}
	}
	for _, test := range []struct {
		name string
		with []any
		want string // GuestCustomization, and Ready
	}{
		{"none", []any{machine.PathRecord, record(nil, nil)}, "; True True"},
		{"none, and vCenter says so", []any{machine.PathRecord, record(nil, nil), machine.PathCustomization, info("TOOLSDEPLOYPKG_IDLE", "")},
			"; True True"},
		{"of a machine that is being made", []any{machine.PathRecord, left},
			"False GuestCustomizationPending its guest is customised when it is powered on first; False Building it is being made"},
		{"nothing told", []any{machine.PathRecord, linux},
			"Unknown NoGuestInfo vCenter tells nothing of a customisation of the guest; True True"},
		{"waiting", []any{machine.PathRecord, linux, machine.PathCustomization, info("TOOLSDEPLOYPKG_PENDING", "")},
			"False GuestCustomizationPending its guest is customised when it is powered on next; " +
				"False GuestCustomizationPending its guest is customised when it is powered on next"},
		{"running", []any{machine.PathRecord, linux, machine.PathCustomization, info("TOOLSDEPLOYPKG_RUNNING", "")},
			"False GuestCustomizationRunning its guest is being customised; False GuestCustomizationRunning its guest is being customised"},
		{"done", []any{machine.PathRecord, linux, machine.PathCustomization, info("TOOLSDEPLOYPKG_SUCCEEDED", "")}, "True True; True True"},
		{"failed", []any{machine.PathRecord, linux, machine.PathCustomization, info("TOOLSDEPLOYPKG_FAILED", " no perl ")},
			"False GuestCustomizationFailed vCenter could not customise the guest: no perl; " +
				"False GuestCustomizationFailed vCenter could not customise the guest: no perl"},
		{"failed without a word", []any{machine.PathCustomization, info("TOOLSDEPLOYPKG_FAILED", "")},
			"False GuestCustomizationFailed vCenter could not customise the guest: it does not say why; "},
		{"of another time", []any{machine.PathCustomization, info("NEW", "")}, "False Unknown vCenter says NEW; "},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, mirror := newTestProjector()
			p.Apply(initial(vm("vm-1", "web", "a", append(test.with, machine.PathToolsRunning, "guestToolsRunning")...)))
			var got [2]string
			for _, c := range mirror.objects["/virtualmachines/team-a/web"].Status.Conditions {
				for i, kind := range []string{vmopv1.GuestCustomizationCondition, vmopv1.ReadyConditionType} {
					if c.Type == kind {
						got[i] = strings.TrimSpace(string(c.Status) + " " + c.Reason + " " + c.Message)
					}
				}
			}
			if diff := cmp.Diff(test.want, got[0]+"; "+got[1]); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
